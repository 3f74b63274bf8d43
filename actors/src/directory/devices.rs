//! Devices that accounts know.

use cairn_runtime::store::StoreFault;
use cairn_runtime::{Id, Timestamp};
use futures_util::future::BoxFuture;

use crate::identity::user_id::UserId;

/// Reads devices.
pub trait Devices: Send + Sync + 'static {
    /// Whether a device is known to a user: it was seen, and not forgotten since.
    fn knows(&self, user: UserId, device: Id) -> BoxFuture<'_, Result<bool, StoreFault>>;
    /// The devices that are known to a user, last seen first.
    fn of(&self, user: UserId) -> BoxFuture<'_, Result<Vec<KnownDevice>, StoreFault>>;
}

/// A browser or program with which a user has signed in, and which the account knows from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Its id.
    pub id: Id,
    /// The user agent of the last sign-in, as it said it.
    pub user_agent: Option<String>,
    /// The address that the last sign-in came from.
    pub client_address: Option<String>,
    /// When a sign-in first came from it.
    pub first_seen_at: Timestamp,
    /// When a sign-in last came from it.
    pub last_seen_at: Timestamp,
}
