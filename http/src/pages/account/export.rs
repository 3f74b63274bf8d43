//! `/account/export`: all that is kept about oneself, as a file, the password proved once more.

use std::sync::Arc;

use cairn_actors::password::Password;
use http::HeaderValue;
use http::header::CACHE_CONTROL;

use super::super::page::Page;
use super::super::page_request::PageRequest;
use super::Who;
use crate::api::me;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

/// The form.
pub(in crate::pages) fn page(address: &str) -> Page {
    Page::new("account/export.html").put("address", address)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    match request.who().await {
        Who::Somebody(who) => request.draw(page(who.user.address.typed())),
        Who::Nobody(answer) => answer,
    }
}

/// The file. It answers a form and has no URL of its own: nothing that is linked to or loaded again gives it away.
pub(in crate::pages) async fn download(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    let form = request.form()?;
    let who = match request.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let again = page(who.user.address.typed());
    if !request.holds(&form) {
        return request.stale(again);
    }
    let missing = request.unless_typed(&form, "password");
    if !missing.is_empty() {
        return request.draw(again.wrong(missing));
    }
    let password = Password::typed(form.get("password").unwrap_or_default().to_owned());
    match request.services().export_proved(&request.caller(), &who, &password).await {
        Ok(export) => {
            let file = me::file(export)?.header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(request.named(file))
        }
        Err(why) => request.again_beside(again, why, "password"),
    }
}
