//! The token endpoint (RFC 6749 section 3.2): a client redeems a code, goes on with a refresh token, or asks in its own
//! name.

use cairn_runtime::{Fault, FlowId};

use super::super::Caller;
use super::{ClientRefusal, Provider, ShownCredentials, TokenResponse, unauthorized};
use crate::flows::authorization::{Authorization, Command, Exchange, Outcome};
use crate::oauth::access::{Access, TooWide, Wish};
use crate::oauth::client::{Client, GrantType};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::pkce::Verifier;
use crate::oauth::scope::{Scope, USUAL};
use crate::oauth::uri::AbsoluteUri;
use crate::secrets::credential::{Presented, of};

impl Provider<'_> {
    /// Answers a request for tokens.
    ///
    /// # Errors
    /// As the protocol says (RFC 6749 section 5.2), the client first.
    pub async fn token(
        &self,
        caller: &Caller,
        shown: ShownCredentials,
        parameters: &Parameters,
    ) -> Result<TokenResponse, ClientRefusal> {
        let client = self.authenticated(shown, parameters).await?;
        if parameters.doubled().is_some() {
            return Err(OAuthError::invalid_request("Send each parameter once.").into());
        }
        match parameters.needed("grant_type")? {
            "authorization_code" => self.redeem(caller, &client, parameters).await,
            "refresh_token" => self.refresh_grant(caller, &client, parameters).await,
            "client_credentials" => self.in_its_own_name(&client, parameters).await,
            _ => Err(OAuthError::new(ErrorCode::UnsupportedGrantType, "This grant type is not known here.").into()),
        }
    }

    /// RFC 6749 section 4.1.3.
    async fn redeem(
        &self,
        caller: &Caller,
        client: &Client,
        parameters: &Parameters,
    ) -> Result<TokenResponse, ClientRefusal> {
        if !client.may_use(GrantType::AuthorizationCode) {
            return Err(unauthorized("The client is not registered for codes.").into());
        }
        let code = parameters.needed("code")?;
        let verifier = match parameters.one("code_verifier")? {
            Some(text) => Some(Verifier::parse(text.to_owned()).map_err(|_| OAuthError::invalid_grant())?),
            None => None,
        };
        let redirect_uri = match parameters.one("redirect_uri")? {
            Some(text) => Some(AbsoluteUri::parse(text).map_err(|_| OAuthError::invalid_grant())?),
            None => None,
        };
        let wish = Wish { scope: None, resource: resources(parameters)? };
        let ring = &self.engine.environment().ring;
        let code = Presented::parse(ring, of::AuthorizationCode, code).map_err(|_| OAuthError::invalid_grant())?;
        let flow = FlowId::from_bytes(code.flow());
        let exchange = Exchange { code, client: client.id, verifier, redirect_uri, wish };
        self.tokens_of(caller, client, flow, Command::Exchange(exchange)).await
    }

    /// RFC 6749 section 6.
    async fn refresh_grant(
        &self,
        caller: &Caller,
        client: &Client,
        parameters: &Parameters,
    ) -> Result<TokenResponse, ClientRefusal> {
        if !client.may_use(GrantType::RefreshToken) {
            return Err(unauthorized("The client is not registered for refresh tokens.").into());
        }
        let token = parameters.needed("refresh_token")?;
        let wish = Wish { scope: scope(parameters)?, resource: resources(parameters)? };
        let ring = &self.engine.environment().ring;
        let token = Presented::parse(ring, of::RefreshToken, token).map_err(|_| OAuthError::invalid_grant())?;
        let flow = FlowId::from_bytes(token.flow());
        self.tokens_of(caller, client, flow, Command::Refresh { token, client: client.id, wish }).await
    }

    /// RFC 6749 section 4.4.
    async fn in_its_own_name(&self, client: &Client, parameters: &Parameters) -> Result<TokenResponse, ClientRefusal> {
        if !client.may_use(GrantType::ClientCredentials) || !client.is_confidential() {
            return Err(unauthorized("The client is not registered for client_credentials.").into());
        }
        // What OpenID Connect has words for is about a person, and there is none.
        let may = USUAL.iter().fold(client.metadata.scope.clone(), |scope, word| scope.without(word));
        let scope = match scope(parameters)? {
            Some(asked) if asked.is_within(&may) => asked,
            Some(_) => {
                return Err(
                    OAuthError::new(ErrorCode::InvalidScope, "The client may not have all of these scopes.").into()
                );
            }
            None => client.metadata.default_scope.and(&may),
        };
        let mut resource = resources(parameters)?;
        if !resource.iter().all(|uri| client.metadata.resources.contains(uri)) {
            return Err(too_wide(TooWide::Resource).into());
        }
        if resource.is_empty() {
            resource.extend(client.metadata.resources.first().cloned());
        }
        Ok(self.own(client, &Access { scope, resource }).await?)
    }

    async fn tokens_of(
        &self,
        caller: &Caller,
        client: &Client,
        flow: FlowId,
        command: Command,
    ) -> Result<TokenResponse, ClientRefusal> {
        let asker = self.engine.asker(&caller.trace);
        let reply = match self.engine.call::<Authorization>(flow, asker, command).await {
            Ok(reply) => reply,
            Err(Fault::NotFound | Fault::Ended | Fault::Quarantined) => return Err(OAuthError::invalid_grant().into()),
            Err(other) => return Err(other.into()),
        };
        match reply.outcome {
            Outcome::Tokens(tokens) => Ok(self.granted(client, reply.flow, &tokens).await?),
            Outcome::TooWide(how) => Err(too_wide(how).into()),
            _ => Err(OAuthError::invalid_grant().into()),
        }
    }
}

fn too_wide(how: TooWide) -> OAuthError {
    match how {
        TooWide::Scope => OAuthError::new(ErrorCode::InvalidScope, "More was asked for than was granted."),
        TooWide::Resource => {
            OAuthError::new(ErrorCode::InvalidTarget, "A resource was asked for that was not granted.")
        }
    }
}

fn scope(parameters: &Parameters) -> Result<Option<Scope>, OAuthError> {
    let bad = |_| OAuthError::new(ErrorCode::InvalidScope, "The scope is words with one space between two.");
    parameters.one("scope")?.map(|text| Scope::parse(text).map_err(bad)).transpose()
}

fn resources(parameters: &Parameters) -> Result<Vec<AbsoluteUri>, OAuthError> {
    let parsed = parameters.resources().map(|text| AbsoluteUri::parse(text).map_err(|_| too_wide(TooWide::Resource)));
    parsed.collect()
}
