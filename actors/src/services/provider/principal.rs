//! Who an access token stands for: a person's own session, what a person granted to a client, or a client itself.

use base64ct::{Base64UrlUnpadded, Encoding};
use cairn_runtime::{Fault, Flow, FlowId, Id};
use serde::Deserialize;

use super::super::Refusal;
use super::super::session::{OWN_CLIENT, SignedIn};
use super::Provider;
use super::issue::{OPAQUE, SEALED_AS};
use crate::directory::{InSession, User};
use crate::flows::authorization::{Active, Authorization};
use crate::identity::user_id::UserId;
use crate::oauth::access_token::{AccessClaims, said_audience};
use crate::oauth::client::{Client, ClientId};
use crate::secrets::signing::{ACCESS_TOKEN, TokenError};

/// Who an access token stands for.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A person, in a session of their own.
    Session(Box<SignedIn>),
    /// A client that acts for a person.
    Grant(Box<GrantAccess>),
    /// A client in its own name.
    Client(Box<ClientAccess>),
}

/// A client in its own name.
#[derive(Clone, Debug)]
pub struct ClientAccess {
    /// Which.
    pub client: Client,
    /// What its token says.
    pub claims: AccessClaims,
}

/// A client that acts for a person.
#[derive(Clone, Debug)]
pub struct GrantAccess {
    /// For whom.
    pub user: User,
    /// By which authorization.
    pub flow: FlowId,
    /// The authorization as it stands.
    pub active: Active,
    /// What the token says.
    pub claims: AccessClaims,
}

impl Provider<'_> {
    /// Who an access token stands for: it is one of ours, its time is not over, and nothing that it rests on has ended.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] when any of that is not so.
    pub async fn principal(&self, token: &str) -> Result<Principal, Refusal> {
        let claims = self.access_claims(token).await?.ok_or(Refusal::SessionEnded)?;
        if claims.client_id == OWN_CLIENT {
            return Ok(Principal::Session(Box::new(self.signed_in(token).await?)));
        }
        match &claims.grant_id {
            Some(flow) => {
                let flow = Id::parse(Authorization::PREFIX, flow).map(FlowId).ok_or(Refusal::SessionEnded)?;
                let (active, user) = self.living_grant(flow).await?.ok_or(Refusal::SessionEnded)?;
                if UserId::parse(&claims.sub) != Some(user.id) {
                    return Err(Refusal::SessionEnded);
                }
                Ok(Principal::Grant(Box::new(GrantAccess { user, flow, active, claims })))
            }
            None => {
                let client = self.directory.clients.by_id(ClientId::of(&claims.client_id)).await?;
                let client = client.filter(|client| client.created_at.seconds() <= claims.iat);
                let client = client.ok_or(Refusal::SessionEnded)?;
                Ok(Principal::Client(Box::new(ClientAccess { client, claims })))
            }
        }
    }

    /// An authorization with its user, if its client has tokens and no fence of it has moved.
    pub(super) async fn living_grant(&self, flow: FlowId) -> Result<Option<(Active, User)>, Refusal> {
        let Some(InSession { user, session: row }) = self.directory.sessions.with_user(flow).await? else {
            return Ok(None);
        };
        let seen = match self.engine.read::<Authorization>(row) {
            Ok(seen) => seen,
            Err(Fault::NotFound | Fault::Ended | Fault::Quarantined) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let Authorization::Active(active) = seen.state else { return Ok(None) };
        let (keys, numbers): (Vec<_>, Vec<_>) = active.fences().into_iter().unzip();
        let present = self.directory.fences.numbers(&keys).await?;
        let stands = present.iter().zip(&numbers).all(|(present, number)| *present == Some(*number));
        Ok((stands && active.who.user == user.id).then_some((*active, user)))
    }

    /// What an access token says, if it is one of ours and its time is not over.
    async fn access_claims(&self, token: &str) -> Result<Option<AccessClaims>, Refusal> {
        if let Some(sealed) = token.strip_prefix(OPAQUE) {
            return Ok(self.unsealed(sealed));
        }
        // For whom it is, it says itself: whether that is right is asked where it is used.
        let Some(audience) = said_audience(token) else { return Ok(None) };
        let verify = || {
            let (environment, now) = (self.engine.environment(), self.engine.now().seconds());
            environment.signing.verify(token, ACCESS_TOKEN, &environment.settings.public_url, &audience, now)
        };
        let verified = match verify() {
            Err(TokenError::UnknownKey) if self.reread_for_unknown_key().await? => verify(),
            verified => verified,
        };
        Ok(verified.ok())
    }

    /// What an access token says that is no JWT.
    fn unsealed(&self, sealed: &str) -> Option<AccessClaims> {
        let environment = self.engine.environment();
        let sealed = Base64UrlUnpadded::decode_vec(sealed).ok()?;
        let plain = environment.ring.open(SEALED_AS, b"", &sealed).ok()?;
        let claims = AccessClaims::read(&plain)?;
        let is_good = claims.iss == environment.settings.public_url && claims.exp > self.engine.now().seconds();
        is_good.then_some(claims)
    }

    /// The subject of an ID token that a client shows again (`id_token_hint`), however old it is.
    pub(super) fn subject_of_hint(&self, hint: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Hint {
            sub: String,
        }
        let environment = self.engine.environment();
        let audience = said_audience(hint)?;
        let said: Hint =
            environment.signing.verify(hint, "JWT", &environment.settings.public_url, &audience, 0).ok()?;
        Some(said.sub)
    }
}

impl Provider<'_> {
    /// The client for which an ID token was issued that it shows again (`id_token_hint`), however old it is.
    pub fn audience_of_hint(&self, hint: &str) -> Option<String> {
        self.subject_of_hint(hint)?;
        said_audience(hint)
    }
}
