//! Guesses at a secret that have failed.

use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use crate::secrets::digest::Digest;

/// Reads failures.
pub trait Failures: Send + Sync + 'static {
    /// When guesses at this have failed after an instant, newest first, at most this many.
    fn of(&self, guessed: Digest, after: Timestamp, limit: u32) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreFault>>;
}
