//! `/auth/sessions`, `/auth/status`, `/auth/step-up` and `/auth/logout-all`: which sessions there are, and what becomes of
//! them.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_actors::services::sessions::SessionView;
use cairn_runtime::Timestamp;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use super::{caller, instant, signed_in, stranger};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

/// A session, as its user is shown it.
#[derive(Serialize)]
pub(super) struct SessionBody {
    id: String,
    device: Option<String>,
    client_address: Option<String>,
    created_at: String,
    last_used_at: String,
    current: bool,
}

impl From<SessionView> for SessionBody {
    fn from(session: SessionView) -> Self {
        let SessionView { id, device, client_address, created_at, last_used_at, current } = session;
        let (created_at, last_used_at) = (instant(created_at), instant(last_used_at));
        Self { id, device, client_address, created_at, last_used_at, current }
    }
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<SessionBody>,
}

#[derive(Serialize)]
struct Status<'a> {
    user: StatusUser<'a>,
    session: String,
    auth_time: String,
    amr: &'a [String],
}

#[derive(Serialize)]
struct StatusUser<'a> {
    id: String,
    email: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepUp {
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    token: String,
    new_password: Option<Password>,
}

pub(super) async fn list(state: Arc<AppState>, request: Request) -> Answer {
    let services = &state.services;
    let sessions = services.sessions(signed_in(&request)?).await?;
    Reply::json(StatusCode::OK, &Sessions { sessions: sessions.into_iter().map(SessionBody::from).collect() })
}

pub(super) async fn revoke(state: Arc<AppState>, request: Request) -> Answer {
    let services = &state.services;
    let revoked = services.revoke_session(&stranger(&request), signed_in(&request)?, request.param("session")).await;
    revoked?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn disown(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let Link { token, new_password } = request.json()?;
    let services = &state.services;
    services.disown_session(&caller, &token, new_password).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn leave_all(state: Arc<AppState>, request: Request) -> Answer {
    request.no_members()?;
    let caller = caller(&request)?;
    // The service judges the token itself: a repeat comes with a token whose session is over.
    let token = request.bearer().ok_or_else(Problem::credentials)?;
    let services = &state.services;
    services.sign_out_everywhere(&caller, token).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn status(_state: Arc<AppState>, request: Request) -> Answer {
    let who = signed_in(&request)?;
    Reply::json(
        StatusCode::OK,
        &Status {
            user: StatusUser { id: who.user.id.text(), email: who.user.address.typed() },
            session: who.claims.sid.clone(),
            auth_time: instant(Timestamp(who.claims.auth_time.saturating_mul(1_000))),
            amr: &who.amr,
        },
    )
}

pub(super) async fn step_up(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let StepUp { password } = request.json()?;
    let services = &state.services;
    let tokens = services.step_up(&caller, signed_in(&request)?, &password).await;
    Reply::json(StatusCode::OK, &TokensBody::from(tokens?))
}
