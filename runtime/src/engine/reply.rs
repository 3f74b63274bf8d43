//! What comes back from a command, and who asked for it.

use std::sync::Arc;

use crate::id::{FlowId, InputId};
use crate::store::StoreFault;

/// Why a command has no outcome. What the world is told of it is the caller's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such flow.
    #[error("there is no such flow")]
    NotFound,
    /// The flow is set aside for the operator.
    #[error("the flow is in quarantine")]
    Quarantined,
    /// An operator has ended the flow: it will never take anything any more.
    #[error("the operator has ended the flow")]
    Ended,
    /// The database is away, or it could not be learnt in time whether the step is durable. A repeat is safe.
    #[error("not available: {0}")]
    Unavailable(String),
    /// Too much is waiting already.
    #[error("too much is waiting")]
    Overloaded,
    /// There is no room on the disk.
    #[error("no room: {0}")]
    Storage(String),
    /// Eight times in a row somebody else was faster.
    #[error("contended")]
    Contended,
    /// The same idempotency key came with another request.
    #[error("another request has this key")]
    Mismatch,
    /// The delivery that this input settles has been settled.
    #[error("settled before")]
    Settled,
    /// A defect of ours: a decision panicked, or the database refused what we wrote.
    #[error("a defect: {0}")]
    Defect(String),
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::Unavailable(why) | StoreFault::Ambiguous(why) | StoreFault::SyncFailed(why) => {
                Self::Unavailable(why)
            }
            StoreFault::Conflict(why) => Self::Unavailable(why),
            StoreFault::Unexpected(why) => Self::Defect(why),
            StoreFault::Full(why) => Self::Storage(why),
        }
    }
}

/// Which way a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Through the flow's shell.
    Actor,
    /// Without one, because none could be had. As safe: the row's version is the judge.
    Direct,
}

/// What the asker gets.
#[derive(Clone, Debug)]
pub struct Reply<O> {
    /// The flow, or the act's id.
    pub flow: FlowId,
    /// What it said.
    pub outcome: O,
    /// The flow's version after the input.
    pub version: u64,
    /// Its phase after the input.
    pub phase: String,
    /// The way it went.
    pub method: Method,
    /// This input had been committed before; the outcome is the one of then.
    pub repeated: bool,
}

/// Who asks: the identity of an input, and what is remembered with it.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The id of the input.
    pub input: InputId,
    /// Look whether it was committed before. Set for ids that are derived from an idempotency key.
    pub repeatable: bool,
    /// A keyed hash of the request; of its passwords at most what is as dear to guess at as their hashes.
    pub fingerprint: Option<[u8; 16]>,
    /// The request id, for history and logs.
    pub trace: Arc<str>,
}
