//! `POST /auth/verify-email`: the code of the letter, or its link with the password typed at registration.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{FlowBody, UserBody};
use crate::access::caller;
use crate::description::{Area, Description, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const VERIFY: Description = Description::new("verifyEmail", Area::Registration, "Prove the address")
    .text(
        "By the code of the letter, or by the token of its link with the password. Whichever of them comes again gets \
         the same answer for a day.",
    )
    .takes(&[Takes::IdempotencyKey])
    .refuses(&[Kind::Credentials, Kind::NotFound, Kind::AddressTaken, Kind::FlowEnded, Kind::Value]);

/// `flow` and `code`, or `token` and `password`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "EmailVerification",
    transform = |schema: &mut Schema| schema::one_of(schema, &[&["flow", "code"], &["token", "password"]])
)]
pub(super) struct Body {
    /// The registration.
    #[schemars(with = "Option<schema::TypedFlow>")]
    flow: Option<String>,
    /// The code of the letter.
    #[schemars(with = "Option<schema::Code>")]
    code: Option<String>,
    /// The token of the link.
    #[schemars(with = "Option<schema::Token>")]
    token: Option<String>,
    /// The password that was typed at registration.
    #[schemars(with = "Option<schema::TypedPassword>")]
    password: Option<Password>,
}

/// The registration, and the user that it has made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EmailVerified")]
pub(super) struct Verified {
    /// The registration.
    flow: FlowBody,
    /// The user.
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
