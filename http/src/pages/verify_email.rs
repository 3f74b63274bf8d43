//! `/verify-email`: the page that waits for the mail, and the page that the link in the mail opens. A mail scanner that
//! opens it consumes nothing.

use cairn_actors::flows::challenge::LinkState;
use cairn_actors::flows::registration::Registration;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::proof::OpenFlow;
use cairn_runtime::Flow;
use http::StatusCode;

use super::page_request::{Form, PageRequest, Sent, with_query};
use super::waiting::{self, Waiting};
use crate::access::device;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::route::Answer;
use crate::theme::{Page, Wrong, fill};

const PATH: &str = "/verify-email";
const WAITING: Waiting = Waiting {
    prefix: Registration::PREFIX,
    path: PATH,
    template: "verify_email/waiting.html",
    action: PATH,
    form_id: "verify-code",
};

pub(super) async fn show(request: PageRequest) -> Answer {
    match request.query("token") {
        Some(token) => link(&request, &token, Vec::new()).await,
        None => {
            let flow = request.query("flow");
            let next = request.next();
            wait(&request, flow.as_deref(), &next, "", Vec::new()).await
        }
    }
}

/// The page that waits, or where the flow has got to meanwhile.
async fn wait(request: &PageRequest, flow: Option<&str>, next: &str, code: &str, wrong: Vec<Wrong>) -> Answer {
    let Some(begun) = WAITING.begun(request, flow).await? else {
        return request.draw(Page::message("verify_email/nothing", &register(next)).put("second", login(next)));
    };
    // A page that moved on by itself, or was opened anew, does not name it.
    let next = if next.is_empty() { request.destination(&begun.flow.id) } else { next.to_owned() };
    let next = next.as_str();
    request.allow_next(next).await?;
    match &begun.address {
        Some(address) => {
            let change = with_query("/register", &[("flow", &begun.flow.id), ("next", next)]);
            let page = WAITING.page(request, &begun, address, change, next).put("code", code);
            request.draw(page.wrong(wrong))
        }
        None => match begun.stands {
            LinkState::Expired => request.draw(over("verify_email/expired", &register(next))),
            LinkState::Overtaken => request.draw(over("verify_email/taken", &login(next))),
            _ if is_signed_in(request, &begun.flow.id).await? => request.go(&home(next)),
            _ => request.draw(verified(request, &login(next)).await?),
        },
    }
}

/// Signing in, and on to where one wanted to go.
fn login(next: &str) -> String {
    with_query("/login", &[("next", next)])
}

/// Beginning again, and on to where one wanted to go.
fn register(next: &str) -> String {
    with_query("/register", &[("next", next)])
}

/// The link of a letter: what stands behind it, with one button that leads on from there.
async fn link(request: &PageRequest, token: &str, wrong: Vec<Wrong>) -> Answer {
    let standing = request.services().link_state::<Registration>(token).await?;
    let begun = begun_here(request, token).await?;
    let here = begun.is_some();
    let next = begun.as_ref().map(|begun| request.destination(&begun.flow.id)).unwrap_or_default();
    request.allow_next(&next).await?;
    if let Some(begun) = begun.filter(|_| standing == LinkState::Done)
        && is_signed_in(request, &begun.flow.id).await?
    {
        return request.go(&home(&next));
    }
    match standing {
        LinkState::Good => request.draw(ask(request, token, here).await?.wrong(wrong)),
        LinkState::Done => {
            request.draw(Page::message("verify_email/already", &login(&next)).put("second", "/forgot-password"))
        }
        LinkState::Expired => request.draw(over("verify_email/expired", &register(&next))),
        LinkState::Overtaken => request.draw(over("verify_email/taken", &login(&next))),
        LinkState::Garbage => request.draw(over("verify_email/garbage", "/verify-email").put("second", "/register")),
    }
}

/// The registration of this link; `None` in another browser than the one that began it.
async fn begun_here(request: &PageRequest, token: &str) -> Result<Option<OpenFlow>, Problem> {
    Ok(request.services().began_here::<Registration>(token, &request.browser.flows()).await?)
}

/// Where whoever began the registration of this link wanted to go; `None` in another browser, where the link leads nobody
/// anywhere.
async fn next_of_link(request: &PageRequest, token: &str) -> Result<Option<String>, Problem> {
    Ok(begun_here(request, token).await?.map(|begun| request.destination(&begun.flow.id)))
}

/// The page with one button; in another browser than the one that began, with the password.
async fn ask(request: &PageRequest, token: &str, here: bool) -> Result<Page, Problem> {
    let note = request.signed_in().await?.and_then(|somebody| request.stays_signed_in(&somebody));
    let page = match here {
        true => Page::button("verify_email/link", PATH, "verify-link", token),
        false => with_password(request, token).await?,
    };
    Ok(page.note(note))
}

async fn with_password(request: &PageRequest, token: &str) -> Result<Page, Problem> {
    let address = request.services().link_address::<Registration>(token).await?;
    let address = address.map(|address| address.typed().to_owned()).unwrap_or_default();
    Ok(Page::new("verify_email/password.html").put("link_token", token).put("address", address))
}

/// What is wrong with the password beside a link, where the page has words of its own: no mail sets another one before
/// the address is proved.
fn unproved(request: &PageRequest, why: &Refusal) -> Option<Wrong> {
    match why {
        Refusal::Credentials => Some(Wrong { field: Some("password"), text: request.error("password.unverified") }),
        Refusal::SlowDown(until) => {
            let time = request.state.theme.words.instant(*until, request.now());
            Some(Wrong { field: None, text: fill(&request.error("slow_down.unverified"), &[("time", &time)]) })
        }
        _ => None,
    }
}

fn over(words: &'static str, lead: &str) -> Page {
    Page::message(words, lead).status(StatusCode::GONE)
}

pub(super) async fn verify(request: PageRequest, sent: Sent) -> Answer {
    if let Some(token) = sent.typed().get("token").map(str::to_owned) {
        return by_link(&request, &token, sent).await;
    }
    let typed = sent.typed();
    let (flow, code, next) = (typed.text("flow"), typed.text("code"), typed.next());
    let Sent::Good(form) = sent else {
        return wait(&request, Some(&flow), &next, &code, request.held_up()).await;
    };
    match request.services().verify_by_code(form.caller(), &flow, &code).await {
        Ok((_, user)) => {
            let next = if next.is_empty() { request.destination(&flow) } else { next };
            match enter(&request, &form, &flow, user.id, &next).await? {
                Some(reply) => Ok(reply),
                // Shown at a URL of its own, so that loading it again sends nothing again.
                None if WAITING.begun(&request, Some(&flow)).await?.is_some() => request.go(&WAITING.at(&flow, &next)),
                None => request.draw(verified(&request, &login(&next)).await?),
            }
        }
        Err(Refusal::AddressTaken) => wait(&request, Some(&flow), &next, "", Vec::new()).await,
        Err(why) => wait(&request, Some(&flow), &next, "", WAITING.refused(&request, &flow, why).await?).await,
    }
}

/// The button behind a link was pressed.
async fn by_link(request: &PageRequest, token: &str, sent: Sent) -> Answer {
    let Sent::Good(form) = sent else { return link(request, token, request.held_up()).await };
    let password = form.secret("password");
    let answer = match password {
        Some("") if next_of_link(request, token).await?.is_none() => {
            let missing = Wrong { field: Some("password"), text: request.error("password.missing") };
            return request.draw(with_password(request, token).await?.wrong(vec![missing]));
        }
        Some(password) if !password.is_empty() => {
            let password = Password::typed(password.to_owned());
            request.services().verify_by_link(form.caller(), token, &password).await
        }
        _ => request.services().verify_here(form.caller(), token, &request.browser.flows()).await,
    };
    match answer {
        Ok((moved, user)) => {
            // What has been done is no failure for want of where to go next.
            let next = next_of_link(request, token).await.ok().flatten().unwrap_or_default();
            match enter(request, &form, &moved.flow.id, user.id, &next).await? {
                Some(reply) => Ok(reply),
                None => request.draw(verified(request, &login(&next)).await?),
            }
        }
        // The button without the password, in a browser that has forgotten: now it is asked for.
        Err(Refusal::Credentials) if password.is_none_or(str::is_empty) => {
            request.draw(with_password(request, token).await?)
        }
        Err(Refusal::FlowEnded(_) | Refusal::AddressTaken) => link(request, token, Vec::new()).await,
        Err(why) => {
            let page = with_password(request, token).await?;
            match unproved(request, &why) {
                Some(wrong) => request.refused(page, vec![wrong], &why),
                None => request.again(page, why),
            }
        }
    }
}

/// The address is proved. In the browser that began the registration its owner is signed in, and led to where they wanted
/// to go; whoever else is signed in there stays so. `None`: they sign in by themselves.
async fn enter(
    request: &PageRequest,
    form: &Form,
    flow: &str,
    user: UserId,
    next: &str,
) -> Result<Option<Reply>, Problem> {
    let there = home(next);
    if let Some(somebody) = request.signed_in().await? {
        // The form was sent twice, or from two tabs.
        return if somebody.user.id == user { request.go(&there).map(Some) } else { Ok(None) };
    }
    let entered = match request.services().enter_registered(form.caller(), flow, &request.browser.flows()).await {
        Ok(Some(entered)) => entered,
        Ok(None) => return Ok(None),
        Err(why) => {
            // The address is proved all the same, and the password is theirs.
            tracing::warn!(request_id = request.id(), ?why, "a newcomer could not be signed in");
            return Ok(None);
        }
    };
    let reply = request.without_destination(request.go(&there)?, flow);
    let reply = request.with_session(reply, entered.cookie.expose(), false);
    Ok(Some(reply.cookie(device::set(&entered.device, request.browser.names)?)))
}

/// Where a newcomer goes who is signed in.
fn home(next: &str) -> String {
    if next.is_empty() { with_query("/account", &[("said", "verified")]) } else { next.to_owned() }
}

/// Whether whoever is signed in here is the user that a registration has made.
async fn is_signed_in(request: &PageRequest, flow: &str) -> Result<bool, Problem> {
    let Some(somebody) = request.signed_in().await? else { return Ok(false) };
    let user = request.services().user_of_registration(flow).await?;
    Ok(user == Some(somebody.user.id))
}

/// The page that says that the address is proved, and leads to signing in.
async fn verified(request: &PageRequest, lead: &str) -> Result<Page, Problem> {
    let note = request.signed_in().await?.and_then(|somebody| request.stays_signed_in(&somebody));
    Ok(Page::message("verify_email/verified", lead).note(note))
}

/// Another letter, please.
pub(super) async fn resend(request: PageRequest, sent: Sent) -> Answer {
    let (flow, next) = (sent.typed().text("flow"), sent.typed().next());
    let Sent::Good(form) = sent else { return wait(&request, Some(&flow), &next, "", request.held_up()).await };
    match request.services().resend_registration(form.caller(), &flow).await {
        Ok(_) => request.go(&WAITING.at(&flow, &next)),
        Err(why) => wait(&request, Some(&flow), &next, "", waiting::not_again(&request, why)?).await,
    }
}

/// Tells the waiting page when its flow moves.
pub(super) async fn events(request: PageRequest) -> Answer {
    WAITING.events(&request).await
}
