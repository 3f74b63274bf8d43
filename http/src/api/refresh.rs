//! `POST /auth/refresh`: the next tokens of a session.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::login::TokensBody;
use crate::access::caller;
use crate::description::{Area, Description};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const REFRESH: Description = Description::new("refresh", Area::Sessions, "Get the next tokens of a session")
    .text(
        "A repeat within the grace time gets the same tokens, until the successor is used. A refresh token that comes \
         again after that ends the session.",
    )
    .refuses(&[Kind::SessionEnded]);

/// The refresh token of a session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RefreshToken")]
pub(super) struct Body {
    /// The token.
    #[schemars(with = "schema::Token")]
    pub(super) refresh_token: String,
}

pub(super) async fn refresh(state: Arc<AppState>, request: Request, body: Body) -> Result<TokensBody, Problem> {
    Ok(state.services.refresh(&caller::of(&request), &body.refresh_token).await?.into())
}
