//! `POST /auth/email-change`, `/confirm` and `/undo`: another address for an account, proved, and taken back.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::password::Password;
use cairn_actors::services::email_change::ConfirmedBy;
use cairn_actors::services::{Moved, Refusal};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{FlowBody, MovedBody, UserBody, caller, signed_in};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    new_email: String,
    accept_disposable: Option<bool>,
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    token: Option<String>,
    flow: Option<String>,
    code: Option<String>,
    password: Option<Password>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    token: String,
    new_password: Option<Password>,
}

#[derive(Serialize)]
struct Settled {
    flow: FlowBody,
    user: UserBody,
}

pub(super) async fn begin(state: Arc<AppState>, request: Request) -> Answer {
    let (caller, who) = (caller(&request)?, signed_in(&request)?);
    let Wanted { new_email, accept_disposable, password } = request.json()?;
    let accepted = accept_disposable.unwrap_or_default();
    let services = &state.services;
    let moved = services.change_email(&caller, who, &new_email, accepted, &password).await;
    Reply::json(StatusCode::ACCEPTED, &MovedBody::from(moved?))
}

pub(super) async fn confirm(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let services = &state.services;
    let Proof { token, flow, code, password } = request.json()?;
    let settled = match (token, flow, code, &password) {
        (Some(token), None, None, Some(password)) => {
            services.confirm_email_by_link(&caller, &token, ConfirmedBy::Password(password)).await
        }
        (Some(token), None, None, None) => {
            let by = bearer(&state, &request).await?;
            services.confirm_email_by_link(&caller, &token, by).await
        }
        (None, Some(flow), Some(code), None) => services.confirm_email_by_code(&caller, &flow, &code).await,
        (None, Some(_), Some(_), Some(_)) => {
            return Err(Problem::unreadable_at(
                "/password",
                "Leave the password out: it goes with `token`, not with a code.",
            ));
        }
        (token, flow, code, _) => return Err(super::code_or_token(&token, &flow, &code)),
    };
    answer(settled)
}

/// Who shows an access token beside a link. Without one, the password is missing.
async fn bearer(state: &AppState, request: &Request) -> Result<ConfirmedBy<'static>, Problem> {
    let missing = "The link takes the account's password as well, or an access token of the account.";
    let token = request.bearer().ok_or_else(|| Problem::unreadable_at("/password", missing))?;
    let who = state.services.signed_in(token).await?;
    Ok(ConfirmedBy::SignedIn(who.user.id))
}

pub(super) async fn undo(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let services = &state.services;
    let Undo { token, new_password } = request.json()?;
    answer(services.undo_email_change(&caller, &token, new_password).await)
}

fn answer(settled: Result<(Moved, User), Refusal>) -> Answer {
    let (moved, user) = settled?;
    Reply::json(StatusCode::OK, &Settled { flow: moved.flow.into(), user: UserBody::from(&user) })
}
