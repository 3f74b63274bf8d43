//! `POST /auth/register`, `GET /auth/register/{flow}`, `POST /auth/register/{flow}/resend`.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_actors::services::registration::Typed;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{FlowBody, MovedBody, caller, instant};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    email: String,
    password: Password,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    accept_disposable: Option<bool>,
}

/// Begins a registration: 202 whether or not the address has an account.
pub(super) async fn begin(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let Body { email, password, username, first_name, last_name, accept_disposable } = request.json()?;
    let accept_disposable = accept_disposable.unwrap_or_default();
    let typed = Typed { email, password, username, first_name, last_name, accept_disposable };
    let moved = state.services.register(&caller, typed).await?;
    Reply::json(StatusCode::ACCEPTED, &MovedBody::from(moved))
}

#[derive(Serialize)]
struct Status {
    flow: FlowBody,
    mail: MailBody,
}

#[derive(Serialize)]
struct MailBody {
    state: &'static str,
    at: String,
}

/// Where a registration stands, and where its letter is.
pub(super) async fn status(state: Arc<AppState>, request: Request) -> Answer {
    let (flow, mail) = state.services.registration(request.param("flow")).await?;
    let mail = MailBody { state: mail.state.word(), at: instant(mail.at) };
    Reply::json(StatusCode::OK, &Status { flow: flow.into(), mail })
}

/// Sends another letter.
pub(super) async fn resend(state: Arc<AppState>, request: Request) -> Answer {
    request.no_members()?;
    let caller = caller(&request)?;
    let moved = state.services.resend_registration(&caller, request.param("flow")).await?;
    Reply::json(StatusCode::ACCEPTED, &MovedBody::from(moved))
}
