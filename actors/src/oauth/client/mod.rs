//! Clients: what asks for access, in somebody's stead or its own (RFC 6749 section 2).

mod metadata;
mod parse;
mod redirect;
mod secret;

use cairn_runtime::{Id, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};

pub use self::metadata::{
    AccessTokenFormat, Authentication, Exchange, GrantType, InvalidMetadata, Metadata, Pkce, ResponseType,
};
pub use self::redirect::is_registered;
pub use self::secret::{ClientSecret, StoredSecret};
use super::scope::Scope;
use super::uri::AbsoluteUri;
use crate::effects::StoredClient;
use crate::environment::Environment;
use crate::flows::authorization::Policy;

/// Names one client within Cairn; `cli_…` in text. It is made from the `client_id` of the protocol, which may be any text,
/// for instance a URL, and which is what the client itself knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub Id);

impl ClientId {
    /// The prefix of its text.
    pub const PREFIX: &'static str = "cli";

    /// Of the `client_id` of the protocol: the first half of its SHA-256. No two are alike: to find one that is like
    /// another takes some 2¹²⁸ tries.
    pub fn of(client_id: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, client_id.as_bytes());
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Self(Id::from_bytes(bytes))
    }

    /// Its text.
    pub fn text(self) -> String {
        self.0.text(Self::PREFIX)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(Self::PREFIX, text).map(Self)
    }
}

/// Who has registered a client, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An administrator, by the command line or the interface.
    Administrator,
    /// The settings file (`[[client]]`).
    Settings,
    /// The client itself (RFC 7591).
    Registration,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Names it within Cairn.
    pub id: ClientId,
    /// Its `client_id` in the protocol.
    pub client_id: String,
    /// What is registered of it.
    pub metadata: Metadata,
    /// Its secrets that are good, by their keyed hashes: two while one is rotated.
    pub secrets: Vec<StoredSecret>,
    /// Who has registered it.
    pub origin: Origin,
    /// The number of its fence ([`crate::effects::Key::Client`]): raised where what it was granted is over.
    pub fence: i64,
    /// The number of its registration: what `If-Match` holds against.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its registration last changed.
    pub updated_at: Timestamp,
}

impl Client {
    /// A client as its row says, with the number of its fence.
    pub fn of(stored: StoredClient, fence: i64) -> Self {
        let StoredClient { client_id, metadata, secrets, origin, version, created_at, updated_at } = stored;
        let id = ClientId::of(&client_id);
        Self { id, client_id, metadata, secrets, origin, fence, version, created_at, updated_at }
    }

    /// Its row.
    pub fn stored(&self) -> StoredClient {
        StoredClient {
            client_id: self.client_id.clone(),
            metadata: self.metadata.clone(),
            secrets: self.secrets.clone(),
            origin: self.origin,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// Whether it can keep a secret (RFC 6749 section 2.1): it authenticates in some way.
    pub fn is_confidential(&self) -> bool {
        self.metadata.token_endpoint_auth_method != Authentication::None
    }

    /// Whether it authenticates by a secret.
    pub fn has_a_secret(&self) -> bool {
        self.metadata.token_endpoint_auth_method.is_by_secret()
    }

    /// Whether a grant type is registered.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant)
    }

    /// Whether a redirect URI is one of those that are registered: see [`is_registered`].
    pub fn has_redirect_uri(&self, uri: &AbsoluteUri) -> bool {
        is_registered(uri, &self.metadata.redirect_uris, !self.is_confidential())
    }

    /// Whether an authorization request must have a code challenge (RFC 7636).
    pub fn needs_pkce(&self) -> bool {
        !self.is_confidential() || self.metadata.pkce == Pkce::Required
    }

    /// What becomes of its refresh tokens when they are used. Those of a client that proves nothing about itself rotate,
    /// whatever is registered.
    pub fn refresh_policy(&self) -> Policy {
        match self.metadata.refresh {
            _ if !self.is_confidential() => Policy::Rotate,
            Some(policy) => policy,
            None => Policy::Stable,
        }
    }

    /// The words of a scope that it may be granted.
    pub fn admitted(&self, asked: &Scope) -> Scope {
        asked.and(&self.metadata.scope)
    }

    /// Whether a secret is one of those that are good at an instant, in constant time for each.
    pub fn has_secret(&self, secret: &ClientSecret, environment: &Environment, now: Timestamp) -> bool {
        let digest = secret.digest(environment);
        self.secrets.iter().filter(|stored| stored.is_good(now)).fold(false, |found, stored| found | stored.is(&digest))
    }

    /// What people are shown as its name.
    pub fn name(&self) -> &str {
        self.metadata.client_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.client_id)
    }
}
