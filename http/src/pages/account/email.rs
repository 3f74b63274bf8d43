//! `/account/email`: another address, asked for with the password and proved by a letter to it.

use std::sync::Arc;

use cairn_actors::address::Address;
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::SignedIn;
use http::StatusCode;

use super::super::sheet::{Sheet, Wrong, wrongs};
use super::super::visit::{Visit, typed, with_query};
use super::super::waiting;
use super::{Who, done};
use crate::house::House;
use crate::request::Request;
use crate::room::Answer;

const PATH: &str = "/account/email";

/// The form.
pub(in crate::pages) fn sheet(address: &str, new_email: &str, once: &str) -> Sheet {
    Sheet::new("account/email.html").put("address", address).put("new_email", new_email).put("once", once)
}

pub(in crate::pages) async fn show(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    match visit.request.query("flow") {
        Some(flow) => wait(&visit, &who, &flow, "", Vec::new()).await,
        None => visit.draw(sheet(who.user.address.typed(), "", &visit.once())),
    }
}

/// The page that waits for the letter, or where the change has got to.
async fn wait(visit: &Visit, who: &SignedIn, flow: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    let begun = visit.services().begun(&visit.browser.flows(), EmailChange::PREFIX, Some(flow)).await;
    let Some(begun) = begun.map_err(|why| visit.problem(why))? else {
        // Begun in another browser: this one can only begin anew.
        return visit.draw(sheet(who.user.address.typed(), "", &visit.once()));
    };
    match &begun.address {
        Some(address) => visit.draw(
            waiting::sheet(&visit.house.look, "account/email_waiting.html", PATH, &begun, visit.now())
                .put("address", address.typed())
                .put("code", code)
                .wrong(wrong),
        ),
        None => match begun.flow.phase.as_str() {
            "expired" | "ended" => {
                visit.draw(Sheet::message("email_change/overtaken", "/account").status(StatusCode::GONE))
            }
            _ => done(visit, "email"),
        },
    }
}

pub(in crate::pages) async fn begin(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let (new_email, once) = (typed(&form, "new_email"), typed(&form, "once"));
    let again = sheet(who.user.address.typed(), &new_email, &once);
    if !visit.holds(&form) {
        return visit.stale(again);
    }
    let bare = Address::parse_forgiving(&new_email).map_or_else(|_| new_email.clone(), |a| a.typed().to_owned());
    let password = || Password::typed(form.get("password").unwrap_or_default().to_owned());
    let services = visit.services();
    let mut answer = services.change_email(&visit.caller_once(&once), &who, &bare, true, &password()).await;
    if matches!(answer, Err(Refusal::Mismatch)) {
        answer = services.change_email(&visit.caller(), &who, &bare, true, &password()).await;
    }
    match answer {
        Ok(moved) => {
            let reply = visit.go(&with_query(PATH, &[("flow", &moved.flow.id)]))?;
            Ok(visit.with_flow(reply, &moved.flow.id).await)
        }
        Err(why) => visit.again_beside(again, why, "password"),
    }
}

/// The code of the letter.
pub(in crate::pages) async fn confirm(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let (flow, code) = (typed(&form, "flow"), typed(&form, "code"));
    if !visit.holds(&form) {
        return wait(&visit, &who, &flow, &code, visit.held_up()).await;
    }
    match visit.services().confirm_email_by_code(&visit.caller(), &flow, &code).await {
        Ok(_) => done(&visit, "email"),
        Err(Refusal::AddressTaken) => {
            visit.draw(Sheet::message("email_change/taken", "/account").status(StatusCode::CONFLICT))
        }
        Err(Refusal::NotFound) => wait(&visit, &who, &flow, "", Vec::new()).await,
        Err(why) => refused(&visit, &who, &flow, why).await,
    }
}

/// Another letter, please.
pub(in crate::pages) async fn resend(house: Arc<House>, request: Request) -> Answer {
    let visit = Visit::new(house, request);
    let form = visit.form()?;
    let who = match visit.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    let flow = typed(&form, "flow");
    if !visit.holds(&form) {
        return wait(&visit, &who, &flow, "", visit.held_up()).await;
    }
    match visit.services().resend_email_change(&visit.caller(), &who, &flow).await {
        Ok(_) => visit.go(&with_query(PATH, &[("flow", &flow)])),
        Err(why @ Refusal::SlowDown(_)) => match waiting::not_again(&visit.house.look, &why, visit.now()) {
            Some(wrong) => wait(&visit, &who, &flow, "", wrong).await,
            None => Err(visit.problem(why)),
        },
        Err(why) => refused(&visit, &who, &flow, why).await,
    }
}

async fn refused(visit: &Visit, who: &SignedIn, flow: &str, why: Refusal) -> Answer {
    match wrongs(&visit.house.look, &why, visit.now()) {
        Some(wrong) => {
            let begun = visit.services().begun(&visit.browser.flows(), EmailChange::PREFIX, Some(flow)).await;
            let begun = begun.map_err(|why| visit.problem(why))?;
            wait(visit, who, flow, "", waiting::with_time_of_newest(visit, wrong, &why, begun)).await
        }
        None => Err(visit.problem(why)),
    }
}

/// Tells the waiting page when its flow moves.
pub(in crate::pages) async fn events(house: Arc<House>, request: Request) -> Answer {
    waiting::events(&Visit::new(house, request), EmailChange::PREFIX).await
}
