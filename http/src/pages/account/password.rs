//! `/account/password`: another password, the present one proved. Every other session ends by it.

use cairn_actors::services::Refusal;
use cairn_actors::services::session::{SignedIn, Tokens};

use super::super::page_request::{PageRequest, Sent};
use super::{Who, done};
use crate::route::Answer;
use crate::theme::Page;

/// The form.
pub(in crate::pages) fn page(address: &str, once: &str) -> Page {
    Page::new("account/password.html").put("address", address).put("once", once)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    request.draw(page(who.user.address.typed(), &request.once()))
}

pub(in crate::pages) async fn change(request: PageRequest, who: Who, sent: Sent) -> Answer {
    let who = match who {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return twice(&request, sent, answer).await,
    };
    let once = sent.typed().text("once");
    let page = page(who.user.address.typed(), &once);
    let Sent::Good(form) = sent else { return request.stale(page) };
    let missing = request.unless_typed(&form, "current_password");
    if !missing.is_empty() {
        return request.draw(page.wrong(missing));
    }
    let (services, current) = (request.services(), form.password("current_password"));
    let new = || form.password("new_password");
    let mut answer = services.change_password(&form.caller_once(&once), &who, &current, new()).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with another password in it: somebody went back and changed their mind.
        answer = services.change_password(form.caller(), &who, &current, new()).await;
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
async fn twice(request: &PageRequest, sent: Sent, otherwise: Answer) -> Answer {
    let (Some(cookie), Sent::Good(form)) = (request.browser.session.as_deref(), sent) else { return otherwise };
    let (current, new) = (form.password("current_password"), form.password("new_password"));
    let caller = form.caller_once(&form.typed().text("once"));
    match request.services().password_changed_before(&caller, cookie, &current, &new).await {
        Ok(Some((_, tokens))) => changed(request, &tokens).await,
        Ok(None) | Err(Refusal::SlowDown(_)) => otherwise,
        Err(why) => Err(why.into()),
    }
}

/// `/.well-known/change-password`: where password managers send people (W3C, a well-known URL for changing passwords).
/// Who is not signed in comes back here after signing in.
pub(in crate::pages) async fn well_known(request: PageRequest) -> Answer {
    request.go("/account/password")
}
