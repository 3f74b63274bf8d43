//! `POST /auth/logout`: ends the session of a refresh token, and says the same for every string.

use std::sync::Arc;

use super::refresh::Body;
use crate::access::caller;
use crate::description::{Area, Description};
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;

pub(super) const SIGN_OUT: Description =
    Description::new("signOut", Area::Sessions, "End the session of a refresh token")
        .text("The answer is the same for every string; a token of any generation ends its session.");

pub(super) async fn logout(state: Arc<AppState>, request: Request, body: Body) -> Result<(), Problem> {
    Ok(state.services.sign_out(&caller::of(&request), &body.refresh_token).await?)
}
