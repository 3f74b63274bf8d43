//! The JSON interface: its table of URLs, and what all its endpoints say the same way.

use std::borrow::Cow;
use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::services::session::SignedIn;
use cairn_actors::services::{Caller, FlowView, Moved, Repeat};
use cairn_runtime::{Method, Timestamp};
use http::Method as Verb;
use serde::Serialize;

use crate::access::{Access, device, rate};
use crate::problem::Problem;
use crate::request::Request;
use crate::route_group::{Route, RouteGroup, Schema, TableFault};
use crate::state::AppState;

mod config;
mod devices;
mod email_change;
mod login;
mod logout;
pub(crate) mod me;
mod password_change;
mod password_reset;
mod refresh;
mod register;
mod sessions;
mod verify_email;

static ROUTES: &[Route<AppState>] = &[
    route(Verb::GET, "/auth/config", Access::Open, Schema::Nothing, |state, request| {
        Box::pin(config::show(state, request))
    })
    .limited(rate::PAGE),
    route(Verb::POST, "/auth/register", Access::Open, Schema::Json, |state, request| {
        Box::pin(register::begin(state, request))
    })
    .limited(rate::REGISTER),
    route(Verb::GET, "/auth/register/{flow}", Access::Open, Schema::Nothing, |state, request| {
        Box::pin(register::status(state, request))
    })
    .limited(rate::STATUS),
    route(Verb::POST, "/auth/register/{flow}/resend", Access::Open, Schema::Json, |state, request| {
        Box::pin(register::resend(state, request))
    })
    .limited(rate::RESEND),
    route(Verb::POST, "/auth/verify-email", Access::Open, Schema::Json, |state, request| {
        Box::pin(verify_email::verify(state, request))
    })
    .limited(rate::CODE),
    route(Verb::POST, "/auth/login", Access::Open, Schema::Json, |state, request| {
        Box::pin(login::login(state, request))
    })
    .limited(rate::LOGIN),
    route(Verb::POST, "/auth/refresh", Access::Open, Schema::Json, |state, request| {
        Box::pin(refresh::refresh(state, request))
    })
    .limited(rate::REFRESH),
    route(Verb::POST, "/auth/logout", Access::Open, Schema::Json, |state, request| {
        Box::pin(logout::logout(state, request))
    })
    .limited(rate::CHANGE),
    route(Verb::POST, "/auth/logout-all", Access::Open, Schema::Json, |state, request| {
        Box::pin(sessions::leave_all(state, request))
    })
    .limited(rate::CHANGE),
    route(Verb::GET, "/auth/sessions", Access::Bearer, Schema::Nothing, |state, request| {
        Box::pin(sessions::list(state, request))
    })
    .limited(rate::ACCOUNT),
    route(Verb::DELETE, "/auth/sessions/{session}", Access::Bearer, Schema::Nothing, |state, request| {
        Box::pin(sessions::revoke(state, request))
    })
    .limited(rate::CHANGE),
    route(Verb::POST, "/auth/sessions/end", Access::Open, Schema::Json, |state, request| {
        Box::pin(sessions::disown(state, request))
    })
    .limited(rate::CODE),
    route(Verb::GET, "/auth/devices", Access::Bearer, Schema::Nothing, |state, request| {
        Box::pin(devices::list(state, request))
    })
    .limited(rate::ACCOUNT),
    route(Verb::DELETE, "/auth/devices/{device}", Access::Bearer, Schema::Nothing, |state, request| {
        Box::pin(devices::forget(state, request))
    })
    .limited(rate::CHANGE),
    route(Verb::GET, "/auth/status", Access::Bearer, Schema::Nothing, |state, request| {
        Box::pin(sessions::status(state, request))
    })
    .limited(rate::ACCOUNT),
    route(Verb::POST, "/auth/step-up", Access::Bearer, Schema::Json, |state, request| {
        Box::pin(sessions::step_up(state, request))
    })
    .limited(rate::LOGIN),
    route(Verb::POST, "/auth/password-reset/request", Access::Open, Schema::Json, |state, request| {
        Box::pin(password_reset::request(state, request))
    })
    .limited(rate::RESET),
    route(Verb::POST, "/auth/password-reset/confirm", Access::Open, Schema::Json, |state, request| {
        Box::pin(password_reset::confirm(state, request))
    })
    .limited(rate::CODE),
    route(Verb::POST, "/auth/password-change", Access::FreshBearer, Schema::Json, |state, request| {
        Box::pin(password_change::change(state, request))
    })
    .limited(rate::LOGIN),
    route(Verb::POST, "/auth/email-change", Access::FreshBearer, Schema::Json, |state, request| {
        Box::pin(email_change::begin(state, request))
    })
    .limited(rate::RESET),
    route(Verb::POST, "/auth/email-change/confirm", Access::Open, Schema::Json, |state, request| {
        Box::pin(email_change::confirm(state, request))
    })
    .limited(rate::CODE),
    route(Verb::POST, "/auth/email-change/undo", Access::Open, Schema::Json, |state, request| {
        Box::pin(email_change::undo(state, request))
    })
    .limited(rate::CODE),
    route(Verb::GET, "/users/me", Access::Bearer, Schema::Nothing, |state, request| Box::pin(me::show(state, request)))
        .limited(rate::ACCOUNT),
    route(Verb::PUT, "/users/me", Access::Bearer, Schema::Json, |state, request| Box::pin(me::edit(state, request)))
        .limited(rate::CHANGE),
    route(Verb::DELETE, "/users/me", Access::FreshBearer, Schema::Json, |state, request| {
        Box::pin(me::delete(state, request))
    })
    .limited(rate::LOGIN),
    route(Verb::GET, "/users/me/export", Access::FreshBearer, Schema::Nothing, |state, request| {
        Box::pin(me::export(state, request))
    })
    .limited(rate::EXPORT),
];

const fn route(
    method: Verb,
    path: &'static str,
    access: Access,
    schema: Schema,
    run: crate::route_group::Run<AppState>,
) -> Route<AppState> {
    Route { method, path, access, bucket: None, schema, run }
}

/// The route group of the JSON interface.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("api", Arc::clone(state), ROUTES)?.below(&["/auth", "/users"]).cross_origin())
}

/// Who asks. An `Idempotency-Key` of 1 to 255 visible ASCII characters makes the request a repeatable one.
pub(crate) fn caller(request: &Request) -> Result<Caller, Problem> {
    let mut keys = request.headers().get_all("idempotency-key").iter();
    let repeat = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(key), None) if matches!(key.len(), 1..=255) && key.as_bytes().iter().all(u8::is_ascii_graphic) => {
            let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
            Some(Repeat { route: format!("{} {}", request.method(), request.path()), key })
        }
        _ => return Err(Problem::unreadable("Send one Idempotency-Key of 1 to 255 visible ASCII characters.")),
    };
    Ok(Caller { repeat, ..stranger(request) })
}

/// Who asks, at an endpoint that has its own way with repeats.
pub(crate) fn stranger(request: &Request) -> Caller {
    Caller {
        trace: request.id().to_owned(),
        address: request.client(),
        device: request.words_of("user-agent").map(Cow::into_owned),
        known_by: device::presented(request).map(str::to_owned),
        repeat: None,
    }
}

/// Whose access token it is.
pub(crate) fn signed_in(request: &Request) -> Result<&SignedIn, Problem> {
    request.extensions().get::<SignedIn>().ok_or_else(Problem::no_token)
}

/// What is wrong with a body that takes a link's token, or a code with its flow.
fn code_or_token(token: &Option<String>, flow: &Option<String>, code: &Option<String>) -> Problem {
    let pointer = match (token, flow, code) {
        (Some(_), Some(_), _) | (None, None, Some(_)) => "/flow",
        (Some(_), None, Some(_)) | (None, Some(_), None) => "/code",
        _ => "/token",
    };
    Problem::unreadable_at(pointer, "Send `token`, or `flow` and `code`.")
}

/// An instant as RFC 3339 in UTC, to the millisecond; empty beyond the year 9999, which no clock of ours shows.
pub(crate) fn instant(at: Timestamp) -> String {
    cairn_actors::instant::text(at).unwrap_or_default()
}

/// A flow, as every answer shows it.
#[derive(Debug, Serialize)]
pub(crate) struct FlowBody {
    id: String,
    kind: &'static str,
    phase: String,
    version: u64,
    expires_at: Option<String>,
}

impl From<FlowView> for FlowBody {
    fn from(flow: FlowView) -> Self {
        let FlowView { id, kind, phase, version, expires_at } = flow;
        Self { id, kind, phase, version, expires_at: expires_at.map(instant) }
    }
}

/// A user, as those answers show it that have just proved an address.
#[derive(Debug, Serialize)]
pub(crate) struct UserBody {
    id: String,
    email: String,
    username: Option<String>,
}

impl From<&User> for UserBody {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.text(),
            email: user.address.typed().to_owned(),
            username: user.username.as_ref().map(ToString::to_string),
        }
    }
}

/// A flow that moved, and how the input reached it.
#[derive(Debug, Serialize)]
pub(crate) struct MovedBody {
    flow: FlowBody,
    method: Method,
}

impl From<Moved> for MovedBody {
    fn from(moved: Moved) -> Self {
        Self { flow: moved.flow.into(), method: moved.method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_that_a_route_names_is_in_the_table() {
        let named: Vec<_> = ROUTES.iter().filter_map(|route| route.bucket).collect();
        assert!(named.len() >= 4, "{named:?}");
        assert!(named.iter().all(|bucket| rate::is_known(bucket)), "{named:?}");
    }

    #[test]
    fn every_route_is_limited() {
        let free: Vec<_> = ROUTES.iter().filter(|route| route.bucket.is_none()).map(|route| route.path).collect();
        assert!(free.is_empty(), "{free:?}");
    }
}
