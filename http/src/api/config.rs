//! `GET /auth/config`: what a client must know before anybody is signed in, to draw its forms.

use std::sync::Arc;

use cairn_actors::identity::username::Username;
use cairn_actors::secrets::password::{LONGEST_PASSWORD, SHORTEST_PASSWORD};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use crate::problem::Problem;
use crate::request::Request;
use crate::route::WithHeaders;
use crate::state::AppState;

/// Codes of letters have so many digits.
const CODE_LENGTH: u32 = 6;

/// The rules of this server.
#[derive(Serialize)]
pub(super) struct Config {
    name: String,
    registration: &'static str,
    sign_in: [&'static str; 1],
    password: PasswordRules,
    username: UsernameRules,
    code_length: u32,
}

#[derive(Serialize)]
struct PasswordRules {
    min_length: usize,
    max_bytes: usize,
}

#[derive(Serialize)]
struct UsernameRules {
    required: bool,
    pattern: &'static str,
}

/// The same for everybody: it may be kept for a minute.
pub(super) async fn show(state: Arc<AppState>, _request: Request) -> Result<WithHeaders<Config>, Problem> {
    let open = state.services.engine.environment().settings.registration;
    let rules = Config {
        name: state.theme.name().to_owned(),
        registration: if open { "open" } else { "closed" },
        sign_in: ["password"],
        password: PasswordRules { min_length: SHORTEST_PASSWORD, max_bytes: LONGEST_PASSWORD },
        username: UsernameRules { required: false, pattern: Username::PATTERN },
        code_length: CODE_LENGTH,
    };
    Ok(WithHeaders::new(rules).header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")))
}
