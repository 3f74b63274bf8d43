//! `POST /auth/password-reset/request` and `/confirm`: a forgotten password, and the new one.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody};
use crate::access::caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgotten {
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    token: Option<String>,
    flow: Option<String>,
    code: Option<String>,
    new_password: Password,
}

#[derive(Serialize)]
pub(super) struct Done {
    flow: FlowBody,
}

pub(super) async fn request(state: Arc<AppState>, request: Request, body: Forgotten) -> Result<FlowReplyBody, Problem> {
    Ok(state.services.request_reset(&caller::repeatable(&request)?, &body.email).await?.into())
}

pub(super) async fn confirm(state: Arc<AppState>, request: Request, body: Confirmation) -> Result<Done, Problem> {
    let caller = caller::repeatable(&request)?;
    let services = &state.services;
    let Confirmation { token, flow, code, new_password } = body;
    let moved = match (token, flow, code) {
        (Some(token), None, None) => services.confirm_reset_by_link(&caller, &token, new_password).await?,
        (None, Some(flow), Some(code)) => services.confirm_reset_by_code(&caller, &flow, &code, new_password).await?,
        (token, flow, code) => return Err(super::code_or_token(&token, &flow, &code)),
    };
    Ok(Done { flow: moved.flow.into() })
}
