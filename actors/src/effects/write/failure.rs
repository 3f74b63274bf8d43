//! What is written about guesses at a secret that have failed.

use cairn_runtime::{Id, Timestamp};
use serde::{Deserialize, Serialize};

use super::Write;
use crate::secrets::digest::Digest;

/// A failure is counted, or those from one network are forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureWrite {
    /// A guess at a secret has failed.
    Count {
        /// Names the failure.
        id: Id,
        /// What was guessed at, by a keyed hash.
        of: Digest,
        /// The network that it came from, by a keyed hash.
        by: Digest,
        /// When.
        at: Timestamp,
    },
    /// The failures at what was guessed at that came from one network are forgotten.
    Clear {
        /// What was guessed at, by a keyed hash.
        of: Digest,
        /// The network, by a keyed hash.
        by: Digest,
        /// Those up to this instant.
        at: Timestamp,
    },
}

impl From<FailureWrite> for Write {
    fn from(write: FailureWrite) -> Self {
        Self::Failure(write)
    }
}
