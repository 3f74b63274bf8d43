//! Tokens are made: access tokens (RFC 9068, or texts that only introspection tells the meaning of), ID tokens (OpenID
//! Connect Core section 2), and the answer that carries them (RFC 6749 section 5.1).

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use cairn_runtime::{Fault, FlowId, Id, Timestamp};
use ring::digest;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::{Refusal, first};
use super::Provider;
use crate::flows::authorization::Tokens;
use crate::flows::session::Session;
use crate::oauth::access::Access;
use crate::oauth::access_token::AccessClaims;
use crate::oauth::claims;
use crate::oauth::client::{AccessTokenFormat, Client, GrantType};
use crate::oauth::scope::OPENID;
use crate::secrets::credential::{self, Purpose};
use crate::secrets::signing::ACCESS_TOKEN;
use crate::secrets::signing_algorithm::SigningAlgorithm;
use cairn_runtime::Flow as _;

/// How long an ID token is good.
const ID_TOKEN_LIFE: Duration = Duration::from_secs(600);
/// What an access token begins with that is no JWT.
pub(super) const OPAQUE: &str = "cairn_at_";
/// Under which label those are sealed.
pub(super) const SEALED_AS: &str = "access token";

/// The answer of the token endpoint (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    pub expires_in: i64,
    /// The refresh token, for clients that may use one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The ID token, where `openid` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// For what the access token is good.
    pub scope: String,
}

pub(super) fn defect(what: &str) -> Refusal {
    Refusal::Fault(Fault::Defect(what.to_owned()))
}

/// Seconds that are left, rounded up: a token that was made a moment ago lasts as long as the setting says.
fn seconds_left(until: Timestamp, now: Timestamp) -> i64 {
    until.0.saturating_sub(now.0).max(0).saturating_add(999) / 1_000
}

impl Provider<'_> {
    /// Whom a token is for: its resources, else the issuer.
    fn audience(&self, access: &Access) -> Value {
        match access.resource.as_slice() {
            [] => json!(self.engine.environment().settings.public_url),
            [one] => json!(one.as_str()),
            several => json!(several.iter().map(|uri| uri.as_str()).collect::<Vec<_>>()),
        }
    }

    fn access_token(&self, client: &Client, kid: &str, claims: &AccessClaims) -> Result<String, Refusal> {
        let environment = self.engine.environment();
        match client.metadata.access_token {
            AccessTokenFormat::Jwt => environment
                .signing
                .sign_with(kid, self.engine.now(), ACCESS_TOKEN, claims)
                .map_err(|why| defect(&format!("an access token could not be signed: {why}"))),
            AccessTokenFormat::Opaque => {
                let plain = serde_json::to_vec(claims).map_err(|why| defect(&format!("an access token: {why}")))?;
                // The same claims are the same text, so that a repeat gets the very token from before.
                let nonce = environment.digest("access token nonce", &plain).0;
                let sealed = environment.seal(SEALED_AS, b"", &plain, nonce);
                Ok(format!("{OPAQUE}{}", Base64UrlUnpadded::encode_string(&sealed)))
            }
        }
    }

    /// The tokens of an authorization.
    pub(super) async fn granted(
        &self,
        client: &Client,
        flow: FlowId,
        tokens: &Tokens,
    ) -> Result<TokenResponse, Refusal> {
        let environment = self.engine.environment();
        let user = self.directory.users.by_id(tokens.user).await?.ok_or(Refusal::SessionEnded)?;
        let minted = &tokens.minted;
        let of = [flow.bytes().as_slice(), &minted.generation.to_be_bytes()].concat();
        let (iss, sid) = (environment.settings.public_url.clone(), tokens.session.text(Session::PREFIX));
        let claims = AccessClaims {
            iss: iss.clone(),
            sub: user.id.text(),
            aud: self.audience(&tokens.access),
            client_id: client.client_id.clone(),
            iat: minted.at.seconds(),
            exp: minted.until.seconds(),
            jti: Id::from_bytes(first(&environment.digest("jti", &of).0)).crockford(),
            scope: tokens.access.scope.to_string(),
            grant_id: Some(Self::text(flow)),
            sid: Some(sid.clone()),
            auth_time: Some(tokens.auth_time.seconds()),
        };
        let access_token = self.access_token(client, &minted.key, &claims)?;
        let refresh_token = if client.may_use(GrantType::RefreshToken) {
            let token = credential::render(&environment.ring, Purpose::RefreshToken, *flow.bytes(), &tokens.issue);
            Some(token.ok_or_else(|| defect("the ring has lost the key of a refresh token"))?.expose().to_owned())
        } else {
            None
        };
        let id_token = if tokens.access.scope.has(OPENID) {
            let algorithm = client.metadata.id_token_signed_response_alg;
            let mut told = claims::of(&user, &tokens.access.scope, &tokens.claims.id_token);
            let own = json!({
                "iss": iss,
                "sub": user.id.text(),
                "aud": client.client_id,
                "iat": minted.at.seconds(),
                "exp": minted.at.after(ID_TOKEN_LIFE).seconds(),
                "auth_time": tokens.auth_time.seconds(),
                "amr": tokens.amr,
                "sid": sid,
                "at_hash": at_hash(algorithm, &access_token),
            });
            told.extend(own.as_object().cloned().unwrap_or_default());
            if let Some(nonce) = &tokens.nonce {
                told.insert("nonce".to_owned(), json!(nonce));
            }
            Some(self.signed(algorithm, "JWT", &told).await?)
        } else {
            None
        };
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: seconds_left(minted.until, self.engine.now()),
            refresh_token,
            id_token,
            scope: tokens.access.scope.to_string(),
        })
    }

    /// A token of a client in its own name (RFC 6749 section 4.4.3). Nothing is written.
    pub(super) async fn own(&self, client: &Client, access: &Access) -> Result<TokenResponse, Refusal> {
        let (environment, now) = (self.engine.environment(), self.engine.now());
        let usual = environment.settings.access_ttl;
        let life = client.metadata.access_token_ttl.map_or(usual, |most| usual.min(Duration::from_secs(most)));
        let until = now.after(life);
        let claims = AccessClaims {
            iss: environment.settings.public_url.clone(),
            sub: client.client_id.clone(),
            aud: self.audience(access),
            client_id: client.client_id.clone(),
            iat: now.seconds(),
            exp: until.seconds(),
            jti: Id::from_bytes(first(&self.engine.seed())).crockford(),
            scope: access.scope.to_string(),
            grant_id: None,
            sid: None,
            auth_time: None,
        };
        let kid = self.signing_key(SigningAlgorithm::Es256).await?;
        Ok(TokenResponse {
            access_token: self.access_token(client, &kid, &claims)?,
            token_type: "Bearer",
            expires_in: seconds_left(until, now),
            refresh_token: None,
            id_token: None,
            scope: access.scope.to_string(),
        })
    }

    /// Claims as a JWT.
    pub(super) async fn signed(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &Map<String, Value>,
    ) -> Result<String, Refusal> {
        let kid = self.signing_key(algorithm).await?;
        let signed = self.engine.environment().signing.sign_with(&kid, self.engine.now(), typ, claims);
        signed.map_err(|why| defect(&format!("a token could not be signed: {why}")))
    }
}

/// OpenID Connect Core section 3.1.3.6: the left half of the hash that belongs to the algorithm.
fn at_hash(algorithm: SigningAlgorithm, access_token: &str) -> String {
    let hash = match algorithm {
        SigningAlgorithm::EdDsa => &digest::SHA512,
        SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => &digest::SHA256,
    };
    let hash = digest::digest(hash, access_token.as_bytes());
    let half = hash.as_ref().len() / 2;
    Base64UrlUnpadded::encode_string(hash.as_ref().get(..half).unwrap_or_default())
}
