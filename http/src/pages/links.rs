//! The links of letters that need no more than one button: `/email-change`, `/undo-email-change`, `/end-session`. A mail
//! scanner that opens one consumes nothing.

use std::sync::Arc;

use cairn_actors::services::Refusal;
use cairn_actors::services::browser::Standing;
use cairn_actors::services::session::SignedIn;
use http::StatusCode;

use super::reset_password;
use super::sheet::{Sheet, Wrong};
use super::visit::{Visit, typed};
use crate::house::House;
use crate::problem::Problem;
use crate::request::Request;
use crate::room::Answer;

/// Which letter's link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Proves a new address.
    EmailChange,
    /// Takes a new address back.
    Undo,
    /// Ends a session that its user did not begin.
    EndSession,
}

/// The pages of one link: the button's, and one for everything that may have come in between.
struct Pages {
    path: &'static str,
    button: &'static str,
    done: &'static str,
    already: &'static str,
    expired: &'static str,
    overtaken: &'static str,
    garbage: &'static str,
    /// Where one goes on when it is done.
    lead: &'static str,
}

impl Link {
    const fn pages(self) -> Pages {
        match self {
            Self::EmailChange => Pages {
                path: "/email-change",
                button: "email_change/link",
                done: "email_change/done",
                already: "email_change/done",
                expired: "email_change/expired",
                overtaken: "email_change/overtaken",
                garbage: "email_change/garbage",
                lead: "/account",
            },
            Self::Undo => Pages {
                path: "/undo-email-change",
                button: "undo/link",
                done: "undo/done",
                already: "undo/done",
                expired: "undo/expired",
                overtaken: "undo/overtaken",
                garbage: "undo/garbage",
                lead: "/forgot-password",
            },
            Self::EndSession => Pages {
                path: "/end-session",
                button: "end_session/link",
                done: "end_session/done",
                already: "end_session/already",
                expired: "end_session/already",
                overtaken: "end_session/already",
                garbage: "end_session/garbage",
                lead: "/forgot-password",
            },
        }
    }
}

/// Who is signed in here, when it is not the one whose account the link acts on.
async fn somebody_else(visit: &Visit, token: &str) -> Result<Option<SignedIn>, Problem> {
    let Some(somebody) = visit.signed_in().await? else { return Ok(None) };
    let of_link = visit.services().user_of_link(token).await.map_err(|why| visit.problem(why))?;
    Ok(of_link.filter(|user| *user != somebody.user.id).map(|_| somebody))
}

/// A page that says one thing, and leads on where the account of the link is at home: never into another's.
fn message(visit: &Visit, words: &'static str, lead: &'static str, other: Option<&SignedIn>) -> Sheet {
    let Some(other) = other else { return Sheet::message(words, lead) };
    let sheet = match lead {
        "/account" => Sheet::message(words, "").put("leave", "/login"),
        _ => Sheet::message(words, reset_password::FOR_ANOTHER),
    };
    sheet.note(visit.stays_signed_in(other))
}

async fn standing(visit: &Visit, link: Link, token: &str) -> Result<Standing, Problem> {
    let services = visit.services();
    let standing = match link {
        Link::EmailChange => services.email_change_link(token).await,
        Link::Undo => services.undo_link(token).await,
        Link::EndSession => services.end_session_link(token).await,
    };
    standing.map_err(|why| visit.problem(why))
}

/// What stands behind the link, with one button that leads on from there.
async fn page(visit: &Visit, link: Link, token: &str, wrong: Vec<Wrong>) -> Answer {
    let pages = link.pages();
    let other = somebody_else(visit, token).await?;
    let say = |words| message(visit, words, pages.lead, other.as_ref());
    let over = |words| say(words).status(StatusCode::GONE);
    let sheet = match standing(visit, link, token).await? {
        Standing::Good => {
            let sheet = Sheet::button(pages.button, pages.path, "link", token);
            let sheet = if link == Link::EndSession { sheet.put("danger", true) } else { sheet };
            sheet.note(other.as_ref().and_then(|other| visit.stays_signed_in(other))).wrong(wrong)
        }
        Standing::Done => say(pages.already),
        Standing::Expired => over(pages.expired),
        Standing::Overtaken => over(pages.overtaken),
        Standing::Garbage => over(pages.garbage),
    };
    visit.draw(sheet)
}

pub(super) async fn show(house: Arc<House>, request: Request, link: Link) -> Answer {
    let visit = Visit::new(house, request);
    let token = visit.request.query("token").unwrap_or_default();
    page(&visit, link, &token, Vec::new()).await
}

/// The button was pressed.
pub(super) async fn press(house: Arc<House>, request: Request, link: Link) -> Answer {
    let visit = Visit::new(house, request);
    let form = visit.form()?;
    let token = typed(&form, "token");
    if !visit.holds(&form) {
        return page(&visit, link, &token, visit.held_up()).await;
    }
    let (services, caller) = (visit.services(), visit.caller());
    let pressed = match link {
        Link::EmailChange => services.confirm_email_by_link(&caller, &token).await.map(|_| ()),
        Link::Undo => services.undo_email_change(&caller, &token).await.map(|_| ()),
        Link::EndSession => services.disown_session(&caller, &token).await,
    };
    let pages = link.pages();
    // Asked after the button: it may have ended the session that was there before.
    let other = somebody_else(&visit, &token).await?;
    let say = |words| message(&visit, words, pages.lead, other.as_ref());
    match pressed {
        Ok(()) => visit.draw(say(pages.done)),
        Err(Refusal::AddressTaken) => visit.draw(say("email_change/taken").status(StatusCode::CONFLICT)),
        Err(Refusal::FlowEnded(_)) => match standing(&visit, link, &token).await? {
            // It said no, and looks good: it cannot be done now, whatever the reason.
            Standing::Good => visit.draw(say(pages.overtaken).status(StatusCode::GONE)),
            _ => page(&visit, link, &token, Vec::new()).await,
        },
        Err(why) => Err(visit.problem(why)),
    }
}
