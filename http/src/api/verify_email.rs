//! `POST /auth/verify-email`: the code of the letter, or its link with the password typed at registration.

use std::sync::Arc;

use cairn_actors::password::Password;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{FlowBody, UserBody, caller};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    flow: Option<String>,
    code: Option<String>,
    token: Option<String>,
    password: Option<Password>,
}

#[derive(Serialize)]
struct Verified {
    flow: FlowBody,
    user: UserBody,
}

pub(super) async fn verify(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller(&request)?;
    let services = &state.services;
    let (moved, user) = match request.json()? {
        Body { flow: Some(flow), code: Some(code), token: None, password: None } => {
            services.verify_by_code(&caller, &flow, &code).await
        }
        Body { flow: None, code: None, token: Some(token), password: Some(password) } => {
            services.verify_by_link(&caller, &token, &password).await
        }
        body => return Err(incomplete(&body)),
    }?;
    Reply::json(StatusCode::OK, &Verified { flow: moved.flow.into(), user: UserBody::from(&user) })
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
