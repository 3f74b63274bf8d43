//! `POST /auth/register`, `GET /auth/register/{flow}`, `POST /auth/register/{flow}/resend`.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::registration::Typed;
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody};
use crate::access::caller;
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email: String,
    password: Password,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    accept_disposable: Option<bool>,
}

/// Begins a registration: 202 whether or not the address has an account.
pub(super) async fn begin(state: Arc<AppState>, request: Request, body: Body) -> Result<FlowReplyBody, Problem> {
    let caller = caller::repeatable(&request)?;
    let Body { email, password, username, first_name, last_name, accept_disposable } = body;
    let accept_disposable = accept_disposable.unwrap_or_default();
    let typed = Typed { email, password, username, first_name, last_name, accept_disposable };
    Ok(state.services.register(&caller, typed).await?.into())
}

#[derive(Serialize)]
pub(super) struct Status {
    flow: FlowBody,
    mail: MailBody,
}

#[derive(Serialize)]
struct MailBody {
    state: &'static str,
    at: String,
}

/// Where a registration stands, and where its letter is.
pub(super) async fn status(state: Arc<AppState>, request: Request) -> Result<Status, Problem> {
    let (flow, mail) = state.services.registration(request.param("flow")).await?;
    let mail = MailBody { state: mail.state.word(), at: instant(mail.at) };
    Ok(Status { flow: flow.into(), mail })
}

/// Sends another letter.
pub(super) async fn resend(state: Arc<AppState>, request: Request) -> Result<FlowReplyBody, Problem> {
    let caller = caller::repeatable(&request)?;
    Ok(state.services.resend_registration(&caller, request.param("flow")).await?.into())
}
