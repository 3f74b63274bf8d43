//! Tokens are shown to us: introspection (RFC 7662), revocation (RFC 7009), userinfo (OpenID Connect Core section 5.3).

use cairn_runtime::{Fault, FlowId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::{Caller, Refusal};
use super::{ClientRefusal, Principal, Provider, ShownCredentials};
use crate::flows::authorization::{Authorization, Command};
use crate::oauth::access_token::AccessClaims;
use crate::oauth::claims;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::{OPENID, Scope};
use crate::secrets::credential::{Presented, of};
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// What is told of a token (RFC 7662 section 2.2).
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    /// Whether it is good. All else is said only where it is.
    pub active: bool,
    /// For what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Through which client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The username of whom it is about, else their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `Bearer` for access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// Until when, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Since when, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// For whom it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<Value>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Its own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

impl Introspection {
    fn of(claims: AccessClaims, username: Option<String>) -> Self {
        Self {
            active: true,
            scope: Some(claims.scope),
            client_id: Some(claims.client_id),
            username,
            token_type: Some("Bearer"),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            sub: Some(claims.sub),
            aud: Some(claims.aud),
            iss: Some(claims.iss),
            jti: Some(claims.jti),
        }
    }
}

/// Whether a client may be told of a token: of its own, of one that is for it, of any where its registration says so.
fn may_know(client: &Client, claims: &AccessClaims) -> bool {
    client.metadata.may_introspect
        || claims.client_id == client.client_id
        || claims.is_for(&client.client_id)
        || client.metadata.resources.iter().any(|uri| claims.is_for(uri.as_str()))
}

impl Provider<'_> {
    /// What a token is worth, for a client that may know.
    ///
    /// # Errors
    /// As the protocol says (RFC 7662 section 2.3).
    pub async fn introspect(
        &self,
        shown: ShownCredentials,
        parameters: &Parameters,
    ) -> Result<Introspection, ClientRefusal> {
        let client = self.confidential(shown, parameters).await?;
        let token = parameters.needed("token")?;
        if let Ok(refresh) = Presented::parse(&self.engine.environment().ring, of::RefreshToken, token) {
            return Ok(self.introspect_refresh(&client, &refresh).await?);
        }
        let told = match self.principal(token).await {
            Ok(Principal::Grant(grant)) if may_know(&client, &grant.claims) => {
                let username = grant.user.username.as_ref().map(ToString::to_string);
                let username = username.unwrap_or_else(|| grant.user.address.typed().to_owned());
                Introspection::of(grant.claims, Some(username))
            }
            Ok(Principal::Client(own)) if may_know(&client, &own.claims) => Introspection::of(own.claims, None),
            // A person's own session is nobody's but theirs.
            Ok(_) | Err(Refusal::SessionEnded) => Introspection::default(),
            Err(other) => return Err(other.into()),
        };
        Ok(told)
    }

    /// A refresh token is told of to its own client only.
    async fn introspect_refresh(
        &self,
        client: &Client,
        token: &Presented<of::RefreshToken>,
    ) -> Result<Introspection, Refusal> {
        let flow = FlowId::from_bytes(token.flow());
        let Some((active, user)) = self.living_grant(flow).await? else { return Ok(Introspection::default()) };
        let environment = self.engine.environment();
        let good = active.grant.client == client.id
            && token.is_genuine(&environment.ring, &active.grant.issue.salt)
            && token.generation() == active.grant.issue.n;
        if !good {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            scope: Some(active.grant.access.scope.to_string()),
            client_id: Some(client.client_id.clone()),
            exp: Some(active.grant.expires_at.seconds()),
            sub: Some(user.id.text()),
            iss: Some(environment.settings.public_url.clone()),
            ..Introspection::default()
        })
    }

    /// A client gives a token back: what it belongs to ends. A token that is not, or no longer, good, and another
    /// client's, end nothing and are told the same (RFC 7009 section 2.2).
    ///
    /// # Errors
    /// As the protocol says.
    pub async fn revoke(
        &self,
        caller: &Caller,
        shown: ShownCredentials,
        parameters: &Parameters,
    ) -> Result<(), ClientRefusal> {
        let client = self.authenticated(shown, parameters).await?;
        let token = parameters.needed("token")?;
        let (flow, command) = match Presented::parse(&self.engine.environment().ring, of::RefreshToken, token) {
            Ok(token) => (FlowId::from_bytes(token.flow()), Command::Revoke { token, client: client.id }),
            Err(_) => match self.principal(token).await {
                Ok(Principal::Grant(grant)) if grant.active.grant.client == client.id => (grant.flow, Command::Leave),
                Ok(_) | Err(Refusal::SessionEnded) => return Ok(()),
                Err(other) => return Err(other.into()),
            },
        };
        match self.engine.call::<Authorization>(flow, self.engine.asker(&caller.trace), command).await {
            Ok(_) | Err(Fault::NotFound | Fault::Ended | Fault::Quarantined) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Claims about a person as a JWT for a client (OpenID Connect Core section 5.3.2).
    ///
    /// # Errors
    /// No key can be had.
    pub async fn signed_userinfo(
        &self,
        algorithm: SigningAlgorithm,
        client_id: &str,
        mut claims: Map<String, Value>,
    ) -> Result<String, Refusal> {
        claims.insert("iss".to_owned(), json!(self.engine.environment().settings.public_url));
        claims.insert("aud".to_owned(), json!(client_id));
        self.signed(algorithm, "JWT", &claims).await
    }

    /// What an access token lets its bearer know of whom it is about.
    ///
    /// # Errors
    /// `invalid_token` and `insufficient_scope` (RFC 6750 section 3.1).
    pub async fn userinfo(&self, token: &str) -> Result<(Map<String, Value>, Option<Client>), ClientRefusal> {
        let invalid = || OAuthError::new(ErrorCode::InvalidToken, "The access token is not, or no longer, good.");
        let principal = match self.principal(token).await {
            Err(Refusal::SessionEnded) => return Err(invalid().into()),
            other => other?,
        };
        match principal {
            Principal::Session(who) => {
                let scope = Scope::from_iter([OPENID, "profile", "email"]);
                Ok((claims::of(&who.user, &scope, &[]), None))
            }
            Principal::Grant(grant) => {
                let own = self.engine.environment().settings.public_url.clone();
                if !grant.claims.is_for(&own) && !grant.active.grant.access.resource.is_empty() {
                    return Err(invalid().into());
                }
                let scope = grant.claims.scope();
                if !scope.has(OPENID) {
                    let what = "The access token is not for userinfo: openid was not granted.";
                    return Err(OAuthError::new(ErrorCode::InsufficientScope, what).into());
                }
                let client = self.directory.clients.by_id(ClientId::of(&grant.claims.client_id)).await?;
                Ok((claims::of(&grant.user, &scope, &grant.active.grant.way.claims().userinfo), client))
            }
            Principal::Client(_) => Err(invalid().into()),
        }
    }
}
