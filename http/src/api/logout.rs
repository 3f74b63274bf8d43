//! `POST /auth/logout`: ends the session of a refresh token, and says the same for every string.

use std::sync::Arc;

use http::StatusCode;

use super::{refresh, stranger};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

pub(super) async fn logout(state: Arc<AppState>, request: Request) -> Answer {
    let body: refresh::Body = request.json()?;
    state.services.sign_out(&stranger(&request), &body.refresh_token).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
