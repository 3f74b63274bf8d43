//! `POST /auth/register`, `GET /auth/register/{flow}`, `POST /auth/register/{flow}/resend`.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::registration::Typed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FlowBody, FlowReplyBody};
use crate::access::caller;
use crate::description::{Area, Description, Param, Takes};
use crate::problem::{Kind, Problem};
use crate::reply::instant;
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const BEGIN: Description = Description::new("register", Area::Registration, "Register")
    .text("A letter with a code and a link goes to the address. The answer is the same for an address that has an account.")
    .takes(&[Takes::IdempotencyKey, Takes::Device])
    .refuses(&[Kind::Forbidden, Kind::UsernameTaken, Kind::Value]);
pub(super) const STATUS: Description =
    Description::new("getRegistration", Area::Registration, "Get where a registration stands, and where its letter is")
        .params(FLOW)
        .refuses(&[Kind::FlowEnded]);
pub(super) const RESEND: Description =
    Description::new("resendRegistration", Area::Registration, "Have the letter sent once more")
        .text("With the same code and link, after a while, and at most five times.")
        .params(FLOW)
        .takes(&[Takes::IdempotencyKey, Takes::Device])
        .refuses(&[Kind::FlowEnded]);

const FLOW: &[Param] = &[Param::id("flow", "reg", "The registration.")];

/// Who registers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registration")]
pub(super) struct Body {
    /// The address.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
    /// At least 10 characters and at most 256 bytes, both after NFKC; neither known from a breach nor easily guessed.
    #[schemars(with = "schema::NewPassword")]
    password: Password,
    /// A public name to sign in with.
    #[schemars(with = "Option<schema::ChosenUsername>")]
    username: Option<String>,
    /// The first name.
    #[schemars(with = "Option<schema::ChosenName>")]
    first_name: Option<String>,
    /// The last name.
    #[schemars(with = "Option<schema::ChosenName>")]
    last_name: Option<String>,
    /// The person means the address though mailboxes of its domain last a short time only.
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

/// Where a registration stands, and where its letter is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RegistrationStatus")]
pub(super) struct Status {
    /// The registration.
    flow: FlowBody,
    /// Its letter.
    mail: MailBody,
}

/// Where a letter is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LetterStatus")]
struct MailBody {
    /// Where it is: `retrying` will be tried again, `failed` will not.
    #[schemars(with = "schema::LetterState")]
    state: &'static str,
    /// Since when; where it is retried, until when.
    #[schemars(with = "schema::Instant")]
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
