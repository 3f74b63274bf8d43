//! Errors as the protocol wants them (RFC 6749 section 5.2, RFC 6750 section 3).

use cairn_actors::oauth::error::{ErrorCode, OAuthError};
use cairn_actors::services::provider::ClientRefusal;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::problem::{Kind, Problem};
use crate::reply::Reply;
use crate::route::Answer;
use crate::route_group::Refused;
use crate::state::AppState;

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// The document of an error.
fn document(status: StatusCode, error: &str, description: &str) -> Reply {
    // The grammar of `error_description`: ASCII without quotes and backslashes.
    let plain = |letter: &char| matches!(letter, ' ' | '!' | '#'..='[' | ']'..='~');
    let description: String = description.chars().filter(plain).collect();
    Reply::json(status, &Body { error, error_description: &description }).unwrap_or_else(|_| Reply::empty(status))
}

/// The status of an error of the protocol.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
        ErrorCode::InsufficientScope => StatusCode::FORBIDDEN,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// An error of an endpoint at which clients authenticate.
pub(super) fn refused(refusal: ClientRefusal) -> Answer {
    match refusal {
        ClientRefusal::Protocol(error) => {
            let reply = document(status(error.code), error.code.word(), &error.description);
            Ok(match error.code {
                // RFC 6749 section 5.2: always, since RFC 9110 wants a challenge with each 401.
                ErrorCode::InvalidClient => {
                    reply.header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\", charset=\"UTF-8\""))
                }
                _ => reply,
            })
        }
        ClientRefusal::Ours(why) => Err(why.into()),
    }
}

/// An error of an endpoint at which access tokens are shown (RFC 6750 section 3).
pub(super) fn bearer_refused(refusal: ClientRefusal) -> Answer {
    match refusal {
        ClientRefusal::Protocol(error) => Ok(challenged(&error)),
        ClientRefusal::Ours(why) => Err(why.into()),
    }
}

/// No token came at all: a challenge without an error (RFC 6750 section 3.1).
pub(super) fn no_token() -> Reply {
    let error = OAuthError::new(ErrorCode::InvalidToken, "Send an access token in the header Authorization: Bearer.");
    let reply = document(StatusCode::UNAUTHORIZED, error.code.word(), &error.description);
    reply.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn challenged(error: &OAuthError) -> Reply {
    let reply = document(status(error.code), error.code.word(), &error.description);
    let scope = if error.code == ErrorCode::InsufficientScope { ", scope=\"openid\"" } else { "" };
    let text = format!("Bearer error=\"{}\", error_description=\"{}\"{scope}", error.code.word(), error.description);
    reply.header(WWW_AUTHENTICATE, HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer")))
}

/// Tells of a problem that was found before an endpoint was reached, or that is ours.
pub(super) fn tell(_state: &AppState, problem: &Problem, _refused: &Refused<'_>) -> Reply {
    let (code, status) = match problem.kind() {
        Kind::Fault => (ErrorCode::ServerError, problem.status()),
        Kind::Unavailable | Kind::Storage | Kind::SlowDown | Kind::Timeout => {
            (ErrorCode::TemporarilyUnavailable, problem.status())
        }
        // What cannot be read is a bad request, however it cannot.
        Kind::Unreadable | Kind::MediaType | Kind::Value => (ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST),
        _ => (ErrorCode::InvalidRequest, problem.status()),
    };
    let mut reply = problem.dress(document(status, code.word(), problem.told()));
    reply.status = status;
    reply
}
