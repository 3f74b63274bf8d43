//! Clients show that they are the ones they name (RFC 6749 section 2.3), before anything else of a request is looked at.

use super::{ClientRefusal, Provider};
use crate::oauth::client::{Authentication, Client, ClientSecret};
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;

/// What a client shows of itself beside its request.
#[derive(Debug, Default)]
pub struct ShownCredentials {
    /// `client_id` and secret of the header `Authorization: Basic`, decoded.
    pub basic: Option<(String, String)>,
}

impl Provider<'_> {
    /// The client that sends a request. One that is not known, one whose secret is wrong and one that shows none are
    /// refused alike.
    ///
    /// # Errors
    /// `invalid_client`; `invalid_request` where it shows itself in two ways.
    pub async fn authenticated(
        &self,
        shown: ShownCredentials,
        parameters: &Parameters,
    ) -> Result<Client, ClientRefusal> {
        let named = parameters.one("client_id")?;
        let posted = parameters.one("client_secret")?;
        let (client_id, secret) = match (shown.basic, posted) {
            (Some(_), Some(_)) => {
                return Err(OAuthError::invalid_request("Authenticate in one way, not in two.").into());
            }
            (Some((id, _)), None) if named.is_some_and(|named| named != id) => {
                return Err(
                    OAuthError::invalid_request("The client_id is another than the one that authenticates.").into()
                );
            }
            (Some((id, secret)), None) => (id, Some(secret)),
            (None, posted) => {
                let id = named.ok_or_else(OAuthError::invalid_client)?;
                (id.to_owned(), posted.map(str::to_owned))
            }
        };
        let client = self.client(&client_id).await?.ok_or_else(OAuthError::invalid_client)?;
        self.check_secret(client, secret)
    }

    fn check_secret(&self, client: Client, secret: Option<String>) -> Result<Client, ClientRefusal> {
        let (environment, now) = (self.engine.environment(), self.engine.now());
        // An empty secret is none: some libraries send one for public clients.
        let secret = secret.filter(|secret| !secret.is_empty()).map(ClientSecret::shown);
        let good = match (client.metadata.token_endpoint_auth_method, secret) {
            (Authentication::None, None) => true,
            // Both show the same, and libraries differ in which they begin with.
            (Authentication::ClientSecretBasic | Authentication::ClientSecretPost, Some(secret)) => {
                client.has_secret(&secret, &environment, now)
            }
            (Authentication::None, Some(_))
            | (Authentication::ClientSecretBasic | Authentication::ClientSecretPost, None)
            | (Authentication::PrivateKeyJwt, _) => false,
        };
        if good { Ok(client) } else { Err(OAuthError::invalid_client().into()) }
    }

    /// The same, where a public client is not enough.
    ///
    /// # Errors
    /// As [`Provider::authenticated`].
    pub(super) async fn confidential(
        &self,
        shown: ShownCredentials,
        parameters: &Parameters,
    ) -> Result<Client, ClientRefusal> {
        let client = self.authenticated(shown, parameters).await?;
        if client.is_confidential() { Ok(client) } else { Err(OAuthError::invalid_client().into()) }
    }
}
