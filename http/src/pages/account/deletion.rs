//! `/account/delete`: the end of an account, with the days in which it can be had back.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_runtime::Timestamp;

use super::super::page::Page;
use super::super::visit::Visit;
use super::Who;
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

/// The form.
pub(in crate::pages) fn page(address: &str) -> Page {
    Page::new("account/delete.html").put("address", address)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    match visit.who().await {
        Who::Somebody(who) => visit.draw(page(who.user.address.typed())),
        Who::Nobody(answer) => answer,
    }
}

pub(in crate::pages) async fn delete(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return twice(&visit, answer).await,
    };
    let again = page(who.user.address.typed());
    if !visit.holds(&form) {
        return visit.stale(again);
    }
    let missing = visit.unless_typed(&form, "password");
    if !missing.is_empty() {
        return visit.draw(again.wrong(missing));
    }
    let password = Password::typed(form.get("password").unwrap_or_default().to_owned());
    match visit.services().delete_account(&visit.caller(), &who, &password).await {
        Ok(moved) => {
            let until = moved.flow.expires_at.unwrap_or(visit.now());
            farewell(&visit, until)
        }
        Err(why) => twice(&visit, visit.again_beside(again, why, "password")).await,
    }
}

/// Perhaps the form was sent twice, and the session ended by the first. It leads to the same page, and never to where
/// one signs in to come back here: signing in has the account back.
async fn twice(visit: &Visit, otherwise: Answer) -> Answer {
    let Some(cookie) = &visit.browser.session else { return otherwise };
    match visit.services().deletion_behind(cookie).await.map_err(|why| visit.problem(why))? {
        Some(until) => farewell(visit, until),
        None => otherwise,
    }
}

fn farewell(visit: &Visit, until: Timestamp) -> Answer {
    let time = visit.state.theme.words.past(until, visit.now());
    let page = visit.draw(Page::message("account/deleted", "/login").say("time", time))?;
    Ok(visit.without_session(page))
}
