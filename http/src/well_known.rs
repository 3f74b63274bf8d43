//! `/.well-known/…`: what others must know to verify our tokens.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode};

use crate::access::Access;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::{Answer, Route, RouteGroup, Schema, TableFault};
use crate::state::AppState;

static ROUTES: &[Route<AppState>] = &[
    Route {
        method: Method::GET,
        path: "/.well-known/jwks.json",
        access: Access::Open,
        bucket: None,
        schema: Schema::Nothing,
        run: |state, request| Box::pin(jwks(state, request)),
    },
    Route {
        method: Method::GET,
        path: "/.well-known/change-password",
        access: Access::Open,
        bucket: Some(crate::access::rate::PAGE),
        schema: Schema::Nothing,
        run: |state, request| Box::pin(crate::pages::change_password(state, request)),
    },
];

/// The route group of well-known resources (RFC 8615).
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("well-known", Arc::clone(state), ROUTES)?.below(&["/.well-known"]).cross_origin())
}

/// The public keys (RFC 7517, section 5). A key is published before its first use, so five minutes are safe.
async fn jwks(state: Arc<AppState>, _request: Request) -> Answer {
    let keys = state.services.engine.world().signing.jwks();
    let age = HeaderValue::from_static("public, max-age=300");
    Ok(Reply::json(StatusCode::OK, &keys)?.header(CACHE_CONTROL, age))
}
