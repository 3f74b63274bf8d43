//! `POST /auth/password-change`: another password for whoever is signed in; every other session ends, and this one goes
//! on with new tokens.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::SignedIn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use crate::access::caller;
use crate::description::{Area, Description, Takes};
use crate::problem::{Kind, Problem};
use crate::reply::instant;
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const CHANGE: Description = Description::new("changePassword", Area::Passwords, "Change the password")
    .text("Every other session ends. The present one goes on with new tokens; those from before are no longer good.")
    .takes(&[Takes::IdempotencyKey, Takes::Device])
    .refuses(&[Kind::Value]);

/// The present password and the next one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PasswordChange")]
pub(super) struct Body {
    /// The present password.
    #[schemars(with = "schema::TypedPassword")]
    current_password: Password,
    /// The password from now on.
    #[schemars(with = "schema::NewPassword")]
    new_password: Password,
}

/// Since when the new password is in force, and the session's new tokens.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PasswordChanged")]
pub(super) struct Changed {
    /// Since when the new password is in force.
    #[schemars(with = "schema::Instant")]
    changed_at: String,
    #[serde(flatten)]
    tokens: TokensBody,
}

pub(super) async fn change(
    state: Arc<AppState>,
    request: Request,
    who: SignedIn,
    body: Body,
) -> Result<Changed, Problem> {
    let caller = caller::repeatable(&request)?;
    let Body { current_password, new_password } = body;
    let (at, tokens) = state.services.change_password(&caller, &who, &current_password, new_password).await?;
    Ok(Changed { changed_at: instant(at), tokens: tokens.into() })
}
