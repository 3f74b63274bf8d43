//! What pages that wait for a mail have in common: where the letter is, the code, and moving on by themselves.

use std::time::Duration;

use cairn_actors::identity::address::Address;
use cairn_actors::services::Refusal;
use cairn_actors::services::proof::OpenFlow;
use cairn_actors::services::proof::{Mail, MailState};
use cairn_runtime::{FlowId, Id, Timestamp};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use minijinja::Value;

use super::page_request::{PageRequest, with_query};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::route::Answer;
use crate::theme::{Page, Theme, Wrong, fill, wrongs};

/// One of the pages that wait for a mail: whose flow it is, and where it lies. Another letter is asked for, and its events
/// are told, below it.
pub(super) struct Waiting {
    /// The prefix of its flows' ids.
    pub(super) prefix: &'static str,
    /// Its path.
    pub(super) path: &'static str,
    /// Its template, which extends `waiting.html`.
    pub(super) template: &'static str,
    /// Where the form of the code goes.
    pub(super) action: &'static str,
    /// What that form is called.
    pub(super) form_id: &'static str,
}

impl Waiting {
    /// Where a flow of it is waited for, on the way to `next`.
    pub(super) fn at(&self, flow: &str, next: &str) -> String {
        with_query(self.path, &[("flow", flow), ("next", next)])
    }

    /// The flow of this browser that is named, or its newest.
    pub(super) async fn begun(&self, request: &PageRequest, flow: Option<&str>) -> Result<Option<OpenFlow>, Problem> {
        Ok(request.services().begun(&request.browser.flows(), self.prefix, flow).await?)
    }

    /// The page while a letter to `address` is awaited; `change` leads to where another address is given.
    pub(super) fn page(
        &self,
        request: &PageRequest,
        begun: &OpenFlow,
        address: &Address,
        change: String,
        next: &str,
    ) -> Page {
        let (theme, now) = (&request.state.theme, request.now());
        let flow = begun.flow.id.as_str();
        let tells = begun.tells_of_mail;
        let seen = if tells { mark(&begun.mail) } else { String::new() };
        let wait = begun.next_letter.map(|at| at.since(now).as_millis().div_ceil(1_000)).unwrap_or_default();
        Page::new(self.template)
            .put("address", address.typed())
            .put("change", change)
            .put("action", self.action)
            .put("form_id", self.form_id)
            .put("flow", flow)
            .put("next", next)
            .put("here", self.at(flow, next))
            .put("again", format!("{}/resend", self.path))
            .put("login", with_query("/login", &[("next", next)]))
            .put("events", with_query(&format!("{}/events", self.path), &[("flow", flow), ("seen", &seen)]))
            .put("mail", if tells { said(theme, &begun.mail, now) } else { String::new() })
            .put("code", "")
            .put("codes", begun.tries_left > 0)
            .put("resend", begun.next_letter.is_some())
            .put("wait", Value::from(u64::try_from(wait).unwrap_or_default()))
    }

    /// What is wrong with a code that was refused. Nothing where this browser has no such flow: the page says so itself.
    pub(super) async fn refused(&self, request: &PageRequest, flow: &str, why: Refusal) -> Result<Vec<Wrong>, Problem> {
        if why == Refusal::NotFound {
            return Ok(Vec::new());
        }
        let Some(errors) = wrongs(&request.state.theme, &why, request.now()) else { return Err(why.into()) };
        let Refusal::FlowEnded(_) = why else { return Ok(errors) };
        let begun = self.begun(request, Some(flow)).await?;
        let spent = begun.is_some_and(|begun| begun.issued_at.is_some() && begun.tries_left == 0);
        // Else it has moved on meanwhile, and the page says where to.
        Ok(if spent { vec![Wrong { field: None, text: request.error("only_link") }] } else { Vec::new() })
    }

    /// One answer of server-sent events (HTML, section 9.2), for the browser that began the flow: as soon as the flow
    /// leaves the waiting phase or its letter is somewhere else, at the latest after a few seconds.
    pub(super) async fn events(&self, request: &PageRequest) -> Answer {
        let flow = request.query("flow").unwrap_or_default();
        let seen = request.header("last-event-id").map(str::to_owned).or_else(|| request.query("seen"));
        let seen = seen.unwrap_or_default();
        let mut left = ANSWER;
        loop {
            // To anybody else there is no such flow.
            let begun = self.begun(request, Some(&flow)).await?.ok_or_else(Problem::not_found)?;
            if begun.address.is_none() {
                return Ok(told("event: moved\ndata: .\n"));
            }
            let (mark, tells) = (mark(&begun.mail), begun.tells_of_mail);
            if mark != seen && tells {
                let text = said(&request.state.theme, &begun.mail, request.now()).replace(['\r', '\n'], " ");
                return Ok(told(&format!("event: mail\nid: {mark}\ndata: {text}\n")));
            }
            if left.is_zero() {
                return Ok(told(": nothing new\n"));
            }
            // A letter that has arrived, or never will, goes nowhere else.
            let still = !tells || matches!(begun.mail.state, MailState::Accepted | MailState::Failed);
            let span = if still { left } else { POLL.min(left) };
            left = left.saturating_sub(span);
            let id = Id::parse(self.prefix, &flow).ok_or_else(Problem::not_found)?;
            let waited = request.services().engine.wait(FlowId(id), begun.flow.version + 1, span).await;
            waited?;
        }
    }
}

/// Where the letter is, for people.
fn said(theme: &Theme, mail: &Mail, now: Timestamp) -> String {
    let place = if mail.over_budget { "over_budget" } else { mail.state.word() };
    let text = theme.words.mail.get(place).map_or("", String::as_str);
    let words = &theme.words;
    let time = match mail.state.word() {
        "retrying" => words.instant(mail.at, now),
        _ => words.past(mail.at, now),
    };
    fill(text, &[("time", &time)])
}

/// Where the letter is, for comparing.
fn mark(mail: &Mail) -> String {
    format!("{}-{}", mail.state.word(), mail.at.0)
}

/// What is said when another letter cannot be had now; nothing where this browser has no such flow.
pub(super) fn not_again(request: &PageRequest, why: Refusal) -> Result<Vec<Wrong>, Problem> {
    let text = match why {
        Refusal::NotFound => return Ok(Vec::new()),
        Refusal::SlowDown(until) => {
            fill(&request.error("resend"), &[("time", &request.state.theme.words.instant(until, request.now()))])
        }
        Refusal::FlowEnded(_) => request.error("no_more_mails"),
        other => {
            return wrongs(&request.state.theme, &other, request.now()).ok_or_else(|| other.into());
        }
    };
    Ok(vec![Wrong { field: None, text }])
}

/// How often the place of the letter is looked at while somebody waits. The flow itself tells when it moves.
const POLL: Duration = Duration::from_secs(1);
/// How long one answer takes at most. Then the browser asks again: a line that stays open for long would outlive a
/// restart.
const ANSWER: Duration = Duration::from_secs(5);

fn told(event: &str) -> Reply {
    let kind = HeaderValue::from_static("text/event-stream");
    Reply::bytes(StatusCode::OK, kind, format!("retry: 500\n{event}\n"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
