//! The port for reads: what services must know before they ask, one query each.

use cairn_runtime::store::{OutboxRow, Row, StoreFault};
use cairn_runtime::{FlowId, Id, InputId, Timestamp};
use futures_util::future::BoxFuture;

use crate::address::Address;
use crate::effects::{Digest, UserId};
use crate::followers::Followers;
use crate::hasher::SealedHash;
use crate::name::PersonName;
use crate::username::Username;

/// A user as the database has it.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The verified address.
    pub address: Address,
    /// Unique, when there is one.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The password's hash, sealed; `None`: there is none, or it is out of force, and whatever is typed is wrong.
    pub password: Option<SealedHash>,
    /// What they may do.
    pub roles: Vec<String>,
    /// 0 at first, one more with each change of the profile: the number of [`crate::effects::Key::Profile`].
    pub version: i64,
    /// The number of the claim on their address, read in the same query.
    pub number: i64,
    /// The deletion that waits for them.
    pub deletion: Option<FlowId>,
    /// When they first signed in.
    pub signed_in_at: Option<Timestamp>,
    /// When their password last changed, if it ever did.
    pub password_changed_at: Option<Timestamp>,
    /// The number of their fence, read in the same query.
    pub fence: i64,
    /// The number of what is known of them from before ([`crate::effects::Key::Devices`]), read in the same query.
    pub devices: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when like this.
    pub updated_at: Timestamp,
}

impl User {
    /// First and last name as one, if there is either.
    pub fn name(&self) -> Option<String> {
        match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => Some(format!("{} {}", first.as_str(), last.as_str())),
            (Some(one), None) | (None, Some(one)) => Some(one.as_str().to_owned()),
            (None, None) => None,
        }
    }
}

/// A session and its user, as one query finds them.
#[derive(Clone, Debug)]
pub struct InSession {
    /// The user.
    pub user: User,
    /// The row of the session.
    pub session: Row,
}

/// What a user's sessions, past and present, say to one more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierSessions {
    /// The user has, or within the time that rows are kept had, a session from the same device and network.
    pub knows_place: bool,
    /// Sessions that have not ended but those last used, of which there is room for so many; at most a thousand.
    pub beyond: Vec<FlowId>,
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

/// An event of a user's flows and acts, for their history.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The input that caused it.
    pub input: InputId,
    /// The flow's kind.
    pub kind: String,
    /// The flow.
    pub flow: FlowId,
    /// The input's name.
    pub name: String,
    /// The phase after it.
    pub to: String,
    /// What history may show, as JSON.
    pub public: String,
    /// When.
    pub at: Timestamp,
}

/// A place in a history, which is in order of instants, and where these are the same of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPlace {
    /// When the event there happened.
    pub at: Timestamp,
    /// The input that caused it.
    pub input: InputId,
}

/// Reads. Each is one query on a connection that cannot write.
pub trait Directory: Send + Sync + 'static {
    /// The user with this verified address.
    fn by_address(&self, key: Digest) -> BoxFuture<'_, Result<Option<User>, StoreFault>>;
    /// The user with this username.
    fn by_username<'a>(&'a self, username: &'a Username) -> BoxFuture<'a, Result<Option<User>, StoreFault>>;
    /// The user with this id.
    fn by_id(&self, user: UserId) -> BoxFuture<'_, Result<Option<User>, StoreFault>>;
    /// A session with its user, also one that has ended; nothing once its row or its user is gone.
    fn session(&self, session: FlowId) -> BoxFuture<'_, Result<Option<InSession>, StoreFault>>;
    /// A user's flows of one kind (of every kind when `None`) whose rows are not in quarantine, last touched first, at
    /// most this many.
    fn flows_of<'a>(
        &'a self,
        user: UserId,
        kind: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreFault>>;
    /// A user's changes of address that can still be taken back, last touched first, at most this many.
    fn changes(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// A user's sessions that have not ended, last used first, at most this many. Their fence may have moved.
    fn sessions(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// What of a user follows their fence and has not ended, last used first, at most this many.
    fn followers(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Followers, StoreFault>>;
    /// What a user's sessions say to one more from a place, of which besides it `room` may be.
    fn earlier_sessions(
        &self,
        user: UserId,
        place: Digest,
        room: u32,
    ) -> BoxFuture<'_, Result<EarlierSessions, StoreFault>>;
    /// Whether a device is known to a user: it was seen, and not forgotten since.
    fn knows_device(&self, user: UserId, device: Id) -> BoxFuture<'_, Result<bool, StoreFault>>;
    /// The devices that are known to a user, last seen first.
    fn devices(&self, user: UserId) -> BoxFuture<'_, Result<Vec<KnownDevice>, StoreFault>>;
    /// What a user did and what happened to their flows, newest first and older than a place if there is one, at most this
    /// many. What merely carries a session on is left out: it comes every few minutes and is no news.
    fn history(
        &self,
        user: UserId,
        before: Option<HistoryPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, StoreFault>>;
    /// When guesses at this have failed after an instant, newest first, at most this many.
    fn failures(&self, of: Digest, after: Timestamp, limit: u32) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreFault>>;
    /// The newest letters of the outbox whose payload is not wiped, oldest first, at most this many.
    fn letters(&self, limit: u32) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>>;
}
