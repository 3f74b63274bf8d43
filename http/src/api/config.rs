//! `GET /auth/config`: what a client must know before anybody is signed in, to draw its forms.

use std::sync::Arc;

use cairn_actors::password::{LONGEST_PASSWORD, SHORTEST_PASSWORD};
use cairn_actors::username::Username;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

/// Codes of letters have so many digits.
const CODE_LENGTH: u32 = 6;

/// The rules of this server, the same for everybody: it may be kept for a minute.
pub(super) async fn show(state: Arc<AppState>, _request: Request) -> Answer {
    let open = state.services.engine.world().settings.registration;
    let rules = json!({
        "name": state.theme.name(),
        "registration": if open { "open" } else { "closed" },
        "sign_in": ["password"],
        "password": { "min_length": SHORTEST_PASSWORD, "max_bytes": LONGEST_PASSWORD },
        "username": { "required": false, "pattern": Username::PATTERN },
        "code_length": CODE_LENGTH,
    });
    let kept = HeaderValue::from_static("public, max-age=60");
    Ok(Reply::json(StatusCode::OK, &rules)?.header(CACHE_CONTROL, kept))
}
