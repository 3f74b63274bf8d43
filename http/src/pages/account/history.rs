//! `/account/history`: what happened to one's account, newest first, page by page.

use cairn_actors::directory::HistoryPlace;
use cairn_actors::services::session::SignedIn;
use cairn_runtime::{Id, InputId, Timestamp};
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::super::page_request::{PageRequest, with_query};
use super::At;
use crate::route::Answer;
use crate::theme::Page;

#[derive(Serialize)]
struct Shown {
    what: String,
    at: At,
}

/// The list; `older` leads to the next page, if there is one.
pub(in crate::pages) fn page(events: Value, older: Option<&str>) -> Page {
    Page::new("account/history.html").put("events", events).put("older", older.unwrap_or_default())
}

/// A place in the text of a query. It tells nothing but what the page before has shown.
fn written(place: HistoryPlace) -> String {
    format!("{}-{}", place.at.0, place.input.0.crockford())
}

/// What is no place of ours is the beginning.
fn read(text: &str) -> Option<HistoryPlace> {
    let (at, input) = text.split_once('-')?;
    Some(HistoryPlace { at: Timestamp(at.parse().ok()?), input: InputId(Id::parse_crockford(input)?) })
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    let before = request.query("before").as_deref().and_then(read);
    let found = request.services().history(&who, before).await?;
    let words = &request.state.theme.words.history;
    let shown: Vec<Shown> = found
        .events
        .into_iter()
        // What has no words is of no interest to people: a repeat, a password's hash that was made anew.
        .filter_map(|event| {
            let exact = format!("{}.{}.{}", event.kind, event.name, event.to);
            let what = words.get(&exact).or_else(|| words.get(&format!("{}.{}", event.kind, event.name)))?;
            Some(Shown { what: what.clone(), at: At::of(&request, event.at) })
        })
        .collect();
    let older = found.next.map(|place| with_query("/account/history", &[("before", &written(place))]));
    request.draw(page(Value::from(Serde(shown)), older.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        let place = HistoryPlace { at: Timestamp(1_800_000_000_000), input: InputId(Id::from_bytes([7; 16])) };
        assert_eq!(read(&written(place)), Some(place));
        for odd in ["", "-", "1-", "x-00000000000000000000000000", "1800000000000", "99999999999999999999-0", "1-é"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
