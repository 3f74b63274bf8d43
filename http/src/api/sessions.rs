//! `/auth/sessions`, `/auth/status`, `/auth/step-up` and `/auth/logout-all`: which sessions there are, and what becomes of
//! them.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::SignedIn;
use cairn_actors::services::sessions::SessionView;
use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use crate::access::caller;
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
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
pub(super) struct Sessions {
    sessions: Vec<SessionBody>,
}

#[derive(Serialize)]
pub(super) struct Status {
    user: StatusUser,
    session: String,
    auth_time: String,
    amr: Vec<String>,
}

#[derive(Serialize)]
struct StatusUser {
    id: String,
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepUp {
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    token: String,
    new_password: Option<Password>,
}

pub(super) async fn list(state: Arc<AppState>, _request: Request, who: SignedIn) -> Result<Sessions, Problem> {
    let sessions = state.services.sessions(&who).await?;
    Ok(Sessions { sessions: sessions.into_iter().map(SessionBody::from).collect() })
}

pub(super) async fn revoke(state: Arc<AppState>, request: Request, who: SignedIn) -> Result<(), Problem> {
    Ok(state.services.revoke_session(&caller::of(&request), &who, request.param("session")).await?)
}

pub(super) async fn disown(state: Arc<AppState>, request: Request, body: Link) -> Result<(), Problem> {
    let caller = caller::repeatable(&request)?;
    state.services.disown_session(&caller, &body.token, body.new_password).await?;
    Ok(())
}

pub(super) async fn leave_all(state: Arc<AppState>, request: Request, token: String) -> Result<(), Problem> {
    Ok(state.services.sign_out_everywhere(&caller::repeatable(&request)?, &token).await?)
}

pub(super) async fn status(_state: Arc<AppState>, _request: Request, who: SignedIn) -> Result<Status, Problem> {
    Ok(Status {
        user: StatusUser { id: who.user.id.text(), email: who.user.address.typed().to_owned() },
        session: who.claims.sid,
        auth_time: instant(Timestamp(who.claims.auth_time.saturating_mul(1_000))),
        amr: who.amr,
    })
}

pub(super) async fn step_up(
    state: Arc<AppState>,
    request: Request,
    who: SignedIn,
    body: StepUp,
) -> Result<TokensBody, Problem> {
    Ok(state.services.step_up(&caller::repeatable(&request)?, &who, &body.password).await?.into())
}
