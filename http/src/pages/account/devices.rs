//! `/account/devices`: the browsers and programs that one's account knows, and forgetting them.

use cairn_actors::services::Refusal;
use cairn_actors::services::arrival::in_words;
use cairn_actors::services::devices::DeviceView;
use cairn_actors::services::session::SignedIn;
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
    seen: At,
    current: bool,
}

/// The list.
pub(in crate::pages) fn page(devices: Value) -> Page {
    Page::new("account/devices.html").put("devices", devices)
}

fn list(request: &PageRequest, devices: Vec<DeviceView>) -> Page {
    let shown: Vec<Shown> = devices
        .into_iter()
        .map(|known| Shown {
            device: in_words(known.user_agent.as_deref()),
            client_address: known.client_address.unwrap_or_default(),
            since: At::of(request, known.first_seen_at),
            seen: At::of(request, known.last_seen_at),
            current: known.current,
            id: known.id,
        })
        .collect();
    page(Value::from(Serde(shown)))
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    let devices = request.services().devices(&who).await?;
    request.draw(list(&request, devices).note(request.said()))
}

/// Forgets the one that is named, and signs it out where that is wanted, too.
pub(in crate::pages) async fn forget(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let devices = request.services().devices(&who).await?;
    let Sent::Good(form) = sent else { return request.stale(list(&request, devices)) };
    let (named, ends) = (form.typed().text("device"), form.typed().has("end"));
    let left = ends && devices.iter().any(|known| known.current && known.id == named);
    match request.services().forget_device(form.caller(), &who, &named, ends).await {
        Ok(()) if left => Ok(request.without_session(request.go("/signed-out")?)),
        Ok(()) | Err(Refusal::NotFound) => request.go("/account/devices?said=forgotten"),
        Err(why) => Err(why.into()),
    }
}
