//! `/magic-link`: asking for a letter that signs in, waiting for it, and signing in with its code or its link. A mail scanner
//! that opens the link consumes nothing; in another browser than the one that asked, the link alone signs nobody in.

use cairn_actors::flows::challenge::LinkState;
use cairn_actors::flows::magic_link::MagicLink;
use cairn_actors::identity::address::Address;
use cairn_actors::services::Refusal;
use cairn_actors::services::magic_link::OpenedBy;
use cairn_actors::services::session::Tokens;
use cairn_runtime::Flow;
use http::StatusCode;

use super::login::{self, HOME};
use super::page_request::{PageRequest, Sent, with_query};
use super::waiting::{self, Waiting};
use crate::route::Answer;
use crate::sign_in::SignedIn;
use crate::theme::{Page, Wrong, wrongs};

const PATH: &str = "/magic-link";
const CODE: &str = "/magic-link/code";
const WAITING: Waiting = Waiting {
    prefix: MagicLink::PREFIX,
    path: PATH,
    template: "magic_link/waiting.html",
    action: CODE,
    form_id: "magic-link-code",
};

/// The form that asks for a letter.
pub(super) fn form(email: &str, next: &str, once: &str) -> Page {
    Page::new("magic_link/form.html")
        .put("email", email)
        .put("next", next)
        .put("once", once)
        .put("login", with_query("/login", &[("next", next)]))
}

/// What is over leads to asking for another letter, or to signing in with the password, and on from there to `next`.
fn over(words: &'static str, next: &str) -> Page {
    let on = |path| with_query(path, &[("next", next)]);
    Page::message(words, &on(PATH)).put("second", on("/login")).status(StatusCode::GONE)
}

pub(super) async fn show(request: PageRequest) -> Answer {
    request.services().magic_link_is_on()?;
    if let Some(token) = request.query("token") {
        return link(&request, &token, Vec::new()).await;
    }
    // Without a name it is the newest of this browser.
    if let Some(flow) = request.query("flow") {
        return wait(&request, Some(flow.as_str()).filter(|flow| !flow.is_empty()), &request.next(), "", Vec::new())
            .await;
    }
    let next = request.next();
    if let Some(somebody) = request.signed_in().await? {
        let page = login::already(&somebody, &with_query(PATH, &[("next", &next)]));
        return request.draw(if next.is_empty() { page } else { page.put("lead", next) });
    }
    request.draw(form("", &next, &request.once()))
}

pub(super) async fn begin(request: PageRequest, sent: Sent) -> Answer {
    request.services().magic_link_is_on()?;
    let typed = sent.typed();
    let (email, next, once) = (typed.text("email"), typed.next(), typed.text("once"));
    let Sent::Good(sent) = sent else { return request.stale(form(&email, &next, &once)) };
    let bare = Address::parse_forgiving(&email).map_or_else(|_| email.clone(), |address| address.typed().to_owned());
    let mut answer = request.services().request_magic_link(&sent.caller_once(&once), &bare).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        // The same form with another address in it: somebody went back and changed their mind.
        answer = request.services().request_magic_link(sent.caller(), &bare).await;
    }
    match answer {
        Ok(begun) => {
            let reply = request.go(&WAITING.at(&begun.flow.id, &next))?;
            let reply = request.with_destination(reply, &begun.flow.id, &next);
            Ok(request.with_flow(reply, &begun.flow.id).await)
        }
        Err(why) => request.again(form(&email, &next, &once), why),
    }
}

/// The page that waits, or where the flow has got to meanwhile.
async fn wait(request: &PageRequest, flow: Option<&str>, next: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    let Some(begun) = WAITING.begun(request, flow).await? else {
        return request.draw(over("magic_link/nothing", next).status(StatusCode::OK));
    };
    let next = if next.is_empty() { request.destination(&begun.flow.id) } else { next.to_owned() };
    request.allow_next(&next).await?;
    match &begun.address {
        Some(address) => {
            if let Some(somebody) = request.signed_in().await? {
                return request.draw(login::already(&somebody, &WAITING.at(&begun.flow.id, &next)));
            }
            let change = with_query(PATH, &[("next", &next)]);
            let page = WAITING.page(request, &begun, address, change, &next);
            request.draw(page.put("code", code).wrong(wrong))
        }
        None => match begun.stands {
            LinkState::Expired => request.draw(over("magic_link/expired", &next)),
            LinkState::Overtaken => request.draw(over("magic_link/overtaken", &next)),
            _ => used(request, &next).await,
        },
    }
}

/// The letter has signed in: whoever is signed in here goes on, anybody else asks for another one.
async fn used(request: &PageRequest, next: &str) -> Answer {
    match request.signed_in().await? {
        Some(_) => request.go(if next.is_empty() { HOME } else { next }),
        None => request.draw(over("magic_link/used", next)),
    }
}

/// The link of a letter: one button in the browser that asked for it, the code in any other.
async fn link(request: &PageRequest, token: &str, wrong: Vec<Wrong>) -> Answer {
    let services = request.services();
    let state = services.link_state::<MagicLink>(token).await?;
    let begun = services.began_here::<MagicLink>(token, &request.browser.flows()).await?;
    let next = begun.as_ref().map(|begun| request.destination(&begun.flow.id)).unwrap_or_default();
    request.allow_next(&next).await?;
    match state {
        LinkState::Good => {
            if let Some(somebody) = request.signed_in().await? {
                return request.draw(login::already(&somebody, &with_query(PATH, &[("token", token)])));
            }
            match begun {
                Some(_) => {
                    request.draw(Page::button("magic_link/link", "/magic-link/link", "magic-link", token).wrong(wrong))
                }
                None => {
                    let flow = services.flow_of_link::<MagicLink>(token).unwrap_or_default();
                    elsewhere(request, &flow, "", wrong).await
                }
            }
        }
        LinkState::Done => used(request, &next).await,
        LinkState::Expired => request.draw(over("magic_link/expired", &next)),
        LinkState::Overtaken => request.draw(over("magic_link/overtaken", &next)),
        LinkState::Garbage => request.draw(over("magic_link/garbage", &next)),
    }
}

/// The page for another browser than the one that asked: whoever has the letter has its code, too. Where no code is looked
/// at any more, none is asked for.
async fn elsewhere(request: &PageRequest, flow: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    match request.services().stands::<MagicLink>(flow).await? {
        Some((LinkState::Good, tries_left)) if tries_left > 0 => {
            if let Some(somebody) = request.signed_in().await? {
                return request.draw(login::already(&somebody, PATH));
            }
            let page = Page::new("magic_link/elsewhere.html").put("flow", flow).put("code", code).put("action", CODE);
            request.draw(page.wrong(wrong))
        }
        Some((LinkState::Good, _)) => request.draw(over("magic_link/spent", "")),
        Some((LinkState::Done, _)) => used(request, "").await,
        Some((LinkState::Expired, _)) => request.draw(over("magic_link/expired", "")),
        Some((LinkState::Overtaken, _)) => request.draw(over("magic_link/overtaken", "")),
        Some((LinkState::Garbage, _)) | None => request.draw(over("magic_link/garbage", "")),
    }
}

/// The button behind a link was pressed.
pub(super) async fn press(request: PageRequest, sent: Sent) -> Answer {
    request.services().magic_link_is_on()?;
    let token = sent.typed().text("token");
    let Sent::Good(form) = sent else { return link(&request, &token, request.held_up()).await };
    let began = request.services().began_here::<MagicLink>(&token, &request.browser.flows()).await?;
    let next = began.map(|begun| request.destination(&begun.flow.id)).unwrap_or_default();
    let cookies = request.browser.flows();
    match request.services().sign_in_by_link(form.caller(), &token, OpenedBy::Browser(&cookies)).await {
        Ok(tokens) => signed_in(&request, tokens, &next).await,
        Err(Refusal::Credentials | Refusal::FlowEnded(_)) => link(&request, &token, Vec::new()).await,
        Err(why) => match wrongs(&request.state.theme, &why, request.now()) {
            Some(wrong) => link(&request, &token, wrong).await,
            None => Err(why.into()),
        },
    }
}

/// A code was typed, in the browser that asked or in one that opened the link.
pub(super) async fn enter(request: PageRequest, sent: Sent) -> Answer {
    request.services().magic_link_is_on()?;
    let typed = sent.typed();
    let (flow, code, next) = (typed.text("flow"), typed.text("code"), typed.next());
    let Sent::Good(form) = sent else { return again(&request, &flow, &next, &code, request.held_up()).await };
    let next = if next.is_empty() { request.destination(&flow) } else { next };
    let cookies = request.browser.flows();
    match request.services().sign_in_by_code(form.caller(), &flow, &code, &cookies).await {
        Ok(tokens) => signed_in(&request, tokens, &next).await,
        Err(Refusal::NotFound) => request.draw(over("magic_link/garbage", &next)),
        Err(why) => {
            let here = WAITING.begun(&request, Some(&flow)).await?.is_some();
            let wrong = match wrongs(&request.state.theme, &why, request.now()) {
                Some(_) if here => WAITING.refused(&request, &flow, why).await?,
                Some(wrong) => wrong,
                None => return Err(why.into()),
            };
            again(&request, &flow, &next, "", wrong).await
        }
    }
}

/// The page from which a code was sent.
async fn again(request: &PageRequest, flow: &str, next: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    match WAITING.begun(request, Some(flow)).await? {
        Some(_) => wait(request, Some(flow), next, code, wrong).await,
        None => elsewhere(request, flow, code, wrong).await,
    }
}

/// Somebody is signed in by a letter, and led to where they wanted to go.
async fn signed_in(request: &PageRequest, tokens: Tokens, next: &str) -> Answer {
    let SignedIn { tokens, device } = SignedIn::of(tokens, request.browser.names)?;
    let cookie = match request.services().session_cookie(&tokens.session).await {
        // A form that was sent once more after the session which it began has ended.
        Err(Refusal::SessionEnded) => return request.draw(over("magic_link/used", next)),
        cookie => cookie?,
    };
    let there = match (tokens.restored, next) {
        (true, _) => with_query(HOME, &[("said", "restored")]),
        (false, "") => HOME.to_owned(),
        (false, next) => next.to_owned(),
    };
    let reply = request.without_destinations(request.go(&there)?);
    let reply = request.with_session(reply, cookie.expose(), false);
    Ok(match device {
        Some(device) => reply.cookie(device),
        None => reply,
    })
}

/// Where the forms go, opened as pages: back to the page that waits.
pub(super) async fn back(request: PageRequest) -> Answer {
    request.services().magic_link_is_on()?;
    request.go("/magic-link?flow=")
}

/// Another letter, please.
pub(super) async fn resend(request: PageRequest, sent: Sent) -> Answer {
    request.services().magic_link_is_on()?;
    let (flow, next) = (sent.typed().text("flow"), sent.typed().next());
    let Sent::Good(form) = sent else { return wait(&request, Some(&flow), &next, "", request.held_up()).await };
    match request.services().resend_magic_link(form.caller(), &flow).await {
        Ok(_) => request.go(&WAITING.at(&flow, &next)),
        Err(why) => wait(&request, Some(&flow), &next, "", waiting::not_again(&request, why)?).await,
    }
}

/// Tells the waiting page when its flow moves.
pub(super) async fn events(request: PageRequest) -> Answer {
    request.services().magic_link_is_on()?;
    WAITING.events(&request).await
}
