//! `/.well-known/…`: what others must know to verify our tokens.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::access::rate::PAGE;
use crate::description::{Area, Description, Gives};
use crate::oauth;
use crate::pages;
use crate::problem::Problem;
use crate::request::Request;
use crate::route::{RouteSpec, WithHeaders, call, routes};
use crate::route_group::{Cors, RouteGroup, TableFault};
use crate::state::AppState;

routes! {
    static ROUTES: AppState, call;
    GET "/.well-known/jwks.json", open, none => 200(Jwks), unlimited, jwks, KEYS;
    GET "/.well-known/openid-configuration", open, none => protocol, unlimited, oauth::metadata;
    GET "/.well-known/oauth-authorization-server", open, none => protocol, unlimited, oauth::metadata;
    GET "/.well-known/change-password", open, none => page, PAGE, pages::change_password;
}

const KEYS: Description =
    Description::new("getKeys", Area::Server, "Get the keys under which tokens verify").gives(&[Gives::CacheControl]);

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of well-known resources (RFC 8615).
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("well-known", Arc::clone(state), ROUTES)?.below(&["/.well-known"]).cors(Cors::Everybody))
}

/// A JWK set.
#[derive(Serialize)]
#[serde(transparent)]
struct Jwks(serde_json::Value);

impl JsonSchema for Jwks {
    fn schema_name() -> Cow<'static, str> {
        "KeySet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = |what: &str| serde_json::json!({"type": "string", "description": what});
        let key = serde_json::json!({
            "type": "object",
            "required": ["kty", "kid", "alg", "use"],
            "properties": {
                "kty": text("The family of keys."), "kid": text("Its id, as tokens name it."),
                "alg": text("The algorithm that it is for."), "use": text("`sig`: it verifies signatures."),
                "crv": text("The curve."), "x": text("The public key, or its first coordinate."),
                "y": text("Its second coordinate."), "n": text("The modulus."), "e": text("The exponent."),
            },
        });
        json_schema!({
            "type": "object", "description": "Public keys (RFC 7517, section 5).",
            "required": ["keys"], "properties": {"keys": {"type": "array", "description": "The keys.", "items": key}},
        })
    }
}

/// The public keys (RFC 7517, section 5). A key is published before its first use, so five minutes are safe.
async fn jwks(state: Arc<AppState>, _request: Request) -> Result<WithHeaders<Jwks>, Problem> {
    let keys = Jwks(state.services.engine.environment().signing.jwks());
    Ok(WithHeaders::new(keys).header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")))
}
