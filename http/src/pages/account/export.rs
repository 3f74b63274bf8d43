//! `/account/export`: all that is kept about oneself, as a file, the password proved once more.

use cairn_actors::services::session::SignedIn;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use super::super::page_request::{PageRequest, Sent};
use crate::route::{Answer, reply};
use crate::theme::Page;
use crate::views::{self, ExportBody};

/// The form.
pub(in crate::pages) fn page(address: &str) -> Page {
    Page::new("account/export.html").put("address", address)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    request.draw(page(who.user.address.typed()))
}

/// The file. It answers a form and has no URL of its own: nothing that is linked to or loaded again gives it away.
pub(in crate::pages) async fn download(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let again = page(who.user.address.typed());
    let Sent::Good(form) = sent else { return request.stale(again) };
    let missing = request.unless_typed(&form, "password");
    if !missing.is_empty() {
        return request.draw(again.wrong(missing));
    }
    let password = form.password("password");
    match request.services().export_proved(form.caller(), &who, &password).await {
        Ok(export) => {
            let file = views::file(export).header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(request.named(reply::<ExportBody>(StatusCode::OK, file)?))
        }
        Err(why) => request.again_beside(again, why, "password"),
    }
}
