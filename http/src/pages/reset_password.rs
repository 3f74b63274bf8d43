//! `/forgot-password` and `/reset-password`: asking for a letter, waiting for it, and setting a new password by its code
//! or its link.

use std::sync::Arc;

use cairn_actors::address::Address;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::browser::Standing;
use cairn_runtime::Flow;
use http::StatusCode;

use super::page::{Page, Wrong, wrongs};
use super::visit::{Visit, typed, with_query};
use super::waiting::{self, Waiting};
use crate::request::Request;
use crate::route_group::Answer;
use crate::state::AppState;

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

pub(super) async fn ask(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let another = visit.request.query("for").is_some();
    let somebody = visit.signed_in().await?.filter(|_| !another);
    let email = somebody.map_or_else(String::new, |somebody| somebody.user.address.typed().to_owned());
    visit.draw(form(&email, &visit.once()))
}

pub(super) async fn begin(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let sent = visit.form()?;
    let (email, once) = (typed(&sent, "email"), typed(&sent, "once"));
    if !visit.holds(&sent) {
        return visit.stale(form(&email, &once));
    }
    let bare = Address::parse_forgiving(&email).map_or_else(|_| email.clone(), |address| address.typed().to_owned());
    let mut answer = visit.services().request_reset(&visit.caller_once(&once), &bare).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        answer = visit.services().request_reset(&visit.caller(), &bare).await;
    }
    match answer {
        Ok(moved) => {
            let reply = visit.go(&with_query(PATH, &[("flow", &moved.flow.id)]))?;
            Ok(visit.with_flow(reply, &moved.flow.id).await)
        }
        Err(why) => visit.again(form(&email, &once), why),
    }
}

pub(super) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    match visit.request.query("token") {
        Some(token) => link(&visit, &token, Vec::new()).await,
        None => {
            let flow = visit.request.query("flow");
            if flow.as_deref() == Some("done") {
                return visit.draw(Page::message("reset_password/done", "/login"));
            }
            wait(&visit, flow.as_deref(), "", Vec::new()).await
        }
    }
}

/// The page that waits, or where the flow has got to meanwhile.
async fn wait(visit: &Visit, flow: Option<&str>, code: &str, wrong: Vec<Wrong>) -> Answer {
    let Some(begun) = WAITING.begun(visit, flow).await? else {
        return visit.draw(Page::message("reset_password/nothing", ASK).put("second", "/login"));
    };
    match &begun.address {
        Some(address) => {
            let page = WAITING.page(visit, &begun, address, ASK.to_owned(), "");
            visit.draw(page.put("code", code).wrong(wrong))
        }
        None => match begun.flow.phase.as_str() {
            "expired" => visit.draw(over("reset_password/expired")),
            "ended" => visit.draw(over("reset_password/overtaken")),
            _ => visit.draw(Page::message("reset_password/done", "/login")),
        },
    }
}

/// The link of a letter.
async fn link(visit: &Visit, token: &str, wrong: Vec<Wrong>) -> Answer {
    let standing = visit.services().reset_link(token).await.map_err(|why| visit.problem(why))?;
    match standing {
        Standing::Good => {
            let address = visit.services().reset_address(token).await.map_err(|why| visit.problem(why))?;
            let address = address.map(|address| address.typed().to_owned()).unwrap_or_default();
            let other = visit.signed_in().await?.filter(|other| other.user.address.typed() != address);
            let note = other.and_then(|other| visit.stays_signed_in(&other));
            let page = Page::new("reset_password/link.html").put("link_token", token).put("address", address);
            visit.draw(page.note(note).wrong(wrong))
        }
        Standing::Done => visit.draw(over("reset_password/used")),
        Standing::Expired => visit.draw(over("reset_password/expired")),
        Standing::Overtaken => visit.draw(over("reset_password/overtaken")),
        Standing::Garbage => visit.draw(over("reset_password/garbage")),
    }
}

/// What is over leads to asking for another letter, or to signing in.
fn over(words: &'static str) -> Page {
    Page::message(words, ASK).put("second", "/login").status(StatusCode::GONE)
}

pub(super) async fn reset(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let sent = visit.form()?;
    let password = Password::typed(sent.get("new_password").unwrap_or_default().to_owned());
    if let Some(token) = sent.get("token") {
        if !visit.holds(&sent) {
            return link(&visit, token, visit.held_up()).await;
        }
        return match visit.services().confirm_reset_by_link(&visit.caller(), token, password).await {
            Ok(_) => done(&visit),
            Err(Refusal::FlowEnded(_)) => link(&visit, token, Vec::new()).await,
            Err(why) => match wrongs(&visit.state.theme, &why, visit.now()) {
                Some(wrong) => link(&visit, token, wrong).await,
                None => Err(visit.problem(why)),
            },
        };
    }
    let (flow, code) = (typed(&sent, "flow"), typed(&sent, "code"));
    if !visit.holds(&sent) {
        return wait(&visit, Some(&flow), &code, visit.held_up()).await;
    }
    match visit.services().confirm_reset_by_code(&visit.caller(), &flow, &code, password).await {
        Ok(_) => done(&visit),
        Err(why) => {
            // A code that was right enough to be looked at stays in its field when it is the password that is not.
            let kept = if matches!(why, Refusal::Values(_)) { code.as_str() } else { "" };
            wait(&visit, Some(&flow), kept, WAITING.refused(&visit, &flow, why).await?).await
        }
    }
}

/// The password is another. It is said at a URL of its own, so that loading the page again sends nothing again.
fn done(visit: &Visit) -> Answer {
    visit.go(&with_query(PATH, &[("flow", "done")]))
}

/// Another letter, please.
pub(super) async fn resend(state: Arc<AppState>, request: Request) -> Answer {
    let visit = Visit::new(state, request);
    let form = visit.form()?;
    let flow = typed(&form, "flow");
    if !visit.holds(&form) {
        return wait(&visit, Some(&flow), "", visit.held_up()).await;
    }
    match visit.services().resend_reset(&visit.caller(), &flow).await {
        Ok(_) => visit.go(&WAITING.at(&flow, "")),
        Err(why) => wait(&visit, Some(&flow), "", waiting::not_again(&visit, why)?).await,
    }
}

/// Tells the waiting page when its flow moves.
pub(super) async fn events(state: Arc<AppState>, request: Request) -> Answer {
    WAITING.events(&Visit::new(state, request)).await
}
