//! Client metadata (RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2) with our own members. Members
//! that are not known are ignored, as the RFCs say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::flows::authorization::Policy;
use crate::oauth::scope::Scope;
use crate::oauth::uri::AbsoluteUri;
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// How a client shows at the token endpoint that it is the one it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Not at all: a public client.
    None,
    /// By its secret in `Authorization` (RFC 6749 section 2.3.1).
    #[default]
    ClientSecretBasic,
    /// By its secret in the body.
    ClientSecretPost,
    /// By an assertion that it has signed (RFC 7523).
    PrivateKeyJwt,
}

impl Authentication {
    /// Whether it takes a secret.
    pub const fn is_by_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// A way to tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// RFC 6749 section 6.
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// RFC 6749 section 4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8628.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 8693.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// What the authorization endpoint answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseType {
    /// A code (RFC 6749 section 4.1.1).
    Code,
}

/// Whether authorization requests need a code challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// Each needs one.
    #[default]
    Required,
    /// It may be left out. For confidential clients only.
    Optional,
}

/// What access tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessTokenFormat {
    /// JWTs (RFC 9068).
    #[default]
    Jwt,
    /// Texts that only introspection tells the meaning of.
    Opaque,
}

/// What a client may have by token exchange (RFC 8693).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exchange {
    /// For which audiences.
    pub audiences: Vec<AbsoluteUri>,
    /// Whether in somebody's stead without being named.
    pub impersonate: bool,
    /// Whether in somebody's stead, named as `act`.
    pub delegate: bool,
}

/// What is registered of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Where browsers may be sent back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<AbsoluteUri>,
    /// How it authenticates.
    #[serde(default)]
    pub token_endpoint_auth_method: Authentication,
    /// Which grant types it may use.
    #[serde(default = "code_only")]
    pub grant_types: BTreeSet<GrantType>,
    /// Which response types it may ask for.
    #[serde(default = "code_response")]
    pub response_types: BTreeSet<ResponseType>,
    /// Its name, as people are shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<AbsoluteUri>,
    /// Its logo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<AbsoluteUri>,
    /// The scopes that it may be granted: every one of ours where nothing is said.
    #[serde(default = "usual_scope")]
    pub scope: Scope,
    /// Those that it is granted where a request names none; empty: `openid`, where it may have that.
    #[serde(default)]
    pub default_scope: Scope,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Its terms of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<AbsoluteUri>,
    /// Its privacy policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<AbsoluteUri>,
    /// Where its public keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<AbsoluteUri>,
    /// Its public keys themselves (RFC 7517 section 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    /// By which algorithm its ID tokens are signed.
    #[serde(default = "rs256")]
    pub id_token_signed_response_alg: SigningAlgorithm,
    /// By which algorithm answers of userinfo are signed; `None`: they are plain JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<SigningAlgorithm>,
    /// How long ago a sign-in may be, in seconds, where a request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u64>,
    /// Where browsers may be sent to after a sign-out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<AbsoluteUri>,
    /// Where it is told of a sign-out, server to server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<AbsoluteUri>,
    /// Whether it must be told the session (`sid`) there.
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// Where it is told of a sign-out, in a frame of the signed-out page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontchannel_logout_uri: Option<AbsoluteUri>,
    /// It is the operator's own: nobody is asked for consent.
    #[serde(default)]
    pub first_party: bool,
    /// Whether its requests need a code challenge.
    #[serde(default)]
    pub pkce: Pkce,
    /// What becomes of its refresh tokens; `None`: `stable` for confidential clients, `rotate` for public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Policy>,
    /// What its access tokens are.
    #[serde(default)]
    pub access_token: AccessTokenFormat,
    /// How long its access tokens are good at most, in seconds; `None`: as `CAIRN_ACCESS_TTL` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ttl: Option<u64>,
    /// Whether it may introspect any token, not only its own and those that are for it.
    #[serde(default)]
    pub may_introspect: bool,
    /// What it may have by token exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    /// Which resources its tokens may be for (RFC 8707); the first is the one where a request names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<AbsoluteUri>,
}

/// Metadata that no client can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {detail}")]
pub struct InvalidMetadata {
    /// The member.
    pub member: &'static str,
    /// What to do.
    pub detail: String,
}

fn code_only() -> BTreeSet<GrantType> {
    BTreeSet::from([GrantType::AuthorizationCode])
}

fn code_response() -> BTreeSet<ResponseType> {
    BTreeSet::from([ResponseType::Code])
}

fn usual_scope() -> Scope {
    Scope::usual()
}

const fn rs256() -> SigningAlgorithm {
    SigningAlgorithm::Rs256
}
