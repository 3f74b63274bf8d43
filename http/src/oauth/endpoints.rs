//! Token, revocation, introspection, userinfo.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use cairn_actors::oauth::error::OAuthError;
use cairn_actors::oauth::parameters::Parameters;
use cairn_actors::secrets::signing_algorithm::SigningAlgorithm;
use cairn_actors::services::provider::{ClientRefusal, ShownCredentials};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::error::{bearer_refused, no_token, refused};
use crate::access::caller;
use crate::decode;
use crate::reply::Reply;
use crate::request::Request;
use crate::route::Answer;
use crate::state::AppState;

/// The parameters of a form.
fn parameters(request: &Request) -> Result<Parameters, OAuthError> {
    let pairs =
        decode::form(request.body()).ok_or_else(|| OAuthError::invalid_request("The form is not well encoded."))?;
    Ok(Parameters::new(pairs))
}

/// What the header `Authorization` shows of a client: id and secret are encoded as in a form (RFC 6749 section 2.3.1).
fn shown(request: &Request) -> Result<ShownCredentials, OAuthError> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(ShownCredentials::default()) };
    let value = value.to_str().map_err(|_| OAuthError::invalid_client())?;
    let (scheme, encoded) = value.split_once(' ').ok_or_else(OAuthError::invalid_client)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(OAuthError::invalid_client());
    }
    let decoded = Base64::decode_vec(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(OAuthError::invalid_client)?;
    let (id, secret) = decoded.split_once(':').ok_or_else(OAuthError::invalid_client)?;
    let text = |part: &str| {
        // Many clients do not encode what need not be: what is no encoding is taken as it stands.
        let bytes = decode::percent(part.as_bytes(), true);
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| part.to_owned())
    };
    Ok(ShownCredentials { basic: Some((text(id), text(secret))) })
}

fn sent(request: &Request) -> Result<(ShownCredentials, Parameters), ClientRefusal> {
    Ok((shown(request)?, parameters(request)?))
}

/// `POST /oauth/token` (RFC 6749 section 3.2).
pub(super) async fn token(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller::of(&request);
    let answer = match sent(&request) {
        Ok((shown, parameters)) => state.services.provider().token(&caller, shown, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(tokens) => Reply::json(StatusCode::OK, &tokens),
        Err(refusal) => refused(refusal),
    }
}

/// `POST /oauth/revoke` (RFC 7009).
pub(super) async fn revoke(state: Arc<AppState>, request: Request) -> Answer {
    let caller = caller::of(&request);
    let answer = match sent(&request) {
        Ok((shown, parameters)) => state.services.provider().revoke(&caller, shown, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(()) => Ok(Reply::empty(StatusCode::OK)),
        Err(refusal) => refused(refusal),
    }
}

/// `POST /oauth/introspect` (RFC 7662).
pub(super) async fn introspect(state: Arc<AppState>, request: Request) -> Answer {
    let answer = match sent(&request) {
        Ok((shown, parameters)) => state.services.provider().introspect(shown, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(told) => Reply::json(StatusCode::OK, &told),
        Err(refusal) => refused(refusal),
    }
}

/// `GET` and `POST /oauth/userinfo` (OpenID Connect Core section 5.3): the token in the header, or in a form.
pub(super) async fn userinfo(state: Arc<AppState>, request: Request) -> Answer {
    let is_form = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded"));
    let posted = match (is_form, parameters(&request)) {
        (true, Ok(form)) => form.first("access_token").map(str::to_owned),
        _ => None,
    };
    let token = match (request.bearer(), posted) {
        (Some(_), Some(_)) => return refused(OAuthError::invalid_request("Send the access token once.").into()),
        (Some(token), None) => token.to_owned(),
        (None, Some(token)) => token,
        (None, None) => return Ok(no_token()),
    };
    let provider = state.services.provider();
    let (claims, client) = match provider.userinfo(&token).await {
        Ok(told) => told,
        Err(refusal) => return bearer_refused(refusal),
    };
    let signed: Option<(SigningAlgorithm, String)> = client
        .and_then(|client| client.metadata.userinfo_signed_response_alg.map(|algorithm| (algorithm, client.client_id)));
    match signed {
        None => Reply::json(StatusCode::OK, &claims),
        Some((algorithm, client_id)) => match provider.signed_userinfo(algorithm, &client_id, claims).await {
            Ok(jwt) => Ok(Reply::bytes(StatusCode::OK, HeaderValue::from_static("application/jwt"), jwt)),
            Err(why) => Err(why.into()),
        },
    }
}
