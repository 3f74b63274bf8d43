//! What people have consented to.

use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;

use crate::identity::user_id::UserId;
use crate::oauth::access::Access;
use crate::oauth::client::ClientId;
use crate::oauth::scope::Scope;
use crate::oauth::uri::AbsoluteUri;

/// Reads consents.
pub trait Consents: Send + Sync + 'static {
    /// What a user has consented to for a client; also what is left of one that was taken back, which is for nothing.
    fn of(&self, user: UserId, client: ClientId) -> BoxFuture<'_, Result<Option<Consent>, StoreFault>>;
    /// All that a user has consented to, given last first.
    fn all(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Consent>, StoreFault>>;
}

/// What a user lets a client do for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Which client.
    pub client: ClientId,
    /// For what.
    pub scope: Scope,
    /// At which resource servers besides our own endpoints.
    pub resources: Vec<AbsoluteUri>,
    /// The number of its fence ([`crate::effects::Key::Consent`]).
    pub fence: i64,
    /// When it was last given; `None`: it was taken back since.
    pub given_at: Option<Timestamp>,
}

impl Consent {
    /// Whether it is for all of an access.
    pub fn covers(&self, access: &Access) -> bool {
        self.given_at.is_some()
            && access.scope.is_within(&self.scope)
            && access.resource.iter().all(|resource| self.resources.contains(resource))
    }
}
