//! Resources, the services that access tokens are for.

use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use crate::oauth::resource::Resource;
use crate::oauth::uri::AbsoluteUri;

/// How many there may be.
pub const MOST_RESOURCES: u32 = 1_000;

/// Reads resources.
pub trait Resources: Send + Sync + 'static {
    /// All of them, in the order of their URIs.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Resource>, StoreFault>>;
    /// The one with this URI.
    fn by_uri<'a>(&'a self, uri: &'a AbsoluteUri) -> BoxFuture<'a, Result<Option<Resource>, StoreFault>>;
}
