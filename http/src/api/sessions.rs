//! `/auth/sessions`, `/auth/status`, `/auth/step-up` and `/auth/logout-all`: which sessions there are, and what becomes of
//! them.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::SignedIn;
use cairn_runtime::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use crate::access::caller;
use crate::description::{Area, Description, Param, Takes};
use crate::problem::{Kind, Problem};
use crate::reply::instant;
use crate::request::Request;
use crate::schema;
use crate::state::AppState;
use crate::views::SessionBody;

pub(super) const LIST: Description =
    Description::new("listSessions", Area::Sessions, "List the sessions that are still good");
pub(super) const REVOKE: Description = Description::new("endSession", Area::Sessions, "End a session")
    .params(&[Param::id("session", "ses", "A session of the account.")]);
pub(super) const DISOWN: Description =
    Description::new("disownSession", Area::Sessions, "End a session that somebody else has begun")
        .text(
            "By the link of the letter about a new device. Every session of that device and place ends, the device is \
         forgotten, and the password is out of force until a reset unless a new one comes along.",
        )
        .takes(&[Takes::IdempotencyKey])
        .refuses(&[Kind::FlowEnded, Kind::Value]);
pub(super) const LEAVE_ALL: Description =
    Description::new("endAllSessions", Area::Sessions, "End all sessions, the present one too")
        .takes(&[Takes::IdempotencyKey]);
pub(super) const STATUS: Description = Description::new("getStatus", Area::Sessions, "Get who is signed in, and how");
pub(super) const STEP_UP: Description = Description::new("stepUp", Area::Sessions, "Prove the password once more")
    .text("Gives tokens with a fresh `auth_time`, for what is sensitive.")
    .takes(&[Takes::IdempotencyKey, Takes::Device]);

/// The sessions of an account, last used first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Sessions {
    /// The sessions.
    sessions: Vec<SessionBody>,
}

/// Who is signed in, and how.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SignedIn")]
pub(super) struct Status {
    /// Who.
    user: StatusUser,
    /// In which session.
    #[schemars(with = "schema::SessionId")]
    session: String,
    /// When they last proved who they are.
    #[schemars(with = "schema::Instant")]
    auth_time: String,
    /// How they did (RFC 8176).
    amr: Vec<String>,
}

/// Who is signed in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SignedInUser")]
struct StatusUser {
    /// The user.
    #[schemars(with = "schema::UserId")]
    id: String,
    /// The address, as it was typed.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
}

/// The password, once more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepUp {
    /// The password.
    #[schemars(with = "schema::TypedPassword")]
    password: Password,
}

/// The link of the letter about a new device.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SessionDisowning")]
pub(super) struct Link {
    /// The token of the link.
    #[schemars(with = "schema::Token")]
    token: String,
    /// The password from now on.
    #[schemars(with = "Option<schema::NewPassword>")]
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
