//! `POST /auth/email-change`, `/confirm` and `/undo`: another address for an account, proved, and taken back.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::FlowReply;
use cairn_actors::services::email_change::ConfirmedBy;
use cairn_actors::services::session::SignedIn;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody, UserBody};
use crate::access::caller;
use crate::description::{Area, Description, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const BEGIN: Description = Description::new("changeEmail", Area::Address, "Ask for another address")
    .text(
        "A letter with a code and a link goes to the new address. The answer is the same for an address that is taken.",
    )
    .takes(&[Takes::IdempotencyKey, Takes::Device])
    .refuses(&[Kind::Value]);
pub(super) const CONFIRM: Description = Description::new("confirmEmail", Area::Address, "Prove the new address")
    .text(
        "By the code of the letter, or by the token of its link: that with the password, or with an access token of the \
         account.",
    )
    .takes(&[Takes::IdempotencyKey, Takes::Device, Takes::Bearer])
    .refuses(&[Kind::Credentials, Kind::NotFound, Kind::AddressTaken, Kind::FlowEnded, Kind::Value]);
pub(super) const UNDO: Description = Description::new(
    "undoEmailChange",
    Area::Address,
    "Have the address from before again",
)
.text(
    "By the link of the letter to the address from before, for seven days. Every later change is undone, every session \
         ends, and the password is out of force until a reset unless a new one comes along.",
)
.takes(&[Takes::IdempotencyKey])
.refuses(&[Kind::AddressTaken, Kind::FlowEnded, Kind::Value]);

/// Another address for the account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EmailChange")]
pub(super) struct Wanted {
    /// The new address.
    #[schemars(with = "schema::EmailAddress")]
    new_email: String,
    /// The person means the address though mailboxes of its domain last a short time only.
    accept_disposable: Option<bool>,
    /// The present password.
    #[schemars(with = "schema::TypedPassword")]
    password: Password,
}

/// `flow` and `code`; or `token`, with `password` unless an access token of the account comes along.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "EmailConfirmation",
    transform = |schema: &mut Schema| schema::one_of(schema, &[&["flow", "code"], &["token", "password"], &["token"]])
)]
pub(super) struct Proof {
    /// The token of the link.
    #[schemars(with = "Option<schema::Token>")]
    token: Option<String>,
    /// The change of address.
    #[schemars(with = "Option<schema::TypedFlow>")]
    flow: Option<String>,
    /// The code of the letter.
    #[schemars(with = "Option<schema::Code>")]
    code: Option<String>,
    /// The password of the account.
    #[schemars(with = "Option<schema::TypedPassword>")]
    password: Option<Password>,
}

/// The link of the letter to the address from before.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EmailUndo")]
pub(super) struct Undo {
    /// The token of the link.
    #[schemars(with = "schema::Token")]
    token: String,
    /// The password from now on.
    #[schemars(with = "Option<schema::NewPassword>")]
    new_password: Option<Password>,
}

/// The change of address, and the user after it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EmailChanged")]
pub(super) struct Settled {
    /// The change.
    flow: FlowBody,
    /// The user.
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
