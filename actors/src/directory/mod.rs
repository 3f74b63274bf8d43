//! The ports for reads: what services must know before they ask. Each resource has its own.

mod clients;
mod consents;
mod devices;
mod failures;
mod fences;
mod flows;
mod history;
mod letters;
mod resources;
mod sessions;
mod users;

use std::sync::Arc;

pub use self::clients::Clients;
pub use self::consents::{Consent, Consents};
pub use self::devices::{Devices, KnownDevice};
pub use self::failures::Failures;
pub use self::fences::Fences;
pub use self::flows::Flows;
pub use self::history::{History, HistoryEntry, HistoryPlace};
pub use self::letters::Letters;
pub use self::resources::{MOST_RESOURCES, Resources};
pub use self::sessions::{EarlierSessions, InSession, Sessions};
pub use self::users::{User, Users};

/// Everything that can be read. Each function is one query on a connection that cannot write.
#[derive(Clone)]
pub struct Directory {
    /// Users.
    pub users: Arc<dyn Users>,
    /// Sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Rows of flows.
    pub flows: Arc<dyn Flows>,
    /// Devices that accounts know.
    pub devices: Arc<dyn Devices>,
    /// What people have consented to.
    pub consents: Arc<dyn Consents>,
    /// Numbers of fences.
    pub fences: Arc<dyn Fences>,
    /// Histories.
    pub history: Arc<dyn History>,
    /// Failed guesses.
    pub failures: Arc<dyn Failures>,
    /// Letters in the outbox.
    pub letters: Arc<dyn Letters>,
    /// OAuth clients.
    pub clients: Arc<dyn Clients>,
    /// Resources.
    pub resources: Arc<dyn Resources>,
}
