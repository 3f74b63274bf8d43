//! The port to the table of signing keys.

use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use super::SealedSigningKey;
use super::schedule::KeyChange;

/// Finds out from the rows of the table what is to be changed in it.
pub type Decide = Box<dyn FnOnce(&[SealedSigningKey]) -> KeyChange + Send>;

/// The table of signing keys.
pub trait SigningKeyStore: Send + Sync {
    /// All its rows.
    fn read(&self) -> BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>>;

    /// Changes it as `decide` says of its rows, while no other node does the same, and gives the rows after that.
    fn change(&self, decide: Decide) -> BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>>;
}
