//! `POST /auth/password-reset/request` and `/confirm`: a forgotten password, and the new one.

use std::sync::Arc;

use cairn_actors::password::Password;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{FlowBody, MovedBody, caller};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forgotten {
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    token: Option<String>,
    flow: Option<String>,
    code: Option<String>,
    new_password: Password,
}

#[derive(Serialize)]
struct Done {
    flow: FlowBody,
}

pub(super) async fn request(state: Arc<AppState>, request: Request) -> Answer {
    let body: Forgotten = request.json()?;
    let services = &state.services;
    let moved = services.request_reset(&caller(&request)?, &body.email).await;
    Reply::json(StatusCode::ACCEPTED, &MovedBody::from(moved?))
}

pub(super) async fn confirm(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let services = &state.services;
    let Confirmation { token, flow, code, new_password } = request.json()?;
    let moved = match (token, flow, code) {
        (Some(token), None, None) => services.confirm_reset_by_link(&caller, &token, new_password).await,
        (None, Some(flow), Some(code)) => services.confirm_reset_by_code(&caller, &flow, &code, new_password).await,
        (token, flow, code) => return Err(super::code_or_token(&token, &flow, &code)),
    };
    let moved = moved?;
    Reply::json(StatusCode::OK, &Done { flow: moved.flow.into() })
}
