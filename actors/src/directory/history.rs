//! What happened to users, as their histories show it.

use cairn_runtime::store::StoreFault;
use cairn_runtime::{FlowId, InputId, Timestamp};
use futures_util::future::BoxFuture;

use crate::identity::user_id::UserId;

/// Reads histories.
pub trait History: Send + Sync + 'static {
    /// What a user did and what happened to their flows, newest first and older than a place if there is one, at most this
    /// many. What merely carries a session on is left out: it comes every few minutes and is no news.
    fn of(
        &self,
        user: UserId,
        before: Option<HistoryPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, StoreFault>>;
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
