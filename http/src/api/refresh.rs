//! `POST /auth/refresh`: the next tokens of a session.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::login::TokensBody;
use super::stranger;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) refresh_token: String,
}

pub(super) async fn refresh(state: Arc<AppState>, request: Request) -> Answer {
    let body: Body = request.json()?;
    let tokens = state.services.refresh(&stranger(&request), &body.refresh_token).await?;
    Reply::json(StatusCode::OK, &TokensBody::from(tokens))
}
