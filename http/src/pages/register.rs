//! `/register`: an address and a password; the rules of the password stand there before they are broken.

use std::sync::Arc;

use cairn_actors::address::Address;
use cairn_actors::flows::registration::Registration;
use cairn_actors::password::Password;
use cairn_actors::services::{BadValue, Refusal, registration};
use cairn_runtime::Flow;

use http::StatusCode;

use super::page::Page;
use super::visit::{Visit, typed, with_query};
use crate::request::{Form, Request};
use crate::route_group::Answer;
use crate::state::AppState;

/// What was typed, to be shown again. Never the password.
#[derive(Clone, Debug, Default)]
pub(super) struct Typed {
    email: String,
    username: String,
    first_name: String,
    last_name: String,
    next: String,
    once: String,
    /// They have been asked about a disposable address, and mean it.
    accept_disposable: bool,
    /// They are to be asked.
    ask_disposable: bool,
}

impl Typed {
    fn of(visit: &Visit, form: &Form) -> Self {
        let once = typed(form, "once");
        Self {
            email: typed(form, "email"),
            username: typed(form, "username"),
            first_name: typed(form, "first_name"),
            last_name: typed(form, "last_name"),
            next: visit.next(Some(form)),
            once: if once.is_empty() { visit.once() } else { once },
            accept_disposable: form.get("accept_disposable").is_some(),
            ask_disposable: form.get("accept_disposable").is_some(),
        }
    }

    /// As the service takes it: what can be mended is, and an empty field is none.
    fn for_service(&self, password: Password) -> registration::Typed {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let email = Address::parse_forgiving(&self.email).map_or_else(|_| self.email.clone(), |a| a.typed().to_owned());
        registration::Typed {
            email,
            password,
            username: some(&self.username),
            first_name: some(&self.first_name),
            last_name: some(&self.last_name),
            accept_disposable: self.accept_disposable,
        }
    }
}

/// The form.
pub(super) fn page(typed: &Typed) -> Page {
    Page::new("register/form.html")
        .put("email", typed.email.as_str())
        .put("username", typed.username.as_str())
        .put("first_name", typed.first_name.as_str())
        .put("last_name", typed.last_name.as_str())
        .put("next", typed.next.as_str())
        .put("once", typed.once.as_str())
        .put("accept_disposable", typed.accept_disposable)
        .put("ask_disposable", typed.ask_disposable)
        .put("login", with_query("/login", &[("next", &typed.next)]))
}

/// What stands in the form's place where nobody may register.
fn closed() -> Page {
    Page::message("register/closed", "/login")
}

pub(super) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    if !visit.services().engine.world().settings.registration {
        return visit.draw(closed());
    }
    if let Some(signed_in) = visit.signed_in().await? {
        let next = visit.next(None);
        let page = super::login::already(&signed_in, &with_query("/register", &[("next", &next)]));
        return visit.draw(if next.is_empty() { page } else { page.put("lead", next) });
    }
    // An address that is to be changed need not be typed again. It is found by the cookie: URLs stay in histories.
    let email = match visit.request.query("flow") {
        Some(flow) => visit
            .services()
            .begun(&visit.browser.flows(), Registration::PREFIX, Some(&flow))
            .await
            .map_err(|why| visit.problem(why))?
            .and_then(|begun| begun.address)
            .map_or_else(String::new, |address| address.typed().to_owned()),
        None => String::new(),
    };
    let typed = Typed { next: visit.next(None), once: visit.once(), email, ..Typed::default() };
    visit.draw(page(&typed))
}

pub(super) async fn begin(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let form = visit.form()?;
    let typed = Typed::of(&visit, &form);
    if !visit.holds(&form) {
        return match visit.signed_in().await?.filter(|_| !visit.is_limited()) {
            // The form is from before a sign-in in this browser, perhaps the one that it led to itself.
            Some(somebody) => visit.draw(super::login::already(&somebody, "/register")),
            None => visit.stale(page(&typed)),
        };
    }
    let password = || Password::typed(form.get("password").unwrap_or_default().to_owned());
    let mut answer = visit.services().register(&visit.caller_once(&typed.once), typed.for_service(password())).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with other words in it: somebody went back and changed their mind.
        answer = visit.services().register(&visit.caller(), typed.for_service(password())).await;
    }
    match answer {
        Ok(moved) => {
            let there = with_query("/verify-email", &[("flow", &moved.flow.id), ("next", &typed.next)]);
            let reply = visit.with_destination(visit.go(&there)?, &moved.flow.id, &typed.next);
            Ok(visit.with_flow(reply, &moved.flow.id).await)
        }
        Err(Refusal::RegistrationClosed) => visit.draw(closed().status(StatusCode::FORBIDDEN)),
        Err(why) => {
            let asks = |value: &BadValue| value.code == "disposable_unconfirmed";
            let ask = matches!(&why, Refusal::Values(values) if values.iter().any(asks));
            let typed = Typed { ask_disposable: typed.ask_disposable || ask, ..typed };
            visit.again(page(&typed), why)
        }
    }
}
