//! `/password-strength`: what would help a password that somebody is just choosing, by the same function that will judge
//! it. Advice for a script; nothing hangs on it.

use std::sync::Arc;

use cairn_actors::hasher::Lane;
use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::strength::OwnWords;
use http::StatusCode;
use http::header::CACHE_CONTROL;

use super::page::wrongs;
use super::page_request::{PageRequest, typed};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

pub(super) async fn advise(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    let form = request.form()?;
    if !request.holds(&form) {
        return said("");
    }
    let own: Vec<String> = ["email", "username", "first_name", "last_name"].map(|name| typed(&form, name)).into();
    let own = OwnWords::of(own.iter().map(String::as_str));
    let password = Password::typed(form.get("password").unwrap_or_default().to_owned());
    match request.services().worthy(password, own, "/password", Lane::Registration).await {
        Ok(_) => said(&request.error("password.good")),
        Err(why @ Refusal::Values(_)) => {
            let wrong = wrongs(&request.state.theme, &why, request.now()).unwrap_or_default();
            said(wrong.first().map_or("", |wrong| wrong.text.as_str()))
        }
        Err(why) => Err(why.into()),
    }
}

fn said(text: &str) -> Answer {
    let reply = Reply::json(StatusCode::OK, &serde_json::json!({ "text": text }))?;
    Ok(reply.header(CACHE_CONTROL, http::HeaderValue::from_static("no-store")))
}
