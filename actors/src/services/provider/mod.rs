//! The provider: what clients and the people whom they send here ask of it (OAuth 2.1, OpenID Connect Core).

mod applications;
mod authenticate;
mod authorize;
mod consent;
mod issue;
mod principal;
mod token;
mod tokens_shown;

use std::ops::Deref;

use cairn_runtime::{Flow, FlowId};

pub use self::applications::Application;
pub use self::authenticate::ShownCredentials;
pub use self::authorize::{Answer, NextStep, NotForClient};
pub use self::consent::{Question, Standing};
pub use self::issue::TokenResponse;
pub use self::principal::{ClientAccess, GrantAccess, Principal};
pub use self::tokens_shown::Introspection;
use super::{Refusal, Services};
use crate::flows::authorization::Authorization;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::error::{ErrorCode, OAuthError};

/// The use cases of the provider.
#[derive(Clone, Copy, Debug)]
pub struct Provider<'a>(&'a Services);

impl Deref for Provider<'_> {
    type Target = Services;

    fn deref(&self) -> &Services {
        self.0
    }
}

/// Why a client's request ended otherwise than hoped.
#[derive(Clone, Debug)]
pub enum ClientRefusal {
    /// As the protocol says.
    Protocol(OAuthError),
    /// Something of ours: the database is away, or there is too much to do.
    Ours(Refusal),
}

impl From<OAuthError> for ClientRefusal {
    fn from(error: OAuthError) -> Self {
        Self::Protocol(error)
    }
}

impl<T: Into<Refusal>> From<T> for ClientRefusal {
    fn from(refusal: T) -> Self {
        Self::Ours(refusal.into())
    }
}

impl Services {
    /// The use cases of the provider.
    pub fn provider(&self) -> Provider<'_> {
        Provider(self)
    }
}

impl Provider<'_> {
    /// The client of a `client_id`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn client(&self, client_id: &str) -> Result<Option<Client>, Refusal> {
        Ok(self.directory.clients.by_id(ClientId::of(client_id)).await?)
    }

    /// The text of an authorization's id.
    fn text(flow: FlowId) -> String {
        flow.0.text(Authorization::PREFIX)
    }
}

/// What is told where a client asks for what it may not have, or what is none of its.
fn unauthorized(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::UnauthorizedClient, description)
}
