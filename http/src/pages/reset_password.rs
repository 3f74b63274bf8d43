//! `/forgot-password` and `/reset-password`: asking for a letter, waiting for it, and setting a new password by its code
//! or its link.

use cairn_actors::flows::challenge::LinkState;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::identity::address::Address;
use cairn_actors::services::Refusal;
use cairn_runtime::Flow;
use http::StatusCode;

use super::page_request::{PageRequest, Sent, with_query};
use super::waiting::{self, Waiting};
use crate::route::Answer;
use crate::theme::{Page, Wrong, wrongs};

const PATH: &str = "/reset-password";
const ASK: &str = "/forgot-password";
/// Asking for a letter to another address than the one of whoever is signed in.
pub(super) const FOR_ANOTHER: &str = "/forgot-password?for=another";
const WAITING: Waiting = Waiting {
    prefix: Recovery::PREFIX,
    path: PATH,
    template: "reset_password/waiting.html",
    action: PATH,
    form_id: "reset-code",
};

/// The form that asks for a letter.
pub(super) fn form(email: &str, once: &str) -> Page {
    Page::new("forgot_password/form.html").put("email", email).put("once", once)
}

pub(super) async fn ask(request: PageRequest) -> Answer {
    let another = request.query("for").is_some();
    let somebody = request.signed_in().await?.filter(|_| !another);
    let email = somebody.map_or_else(String::new, |somebody| somebody.user.address.typed().to_owned());
    request.draw(form(&email, &request.once()))
}

pub(super) async fn begin(request: PageRequest, sent: Sent) -> Answer {
    let (email, once) = (sent.typed().text("email"), sent.typed().text("once"));
    let Sent::Good(sent) = sent else { return request.stale(form(&email, &once)) };
    let bare = Address::parse_forgiving(&email).map_or_else(|_| email.clone(), |address| address.typed().to_owned());
    let mut answer = request.services().request_reset(&sent.caller_once(&once), &bare).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        answer = request.services().request_reset(sent.caller(), &bare).await;
    }
    match answer {
        Ok(moved) => {
            let reply = request.go(&with_query(PATH, &[("flow", &moved.flow.id)]))?;
            Ok(request.with_flow(reply, &moved.flow.id).await)
        }
        Err(why) => request.again(form(&email, &once), why),
    }
}

pub(super) async fn show(request: PageRequest) -> Answer {
    match request.query("token") {
        Some(token) => link(&request, &token, Vec::new()).await,
        None => {
            let flow = request.query("flow");
            if flow.as_deref() == Some("done") {
                return request.draw(Page::message("reset_password/done", "/login"));
            }
            wait(&request, flow.as_deref(), "", Vec::new()).await
        }
    }
}

/// The page that waits, or where the flow has got to meanwhile.
async fn wait(request: &PageRequest, flow: Option<&str>, code: &str, wrong: Vec<Wrong>) -> Answer {
    let Some(begun) = WAITING.begun(request, flow).await? else {
        return request.draw(Page::message("reset_password/nothing", ASK).put("second", "/login"));
    };
    match &begun.address {
        Some(address) => {
            let page = WAITING.page(request, &begun, address, ASK.to_owned(), "");
            request.draw(page.put("code", code).wrong(wrong))
        }
        None => match begun.stands {
            LinkState::Expired => request.draw(over("reset_password/expired")),
            LinkState::Overtaken => request.draw(over("reset_password/overtaken")),
            _ => request.draw(Page::message("reset_password/done", "/login")),
        },
    }
}

/// The link of a letter.
async fn link(request: &PageRequest, token: &str, wrong: Vec<Wrong>) -> Answer {
    let standing = request.services().link_state::<Recovery>(token).await?;
    match standing {
        LinkState::Good => {
            let address = request.services().link_address::<Recovery>(token).await?;
            let address = address.map(|address| address.typed().to_owned()).unwrap_or_default();
            let other = request.signed_in().await?.filter(|other| other.user.address.typed() != address);
            let note = other.and_then(|other| request.stays_signed_in(&other));
            let page = Page::new("reset_password/link.html").put("link_token", token).put("address", address);
            request.draw(page.note(note).wrong(wrong))
        }
        LinkState::Done => request.draw(over("reset_password/used")),
        LinkState::Expired => request.draw(over("reset_password/expired")),
        LinkState::Overtaken => request.draw(over("reset_password/overtaken")),
        LinkState::Garbage => request.draw(over("reset_password/garbage")),
    }
}

/// What is over leads to asking for another letter, or to signing in.
fn over(words: &'static str) -> Page {
    Page::message(words, ASK).put("second", "/login").status(StatusCode::GONE)
}

pub(super) async fn reset(request: PageRequest, sent: Sent) -> Answer {
    if let Some(token) = sent.typed().get("token").map(str::to_owned) {
        let Sent::Good(form) = sent else { return link(&request, &token, request.held_up()).await };
        let password = form.password("new_password");
        return match request.services().confirm_reset_by_link(form.caller(), &token, password).await {
            Ok(_) => done(&request),
            Err(Refusal::FlowEnded(_)) => link(&request, &token, Vec::new()).await,
            Err(why) => match wrongs(&request.state.theme, &why, request.now()) {
                Some(wrong) => link(&request, &token, wrong).await,
                None => Err(why.into()),
            },
        };
    }
    let (flow, code) = (sent.typed().text("flow"), sent.typed().text("code"));
    let Sent::Good(form) = sent else { return wait(&request, Some(&flow), &code, request.held_up()).await };
    let password = form.password("new_password");
    match request.services().confirm_reset_by_code(form.caller(), &flow, &code, password).await {
        Ok(_) => done(&request),
        Err(why) => {
            // A code that was right enough to be looked at stays in its field when it is the password that is not.
            let kept = if matches!(why, Refusal::Values(_)) { code.as_str() } else { "" };
            wait(&request, Some(&flow), kept, WAITING.refused(&request, &flow, why).await?).await
        }
    }
}

/// The password is another. It is said at a URL of its own, so that loading the page again sends nothing again.
fn done(request: &PageRequest) -> Answer {
    request.go(&with_query(PATH, &[("flow", "done")]))
}

/// Another letter, please.
pub(super) async fn resend(request: PageRequest, sent: Sent) -> Answer {
    let flow = sent.typed().text("flow");
    let Sent::Good(form) = sent else { return wait(&request, Some(&flow), "", request.held_up()).await };
    match request.services().resend_reset(form.caller(), &flow).await {
        Ok(_) => request.go(&WAITING.at(&flow, "")),
        Err(why) => wait(&request, Some(&flow), "", waiting::not_again(&request, why)?).await,
    }
}

/// Tells the waiting page when its flow moves.
pub(super) async fn events(request: PageRequest) -> Answer {
    WAITING.events(&request).await
}
