//! `/register`: an address and a password; the rules of the password stand there before they are broken.

use cairn_actors::flows::registration::Registration;
use cairn_actors::identity::address::Address;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::{BadValue, Refusal, registration};
use cairn_runtime::Flow;

use http::StatusCode;

use super::page_request::{PageRequest, Sent, Typed, with_query};
use crate::route::Answer;
use crate::theme::Page;

/// What was typed, to be shown again. Never the password.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
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

impl Fields {
    fn of(request: &PageRequest, typed: &Typed) -> Self {
        let once = typed.text("once");
        Self {
            email: typed.text("email"),
            username: typed.text("username"),
            first_name: typed.text("first_name"),
            last_name: typed.text("last_name"),
            next: typed.next(),
            once: if once.is_empty() { request.once() } else { once },
            accept_disposable: typed.has("accept_disposable"),
            ask_disposable: typed.has("accept_disposable"),
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
pub(super) fn page(typed: &Fields) -> Page {
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

pub(super) async fn show(request: PageRequest) -> Answer {
    if !request.services().engine.environment().settings.registration {
        return request.draw(closed());
    }
    if let Some(signed_in) = request.signed_in().await? {
        let next = request.next();
        let page = super::login::already(&signed_in, &with_query("/register", &[("next", &next)]));
        return request.draw(if next.is_empty() { page } else { page.put("lead", next) });
    }
    // An address that is to be changed need not be typed again. It is found by the cookie: URLs stay in histories.
    let email = match request.query("flow") {
        Some(flow) => request
            .services()
            .begun(&request.browser.flows(), Registration::PREFIX, Some(&flow))
            .await?
            .and_then(|begun| begun.address)
            .map_or_else(String::new, |address| address.typed().to_owned()),
        None => String::new(),
    };
    let typed = Fields { next: request.next(), once: request.once(), email, ..Fields::default() };
    request.draw(page(&typed))
}

pub(super) async fn begin(request: PageRequest, sent: Sent) -> Answer {
    let typed = Fields::of(&request, sent.typed());
    let Sent::Good(form) = sent else {
        return match request.signed_in().await?.filter(|_| !request.is_limited()) {
            // The form is from before a sign-in in this browser, perhaps the one that it led to itself.
            Some(somebody) => request.draw(super::login::already(&somebody, "/register")),
            None => request.stale(page(&typed)),
        };
    };
    let password = || form.password("password");
    let mut answer = request.services().register(&form.caller_once(&typed.once), typed.for_service(password())).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with other words in it: somebody went back and changed their mind.
        answer = request.services().register(form.caller(), typed.for_service(password())).await;
    }
    match answer {
        Ok(moved) => {
            let there = with_query("/verify-email", &[("flow", &moved.flow.id), ("next", &typed.next)]);
            let reply = request.with_destination(request.go(&there)?, &moved.flow.id, &typed.next);
            Ok(request.with_flow(reply, &moved.flow.id).await)
        }
        Err(Refusal::RegistrationClosed) => request.draw(closed().status(StatusCode::FORBIDDEN)),
        Err(why) => {
            let asks = |value: &BadValue| value.code == "disposable_unconfirmed";
            let ask = matches!(&why, Refusal::Values(values) if values.iter().any(asks));
            let typed = Fields { ask_disposable: typed.ask_disposable || ask, ..typed };
            request.again(page(&typed), why)
        }
    }
}
