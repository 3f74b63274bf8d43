//! `/account/delete`: the end of an account, with the days in which it can be had back.

use cairn_actors::services::session::SignedIn;
use cairn_runtime::Timestamp;

use super::super::page_request::{PageRequest, Sent};
use super::Who;
use crate::route::Answer;
use crate::theme::Page;

/// The form.
pub(in crate::pages) fn page(address: &str) -> Page {
    Page::new("account/delete.html").put("address", address)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    request.draw(page(who.user.address.typed()))
}

pub(in crate::pages) async fn delete(request: PageRequest, who: Who, sent: Sent) -> Answer {
    let who = match who {
        Who::Somebody(who) => who,
        Who::Nobody(answer) if matches!(sent, Sent::Good(_)) => return twice(&request, answer).await,
        Who::Nobody(answer) => return answer,
    };
    let again = page(who.user.address.typed());
    let Sent::Good(form) = sent else { return request.stale(again) };
    let missing = request.unless_typed(&form, "password");
    if !missing.is_empty() {
        return request.draw(again.wrong(missing));
    }
    let password = form.password("password");
    match request.services().delete_account(form.caller(), &who, &password).await {
        Ok(moved) => {
            let until = moved.flow.expires_at.unwrap_or(request.now());
            farewell(&request, until)
        }
        Err(why) => twice(&request, request.again_beside(again, why, "password")).await,
    }
}

/// Perhaps the form was sent twice, and the session ended by the first. It leads to the same page, and never to where
/// one signs in to come back here: signing in has the account back.
async fn twice(request: &PageRequest, otherwise: Answer) -> Answer {
    let Some(cookie) = &request.browser.session else { return otherwise };
    match request.services().deletion_behind(cookie).await? {
        Some(until) => farewell(request, until),
        None => otherwise,
    }
}

fn farewell(request: &PageRequest, until: Timestamp) -> Answer {
    let time = request.state.theme.words.past(until, request.now());
    let page = request.draw(Page::message("account/deleted", "/login").say("time", time))?;
    Ok(request.without_session(page))
}
