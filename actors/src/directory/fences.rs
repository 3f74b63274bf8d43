//! Numbers of fences.

use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use crate::effects::Key;

/// Reads the numbers of fences.
pub trait Fences: Send + Sync + 'static {
    /// The number of each key, in the order of the keys; `None` where nobody has it.
    fn numbers<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<i64>>, StoreFault>>;
}
