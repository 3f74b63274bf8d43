//! `GET /auth/config`: what a client must know before anybody is signed in, to draw its forms.

use std::sync::Arc;

use cairn_actors::identity::username::Username;
use cairn_actors::secrets::password::{LONGEST_PASSWORD, SHORTEST_PASSWORD};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use schemars::JsonSchema;
use serde::Serialize;

use crate::description::{Area, Description, Gives};
use crate::problem::Problem;
use crate::request::Request;
use crate::route::WithHeaders;
use crate::state::AppState;

/// Codes of letters have so many digits.
const CODE_LENGTH: u32 = 6;

pub(super) const SHOW: Description =
    Description::new("getConfig", Area::Server, "Get the rules of this server").gives(&[Gives::CacheControl]);

/// The rules of this server.
#[derive(Serialize, JsonSchema)]
pub(super) struct Config {
    /// The name of the server, for headings.
    name: String,
    /// Whether anybody may register.
    registration: Registration,
    /// The ways to sign in. More may come.
    sign_in: Vec<&'static str>,
    /// What a password must be.
    password: PasswordRules,
    /// What a username must be.
    username: UsernameRules,
    /// The digits of a code in a letter.
    code_length: u32,
}

/// Whether anybody may register.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Registration {
    Open,
    Closed,
}

/// What a password must be. It is measured after NFKC.
#[derive(Serialize, JsonSchema)]
struct PasswordRules {
    /// Characters at least.
    #[schemars(with = "u32")]
    min_length: usize,
    /// Bytes of UTF-8 at most.
    #[schemars(with = "u32")]
    max_bytes: usize,
}

/// What a username must be.
#[derive(Serialize, JsonSchema)]
struct UsernameRules {
    /// Whether everybody has one.
    required: bool,
    /// A regular expression for its final form. Capitals are taken and lowered.
    pattern: &'static str,
}

/// The same for everybody: it may be kept for a minute.
pub(super) async fn show(state: Arc<AppState>, _request: Request) -> Result<WithHeaders<Config>, Problem> {
    let settings = &state.services.engine.environment().settings;
    let open = settings.registration;
    let by_letter = settings.magic_link.then_some("magic_link");
    let rules = Config {
        name: state.theme.name().to_owned(),
        registration: if open { Registration::Open } else { Registration::Closed },
        sign_in: std::iter::once("password").chain(by_letter).collect(),
        password: PasswordRules { min_length: SHORTEST_PASSWORD, max_bytes: LONGEST_PASSWORD },
        username: UsernameRules { required: false, pattern: Username::PATTERN },
        code_length: CODE_LENGTH,
    };
    Ok(WithHeaders::new(rules).header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")))
}
