//! Sessions, each with its user or all of one user.

use cairn_runtime::FlowId;
use cairn_runtime::store::{Row, StoreFault};
use futures_util::future::BoxFuture;

use super::User;
use crate::identity::user_id::UserId;
use crate::secrets::digest::Digest;

/// Reads sessions.
pub trait Sessions: Send + Sync + 'static {
    /// A session with its user, also one that has ended; nothing once its row or its user is gone.
    fn with_user(&self, session: FlowId) -> BoxFuture<'_, Result<Option<InSession>, StoreFault>>;
    /// A user's sessions that have not ended, last used first, at most this many. Their fence may have moved.
    fn of(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// What a user's sessions say to one more from a place, of which besides it `room` may be.
    fn earlier_sessions(
        &self,
        user: UserId,
        place: Digest,
        room: u32,
    ) -> BoxFuture<'_, Result<EarlierSessions, StoreFault>>;
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
