//! The page that tells of a problem: what it is in one's own words, what to do, and a button that leads on.

use std::time::Duration;

use http::Uri;
use minijinja::Value;
use minijinja::value::Serde;

use super::plain;
use crate::problem::{Kind, Problem};
use crate::reply::Reply;
use crate::request::wants_html;
use crate::route_group::Refused;
use crate::state::AppState;
use crate::theme::{Page, fill};

/// The name of a problem's words. What is not listed says that it could not be read.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unavailable | Kind::Timeout => "Unavailable",
        Kind::Storage => "Storage",
        Kind::SlowDown => "SlowDown",
        Kind::Fault => "Fault",
        Kind::NotFound => "NotFound",
        Kind::Forbidden => "Forbidden",
        Kind::Method => "Method",
        _ => "other",
    }
}

/// Tells a person of a problem by a page, and a program by a document.
pub(super) fn tell(state: &AppState, problem: &Problem, refused: &Refused<'_>) -> Reply {
    if !wants_html(&refused.head.headers) {
        return problem.to_reply(refused.id);
    }
    match page(state, problem, refused.id) {
        page if page.is_html() => problem.dress(page),
        _ => problem.to_reply(refused.id),
    }
}

/// The page of a problem, with what to do next.
fn page(state: &AppState, problem: &Problem, request_id: &str) -> Reply {
    if problem.kind() == Kind::HeadersTooLarge {
        return too_large(state, problem, request_id);
    }
    let now = state.services.engine.now();
    let wait = problem.seconds_to_wait().unwrap_or_default();
    let time = state.theme.words.instant(now.after(Duration::from_secs(wait)), now);
    let name = name(problem.kind());
    let texts = state.theme.words.pages.get("problem");
    let text = |name: &str| texts.and_then(|texts| texts.get(name)).map(|text| fill(text, &[("time", &time)]));
    let page = Page::new("problem.html")
        .put("title", text(name).unwrap_or_default())
        .put("next", text(&format!("{name}.next")).unwrap_or_default())
        .put("lead", "/")
        .put("forgot", problem.kind() == Kind::SlowDown)
        .put("request_id", request_id)
        .status(problem.status());
    plain(state, &page).unwrap_or_else(|why| why.to_reply(request_id))
}

/// The page for a browser whose cookies are too many: it names them, and says how to be rid of them. Every other page of
/// this host would be refused in the same way, so it leads to none and needs nothing else.
fn too_large(state: &AppState, problem: &Problem, request_id: &str) -> Reply {
    let host = state.services.engine.environment().settings.public_url.parse::<Uri>().ok();
    let host = host.as_ref().and_then(|url| url.host()).unwrap_or_default().to_owned();
    let cookie = |(name, octets): &(String, usize)| serde_json::json!({ "name": name, "octets": octets });
    let cookies: Vec<_> = problem.cookies().iter().map(cookie).collect();
    let page = Page::new("too_large.html")
        .say("host", host)
        .put("cookies", Value::from(Serde(cookies)))
        .put("request_id", request_id)
        .status(problem.status());
    plain(state, &page).unwrap_or_else(|why| why.to_reply(request_id))
}
