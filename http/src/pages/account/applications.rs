//! `/account/applications`: what one lets applications do, and ending it.

use cairn_actors::services::provider::Application;
use cairn_actors::services::session::SignedIn;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::super::authorize::in_words;
use super::super::page_request::{PageRequest, Sent};
use super::At;
use crate::route::Answer;
use crate::theme::Page;

#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    scopes: Vec<String>,
    given: Option<At>,
    used: Option<At>,
}

fn list(request: &PageRequest, applications: Vec<Application>) -> Page {
    let shown: Vec<Shown> = applications
        .into_iter()
        .map(|application| Shown {
            id: application.client.client_id.clone(),
            name: application.client.name().to_owned(),
            scopes: in_words(request, application.scope.words()),
            given: application.given_at.map(|at| At::of(request, at)),
            used: application.used_at.map(|at| At::of(request, at)),
        })
        .collect();
    Page::new("account/applications.html").put("applications", Value::from(Serde(shown)))
}

pub(in crate::pages) async fn show(request: PageRequest, who: SignedIn) -> Answer {
    let applications = request.services().provider().applications(who.user.id).await?;
    request.draw(list(&request, applications).note(request.said()))
}

/// Ends what the one that is named may do.
pub(in crate::pages) async fn end(request: PageRequest, who: SignedIn, sent: Sent) -> Answer {
    let provider = request.services().provider();
    let Sent::Good(form) = sent else {
        return request.stale(list(&request, provider.applications(who.user.id).await?));
    };
    let named = form.typed().text("application");
    provider.end_application(form.caller(), who.user.id, &named).await?;
    request.go("/account/applications?said=application_ended")
}
