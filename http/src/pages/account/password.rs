//! `/account/password`: another password, the present one proved. Every other session ends by it.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::Tokens;

use super::super::page::Page;
use super::super::visit::{Visit, typed};
use super::{Who, done};
use crate::request::{Form, Request};
use crate::route_group::Answer;
use crate::state::AppState;

/// The form.
pub(in crate::pages) fn page(address: &str, once: &str) -> Page {
    Page::new("account/password.html").put("address", address).put("once", once)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    match visit.who().await {
        Who::Somebody(who) => visit.draw(page(who.user.address.typed(), &visit.once())),
        Who::Nobody(answer) => answer,
    }
}

pub(in crate::pages) async fn change(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return twice(&visit, &form, answer).await,
    };
    let once = typed(&form, "once");
    let page = page(who.user.address.typed(), &once);
    if !visit.holds(&form) {
        return visit.stale(page);
    }
    let password = |name: &str| Password::typed(form.get(name).unwrap_or_default().to_owned());
    let missing = visit.unless_typed(&form, "current_password");
    if !missing.is_empty() {
        return visit.draw(page.wrong(missing));
    }
    let (services, current) = (visit.services(), password("current_password"));
    let new = || password("new_password");
    let mut answer = services.change_password(&visit.caller_once(&once), &who, &current, new()).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with another password in it: somebody went back and changed their mind.
        answer = services.change_password(&visit.caller(), &who, &current, new()).await;
    }
    match answer {
        // The cookie from before is worthless: whoever has a copy of it is out.
        Ok((_, tokens)) => changed(&visit, &tokens).await,
        Err(why) => visit.again_beside(page, why, "current_password"),
    }
}

async fn changed(visit: &Visit, tokens: &Tokens) -> Answer {
    let cookie = visit.services().session_cookie(&tokens.session).await.map_err(|why| visit.problem(why))?;
    Ok(visit.with_session(done(visit, "password")?, cookie.expose(), visit.browser.stays))
}

/// Perhaps the form was sent twice, and the first has made the cookie anew that the second was sent with.
async fn twice(visit: &Visit, form: &Form, otherwise: Answer) -> Answer {
    let Some(cookie) = visit.browser.session.as_deref().filter(|_| visit.holds(form)) else { return otherwise };
    let password = |name: &str| Password::typed(form.get(name).unwrap_or_default().to_owned());
    let (current, new) = (password("current_password"), password("new_password"));
    let caller = visit.caller_once(&typed(form, "once"));
    match visit.services().password_changed_before(&caller, cookie, &current, &new).await {
        Ok(Some((_, tokens))) => changed(visit, &tokens).await,
        Ok(None) | Err(Refusal::SlowDown(_)) => otherwise,
        Err(why) => Err(visit.problem(why)),
    }
}

/// `/.well-known/change-password`: where password managers send people (W3C, a well-known URL for changing passwords).
/// Who is not signed in comes back here after signing in.
pub(in crate::pages) async fn well_known(state: Arc<AppState>, request: Request) -> Answer {
    Visit::new(state, request).go("/account/password")
}
