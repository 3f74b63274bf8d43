//! `/account/password`: another password, the present one proved. Every other session ends by it.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::Tokens;

use super::super::page::Page;
use super::super::page_request::{PageRequest, typed};
use super::{Who, done};
use crate::request::{Form, Request};
use crate::route_group::Answer;
use crate::state::AppState;

/// The form.
pub(in crate::pages) fn page(address: &str, once: &str) -> Page {
    Page::new("account/password.html").put("address", address).put("once", once)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    match request.who().await {
        Who::Somebody(who) => request.draw(page(who.user.address.typed(), &request.once())),
        Who::Nobody(answer) => answer,
    }
}

pub(in crate::pages) async fn change(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    let form = request.form()?;
    let who = match request.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return twice(&request, &form, answer).await,
    };
    let once = typed(&form, "once");
    let page = page(who.user.address.typed(), &once);
    if !request.holds(&form) {
        return request.stale(page);
    }
    let password = |name: &str| Password::typed(form.get(name).unwrap_or_default().to_owned());
    let missing = request.unless_typed(&form, "current_password");
    if !missing.is_empty() {
        return request.draw(page.wrong(missing));
    }
    let (services, current) = (request.services(), password("current_password"));
    let new = || password("new_password");
    let mut answer = services.change_password(&request.caller_once(&once), &who, &current, new()).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with another password in it: somebody went back and changed their mind.
        answer = services.change_password(&request.caller(), &who, &current, new()).await;
    }
    match answer {
        // The cookie from before is worthless: whoever has a copy of it is out.
        Ok((_, tokens)) => changed(&request, &tokens).await,
        Err(why) => request.again_beside(page, why, "current_password"),
    }
}

async fn changed(request: &PageRequest, tokens: &Tokens) -> Answer {
    let cookie = request.services().session_cookie(&tokens.session).await?;
    Ok(request.with_session(done(request, "password")?, cookie.expose(), request.browser.stays))
}

/// Perhaps the form was sent twice, and the first has made the cookie anew that the second was sent with.
async fn twice(request: &PageRequest, form: &Form, otherwise: Answer) -> Answer {
    let Some(cookie) = request.browser.session.as_deref().filter(|_| request.holds(form)) else { return otherwise };
    let password = |name: &str| Password::typed(form.get(name).unwrap_or_default().to_owned());
    let (current, new) = (password("current_password"), password("new_password"));
    let caller = request.caller_once(&typed(form, "once"));
    match request.services().password_changed_before(&caller, cookie, &current, &new).await {
        Ok(Some((_, tokens))) => changed(request, &tokens).await,
        Ok(None) | Err(Refusal::SlowDown(_)) => otherwise,
        Err(why) => Err(why.into()),
    }
}

/// `/.well-known/change-password`: where password managers send people (W3C, a well-known URL for changing passwords).
/// Who is not signed in comes back here after signing in.
pub(in crate::pages) async fn well_known(state: Arc<AppState>, request: Request) -> Answer {
    PageRequest::new(state, request).go("/account/password")
}
