//! The JSON interface: its table of URLs, and what all its endpoints say the same way.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::services::{FlowReply, FlowView};
use cairn_runtime::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::rate::{ACCOUNT, CHANGE, CODE, EXPORT, LOGIN, PAGE, REFRESH, REGISTER, RESEND, RESET, STATUS};
use crate::problem::Problem;
use crate::reply::instant;
use crate::route::{RouteSpec, call, routes};
use crate::route_group::{Cors, RouteGroup, TableFault};
use crate::schema;
use crate::state::AppState;
use crate::views::{ExportBody, Profile};

mod config;
mod devices;
mod email_change;
mod login;
mod logout;
mod magic_link;
mod me;
mod password_change;
mod password_reset;
mod refresh;
mod register;
mod sessions;
mod verify_email;

use self::login::TokensBody;

routes! {
    static ROUTES: AppState, call;
    GET "/auth/config", open, none => 200(config::Config), PAGE, config::show, config::SHOW;
    POST "/auth/register", open, json(register::Body) => 202(FlowReplyBody), REGISTER, register::begin, register::BEGIN;
    GET "/auth/register/{flow}", open, none => 200(register::Status), STATUS, register::status, register::STATUS;
    POST "/auth/register/{flow}/resend", open, no_members => 202(FlowReplyBody), RESEND, register::resend, register::RESEND;
    POST "/auth/verify-email", open, json(verify_email::Body) => 200(verify_email::Verified), CODE, verify_email::verify, verify_email::VERIFY;
    POST "/auth/login", open, json(login::Body) => 200(TokensBody), LOGIN, login::login, login::SIGN_IN;
    POST "/auth/magic-link", open, json(magic_link::Wanted) => 202(FlowReplyBody), RESET, magic_link::request, magic_link::REQUEST;
    POST "/auth/magic-link/confirm", open, json(magic_link::Proof) => 200(TokensBody), CODE, magic_link::confirm, magic_link::CONFIRM;
    POST "/auth/refresh", open, json(refresh::Body) => 200(TokensBody), REFRESH, refresh::refresh, refresh::REFRESH;
    POST "/auth/logout", open, json(refresh::Body) => 204, CHANGE, logout::logout, logout::SIGN_OUT;
    POST "/auth/logout-all", bearer_or_repeat, no_members => 204, CHANGE, sessions::leave_all, sessions::LEAVE_ALL;
    GET "/auth/sessions", bearer, none => 200(sessions::Sessions), ACCOUNT, sessions::list, sessions::LIST;
    DELETE "/auth/sessions/{session}", bearer, none => 204, CHANGE, sessions::revoke, sessions::REVOKE;
    POST "/auth/sessions/end", open, json(sessions::Link) => 204, CODE, sessions::disown, sessions::DISOWN;
    GET "/auth/devices", bearer, none => 200(devices::Devices), ACCOUNT, devices::list, devices::LIST;
    DELETE "/auth/devices/{device}", bearer, none => 204, CHANGE, devices::forget, devices::FORGET;
    GET "/auth/status", bearer, none => 200(sessions::Status), ACCOUNT, sessions::status, sessions::STATUS;
    POST "/auth/step-up", bearer, json(sessions::StepUp) => 200(TokensBody), LOGIN, sessions::step_up, sessions::STEP_UP;
    POST "/auth/password-reset/request", open, json(password_reset::Forgotten) => 202(FlowReplyBody), RESET, password_reset::request, password_reset::REQUEST;
    POST "/auth/password-reset/confirm", open, json(password_reset::Confirmation) => 200(password_reset::Done), CODE, password_reset::confirm, password_reset::CONFIRM;
    POST "/auth/password-change", fresh_bearer, json(password_change::Body) => 200(password_change::Changed), LOGIN, password_change::change, password_change::CHANGE;
    POST "/auth/email-change", fresh_bearer, json(email_change::Wanted) => 202(FlowReplyBody), RESET, email_change::begin, email_change::BEGIN;
    POST "/auth/email-change/confirm", open, json(email_change::Proof) => 200(email_change::Settled), CODE, email_change::confirm, email_change::CONFIRM;
    POST "/auth/email-change/undo", open, json(email_change::Undo) => 200(email_change::Settled), CODE, email_change::undo, email_change::UNDO;
    GET "/users/me", bearer, none => 200(Profile), ACCOUNT, me::show, me::SHOW;
    PUT "/users/me", bearer, json(me::Edit) => 200(Profile), CHANGE, me::edit, me::EDIT;
    DELETE "/users/me", fresh_bearer, json(me::DeletionBody) => 202(FlowReplyBody), LOGIN, me::delete, me::DELETE;
    GET "/users/me/export", fresh_bearer, none => 200(ExportBody), EXPORT, me::export, me::EXPORT;
}

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of the JSON interface.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("api", Arc::clone(state), ROUTES)?.below(&["/auth", "/users"]).cors(Cors::Listed))
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

/// A flow, as every answer shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Flow")]
pub(crate) struct FlowBody {
    /// Its id.
    #[schemars(with = "schema::FlowId")]
    id: String,
    /// Its kind, such as `registration`. More kinds may come.
    kind: &'static str,
    /// Where it stands.
    #[schemars(with = "schema::Phase")]
    phase: String,
    /// The number of its last step, from 1.
    version: u64,
    /// When the phase ends by itself; null at the end.
    #[schemars(with = "Option<schema::Instant>")]
    expires_at: Option<String>,
}

impl From<FlowView> for FlowBody {
    fn from(flow: FlowView) -> Self {
        let FlowView { id, kind, phase, version, expires_at } = flow;
        Self { id, kind, phase, version, expires_at: expires_at.map(instant) }
    }
}

/// A user, as those answers show it that have just proved an address.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserBody {
    /// Its id.
    #[schemars(with = "schema::UserId")]
    id: String,
    /// The address, as it was typed.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
    /// The username; null where there is none, or somebody else was faster.
    #[schemars(with = "Option<schema::Username>")]
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlowReply")]
pub(crate) struct FlowReplyBody {
    /// The flow.
    flow: FlowBody,
    /// How the server reached the flow: as safe either way.
    #[schemars(with = "schema::Method")]
    method: Method,
}

impl From<FlowReply> for FlowReplyBody {
    fn from(moved: FlowReply) -> Self {
        Self { flow: moved.flow.into(), method: moved.method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rate;

    #[test]
    fn every_bucket_that_a_route_names_is_in_the_table() {
        let named: Vec<_> = specs().filter_map(|line| line.bucket).collect();
        assert!(named.len() >= 4, "{named:?}");
        assert!(named.iter().all(|bucket| rate::is_known(bucket)), "{named:?}");
    }

    #[test]
    fn every_route_is_limited() {
        let free: Vec<_> = specs().filter(|line| line.bucket.is_none()).map(|line| line.path).collect();
        assert!(free.is_empty(), "{free:?}");
    }
}
