//! `/account/history`: what happened to one's account, newest first.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::super::sheet::Sheet;
use super::super::visit::Visit;
use super::{At, Who};
use crate::house::House;
use crate::request::Request;
use crate::room::Answer;

/// Entries on the page; everything is in the export.
const MOST: usize = 100;

#[derive(Serialize)]
struct Shown {
    what: String,
    at: At,
}

/// The list.
pub(in crate::pages) fn sheet(events: Value) -> Sheet {
    Sheet::new("account/history.html").put("events", events)
}

pub(in crate::pages) async fn show(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let happened = visit.services().history(&who).await.map_err(|why| visit.problem(why))?;
    let words = &visit.house.look.words.history;
    let shown: Vec<Shown> = happened
        .into_iter()
        // What has no words is of no interest to people: a session carried on, a repeat.
        .filter_map(|event| {
            let exact = format!("{}.{}.{}", event.kind, event.name, event.to);
            let what = words.get(&exact).or_else(|| words.get(&format!("{}.{}", event.kind, event.name)))?;
            Some(Shown { what: what.clone(), at: At::of(&visit, event.at) })
        })
        .take(MOST)
        .collect();
    visit.draw(sheet(Value::from(Serde(shown))))
}
