//! What access tokens say (RFC 9068 section 2.2), and what can be read of a token before it is verified.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scope::Scope;

/// What an access token says (RFC 9068 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it: the public URL.
    pub iss: String,
    /// The user, or the client itself.
    pub sub: String,
    /// For which resource servers; a text where it is one.
    pub aud: Value,
    /// Through which client.
    pub client_id: String,
    /// Since when, in Unix seconds.
    pub iat: i64,
    /// Until when, in Unix seconds.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
    /// For what.
    #[serde(default)]
    pub scope: String,
    /// The authorization that it belongs to, `aut_…`; `None`: the client asked in its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// The session in which it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// When the person last proved who they are, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

impl AccessClaims {
    /// Whether it is for an audience.
    pub fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Value::String(one) => one == audience,
            Value::Array(several) => several.iter().any(|one| one == audience),
            _ => false,
        }
    }

    /// Reads claims that were written as JSON.
    pub fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Its scope as a set.
    pub fn scope(&self) -> Scope {
        Scope::parse(&self.scope).unwrap_or_default()
    }
}

/// The audience that a JWT says, the first of several. Nothing of it is verified.
pub fn said_audience(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let payload: Value = serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).ok()?).ok()?;
    match payload.get("aud")? {
        Value::String(one) => Some(one.clone()),
        Value::Array(several) => several.first()?.as_str().map(str::to_owned),
        _ => None,
    }
}
