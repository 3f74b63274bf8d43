//! `POST /auth/password-change`: another password for whoever is signed in; every other session ends, and this one goes
//! on with new tokens.

use std::sync::Arc;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::SignedIn;
use serde::{Deserialize, Serialize};

use super::login::TokensBody;
use crate::access::caller;
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    current_password: Password,
    new_password: Password,
}

#[derive(Serialize)]
pub(super) struct Changed {
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
