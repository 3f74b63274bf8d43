//! `POST /auth/login`: an address or a username, and the password.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::{Identifier, Tokens};
use cairn_runtime::Method;
use http::header::SET_COOKIE;
use serde::{Deserialize, Serialize};

use crate::access::caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::route::WithHeaders;
use crate::sign_in::{self, SignedIn};
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email: Option<String>,
    username: Option<String>,
    password: Password,
}

/// The tokens of a session, as sign-in and refresh answer.
#[derive(Serialize)]
pub(super) struct TokensBody {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: String,
    session: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
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
