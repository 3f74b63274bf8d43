//! The pages that people meet: their table of URLs, their theme, and the page that tells of a problem.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::access::{Access, rate};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::{Answer, Route, RouteGroup, Run, Schema, TableFault};
use crate::state::AppState;

mod account;
mod advice;
mod assets;
mod colour;
mod fixtures;
mod links;
mod lint;
mod login;
mod mailbox;
mod page;
mod page_request;
mod problem_page;
mod register;
mod reset_password;
mod theme;
mod verify_email;
mod waiting;
mod words;

pub use self::assets::Logo;
pub use self::colour::{Accent, NoAccent};
use self::links::Link;
use self::page_request::PageRequest;
pub use self::theme::{Brand, Theme};

static ROUTES: &[Route<AppState>] = &[
    page("/", |state, request| Box::pin(home(state, request))),
    page("/register", |state, request| Box::pin(register::show(state, request))),
    form("/register", |state, request| Box::pin(register::begin(state, request))).limited(rate::REGISTER),
    form("/password-strength", |state, request| Box::pin(advice::advise(state, request))).limited(rate::ADVICE),
    page("/verify-email", |state, request| Box::pin(verify_email::show(state, request))),
    form("/verify-email", |state, request| Box::pin(verify_email::verify(state, request))).limited(rate::CODE),
    form("/verify-email/resend", |state, request| Box::pin(verify_email::resend(state, request))).limited(rate::RESEND),
    page("/verify-email/resend", |state, request| Box::pin(back(state, request, "/verify-email"))),
    page("/verify-email/events", |state, request| Box::pin(verify_email::events(state, request))).limited(rate::EVENTS),
    page("/login", |state, request| Box::pin(login::show(state, request))),
    form("/login", |state, request| Box::pin(login::sign_in(state, request))).limited(rate::LOGIN),
    page("/logout", |state, request| Box::pin(login::ask_to_sign_out(state, request))),
    form("/logout", |state, request| Box::pin(login::sign_out(state, request))).limited(rate::CHANGE),
    page("/signed-out", |state, request| Box::pin(login::signed_out(state, request))),
    page("/forgot-password", |state, request| Box::pin(reset_password::ask(state, request))),
    form("/forgot-password", |state, request| Box::pin(reset_password::begin(state, request))).limited(rate::RESET),
    page("/reset-password", |state, request| Box::pin(reset_password::show(state, request))),
    form("/reset-password", |state, request| Box::pin(reset_password::reset(state, request))).limited(rate::CODE),
    form("/reset-password/resend", |state, request| Box::pin(reset_password::resend(state, request)))
        .limited(rate::RESET),
    page("/reset-password/resend", |state, request| Box::pin(back(state, request, "/reset-password"))),
    page("/reset-password/events", |state, request| Box::pin(reset_password::events(state, request)))
        .limited(rate::EVENTS),
    page("/account", |state, request| Box::pin(account::show(state, request))),
    page("/account/profile", |state, request| Box::pin(account::profile::show(state, request))),
    form("/account/profile", |state, request| Box::pin(account::profile::save(state, request))).limited(rate::CHANGE),
    page("/account/password", |state, request| Box::pin(account::password::show(state, request))),
    form("/account/password", |state, request| Box::pin(account::password::change(state, request)))
        .limited(rate::LOGIN),
    page("/account/email", |state, request| Box::pin(account::email::show(state, request))),
    form("/account/email", |state, request| Box::pin(account::email::begin(state, request))).limited(rate::RESET),
    form("/account/email/code", |state, request| Box::pin(account::email::confirm(state, request))).limited(rate::CODE),
    form("/account/email/resend", |state, request| Box::pin(account::email::resend(state, request)))
        .limited(rate::RESET),
    page("/account/email/code", |state, request| Box::pin(back(state, request, "/account/email"))),
    page("/account/email/resend", |state, request| Box::pin(back(state, request, "/account/email"))),
    page("/account/email/events", |state, request| Box::pin(account::email::events(state, request)))
        .limited(rate::EVENTS),
    page("/account/sessions", |state, request| Box::pin(account::sessions::show(state, request))),
    form("/account/sessions/end", |state, request| Box::pin(account::sessions::end(state, request)))
        .limited(rate::CHANGE),
    page("/account/devices", |state, request| Box::pin(account::devices::show(state, request))),
    form("/account/devices/forget", |state, request| Box::pin(account::devices::forget(state, request)))
        .limited(rate::CHANGE),
    page("/account/history", |state, request| Box::pin(account::history::show(state, request))).limited(rate::HISTORY),
    page("/account/export", |state, request| Box::pin(account::export::show(state, request))),
    form("/account/export", |state, request| Box::pin(account::export::download(state, request))).limited(rate::LOGIN),
    page("/account/delete", |state, request| Box::pin(account::deletion::show(state, request))),
    form("/account/delete", |state, request| Box::pin(account::deletion::delete(state, request))).limited(rate::LOGIN),
    page("/email-change", |state, request| Box::pin(links::show(state, request, Link::EmailChange))),
    form("/email-change", |state, request| Box::pin(links::press(state, request, Link::EmailChange)))
        .limited(rate::CODE),
    page("/undo-email-change", |state, request| Box::pin(links::show(state, request, Link::Undo))),
    form("/undo-email-change", |state, request| Box::pin(links::press(state, request, Link::Undo))).limited(rate::CODE),
    page("/end-session", |state, request| Box::pin(links::show(state, request, Link::EndSession))),
    form("/end-session", |state, request| Box::pin(links::press(state, request, Link::EndSession))).limited(rate::CODE),
    Route {
        method: Method::GET,
        path: "/dev/mail",
        access: Access::Loopback,
        bucket: None,
        schema: Schema::Nothing,
        run: |state, request| Box::pin(mailbox::show(state, request)),
    },
    page("/health", |_, _| Box::pin(async { Reply::json(StatusCode::OK, &serde_json::json!({ "status": "ok" })) }))
        .unlimited(),
    page("/assets/{file}", |state, request| Box::pin(async move { state.theme.assets.serve(request.param("file")) }))
        .unlimited(),
];

/// What is shown to everybody.
const fn page(path: &'static str, run: Run<AppState>) -> Route<AppState> {
    Route { method: Method::GET, path, access: Access::Open, bucket: Some(rate::PAGE), schema: Schema::Nothing, run }
}

/// What a form of ours sends.
const fn form(path: &'static str, run: Run<AppState>) -> Route<AppState> {
    Route { method: Method::POST, path, access: Access::OwnForm, bucket: None, schema: Schema::Form, run }
}

/// The route group of pages. It says 404 for every path that no group has.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    Ok(RouteGroup::new("pages", Arc::clone(state), ROUTES)?
        .error_page(problem_page::tell)
        .forms_again()
        .everything_else())
}

/// The start: one's account, or the way to it.
async fn home(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    let there = if request.browser.session.is_some() { "/account" } else { "/login" };
    request.go(there)
}

/// Where only a form is sent to, opened as a page: from the address bar, or because it was answered there with a page.
async fn back(state: Arc<AppState>, request: Request, page: &'static str) -> Answer {
    PageRequest::new(state, request).go(page)
}

/// Where password managers are led to: see [`account::password::well_known`].
pub(crate) async fn change_password(state: Arc<AppState>, request: Request) -> Answer {
    account::password::well_known(state, request).await
}

/// A page that needs no browser's name.
fn plain(state: &AppState, page: &page::Page) -> Answer {
    match page.draw(&state.theme, "") {
        Ok(html) => Ok(Reply::html(page.status, html)),
        Err(why) => Err(Problem::fault(format!("the template {}: {why:#}", page.template))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_limited_but_what_costs_nothing() {
        let free: Vec<_> = ROUTES.iter().filter(|route| route.bucket.is_none()).map(|route| route.path).collect();
        // The mailbox is for the machine itself.
        assert_eq!(free, ["/dev/mail", "/health", "/assets/{file}"]);
        let named: Vec<_> = ROUTES.iter().filter_map(|route| route.bucket).collect();
        assert!(named.iter().all(|bucket| rate::is_known(bucket)), "{named:?}");
    }
}
