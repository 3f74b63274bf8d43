//! `POST /auth/verify-email`: the code of the letter, or its link with the password typed at registration.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use serde::{Deserialize, Serialize};

use super::{FlowBody, UserBody};
use crate::access::caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    flow: Option<String>,
    code: Option<String>,
    token: Option<String>,
    password: Option<Password>,
}

#[derive(Serialize)]
pub(super) struct Verified {
    flow: FlowBody,
    user: UserBody,
}

pub(super) async fn verify(state: Arc<AppState>, request: Request, body: Body) -> Result<Verified, Problem> {
    let caller = caller::repeatable(&request)?;
    let services = &state.services;
    let (moved, user) = match body {
        Body { flow: Some(flow), code: Some(code), token: None, password: None } => {
            services.verify_by_code(&caller, &flow, &code).await?
        }
        Body { flow: None, code: None, token: Some(token), password: Some(password) } => {
            services.verify_by_link(&caller, &token, &password).await?
        }
        body => return Err(incomplete(&body)),
    };
    Ok(Verified { flow: moved.flow.into(), user: UserBody::from(&user) })
}

fn incomplete(body: &Body) -> Problem {
    const WANTED: &str = "Send `flow` and `code`, or `token` and `password`.";
    let pointer = match (&body.flow, &body.code, &body.token, &body.password) {
        (Some(_), None, None, None) => "/code",
        (None, Some(_), None, None) => "/flow",
        (None, None, Some(_), None) => "/password",
        (None, None, None, Some(_)) => "/token",
        (Some(_) | None, _, Some(_), _) => "/token",
        (_, _, None, Some(_)) => "/password",
        _ => "",
    };
    Problem::unreadable_at(pointer, WANTED)
}
