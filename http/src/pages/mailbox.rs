//! `/dev/mail`: the letters that would have been mailed, as a page and as JSON. A view of the outbox, so that it
//! survives a crash and stores nothing.

use std::sync::Arc;

use cairn_actors::letters::mailbox::{Mail, view};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use minijinja::Value;
use minijinja::value::Serde;
use schemars::JsonSchema;
use serde::Serialize;

use super::plain;
use crate::problem::Problem;
use crate::request::Request;
use crate::route::{Answer, WithHeaders, reply};
use crate::state::AppState;
use crate::theme::Page;

/// Letters shown at most: the newest.
const MOST: u32 = 1_000;

/// All letters, oldest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Mails {
    /// The letters.
    #[schemars(with = "Vec<serde_json::Value>")]
    mails: Vec<Mail>,
}

/// A letter on the page.
#[derive(Serialize)]
struct Shown<'a> {
    subject: &'a str,
    to: &'a str,
    at: &'a str,
    letter: &'a str,
    text: &'a str,
    /// The first of its links.
    link: Option<&'a str>,
}

impl<'a> From<&'a Mail> for Shown<'a> {
    fn from(mail: &'a Mail) -> Self {
        let link = mail.text.lines().find(|line| line.starts_with("http"));
        Self { subject: &mail.subject, to: &mail.to, at: &mail.at, letter: mail.letter, text: &mail.text, link }
    }
}

pub(super) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    if !state.has_mailbox {
        return Err(Problem::not_found());
    }
    let services = &state.services;
    let rows = services.directory.letters.newest(MOST).await?;
    let environment = services.engine.environment();
    // A plus is a space in a query, and an address has none: who typed it meant the plus.
    let to = request.query("to").map(|to| to.replace(' ', "+"));
    let mails: Vec<Mail> = rows
        .iter()
        .filter_map(|row| view(row, &environment))
        .filter(|mail| to.as_ref().is_none_or(|to| mail.is_to(to)))
        .collect();
    if request.wants_html() {
        let newest_first: Vec<Shown<'_>> = mails.iter().rev().map(Shown::from).collect();
        plain(&state, &Page::new("mailbox.html").put("mails", Value::from(Serde(newest_first))))
    } else {
        let letters = WithHeaders::new(Mails { mails }).header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply::<Mails>(StatusCode::OK, letters)
    }
}
