//! Letters that lie in the outbox.

use cairn_runtime::store::{self, StoreFault};
use futures_util::future::BoxFuture;

/// Reads letters.
pub trait Letters: Send + Sync + 'static {
    /// The newest letters of the outbox whose payload is not wiped, oldest first, at most this many.
    fn newest(&self, limit: u32) -> BoxFuture<'_, Result<Vec<store::OutboxRow>, StoreFault>>;
}
