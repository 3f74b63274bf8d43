//! `POST /auth/refresh`: the next tokens of a session.

use std::sync::Arc;

use serde::Deserialize;

use super::login::TokensBody;
use crate::access::caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) refresh_token: String,
}

pub(super) async fn refresh(state: Arc<AppState>, request: Request, body: Body) -> Result<TokensBody, Problem> {
    Ok(state.services.refresh(&caller::of(&request), &body.refresh_token).await?.into())
}
