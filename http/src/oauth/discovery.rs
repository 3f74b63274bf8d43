//! What clients find out about the provider by themselves (RFC 8414, OpenID Connect Discovery 1.0).

use std::sync::Arc;

use cairn_actors::oauth::claims::CLAIMS;
use cairn_actors::oauth::scope::USUAL;
use cairn_actors::secrets::signing_algorithm::SigningAlgorithm;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route::Answer;
use crate::state::AppState;

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`: both say the same.
pub(crate) async fn metadata(state: Arc<AppState>, _request: Request) -> Answer {
    let environment = state.services.engine.environment();
    let issuer = &environment.settings.public_url;
    let at = |path: &str| format!("{issuer}{path}");
    let algorithms = SigningAlgorithm::ALL.map(SigningAlgorithm::name);
    let methods = ["client_secret_basic", "client_secret_post", "none"];
    let claims: Vec<&str> = CLAIMS.iter().map(|(name, _)| *name).chain(["auth_time", "amr", "sid"]).collect();
    let mut prompts = vec!["none", "login", "consent", "select_account"];
    if environment.settings.registration {
        prompts.push("create");
    }
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("/oauth/authorize"),
        "token_endpoint": at("/oauth/token"),
        "userinfo_endpoint": at("/oauth/userinfo"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "revocation_endpoint": at("/oauth/revoke"),
        "introspection_endpoint": at("/oauth/introspect"),
        "end_session_endpoint": at("/oauth/logout"),
        "scopes_supported": USUAL,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "userinfo_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claim_types_supported": ["normal"],
        "claims_supported": claims,
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "prompt_values_supported": prompts,
        "display_values_supported": ["page"],
        "ui_locales_supported": ["en"],
        "authorization_response_iss_parameter_supported": true,
        "service_documentation": at("/openapi.json"),
    });
    let reply = Reply::json(StatusCode::OK, &document).map_err(|_| Problem::fault("discovery"))?;
    Ok(reply.header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")))
}
