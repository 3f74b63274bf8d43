//! `POST /auth/magic-link` and `/confirm`: signing in by a letter.

use std::sync::Arc;

use cairn_actors::services::magic_link::OpenedBy;
use http::header::SET_COOKIE;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::FlowReplyBody;
use super::login::TokensBody;
use crate::access::caller;
use crate::description::{Area, Description, Gives, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::route::WithHeaders;
use crate::schema;
use crate::sign_in::SignedIn;
use crate::state::AppState;

pub(super) const REQUEST: Description =
    Description::new("requestMagicLink", Area::Sessions, "Ask for a letter that signs in")
        .text("The answer is the same for unknown addresses, to which nothing is mailed. Off by default: then 404.")
        .takes(&[Takes::IdempotencyKey, Takes::Device])
        .refuses(&[Kind::Value, Kind::NotFound]);
pub(super) const CONFIRM: Description = Description::new("signInByLetter", Area::Sessions, "Sign in by the letter")
    .text("By the code of the letter, or by the token of its link. A letter signs in once.")
    .takes(&[Takes::IdempotencyKey, Takes::Device])
    .gives(&[Gives::DeviceCookie])
    .refuses(&[Kind::NotFound, Kind::FlowEnded, Kind::Value]);

/// Who wants to sign in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MagicLinkRequest")]
pub(super) struct Wanted {
    /// The address of the account.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
}

/// `token`, or `flow` and `code`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "MagicLinkProof",
    transform = |schema: &mut Schema| schema::one_of(schema, &[&["token"], &["flow", "code"]])
)]
pub(super) struct Proof {
    /// The token of the link.
    #[schemars(with = "Option<schema::Token>")]
    token: Option<String>,
    /// The flow that the code is of.
    #[schemars(with = "Option<schema::TypedFlow>")]
    flow: Option<String>,
    /// The code of the letter.
    #[schemars(with = "Option<schema::Code>")]
    code: Option<String>,
}

pub(super) async fn request(state: Arc<AppState>, request: Request, body: Wanted) -> Result<FlowReplyBody, Problem> {
    state.services.magic_link_is_on()?;
    Ok(state.services.request_magic_link(&caller::repeatable(&request)?, &body.email).await?.into())
}

pub(super) async fn confirm(
    state: Arc<AppState>,
    request: Request,
    body: Proof,
) -> Result<WithHeaders<TokensBody>, Problem> {
    state.services.magic_link_is_on()?;
    let caller = caller::repeatable(&request)?;
    let Proof { token, flow, code } = body;
    let tokens = match (token, flow, code) {
        (Some(token), None, None) => state.services.sign_in_by_link(&caller, &token, OpenedBy::Program).await?,
        (None, Some(flow), Some(code)) => state.services.sign_in_by_code(&caller, &flow, &code, &[]).await?,
        (token, flow, code) => return Err(super::code_or_token(&token, &flow, &code)),
    };
    let SignedIn { tokens, device } = SignedIn::of(tokens, request.names())?;
    let said = WithHeaders::new(TokensBody::from(tokens));
    Ok(match device {
        Some(device) => said.header(SET_COOKIE, device),
        None => said,
    })
}
