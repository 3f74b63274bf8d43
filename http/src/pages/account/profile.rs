//! `/account/profile`: one's names.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::services::Refusal;
use cairn_actors::services::profile::TypedProfile;

use super::super::page::Page;
use super::super::page_request::{PageRequest, typed};
use super::{Who, done};
use crate::request::{Form, Request};
use crate::route_group::Answer;
use crate::state::AppState;

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
    let name =
        |name: &Option<cairn_actors::name::PersonName>| name.as_ref().map_or("", |name| name.as_str()).to_owned();
    page(&username, &name(&user.first_name), &name(&user.last_name), user.version)
}

/// What was typed, to be saved over the version that the person sees now.
fn of_form(form: &Form, version: i64) -> Page {
    page(&typed(form, "username"), &typed(form, "first_name"), &typed(form, "last_name"), version)
}

pub(in crate::pages) async fn show(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    match request.who().await {
        Who::Somebody(who) => request.draw(of_user(&who.user)),
        Who::Nobody(answer) => answer,
    }
}

pub(in crate::pages) async fn save(state: Arc<AppState>, request: Request) -> Answer {
    let request = PageRequest::new(state, request);
    let form = request.form()?;
    let who = match request.who().await {
        Who::Somebody(who) => who,
        Who::Nobody(answer) => return answer,
    };
    if !request.holds(&form) {
        return request.stale(of_form(&form, who.user.version));
    }
    let version = form.get("version").and_then(|version| version.parse().ok()).unwrap_or(who.user.version);
    let some = |name: &str| Some(typed(&form, name).trim().to_owned()).filter(|text| !text.is_empty());
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
    match request.services().edit_profile(&request.caller(), &who, version, names).await {
        Ok(_) => done(&request, "profile"),
        // What stands there now has another version; what was typed is saved over it when they press once more.
        Err(why @ Refusal::Changed) => request.again_beside(of_form(&form, who.user.version), why, "password"),
        Err(why) => request.again_beside(of_form(&form, version), why, "password"),
    }
}
