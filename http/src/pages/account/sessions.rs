//! `/account/sessions`: where one is signed in, and ending that.

use std::sync::Arc;

use cairn_actors::services::Refusal;
use cairn_actors::services::arrival::in_words;
use cairn_actors::services::sessions::SessionView;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::super::page::Page;
use super::super::visit::{Visit, typed};
use super::{At, Who};
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

#[derive(Serialize)]
struct Shown {
    id: String,
    device: String,
    client_address: String,
    since: At,
    used: At,
    current: bool,
}

/// The list.
pub(in crate::pages) fn page(sessions: Value, others: bool) -> Page {
    Page::new("account/sessions.html").put("sessions", sessions).put("others", others)
}

fn list(visit: &Visit, sessions: Vec<SessionView>) -> Page {
    let others = sessions.iter().any(|session| !session.current);
    let shown: Vec<Shown> = sessions
        .into_iter()
        .map(|session| Shown {
            device: in_words(session.device.as_deref()),
            client_address: session.client_address.unwrap_or_default(),
            since: At::of(visit, session.created_at),
            used: At::of(visit, session.last_used_at),
            current: session.current,
            id: session.id,
        })
        .collect();
    page(Value::from(Serde(shown)), others)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let sessions = visit.services().sessions(&who).await.map_err(|why| visit.problem(why))?;
    visit.draw(list(&visit, sessions).note(visit.said()))
}

/// Ends the one that is named, or all but this one.
pub(in crate::pages) async fn end(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let sessions = visit.services().sessions(&who).await.map_err(|why| visit.problem(why))?;
    if !visit.holds(&form) {
        return visit.stale(list(&visit, sessions));
    }
    let named = typed(&form, "session");
    let ended = sessions.iter().filter(|session| if named.is_empty() { !session.current } else { session.id == named });
    let mut left = false;
    for session in ended {
        match visit.services().revoke_session(&visit.caller(), &who, &session.id).await {
            Ok(()) | Err(Refusal::NotFound) => left |= session.current,
            Err(why) => return Err(visit.problem(why)),
        }
    }
    if left {
        return Ok(visit.without_session(visit.go("/signed-out")?));
    }
    visit.go("/account/sessions?said=ended")
}
