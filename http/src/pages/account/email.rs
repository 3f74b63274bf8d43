//! `/account/email`: another address, asked for with the password and proved by a letter to it.

use cairn_actors::flows::challenge::LinkState;
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::identity::address::Address;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::SignedIn;
use cairn_runtime::Flow;
use http::{Method, StatusCode};

use super::super::page_request::{PageRequest, Sent, with_query};
use super::super::waiting::{self, Waiting};
use super::done;
use crate::problem::Problem;
use crate::route::Answer;
use crate::theme::{Page, Wrong};

const PATH: &str = "/account/email";
const WAITING: Waiting = Waiting {
    prefix: EmailChange::PREFIX,
    path: PATH,
    template: "account/email_waiting.html",
    action: "/account/email/code",
    form_id: "email-code",
};

/// The form.
pub(in crate::pages) fn page(address: &str, new_email: &str, once: &str) -> Page {
    Page::new("account/email.html").put("address", address).put("new_email", new_email).put("once", once)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    match request.query("flow") {
        Some(flow) if is_anothers(&request, &who, &flow).await? => anothers(&request, &who, &flow),
        Some(flow) => wait(&request, &who, &flow, "", Vec::new()).await,
        None => request.draw(page(who.user.address.typed(), "", &request.once())),
    }
}

/// Whether somebody else than who is signed in now asked for this change.
async fn is_anothers(request: &PageRequest, who: &SignedIn, flow: &str) -> Result<bool, Problem> {
    let by = request.services().email_change_by(flow).await?;
    Ok(by.is_some_and(|by| by != who.user.id))
}

/// Another's change is neither shown nor gone on with: who is signed in, and how to be somebody else.
fn anothers(request: &PageRequest, who: &SignedIn, flow: &str) -> Answer {
    let back = with_query("/login", &[("next", &WAITING.at(flow, ""))]);
    let page = Page::message("account/email_anothers", "/account").say("address", who.user.address.typed());
    request.draw(page.put("leave", back).status(StatusCode::CONFLICT))
}

/// The page that waits for the letter, or where the change has got to.
async fn wait(request: &PageRequest, who: &SignedIn, flow: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    let Some(begun) = WAITING.begun(request, Some(flow)).await? else {
        // Begun in another browser: this one can only begin anew. A form that was sent has done nothing, and is told so.
        let page = page(who.user.address.typed(), "", &request.once());
        let unheard = request.method() == Method::POST && wrong.is_empty();
        let text = || Wrong { field: None, text: request.error("email_elsewhere") };
        return request.draw(page.wrong(if unheard { vec![text()] } else { wrong }));
    };
    match &begun.address {
        Some(address) => {
            let page = WAITING.page(request, &begun, address, PATH.to_owned(), "");
            request.draw(page.put("code", code).wrong(wrong))
        }
        None => match begun.stands {
            LinkState::Expired => {
                request.draw(Page::message("email_change/expired", "/account").status(StatusCode::GONE))
            }
            LinkState::Overtaken => {
                request.draw(Page::message("email_change/overtaken", "/account").status(StatusCode::GONE))
            }
            _ => done(request, "email"),
        },
    }
}

pub(in crate::pages) async fn begin(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let (new_email, once) = (sent.typed().text("new_email"), sent.typed().text("once"));
    let again = page(who.user.address.typed(), &new_email, &once);
    let Sent::Good(form) = sent else { return request.stale(again) };
    let mut missing = request.unless_typed(&form, "password");
    if !missing.is_empty() {
        if new_email.trim().is_empty() {
            missing.insert(0, Wrong { field: Some("new_email"), text: request.error("new_email.empty") });
        }
        return request.draw(again.wrong(missing));
    }
    let bare = Address::parse_forgiving(&new_email).map_or_else(|_| new_email.clone(), |a| a.typed().to_owned());
    let password = || form.password("password");
    let services = request.services();
    let mut answer = services.change_email(&form.caller_once(&once), &who, &bare, true, &password()).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        answer = services.change_email(form.caller(), &who, &bare, true, &password()).await;
    }
    match answer {
        Ok(moved) => {
            let reply = request.go(&with_query(PATH, &[("flow", &moved.flow.id)]))?;
            Ok(request.with_flow(reply, &moved.flow.id).await)
        }
        Err(why) => request.again_beside(again, why, "password"),
    }
}

/// The code of the letter.
pub(in crate::pages) async fn confirm(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let (flow, code) = (sent.typed().text("flow"), sent.typed().text("code"));
    if is_anothers(&request, &who, &flow).await? {
        return anothers(&request, &who, &flow);
    }
    let Sent::Good(form) = sent else { return wait(&request, &who, &flow, &code, request.held_up()).await };
    match request.services().confirm_email_by_code(form.caller(), &flow, &code).await {
        Ok(_) => done(&request, "email"),
        Err(Refusal::AddressTaken) => {
            request.draw(Page::message("email_change/taken", "/account").status(StatusCode::CONFLICT))
        }
        Err(why) => wait(&request, &who, &flow, "", WAITING.refused(&request, &flow, why).await?).await,
    }
}

/// Another letter, please.
pub(in crate::pages) async fn resend(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let flow = sent.typed().text("flow");
    if is_anothers(&request, &who, &flow).await? {
        return anothers(&request, &who, &flow);
    }
    let Sent::Good(form) = sent else { return wait(&request, &who, &flow, "", request.held_up()).await };
    match request.services().resend_email_change(form.caller(), &who, &flow).await {
        Ok(_) => request.go(&WAITING.at(&flow, "")),
        Err(why) => wait(&request, &who, &flow, "", waiting::not_again(&request, why)?).await,
    }
}

/// Tells the waiting page when its flow moves.
pub(in crate::pages) async fn events(request: PageRequest) -> Answer {
    WAITING.events(&request).await
}
