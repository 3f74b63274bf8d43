//! OAuth clients.

use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use crate::oauth::client::{Client, ClientId};

/// Reads clients.
pub trait Clients: Send + Sync + 'static {
    /// The client with this id.
    fn by_id(&self, client: ClientId) -> BoxFuture<'_, Result<Option<Client>, StoreFault>>;
    /// Clients in the order of their `client_id`, at most `limit`, those that come after `after`.
    fn list<'a>(&'a self, after: Option<&'a str>, limit: u32) -> BoxFuture<'a, Result<Vec<Client>, StoreFault>>;
}
