//! `/account`: what is known of whoever is signed in, and what they may do about it.

use cairn_actors::services::Refusal;
use cairn_actors::services::session::SignedIn;
use cairn_runtime::Timestamp;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::page_request::{Form, PageRequest, is_local, with_query};
use crate::reply::instant;
use crate::route::Answer;
use crate::theme::{Page, Wrong, wrongs};

pub(super) mod applications;
pub(super) mod deletion;
pub(super) mod devices;
pub(super) mod email;
pub(super) mod export;
pub(super) mod history;
pub(super) mod password;
pub(super) mod profile;
pub(super) mod sessions;

/// An instant for machines and for people.
#[derive(Clone, Debug, Serialize)]
pub(super) struct At {
    iso: String,
    said: String,
}

impl At {
    pub(super) fn of(request: &PageRequest, at: Timestamp) -> Self {
        Self { iso: instant(at), said: request.state.theme.words.past(at, request.now()) }
    }
}

/// Whoever is signed in, or the way to sign in and back.
pub(super) enum Who {
    Somebody(Box<SignedIn>),
    Nobody(Answer),
}

impl PageRequest {
    /// Who is signed in; anybody else is led to sign in, and back to this page.
    pub(super) async fn who(&self) -> Who {
        match self.signed_in().await {
            Ok(Some(somebody)) => Who::Somebody(Box::new(somebody)),
            Ok(None) => {
                // The answer to a form is no place to come back to; its page is.
                let path = self.path();
                let form = ["/end", "/code", "/resend", "/forget"].iter().find_map(|form| path.strip_suffix(form));
                // Of a query only the flow is kept: nothing else that a page of ours asks for needs to be found again.
                let flow = self.query("flow").unwrap_or_default();
                let back = with_query(form.unwrap_or(path), &[("flow", &flow)]);
                let back = if is_local(&back) { back.as_str() } else { path };
                Who::Nobody(self.go(&with_query("/login", &[("next", back)])))
            }
            Err(problem) => Who::Nobody(Err(problem)),
        }
    }

    /// What is wrong where no password stands in its field: nobody's guess, so none is counted.
    fn unless_typed(&self, form: &Form, secret: &'static str) -> Vec<Wrong> {
        match form.secret(secret) {
            None | Some("") => vec![Wrong { field: Some(secret), text: self.error("password.missing") }],
            Some(_) => Vec::new(),
        }
    }

    /// A page of the account again with what a refusal says. A password that is wrong stands beside `secret`.
    fn again_beside(&self, page: Page, why: Refusal, secret: &'static str) -> Answer {
        if why == Refusal::SessionEnded {
            return self.go("/login");
        }
        let Some(mut wrong) = wrongs(&self.state.theme, &why, self.now()) else {
            return Err(why.into());
        };
        for one in &mut wrong {
            if one.field == Some("password") {
                one.field = Some(secret);
            }
        }
        self.refused(page, wrong, &why)
    }

    /// What the page before has done, said once more on this one. Only words of ours can be said.
    fn said(&self) -> Option<String> {
        let said = self.query("said")?;
        self.state.theme.words.errors.get(&format!("said.{said}")).cloned()
    }
}

/// Goes to the page of whoever is signed in, with what was done.
fn done(request: &PageRequest, what: &str) -> Answer {
    request.go(&with_query("/account", &[("said", what)]))
}

pub(super) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    let user = &who.user;
    let name = user.name().unwrap_or_default();
    let username = user.username.as_ref().map(ToString::to_string).unwrap_or_default();
    let page = Page::new("account/overview.html")
        .put("address", user.address.typed())
        .put("name", name)
        .put("username", username)
        .put("since", Value::from(Serde(At::of(&request, user.created_at))))
        .note(request.said());
    request.draw(page)
}
