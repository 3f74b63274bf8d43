//! The pages that people meet: their table of URLs, their theme, and the page that tells of a problem.

use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::rate::{ADVICE, AUTHORIZE, CHANGE, CODE, EVENTS, HISTORY, LOGIN, PAGE, REGISTER, RESEND, RESET};
use crate::description::{Area, Description};
use crate::problem::Problem;
use crate::reply::{PAGE_POLICY, Reply};
use crate::request::Request;
use crate::route::{Answer, RouteSpec, call, reply, routes};
use crate::route_group::{RouteGroup, TableFault};
use crate::state::AppState;
use crate::theme::Page;
use crate::views::ExportBody;

mod account;
mod advice;
mod authorize;
mod links;
mod login;
mod magic_link;
mod mailbox;
mod page_request;
mod problem_page;
mod register;
mod reset_password;
mod sign_out;
mod verify_email;
mod waiting;

use self::account::Who;
use self::links::Link;
use self::page_request::PageRequest;

/// Calls a handler of this table. A page's is given the request as pages see it; then, where the line asks for a session,
/// who is signed in, and everybody else is led to sign in; then a form after the check of its token. A handler of data
/// is called as everywhere.
macro_rules! page_call {
    ($state:ident, $request:ident, open, none, [200($says:ty)], $run:expr) => {
        call!($state, $request, open, none, [200($says)], $run)
    };
    ($state:ident, $request:ident, open, none, [file], $run:expr) => {
        call!($state, $request, open, none, [file], $run)
    };
    ($state:ident, $request:ident, loopback, none, [$($said:tt)+], $run:expr) => {
        call!($state, $request, open, none, [$($said)+], $run)
    };
    ($state:ident, $request:ident, open, none, [$($said:tt)+], $run:expr) => {
        ($run)(PageRequest::new($state, $request))
    };
    ($state:ident, $request:ident, open, form, [$($said:tt)+], $run:expr) => { async move {
        let form = $request.form()?;
        ($run)(PageRequest::new($state, $request), form).await
    }};
    ($state:ident, $request:ident, own_form, form, [200($says:ty)], $run:expr) => { async move {
        let (request, sent) = PageRequest::with_form($state, $request)?;
        reply::<$says>(StatusCode::OK, ($run)(request, sent).await?)
    }};
    ($state:ident, $request:ident, own_form, form, [$($said:tt)+], $run:expr) => { async move {
        let (request, sent) = PageRequest::with_form($state, $request)?;
        ($run)(request, sent).await
    }};
    ($state:ident, $request:ident, session, none, [$($said:tt)+], $run:expr) => { async move {
        let request = PageRequest::new($state, $request);
        match request.who().await {
            Who::Somebody(who) => ($run)(request, *who).await,
            Who::Nobody(answer) => answer,
        }
    }};
    ($state:ident, $request:ident, session_form, form, [$($said:tt)+], $run:expr) => { async move {
        let (request, sent) = PageRequest::with_form($state, $request)?;
        match request.who().await {
            Who::Somebody(who) => ($run)(request, *who, sent).await,
            Who::Nobody(answer) => answer,
        }
    }};
    ($state:ident, $request:ident, session_form_or_repeat, form, [$($said:tt)+], $run:expr) => { async move {
        let (request, sent) = PageRequest::with_form($state, $request)?;
        let who = request.who().await;
        ($run)(request, who, sent).await
    }};
}
routes! {
    static ROUTES: AppState, page_call;
    GET "/", open, none => page, PAGE, home;
    GET "/register", open, none => page, PAGE, register::show;
    POST "/register", own_form, form => page, REGISTER, register::begin;
    POST "/password-strength", own_form, form => 200(advice::Advice), ADVICE, advice::advise;
    GET "/verify-email", open, none => page, PAGE, verify_email::show;
    POST "/verify-email", own_form, form => page, CODE, verify_email::verify;
    POST "/verify-email/resend", own_form, form => page, RESEND, verify_email::resend;
    GET "/verify-email/resend", open, none => page, PAGE, |request| back(request, "/verify-email");
    GET "/verify-email/events", open, none => events, EVENTS, verify_email::events;
    GET "/login", open, none => page, PAGE, login::show;
    POST "/login", own_form, form => page, LOGIN, login::sign_in;
    GET "/oauth/authorize", open, none => page, AUTHORIZE, authorize::begin;
    POST "/oauth/authorize", open, form => page, AUTHORIZE, authorize::begin_by_form;
    GET "/oauth/logout", open, none => page, PAGE, sign_out::begin;
    POST "/oauth/logout", open, form => page, PAGE, sign_out::begin_by_form;
    GET "/consent", open, none => page, PAGE, authorize::show;
    POST "/consent", own_form, form => page, CHANGE, authorize::decide;
    GET "/logout", open, none => page, PAGE, login::ask_to_sign_out;
    POST "/logout", own_form, form => page, CHANGE, login::sign_out;
    GET "/signed-out", open, none => page, PAGE, login::signed_out;
    GET "/forgot-password", open, none => page, PAGE, reset_password::ask;
    POST "/forgot-password", own_form, form => page, RESET, reset_password::begin;
    GET "/reset-password", open, none => page, PAGE, reset_password::show;
    POST "/reset-password", own_form, form => page, CODE, reset_password::reset;
    POST "/reset-password/resend", own_form, form => page, RESET, reset_password::resend;
    GET "/reset-password/resend", open, none => page, PAGE, |request| back(request, "/reset-password");
    GET "/reset-password/events", open, none => events, EVENTS, reset_password::events;
    GET "/magic-link", open, none => page, PAGE, magic_link::show;
    POST "/magic-link", own_form, form => page, RESET, magic_link::begin;
    POST "/magic-link/code", own_form, form => page, CODE, magic_link::enter;
    POST "/magic-link/link", own_form, form => page, CODE, magic_link::press;
    POST "/magic-link/resend", own_form, form => page, RESET, magic_link::resend;
    GET "/magic-link/code", open, none => page, PAGE, magic_link::back;
    GET "/magic-link/link", open, none => page, PAGE, magic_link::back;
    GET "/magic-link/resend", open, none => page, PAGE, magic_link::back;
    GET "/magic-link/events", open, none => events, EVENTS, magic_link::events;
    GET "/account", session, none => page, PAGE, account::show;
    GET "/account/profile", session, none => page, PAGE, account::profile::show;
    POST "/account/profile", session_form, form => page, CHANGE, account::profile::save;
    GET "/account/password", session, none => page, PAGE, account::password::show;
    POST "/account/password", session_form_or_repeat, form => page, LOGIN, account::password::change;
    GET "/account/email", session, none => page, PAGE, account::email::show;
    POST "/account/email", session_form, form => page, RESET, account::email::begin;
    POST "/account/email/code", session_form, form => page, CODE, account::email::confirm;
    POST "/account/email/resend", session_form, form => page, RESET, account::email::resend;
    GET "/account/email/code", open, none => page, PAGE, |request| back(request, "/account/email");
    GET "/account/email/resend", open, none => page, PAGE, |request| back(request, "/account/email");
    GET "/account/email/events", open, none => events, EVENTS, account::email::events;
    GET "/account/sessions", session, none => page, PAGE, account::sessions::show;
    POST "/account/sessions/end", session_form, form => page, CHANGE, account::sessions::end;
    GET "/account/devices", session, none => page, PAGE, account::devices::show;
    POST "/account/devices/forget", session_form, form => page, CHANGE, account::devices::forget;
    GET "/account/applications", session, none => page, PAGE, account::applications::show;
    POST "/account/applications/end", session_form, form => page, CHANGE, account::applications::end;
    GET "/account/history", session, none => page, HISTORY, account::history::show;
    GET "/account/export", session, none => page, PAGE, account::export::show;
    POST "/account/export", session_form, form => page | 200(ExportBody), LOGIN, account::export::download;
    GET "/account/delete", session, none => page, PAGE, account::deletion::show;
    POST "/account/delete", session_form_or_repeat, form => page, LOGIN, account::deletion::delete;
    GET "/email-change", open, none => page, PAGE, |request| links::show(request, Link::EmailChange);
    POST "/email-change", own_form, form => page, CODE, |request, sent| links::press(request, sent, Link::EmailChange);
    GET "/undo-email-change", open, none => page, PAGE, |request| links::show(request, Link::Undo);
    POST "/undo-email-change", own_form, form => page, CODE, |request, sent| links::press(request, sent, Link::Undo);
    GET "/end-session", open, none => page, PAGE, |request| links::show(request, Link::EndSession);
    POST "/end-session", own_form, form => page, CODE, |request, sent| links::press(request, sent, Link::EndSession);
    GET "/dev/mail", loopback, none => page | 200(mailbox::Mails), unlimited, mailbox::show;
    GET "/health", open, none => 200(Health), unlimited, health, HEALTH;
    GET "/assets/{file}", open, none => file, unlimited, asset;
}

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of pages. It says 404 for every path that no group has.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    let group = RouteGroup::new("pages", Arc::clone(state), ROUTES)?;
    Ok(group.errors(problem_page::tell).page_policy(PAGE_POLICY).forms_again().everything_else())
}

const HEALTH: Description = Description::new("getHealth", Area::Server, "Ask whether the server answers");

/// That the server answers.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// Always `ok`.
    status: &'static str,
}

async fn health(_state: Arc<AppState>, _request: Request) -> Result<Health, Problem> {
    Ok(Health { status: "ok" })
}

/// The start: one's account, or the way to it.
async fn home(request: PageRequest) -> Answer {
    let there = if request.browser.session.is_some() { "/account" } else { "/login" };
    request.go(there)
}

/// Where only a form is sent to, opened as a page: from the address bar, or because it was answered there with a page.
async fn back(request: PageRequest, page: &'static str) -> Answer {
    request.go(page)
}

/// A stylesheet, script or picture.
async fn asset(state: Arc<AppState>, request: Request) -> Answer {
    state.theme.assets.serve(request.param("file"))
}

/// Where password managers are led to: see [`account::password::well_known`].
pub(crate) async fn change_password(state: Arc<AppState>, request: Request) -> Answer {
    account::password::well_known(PageRequest::new(state, request)).await
}

/// A page that needs no browser's name.
fn plain(state: &AppState, page: &Page) -> Answer {
    match page.draw(&state.theme, "") {
        Ok(html) => Ok(Reply::html(page.status, html)),
        Err(why) => Err(Problem::fault(format!("the template {}: {why:#}", page.template))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rate;

    #[test]
    fn every_route_is_limited_but_what_costs_nothing() {
        let free: Vec<_> = specs().filter(|line| line.bucket.is_none()).map(|line| line.path).collect();
        // The mailbox is for the machine itself.
        assert_eq!(free, ["/dev/mail", "/health", "/assets/{file}"]);
        let named: Vec<_> = specs().filter_map(|line| line.bucket).collect();
        assert!(named.iter().all(|bucket| rate::is_known(bucket)), "{named:?}");
    }
}
