//! The links of letters behind a button: `/email-change`, `/undo-email-change`, `/end-session`. A mail scanner that opens
//! one consumes nothing. Where somebody may know the password, a new one is chosen behind the button.

use cairn_actors::flows::challenge::LinkState;
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::email_change::ConfirmedBy;
use cairn_actors::services::session::SignedIn;
use http::StatusCode;

use super::page_request::{Form, PageRequest, Sent};
use super::reset_password;
use crate::problem::Problem;
use crate::route::Answer;
use crate::theme::{Page, Wrong, wrongs};

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
    /// The words of the form that the same link leads to once it is used, if it does.
    new_password: &'static str,
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
                new_password: "",
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
                new_password: "undo/new_password",
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
                new_password: "end_session/new_password",
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
async fn somebody_else(request: &PageRequest, token: &str) -> Result<Option<SignedIn>, Problem> {
    let Some(somebody) = request.signed_in().await? else { return Ok(None) };
    let of_link = request.services().user_of_link(token).await?;
    Ok(of_link.filter(|user| *user != somebody.user.id).map(|_| somebody))
}

/// A page that says one thing, and leads on where the account of the link is at home: never into another's.
fn message(request: &PageRequest, words: &'static str, lead: &'static str, other: Option<&SignedIn>) -> Page {
    let Some(other) = other else { return Page::message(words, lead) };
    let page = match lead {
        "/account" | "/login" => Page::message(words, "").put("leave", "/login"),
        _ => Page::message(words, reset_password::FOR_ANOTHER),
    };
    page.note(request.stays_signed_in(other))
}

async fn standing(request: &PageRequest, link: Link, token: &str) -> Result<LinkState, Problem> {
    let services = request.services();
    let standing = match link {
        Link::EmailChange => services.link_state::<EmailChange>(token).await,
        Link::Undo => services.undo_link(token).await,
        Link::EndSession => services.end_session_link(token).await,
    };
    Ok(standing?)
}

/// What stands behind the link, with one button that leads on from there.
async fn page(request: &PageRequest, link: Link, token: &str, wrong: Vec<Wrong>) -> Answer {
    let pages = link.pages();
    let other = somebody_else(request, token).await?;
    let say = |words| message(request, words, pages.lead, other.as_ref());
    let over = |words| say(words).status(StatusCode::GONE);
    let page = match standing(request, link, token).await? {
        LinkState::Good if link == Link::EmailChange => confirm(request, token, other.as_ref()).await?.wrong(wrong),
        LinkState::Good => {
            let page = Page::button(pages.button, pages.path, "link", token);
            let page = if link == Link::EndSession { page.put("danger", true) } else { page };
            page.note(other.as_ref().and_then(|other| request.stays_signed_in(other))).wrong(wrong)
        }
        LinkState::Done if sets_password(request, link, token).await? => {
            new_password(request, link, token, other.as_ref()).wrong(wrong)
        }
        LinkState::Done => say(pages.already),
        LinkState::Expired => over(pages.expired),
        LinkState::Overtaken => over(pages.overtaken),
        LinkState::Garbage => over(pages.garbage),
    };
    request.draw(page)
}

/// The page that confirms a new address and names the account by its present one. Where neither a session of the account
/// nor the change itself was begun in this browser, the account's password is asked for: nobody has a stranger confirm an
/// address for *their* account.
async fn confirm(request: &PageRequest, token: &str, other: Option<&SignedIn>) -> Result<Page, Problem> {
    let account = request.services().account_of_email_change(token).await?;
    let account = account.map(|user| user.address.masked()).unwrap_or_default();
    let note = other.and_then(|other| request.stays_signed_in(other));
    let page = match confirmed_here(request, token).await? {
        Some(_) => Page::button("email_change/link", Link::EmailChange.pages().path, "link", token),
        None => Page::new("email_change/password.html").put("link_token", token),
    };
    Ok(page.say("account", account).note(note))
}

/// By what the account of a link to a new address is this browser's.
async fn confirmed_here(request: &PageRequest, token: &str) -> Result<Option<Here>, Problem> {
    let services = request.services();
    if let Some(who) = request.signed_in().await? {
        let of_link = services.user_of_link(token).await?;
        if of_link == Some(who.user.id) {
            return Ok(Some(Here::SignedIn(who.user.id)));
        }
    }
    let began = services.began_here::<EmailChange>(token, &request.browser.flows()).await;
    Ok(began?.map(|_| Here::Began))
}

/// Why one click is enough.
enum Here {
    /// The browser is signed in to the account.
    SignedIn(UserId),
    /// The change was asked for in it.
    Began,
}

/// The button of a link to a new address was pressed.
async fn confirmed(request: &PageRequest, token: &str, form: &Form) -> Result<(), Refusal> {
    let services = request.services();
    let flows = request.browser.flows();
    let password = form.secret("password").map(|text| Password::typed(text.to_owned()));
    let by = match (confirmed_here(request, token).await, &password) {
        (Ok(Some(Here::SignedIn(user))), _) => ConfirmedBy::SignedIn(user),
        (Ok(Some(Here::Began)), _) => ConfirmedBy::Browser(&flows),
        (_, Some(password)) => ConfirmedBy::Password(password),
        (_, None) => ConfirmedBy::Nobody,
    };
    services.confirm_email_by_link(form.caller(), token, by).await.map(|_| ())
}

/// Whether the link, used once, still sets a new password: the one from before is out of force.
async fn sets_password(request: &PageRequest, link: Link, token: &str) -> Result<bool, Problem> {
    let services = request.services();
    let sets = match link {
        Link::EmailChange => return Ok(false),
        Link::Undo => services.undo_sets_password(token).await,
        Link::EndSession => services.end_session_link_sets_password(token).await,
    };
    Ok(sets?)
}

/// The form for a new password, where the one from before is out of force.
fn new_password(request: &PageRequest, link: Link, token: &str, other: Option<&SignedIn>) -> Page {
    let pages = link.pages();
    let page = Page::new("new_password.html").in_words(pages.new_password);
    let page = page.put("action", pages.path).put("link_token", token);
    page.note(other.and_then(|other| request.stays_signed_in(other)))
}

pub(super) async fn show(request: PageRequest, link: Link) -> Answer {
    let token = request.query("token").unwrap_or_default();
    page(&request, link, &token, Vec::new()).await
}

/// The button was pressed.
pub(super) async fn press(request: PageRequest, sent: Sent, link: Link) -> Answer {
    let token = sent.typed().text("token");
    let Sent::Good(form) = sent else { return page(&request, link, &token, request.held_up()).await };
    let pressed = match link {
        Link::EmailChange => confirmed(&request, &token, &form).await,
        Link::Undo => return undo(&request, &token, &form).await,
        Link::EndSession => return disown(&request, &token, &form).await,
    };
    let pages = link.pages();
    // Asked after the button: it may have ended the session that was there before.
    let other = somebody_else(&request, &token).await?;
    let say = |words| message(&request, words, pages.lead, other.as_ref());
    match pressed {
        Ok(()) => request.draw(say(pages.done)),
        Err(Refusal::AddressTaken) => request.draw(say("email_change/taken").status(StatusCode::CONFLICT)),
        Err(why @ (Refusal::Credentials | Refusal::SlowDown(_))) if link == Link::EmailChange => {
            // Without the field there was nothing to be wrong: the page asks for it.
            let asked = form.secret("password").is_some() || why != Refusal::Credentials;
            let wrong = wrongs(&request.state.theme, &why, request.now()).filter(|_| asked).unwrap_or_default();
            request.refused(confirm(&request, &token, other.as_ref()).await?, wrong, &why)
        }
        Err(Refusal::FlowEnded(_)) => match standing(&request, link, &token).await? {
            // It said no, and looks good: it cannot be done now, whatever the reason.
            LinkState::Good => request.draw(say(pages.overtaken).status(StatusCode::GONE)),
            _ => page(&request, link, &token, Vec::new()).await,
        },
        Err(why) => Err(why.into()),
    }
}

/// The change is taken back, or a new password set with the link that did so.
async fn undo(request: &PageRequest, token: &str, form: &Form) -> Answer {
    let password = form.secret("new_password");
    let typed = password.map(|password| Password::typed(password.to_owned()));
    let undone = request.services().undo_email_change(form.caller(), token, typed).await;
    // Asked after the button: it may have ended the session that was there before.
    let other = somebody_else(request, token).await?;
    match undone {
        Ok(_) if password.is_some() => request.draw(message(request, "undo/set", "/login", other.as_ref())),
        Ok(_) if sets_password(request, Link::Undo, token).await? => {
            request.draw(new_password(request, Link::Undo, token, other.as_ref()))
        }
        Ok(_) => request.draw(message(request, "undo/done", "/forgot-password", other.as_ref())),
        Err(Refusal::FlowEnded(_)) => page(request, Link::Undo, token, Vec::new()).await,
        Err(why) => match wrongs(&request.state.theme, &why, request.now()) {
            Some(wrong) => request.refused(new_password(request, Link::Undo, token, other.as_ref()), wrong, &why),
            None => Err(why.into()),
        },
    }
}

/// It was somebody else who signed in: they are out, and a new password is chosen at once.
async fn disown(request: &PageRequest, token: &str, form: &Form) -> Answer {
    let password = form.secret("new_password");
    let typed = password.map(|password| Password::typed(password.to_owned()));
    let disowned = request.services().disown_session(form.caller(), token, typed).await;
    // Asked after the button: it may have ended the session that was there before.
    let other = somebody_else(request, token).await?;
    let say = |words, lead| request.draw(message(request, words, lead, other.as_ref()));
    match disowned {
        Ok(done) if done.sets_password => request.draw(new_password(request, Link::EndSession, token, other.as_ref())),
        Ok(_) if password.is_some() => say("end_session/set", "/login"),
        Ok(_) => say(Link::EndSession.pages().done, "/forgot-password"),
        Err(Refusal::FlowEnded(_)) => page(request, Link::EndSession, token, Vec::new()).await,
        Err(why) => match wrongs(&request.state.theme, &why, request.now()) {
            Some(wrong) => request.refused(new_password(request, Link::EndSession, token, other.as_ref()), wrong, &why),
            None => Err(why.into()),
        },
    }
}
