//! `POST /auth/password-change`: another password for whoever is signed in; every other session ends, and this one goes
//! on with new tokens.

use std::sync::Arc;

use cairn_actors::password::Password;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use super::{caller, instant, signed_in};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    current_password: Password,
    new_password: Password,
}

#[derive(Serialize)]
struct Changed {
    changed_at: String,
    #[serde(flatten)]
    tokens: TokensBody,
}

pub(super) async fn change(state: Arc<AppState>, request: Request) -> Answer {
    let (caller, who) = (caller(&request)?, signed_in(&request)?);
    let Body { current_password, new_password } = request.json()?;
    let services = &state.services;
    let changed = services.change_password(&caller, who, &current_password, new_password).await;
    let (at, tokens) = changed?;
    Reply::json(StatusCode::OK, &Changed { changed_at: instant(at), tokens: TokensBody::from(tokens) })
}
