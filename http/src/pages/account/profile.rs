//! `/account/profile`: one's names.

use cairn_actors::directory::User;
use cairn_actors::services::Refusal;
use cairn_actors::services::profile::TypedProfile;
use cairn_actors::services::session::SignedIn;

use super::super::page_request::{PageRequest, Sent, Typed};
use super::done;
use crate::route::Answer;
use crate::theme::Page;

/// The form: as it is, or as it was typed.
pub(in crate::pages) fn page(username: &str, first_name: &str, last_name: &str, version: i64) -> Page {
    Page::new("account/profile.html")
        .put("username", username)
        .put("first_name", first_name)
        .put("last_name", last_name)
        .put("version", version)
}

fn of_user(user: &User) -> Page {
    let username = user.username.as_ref().map(ToString::to_string).unwrap_or_default();
    let name = |name: &Option<cairn_actors::identity::name::PersonName>| {
        name.as_ref().map_or("", |name| name.as_str()).to_owned()
    };
    page(&username, &name(&user.first_name), &name(&user.last_name), user.version)
}

/// What was typed, to be saved over the version that the person sees now.
fn of_form(typed: &Typed, version: i64) -> Page {
    page(&typed.text("username"), &typed.text("first_name"), &typed.text("last_name"), version)
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    request.draw(of_user(&who.user))
}

pub(in crate::pages) async fn save(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let Sent::Good(form) = sent else { return request.stale(of_form(sent.typed(), who.user.version)) };
    let typed = form.typed();
    let version = typed.get("version").and_then(|version| version.parse().ok()).unwrap_or(who.user.version);
    let some = |name: &str| Some(typed.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    let names =
        TypedProfile { username: some("username"), first_name: some("first_name"), last_name: some("last_name") };
    let same = |field: &Option<String>, present: Option<&str>| field.as_deref() == present;
    let user = &who.user;
    if same(&names.username, user.username.as_ref().map(|name| name.as_str()))
        && same(&names.first_name, user.first_name.as_ref().map(|name| name.as_str()))
        && same(&names.last_name, user.last_name.as_ref().map(|name| name.as_str()))
    {
        // Sent twice, or with nothing changed: it is as they want it.
        return done(&request, "profile");
    }
    match request.services().edit_profile(form.caller(), &who, version, names).await {
        Ok(_) => done(&request, "profile"),
        // What stands there now has another version; what was typed is saved over it when they press once more.
        Err(why @ Refusal::Changed) => request.again_beside(of_form(typed, who.user.version), why, "password"),
        Err(why) => request.again_beside(of_form(typed, version), why, "password"),
    }
}
