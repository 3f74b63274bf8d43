//! `/account/sessions`: where one is signed in, and ending that.

use cairn_actors::services::Refusal;
use cairn_actors::services::arrival::in_words;
use cairn_actors::services::session::SignedIn;
use cairn_actors::services::sessions::SessionView;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::super::page_request::{PageRequest, Sent};
use super::At;
use crate::route::Answer;
use crate::theme::Page;

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

fn list(request: &PageRequest, sessions: Vec<SessionView>) -> Page {
    let others = sessions.iter().any(|session| !session.current);
    let shown: Vec<Shown> = sessions
        .into_iter()
        .map(|session| Shown {
            device: in_words(session.device.as_deref()),
            client_address: session.client_address.unwrap_or_default(),
            since: At::of(request, session.created_at),
            used: At::of(request, session.last_used_at),
            current: session.current,
            id: session.id,
        })
        .collect();
    page(Value::from(Serde(shown)), others)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    let sessions = request.services().sessions(&who).await?;
    request.draw(list(&request, sessions).note(request.said()))
}

/// Ends the one that is named, or all but this one.
pub(in crate::pages) async fn end(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let sessions = request.services().sessions(&who).await?;
    let Sent::Good(form) = sent else { return request.stale(list(&request, sessions)) };
    let named = form.typed().text("session");
    let ended = sessions.iter().filter(|session| if named.is_empty() { !session.current } else { session.id == named });
    let mut left = false;
    for session in ended {
        match request.services().revoke_session(form.caller(), &who, &session.id).await {
            Ok(()) | Err(Refusal::NotFound) => left |= session.current,
            Err(why) => return Err(why.into()),
        }
    }
    if left {
        return Ok(request.without_session(request.go("/signed-out")?));
    }
    request.go("/account/sessions?said=ended")
}
