//! `/.well-known/…`: what others must know to verify our tokens.

use std::sync::Arc;

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use crate::access::rate::PAGE;
use crate::pages;
use crate::problem::Problem;
use crate::request::Request;
use crate::route::{RouteSpec, WithHeaders, call, routes};
use crate::route_group::{Cors, RouteGroup, TableFault};
use crate::state::AppState;

routes! {
    static ROUTES: AppState, call;
    GET "/.well-known/jwks.json", open, none => 200(Jwks), unlimited, jwks;
    GET "/.well-known/change-password", open, none => page, PAGE, pages::change_password;
}

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of well-known resources (RFC 8615).
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("well-known", Arc::clone(state), ROUTES)?.below(&["/.well-known"]).cors(Cors::Listed))
}

/// A JWK set.
#[derive(Serialize)]
#[serde(transparent)]
struct Jwks(serde_json::Value);

/// The public keys (RFC 7517, section 5). A key is published before its first use, so five minutes are safe.
async fn jwks(state: Arc<AppState>, _request: Request) -> Result<WithHeaders<Jwks>, Problem> {
    let keys = Jwks(state.services.engine.environment().signing.jwks());
    Ok(WithHeaders::new(keys).header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")))
}
