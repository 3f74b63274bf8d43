//! The pages that people meet: their table of URLs, their look, and the page that tells of a problem.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::door::{Door, rate};
use crate::house::House;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::room::{Answer, Room, Route, Run, Schema, TableFault};

mod account;
mod advice;
mod assets;
mod colour;
mod doubts;
mod links;
mod login;
mod look;
mod mailbox;
mod problem_page;
mod register;
mod reset_password;
mod samples;
mod sheet;
mod verify_email;
mod visit;
mod waiting;
mod words;

pub use self::assets::Logo;
pub use self::colour::{Accent, NoAccent};
use self::links::Link;
pub use self::look::{Brand, Look};
use self::visit::Visit;

static ROUTES: &[Route<House>] = &[
    page("/", |house, request| Box::pin(home(house, request))),
    page("/register", |house, request| Box::pin(register::show(house, request))),
    form("/register", |house, request| Box::pin(register::begin(house, request))).limited(rate::REGISTER),
    form("/password-strength", |house, request| Box::pin(advice::advise(house, request))).limited(rate::ADVICE),
    page("/verify-email", |house, request| Box::pin(verify_email::show(house, request))),
    form("/verify-email", |house, request| Box::pin(verify_email::verify(house, request))).limited(rate::CODE),
    form("/verify-email/resend", |house, request| Box::pin(verify_email::resend(house, request))).limited(rate::RESEND),
    page("/verify-email/resend", |house, request| Box::pin(back(house, request, "/verify-email"))),
    page("/verify-email/events", |house, request| Box::pin(verify_email::events(house, request))).limited(rate::EVENTS),
    page("/login", |house, request| Box::pin(login::show(house, request))),
    form("/login", |house, request| Box::pin(login::sign_in(house, request))).limited(rate::LOGIN),
    page("/logout", |house, request| Box::pin(login::ask_to_sign_out(house, request))),
    form("/logout", |house, request| Box::pin(login::sign_out(house, request))).limited(rate::CHANGE),
    page("/signed-out", |house, request| Box::pin(login::signed_out(house, request))),
    page("/forgot-password", |house, request| Box::pin(reset_password::ask(house, request))),
    form("/forgot-password", |house, request| Box::pin(reset_password::begin(house, request))).limited(rate::RESET),
    page("/reset-password", |house, request| Box::pin(reset_password::show(house, request))),
    form("/reset-password", |house, request| Box::pin(reset_password::reset(house, request))).limited(rate::CODE),
    form("/reset-password/resend", |house, request| Box::pin(reset_password::resend(house, request)))
        .limited(rate::RESET),
    page("/reset-password/resend", |house, request| Box::pin(back(house, request, "/reset-password"))),
    page("/reset-password/events", |house, request| Box::pin(reset_password::events(house, request)))
        .limited(rate::EVENTS),
    page("/account", |house, request| Box::pin(account::show(house, request))),
    page("/account/profile", |house, request| Box::pin(account::profile::show(house, request))),
    form("/account/profile", |house, request| Box::pin(account::profile::save(house, request))).limited(rate::CHANGE),
    page("/account/password", |house, request| Box::pin(account::password::show(house, request))),
    form("/account/password", |house, request| Box::pin(account::password::change(house, request)))
        .limited(rate::LOGIN),
    page("/account/email", |house, request| Box::pin(account::email::show(house, request))),
    form("/account/email", |house, request| Box::pin(account::email::begin(house, request))).limited(rate::RESET),
    form("/account/email/code", |house, request| Box::pin(account::email::confirm(house, request))).limited(rate::CODE),
    form("/account/email/resend", |house, request| Box::pin(account::email::resend(house, request)))
        .limited(rate::RESET),
    page("/account/email/code", |house, request| Box::pin(back(house, request, "/account/email"))),
    page("/account/email/resend", |house, request| Box::pin(back(house, request, "/account/email"))),
    page("/account/email/events", |house, request| Box::pin(account::email::events(house, request)))
        .limited(rate::EVENTS),
    page("/account/sessions", |house, request| Box::pin(account::sessions::show(house, request))),
    form("/account/sessions/end", |house, request| Box::pin(account::sessions::end(house, request)))
        .limited(rate::CHANGE),
    page("/account/devices", |house, request| Box::pin(account::devices::show(house, request))),
    form("/account/devices/forget", |house, request| Box::pin(account::devices::forget(house, request)))
        .limited(rate::CHANGE),
    page("/account/history", |house, request| Box::pin(account::history::show(house, request))).limited(rate::HISTORY),
    page("/account/export", |house, request| Box::pin(account::export::show(house, request))),
    form("/account/export", |house, request| Box::pin(account::export::download(house, request))).limited(rate::LOGIN),
    page("/account/delete", |house, request| Box::pin(account::deletion::show(house, request))),
    form("/account/delete", |house, request| Box::pin(account::deletion::delete(house, request))).limited(rate::LOGIN),
    page("/email-change", |house, request| Box::pin(links::show(house, request, Link::EmailChange))),
    form("/email-change", |house, request| Box::pin(links::press(house, request, Link::EmailChange)))
        .limited(rate::CODE),
    page("/undo-email-change", |house, request| Box::pin(links::show(house, request, Link::Undo))),
    form("/undo-email-change", |house, request| Box::pin(links::press(house, request, Link::Undo))).limited(rate::CODE),
    page("/end-session", |house, request| Box::pin(links::show(house, request, Link::EndSession))),
    form("/end-session", |house, request| Box::pin(links::press(house, request, Link::EndSession))).limited(rate::CODE),
    Route {
        method: Method::GET,
        path: "/dev/mail",
        door: Door::Loopback,
        bucket: None,
        schema: Schema::Nothing,
        run: |house, request| Box::pin(mailbox::show(house, request)),
    },
    page("/health", |_, _| Box::pin(async { Reply::json(StatusCode::OK, &serde_json::json!({ "status": "ok" })) }))
        .unlimited(),
    page("/assets/{file}", |house, request| Box::pin(async move { house.look.assets.serve(request.param("file")) }))
        .unlimited(),
];

/// What is shown to everybody.
const fn page(path: &'static str, run: Run<House>) -> Route<House> {
    Route { method: Method::GET, path, door: Door::Open, bucket: Some(rate::PAGE), schema: Schema::Nothing, run }
}

/// What a form of ours sends.
const fn form(path: &'static str, run: Run<House>) -> Route<House> {
    Route { method: Method::POST, path, door: Door::OwnPage, bucket: None, schema: Schema::Form, run }
}

/// The room of pages. It says 404 for every path that no room has.
///
/// # Errors
/// When the table contradicts itself.
pub fn room(house: &Arc<House>) -> Result<Room<House>, TableFault> {
    Ok(Room::new("pages", Arc::clone(house), ROUTES)?.error_page(problem_page::tell).forms_again().everything_else())
}

/// The start: one's account, or the way to it.
async fn home(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let there = if visit.browser.session.is_some() { "/account" } else { "/login" };
    visit.go(there)
}

/// Where only a form is sent to, opened as a page: from the address bar, or because it was answered there with a page.
async fn back(house: Arc<House>, request: Request, page: &'static str) -> Answer {
    Visit::new(house, request).go(page)
}

/// Where password managers are led to: see [`account::password::well_known`].
pub(crate) async fn change_password(house: Arc<House>, request: Request) -> Answer {
    account::password::well_known(house, request).await
}

/// A page that needs no browser's name.
fn plain(house: &House, sheet: &sheet::Sheet) -> Answer {
    match sheet.draw(&house.look, "") {
        Ok(page) => Ok(Reply::html(sheet.status, page)),
        Err(why) => Err(Problem::fault(format!("the template {}: {why:#}", sheet.template))),
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
