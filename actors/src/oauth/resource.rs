//! Resources: the services that access tokens are for (RFC 8707).

use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Origin;
use super::scope::Scope;
use super::uri::AbsoluteUri;

/// A registered resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its URI: what requests name as `resource`, and tokens as `aud`.
    pub uri: AbsoluteUri,
    /// The scopes that tokens for it may have.
    pub scope: Scope,
    /// Its name, as people are shown it.
    pub name: Option<String>,
    /// How long access tokens for it are good at most, in seconds; `None`: as the client and `CAIRN_ACCESS_TTL` say.
    pub access_token_ttl: Option<u64>,
    /// Who has registered it.
    pub origin: Origin,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its registration last changed.
    pub updated_at: Timestamp,
}
