//! What pages that wait for a mail have in common: where the letter is, the code, and moving on by themselves.

use std::time::Duration;

use cairn_actors::flows::recovery::Recovery;
use cairn_actors::services::Refusal;
use cairn_actors::services::browser::Begun;
use cairn_actors::services::registration::{Mail, MailState};
use cairn_runtime::{Flow, FlowId, Id, Timestamp};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use minijinja::Value;

use super::look::Look;
use super::sheet::{Sheet, Wrong, wrongs};
use super::visit::{Visit, with_query};
use super::words::fill;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::room::Answer;

/// The page of a flow that waits at `path`. The caller places the address.
pub(super) fn sheet(look: &Look, template: &'static str, path: &str, begun: &Begun, now: Timestamp) -> Sheet {
    let flow = begun.flow.id.as_str();
    let events = format!("{path}/events");
    let tells = tells_of_mail(begun.flow.kind);
    let seen = if tells { mark(&begun.mail) } else { String::new() };
    let wait = begun.next_letter.map(|at| at.since(now).as_millis().div_ceil(1_000)).unwrap_or_default();
    Sheet::new(template)
        .put("flow", flow)
        .put("here", with_query(path, &[("flow", flow)]))
        .put("events", with_query(&events, &[("flow", flow), ("seen", &seen)]))
        .put("mail", if tells { said(look, &begun.mail, now) } else { String::new() })
        .put("code", "")
        .put("codes", begun.tries_left > 0)
        .put("resend", begun.next_letter.is_some())
        .put("wait", Value::from(u64::try_from(wait).unwrap_or_default()))
}

/// Whether the page may say where the letter is. A reset's may not: where nobody has the address there is no letter, and
/// one that never arrives would tell.
fn tells_of_mail(kind: &str) -> bool {
    kind != Recovery::NAME
}

/// Where the letter is, for people.
fn said(look: &Look, mail: &Mail, now: Timestamp) -> String {
    let text = look.words.mail.get(mail.state.word()).map_or("", String::as_str);
    let words = &look.words;
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

/// What is wrong with a code, with the time of the newest letter where an older one's code was entered.
pub(super) fn with_time_of_newest(
    visit: &Visit,
    errors: Vec<Wrong>,
    why: &Refusal,
    begun: Option<Begun>,
) -> Vec<Wrong> {
    let Refusal::FlowEnded(_) = why else { return errors };
    let one = |field, text| vec![Wrong { field, text }];
    match begun.and_then(|begun| Some((begun.issued_at?, begun.tries_left))) {
        Some((at, 1..)) => {
            let time = visit.house.look.words.past(at, visit.now());
            one(Some("code"), fill(&visit.error("code_replaced"), &[("time", &time)]))
        }
        Some((_, 0)) => one(None, visit.error("only_link")),
        // It has moved on meanwhile, and the page says where to.
        None => Vec::new(),
    }
}

/// What is said when another letter cannot be had now.
pub(super) fn not_again(look: &Look, why: &Refusal, now: Timestamp) -> Option<Vec<Wrong>> {
    let say = |code: &str, places: &[(&str, &str)]| look.words.errors.get(code).map(|text| fill(text, places));
    let text = match why {
        Refusal::SlowDown(until) => say("resend", &[("time", &look.words.instant(*until, now))]),
        Refusal::FlowEnded(_) => say("no_more_mails", &[]),
        _ => return wrongs(look, why, now),
    };
    Some(vec![Wrong { field: None, text: text.unwrap_or_default() }])
}

/// How often the place of the letter is looked at while somebody waits. The flow itself tells when it moves.
const LOOK: Duration = Duration::from_secs(1);
/// How long one answer takes at most. Then the browser asks again: a line that stays open for long would outlive a
/// restart.
const ANSWER: Duration = Duration::from_secs(5);

/// One answer of server-sent events (HTML, section 9.2), for the browser that began the flow: as soon as the flow leaves
/// the waiting phase or its letter is somewhere else, at the latest after a few seconds.
pub(super) async fn events(visit: &Visit, prefix: &'static str) -> Answer {
    let flow = visit.request.query("flow").unwrap_or_default();
    let seen = visit.request.header("last-event-id").map(str::to_owned).or_else(|| visit.request.query("seen"));
    let seen = seen.unwrap_or_default();
    let cookies = visit.browser.flows();
    let mut left = ANSWER;
    loop {
        let begun = visit.services().begun(&cookies, prefix, Some(&flow)).await.map_err(|why| visit.problem(why))?;
        // To anybody else there is no such flow.
        let begun = begun.ok_or_else(Problem::not_found)?;
        if begun.address.is_none() {
            return Ok(told("event: moved\ndata: .\n"));
        }
        let (mark, tells) = (mark(&begun.mail), tells_of_mail(begun.flow.kind));
        if mark != seen && tells {
            let text = said(&visit.house.look, &begun.mail, visit.now()).replace(['\r', '\n'], " ");
            return Ok(told(&format!("event: mail\nid: {mark}\ndata: {text}\n")));
        }
        if left.is_zero() {
            return Ok(told(": nothing new\n"));
        }
        // A letter that has arrived, or never will, goes nowhere else.
        let still = !tells || matches!(begun.mail.state, MailState::Accepted | MailState::Failed);
        let span = if still { left } else { LOOK.min(left) };
        left = left.saturating_sub(span);
        let id = Id::parse(prefix, &flow).ok_or_else(Problem::not_found)?;
        let waited = visit.services().engine.wait(FlowId(id), begun.flow.version + 1, span).await;
        waited.map_err(|why| visit.problem(why.into()))?;
    }
}

fn told(event: &str) -> Reply {
    let kind = HeaderValue::from_static("text/event-stream");
    Reply::bytes(StatusCode::OK, kind, format!("retry: 500\n{event}\n"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
