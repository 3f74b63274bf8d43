//! Flows of a user, as rows for the engine to read.

use cairn_runtime::store::{Row, StoreFault};
use futures_util::future::BoxFuture;

use crate::followers::Followers;
use crate::identity::user_id::UserId;

/// Reads rows of flows.
pub trait Flows: Send + Sync + 'static {
    /// A user's flows of one kind (of every kind when `None`) whose rows are not in quarantine, last touched first, at
    /// most this many.
    fn of<'a>(&'a self, user: UserId, kind: Option<&'a str>, limit: u32)
    -> BoxFuture<'a, Result<Vec<Row>, StoreFault>>;
    /// A user's changes of address that can still be taken back, last touched first, at most this many.
    fn changes(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// What of a user follows their fence and has not ended, last used first, at most this many.
    fn followers(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Followers, StoreFault>>;
}
