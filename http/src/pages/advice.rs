//! `/password-strength`: what would help a password that somebody is just choosing, by the same function that will judge
//! it. Advice for a script; nothing hangs on it.

use cairn_actors::secrets::hasher::Lane;
use cairn_actors::secrets::strength::OwnWords;
use cairn_actors::services::Refusal;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use schemars::JsonSchema;
use serde::Serialize;

use super::page_request::{Form, PageRequest, Sent};
use crate::problem::Problem;
use crate::route::WithHeaders;
use crate::theme::wrongs;

/// What would help, or that it is good; nothing where there is nothing to say.
#[derive(Serialize, JsonSchema)]
pub(super) struct Advice {
    /// A sentence, or nothing.
    text: String,
}

pub(super) async fn advise(request: PageRequest, sent: Sent) -> Result<WithHeaders<Advice>, Problem> {
    let text = match sent {
        Sent::Good(form) => text(&request, &form).await?,
        Sent::HeldUp(_) => String::new(),
    };
    Ok(WithHeaders::new(Advice { text }).header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

async fn text(request: &PageRequest, form: &Form) -> Result<String, Problem> {
    let own: Vec<String> = ["email", "username", "first_name", "last_name"].map(|name| form.typed().text(name)).into();
    let own = OwnWords::of(own.iter().map(String::as_str));
    match request.services().worthy(form.password("password"), own, "/password", Lane::Registration).await {
        Ok(_) => Ok(request.error("password.good")),
        Err(why @ Refusal::Values(_)) => {
            let wrong = wrongs(&request.state.theme, &why, request.now()).unwrap_or_default();
            Ok(wrong.into_iter().next().map(|wrong| wrong.text).unwrap_or_default())
        }
        Err(why) => Err(why.into()),
    }
}
