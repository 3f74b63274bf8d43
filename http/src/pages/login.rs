//! `/login` and `/logout`: an address or a username, the password, and back to where one wanted to go.

use cairn_actors::flows::registration::Registration;
use cairn_actors::identity::address::Address;
use cairn_actors::identity::username::Username;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::{Identifier, SignedIn as Somebody};
use cairn_runtime::Flow;

use super::page_request::{PageRequest, Sent, with_query};
use super::{authorize, sign_out};
use crate::access::cookie::Cookie;
use crate::problem::Problem;
use crate::route::Answer;
use crate::sign_in::SignedIn;
use crate::theme::{Page, Wrong};

/// Where a person is who wanted to go nowhere.
pub(super) const HOME: &str = "/account";

/// The form. `stay`: the box that keeps the person signed in is checked.
pub(super) fn page(identifier: &str, next: &str, stay: bool) -> Page {
    Page::new("login/form.html")
        .put("identifier", identifier)
        .put("next", next)
        .put("register", with_query("/register", &[("next", next)]))
        .put("stay", stay)
        .put("letter", "")
        .put("unfinished", false)
}

/// The form as this server has it: it leads to registration where that is open.
fn form(request: &PageRequest, identifier: &str, next: &str, stay: bool) -> Page {
    let settings = &request.services().engine.environment().settings;
    let page = page(identifier, next, stay);
    let page = if settings.registration { page } else { page.put("register", "") };
    if settings.magic_link { page.put("letter", with_query("/magic-link", &[("next", next)])) } else { page }
}

/// Somebody is signed in, and may be somebody else.
pub(super) fn already(somebody: &Somebody, back: &str) -> Page {
    Page::message("login/already", HOME).say("address", somebody.user.address.typed()).put("leave", back)
}

/// The button that signs out, for a form that was held up: whoever is signed in may be somebody else by now.
fn leave(somebody: &Somebody, next: &str) -> Page {
    let page = Page::button("sign_out/link", "/logout", "logout", "");
    page.say("address", somebody.user.address.typed()).put("next", next).put("second", HOME)
}

pub(super) async fn show(request: PageRequest) -> Answer {
    let next = request.next();
    request.allow_next(&next).await?;
    let hint = request.query("login_hint").unwrap_or_default();
    if let Some(somebody) = request.signed_in().await? {
        if request.query("again").is_some() && authorize::flow_of(&next).is_some() {
            let identifier = if hint.is_empty() { somebody.user.address.typed() } else { &hint };
            let note = request.error("again");
            return request.draw(form(&request, identifier, &next, request.browser.stays).note(Some(note)));
        }
        let back = with_query("/login", &[("next", &next)]);
        let page = already(&somebody, &back);
        return request.draw(if next.is_empty() { page } else { page.put("lead", next) });
    }
    let unfinished = unfinished(&request).await?;
    request.draw(form(&request, &hint, &next, false).put("unfinished", unfinished))
}

/// Whether this browser began an account whose address is not proved yet: signing in to it cannot work.
async fn unfinished(request: &PageRequest) -> Result<bool, Problem> {
    if request.browser.flows.is_empty() {
        return Ok(false);
    }
    let begun = request.services().begun(&request.browser.flows(), Registration::PREFIX, None).await;
    Ok(begun?.is_some_and(|begun| begun.address.is_some()))
}

pub(super) async fn sign_in(request: PageRequest, sent: Sent) -> Answer {
    let typed = sent.typed();
    let (identifier, next, stay) = (typed.text("identifier"), typed.next(), typed.has("stay"));
    request.allow_next(&next).await?;
    let again = form(&request, &identifier, &next, stay);
    let destination = if next.is_empty() { HOME } else { next.as_str() };
    let Sent::Good(sent) = sent else {
        // A second tab: the sign-in of the first is this one's too.
        let elsewhere = !request.is_limited() && request.signed_in().await?.is_some();
        return if elsewhere { request.go(destination) } else { request.stale(again) };
    };
    let password = sent.secret("password").unwrap_or_default();
    let mut missing = Vec::new();
    for (field, value, code) in
        [("identifier", identifier.trim(), "identifier"), ("password", password, "password.missing")]
    {
        if value.is_empty() {
            missing.push(Wrong { field: Some(field), text: request.error(code) });
        }
    }
    if !missing.is_empty() {
        return request.draw(again.wrong(missing));
    }
    let trimmed = identifier.trim();
    let by = if trimmed.contains('@') { Identifier::Email(trimmed) } else { Identifier::Username(trimmed) };
    let password = Password::typed(password.to_owned());
    let before = request.signed_in().await?;
    if let Some(somebody) = &before
        && authorize::flow_of(&next).is_some()
        && is_by(somebody, by)
    {
        // An application wants to know that it is still they: the session goes on, and so does what else rests on it.
        return match request.services().step_up(sent.caller(), somebody, &password).await {
            Ok(_) => request.go(&next),
            Err(Refusal::Credentials) => {
                let text = request.error("sign_in");
                request.draw(again.wrong(vec![Wrong { field: Some("identifier"), text }]))
            }
            Err(why) => request.again(again, why),
        };
    }
    match request.sign_in(&sent, by, &password).await {
        Ok(SignedIn { tokens, device }) => {
            let cookie = request.services().session_cookie(&tokens.session).await?;
            if let Some(left) = request.browser.session.as_ref().filter(|_| before.is_some()) {
                // This browser is somebody else's from now on.
                request.services().leave(sent.caller(), left).await?;
            }
            // Whoever signs in to have a deleted account back is told that they have it.
            let there =
                if tokens.restored { with_query(HOME, &[("said", "restored")]) } else { destination.to_owned() };
            let reply = request.without_destinations(request.go(&there)?);
            let reply = request.with_session(reply, cookie.expose(), stay);
            Ok(match device {
                Some(device) => reply.cookie(device),
                None => reply,
            })
        }
        Err(Refusal::Credentials) => {
            let text = request.error("sign_in");
            let unfinished = unfinished(&request).await?;
            request.draw(again.put("unfinished", unfinished).wrong(vec![Wrong { field: Some("identifier"), text }]))
        }
        Err(why) => request.again(again, why),
    }
}

/// Whether an identifier is that of who is signed in.
fn is_by(somebody: &Somebody, by: Identifier<'_>) -> bool {
    match by {
        Identifier::Email(typed) => {
            Address::parse(typed).is_ok_and(|address| address.canonical() == somebody.user.address.canonical())
        }
        Identifier::Username(typed) => {
            Username::parse(typed).is_ok_and(|username| somebody.user.username.as_ref() == Some(&username))
        }
    }
}

/// The button that signs out, for whoever follows a link or types the path: opening a page ends nothing.
pub(super) async fn ask_to_sign_out(request: PageRequest) -> Answer {
    let next = request.next();
    match request.signed_in().await? {
        Some(somebody) => request.draw(leave(&somebody, &next)),
        None => request.go("/signed-out"),
    }
}

/// Ends the session of this browser and leads to `next`, or says that it is done. On a shared computer the browser is
/// forgotten as well.
pub(super) async fn sign_out(request: PageRequest, sent: Sent) -> Answer {
    let next = sent.typed().next();
    let to = sign_out::destination(&request, sent.typed()).await?;
    let Sent::Good(form) = sent else {
        return match request.signed_in().await? {
            Some(somebody) => request.stale(leave(&somebody, &next)),
            None => request.go("/login"),
        };
    };
    let forget = form.typed().has("forget");
    if forget {
        request.services().forget_shown_device(form.caller()).await?;
    }
    if let Some(cookie) = &request.browser.session {
        request.services().leave(form.caller(), cookie).await?;
    }
    let reply = match &to {
        Some(to) => request.away(to)?,
        None => request.go(if next.is_empty() { "/signed-out" } else { &next })?,
    };
    let reply = request.without_session(reply);
    Ok(match request.browser.names.clear(Cookie::Device).filter(|_| forget) {
        Some(cookie) => reply.cookie(cookie),
        None => reply,
    })
}

/// Where one is after signing out.
pub(super) async fn signed_out(request: PageRequest) -> Answer {
    request.draw(Page::message("login/signed_out", "/login"))
}
