//! `POST /auth/login`: an address or a username, and the password.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::{Identifier, Tokens};
use cairn_runtime::Method;
use http::header::SET_COOKIE;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::access::caller;
use crate::description::{Area, Description, Gives, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::route::WithHeaders;
use crate::schema;
use crate::sign_in::{self, SignedIn};
use crate::state::AppState;

pub(super) const SIGN_IN: Description = Description::new("signIn", Area::Sessions, "Sign in with a password")
    .text("Unknown, wrong, unverified and locked are one refusal.")
    .takes(&[Takes::Device])
    .gives(&[Gives::DeviceCookie])
    .refuses(&[Kind::Credentials]);

/// `email` or `username`, and the password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "SignIn",
    transform = |schema: &mut Schema| schema::one_of(schema, &[&["email"], &["username"]])
)]
pub(super) struct Body {
    /// The address.
    #[schemars(with = "Option<schema::TypedEmail>")]
    email: Option<String>,
    /// The username.
    #[schemars(with = "Option<schema::TypedUsername>")]
    username: Option<String>,
    /// The password.
    #[schemars(with = "schema::TypedPassword")]
    password: Password,
}

/// The tokens of a session.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tokens")]
pub(super) struct TokensBody {
    /// A JWT (RFC 9068), to be sent as `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: i64,
    /// The token that gets the next ones.
    refresh_token: String,
    /// The session, the claim `sid` of the access token.
    #[schemars(with = "schema::SessionId")]
    session: String,
    /// The account was to be deleted, and this sign-in has called that off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
    /// The proof by which this device is known from now on, for the header `Cairn-Device`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    device: Option<String>,
    /// How the server reached the session: as safe either way.
    #[schemars(with = "schema::Method")]
    method: Method,
}

impl From<Tokens> for TokensBody {
    fn from(tokens: Tokens) -> Self {
        let Tokens { access_token, expires_in, refresh_token, session, restored, device, method } = tokens;
        let refresh_token = refresh_token.expose().to_owned();
        Self { access_token, token_type: "Bearer", expires_in, refresh_token, session, restored, device, method }
    }
}

pub(super) async fn login(
    state: Arc<AppState>,
    request: Request,
    body: Body,
) -> Result<WithHeaders<TokensBody>, Problem> {
    let identifier = match (&body.email, &body.username) {
        (Some(email), None) => Identifier::Email(email),
        (None, Some(username)) => Identifier::Username(username),
        (None, None) => return Err(Problem::unreadable_at("/email", "Send `email` or `username`.")),
        (Some(_), Some(_)) => {
            return Err(Problem::unreadable_at("/username", "Send `email` or `username`, not both."));
        }
    };
    let caller = caller::of(&request);
    let SignedIn { tokens, device } = sign_in::sign_in(&state, &request, &caller, identifier, &body.password).await?;
    let said = WithHeaders::new(TokensBody::from(tokens));
    Ok(match device {
        Some(device) => said.header(SET_COOKIE, device),
        None => said,
    })
}
