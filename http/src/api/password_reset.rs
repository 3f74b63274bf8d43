//! `POST /auth/password-reset/request` and `/confirm`: a forgotten password, and the new one.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody};
use crate::access::caller;
use crate::description::{Area, Description, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const REQUEST: Description =
    Description::new("requestPasswordReset", Area::Passwords, "Ask for a letter that resets the password")
        .text("The answer is the same for unknown and unverified addresses, to which nothing is mailed.")
        .takes(&[Takes::IdempotencyKey, Takes::Device])
        .refuses(&[Kind::Value]);
pub(super) const CONFIRM: Description =
    Description::new("resetPassword", Area::Passwords, "Set a new password by the letter")
        .text("By the code of the letter, or by the token of its link. Every session ends.")
        .takes(&[Takes::IdempotencyKey])
        .refuses(&[Kind::NotFound, Kind::FlowEnded, Kind::Value]);

/// Whose password is forgotten.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PasswordResetRequest")]
pub(super) struct Forgotten {
    /// The address.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
}

/// `token`, or `flow` and `code`; and the new password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "PasswordReset",
    transform = |schema: &mut Schema| schema::one_of(schema, &[&["token"], &["flow", "code"]])
)]
pub(super) struct Confirmation {
    /// The token of the link.
    #[schemars(with = "Option<schema::Token>")]
    token: Option<String>,
    /// The reset.
    #[schemars(with = "Option<schema::TypedFlow>")]
    flow: Option<String>,
    /// The code of the letter.
    #[schemars(with = "Option<schema::Code>")]
    code: Option<String>,
    /// The password from now on.
    #[schemars(with = "schema::NewPassword")]
    new_password: Password,
}

/// A reset that is done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PasswordResetDone")]
pub(super) struct Done {
    /// The reset.
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
