//! The page that tells of a problem: what it is in one's own words, what to do, and a button that leads on.

use std::time::Duration;

use super::plain;
use super::sheet::Sheet;
use super::words::fill;
use crate::house::House;
use crate::problem::{Kind, Problem};
use crate::reply::Reply;

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

/// Tells a person of a problem, and what to do next.
pub(super) fn tell(house: &House, problem: &Problem, request_id: &str) -> Reply {
    let now = house.services.engine.now();
    let wait = problem.seconds_to_wait().unwrap_or_default();
    let time = house.look.words.instant(now.after(Duration::from_secs(wait)), now);
    let name = name(problem.kind());
    let texts = house.look.words.pages.get("problem");
    let text = |name: &str| texts.and_then(|texts| texts.get(name)).map(|text| fill(text, &[("time", &time)]));
    let sheet = Sheet::new("problem.html")
        .put("title", text(name).unwrap_or_default())
        .put("next", text(&format!("{name}.next")).unwrap_or_default())
        .put("lead", "/")
        .put("forgot", problem.kind() == Kind::SlowDown)
        .put("request_id", request_id)
        .status(problem.status());
    plain(house, &sheet).unwrap_or_else(|why| why.to_reply(request_id))
}
