//! `POST /auth/email-change`, `/confirm` and `/undo`: another address for an account, proved, and taken back.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::FlowReply;
use cairn_actors::services::email_change::ConfirmedBy;
use cairn_actors::services::session::SignedIn;
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody, UserBody};
use crate::access::caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    new_email: String,
    accept_disposable: Option<bool>,
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    token: Option<String>,
    flow: Option<String>,
    code: Option<String>,
    password: Option<Password>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    token: String,
    new_password: Option<Password>,
}

#[derive(Serialize)]
pub(super) struct Settled {
    flow: FlowBody,
    user: UserBody,
}

impl From<(FlowReply, User)> for Settled {
    fn from((moved, user): (FlowReply, User)) -> Self {
        Self { flow: moved.flow.into(), user: UserBody::from(&user) }
    }
}

pub(super) async fn begin(
    state: Arc<AppState>,
    request: Request,
    who: SignedIn,
    body: Wanted,
) -> Result<FlowReplyBody, Problem> {
    let caller = caller::repeatable(&request)?;
    let Wanted { new_email, accept_disposable, password } = body;
    let accepted = accept_disposable.unwrap_or_default();
    Ok(state.services.change_email(&caller, &who, &new_email, accepted, &password).await?.into())
}

pub(super) async fn confirm(state: Arc<AppState>, request: Request, body: Proof) -> Result<Settled, Problem> {
    let caller = caller::repeatable(&request)?;
    let services = &state.services;
    let Proof { token, flow, code, password } = body;
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
    Ok(settled?.into())
}

/// Who shows an access token beside a link. Without one, the password is missing.
async fn bearer(state: &AppState, request: &Request) -> Result<ConfirmedBy<'static>, Problem> {
    let missing = "The link takes the account's password as well, or an access token of the account.";
    let token = request.bearer().ok_or_else(|| Problem::unreadable_at("/password", missing))?;
    Ok(ConfirmedBy::SignedIn(state.services.signed_in(token).await?.user.id))
}

pub(super) async fn undo(state: Arc<AppState>, request: Request, body: Undo) -> Result<Settled, Problem> {
    let caller = caller::repeatable(&request)?;
    Ok(state.services.undo_email_change(&caller, &body.token, body.new_password).await?.into())
}
