//! Access, held against the tables: every route is called without credentials, with wrong ones and from another site.

use cairn_http::{Access, Body, RouteSpec, api, oauth, openapi, pages, well_known};

use crate::support::browser::Browser;
use crate::support::client::Request;
use crate::support::{Answer, App, Kind, Person, json};

on_both_databases!(without_credentials_or_with_wrong_ones_nobody_gets_further_than_the_tables_say);
of_each_kind!(with_good_credentials_everybody_gets_as_far_as_the_tables_say);

/// The lines of all tables of the public listener.
fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    api::specs().chain(oauth::specs()).chain(well_known::specs()).chain(pages::specs()).chain(openapi::specs())
}

/// A path that fits a pattern, with ids that are nobody's.
fn path(spec: &RouteSpec) -> String {
    let nobodys = "00000000000000000000000000";
    spec.path
        .replace("{flow}", &format!("reg_{nobodys}"))
        .replace("{session}", &format!("ses_{nobodys}"))
        .replace("{device}", &format!("dev_{nobodys}"))
        .replace("{file}", "cairn.css")
}

/// A request that is well formed and says nothing.
fn request(app: &App, spec: &RouteSpec) -> Request {
    let request = app.client().request(spec.method.as_str(), &path(spec));
    match spec.body {
        Body::None | Body::Any => request,
        Body::NoMembers | Body::Json(_) => request.json(&json!({})),
        Body::Form => request.header("content-type", "application/x-www-form-urlencoded"),
    }
}

/// Whether somebody is led to sign in, and back.
fn leads_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").is_some_and(|to| to.starts_with("/login?next="))
}

/// Whether who asks matters to this answer.
fn asks_who(answer: &Answer) -> bool {
    matches!(answer.status, 401 | 403) || leads_to_sign_in(answer)
}

/// Holds the answer to a caller without good credentials to the table. `refused`: what a bad token is called.
#[track_caller]
fn stranger(spec: &RouteSpec, answer: &Answer, refused: &str) {
    match spec.access {
        Access::Open | Access::OwnForm | Access::Loopback => assert!(!asks_who(answer), "{spec:?}: {answer}"),
        // As its protocol says, whatever is wrong.
        Access::Client | Access::Token => {
            answer.expect(401);
        }
        Access::Bearer | Access::FreshBearer | Access::BearerOrRepeat => {
            answer.problem(401, refused);
        }
        Access::Session | Access::SessionForm | Access::SessionFormOrRepeat => {
            assert!(leads_to_sign_in(answer), "{spec:?}: {answer}");
        }
    }
}

async fn without_credentials_or_with_wrong_ones_nobody_gets_further_than_the_tables_say(app: &App) {
    let mut seen = 0;
    for spec in specs() {
        stranger(spec, &request(app, spec).send().await, "credentials");
        let basic = request(app, spec).header("authorization", "Basic YTpi").send().await;
        stranger(spec, &basic, "credentials");
        let session = format!("{}=cairn_sc_none.ends", app.cookie("cairn_session"));
        for token in ["", "none", "cairn_rt_none", "eyJhbGciOiJub25lIn0.e30."] {
            let wrong = request(app, spec).bearer(token).header("cookie", &session).key("once").send().await;
            stranger(spec, &wrong, "session-ended");
        }
        let elsewhere = request(app, spec).header("sec-fetch-site", "cross-site").send().await;
        match spec.access {
            Access::OwnForm | Access::SessionForm | Access::SessionFormOrRepeat => {
                elsewhere.problem(403, "forbidden");
            }
            Access::Loopback => {
                elsewhere.problem(404, "not-found");
                let forwarded = request(app, spec).header("x-forwarded-for", "127.0.0.1").send().await;
                forwarded.problem(404, "not-found");
            }
            _ => stranger(spec, &elsewhere, "credentials"),
        }
        seen += 1;
    }
    assert!(seen > 60, "the tables were not read: {seen} lines");
}

async fn with_good_credentials_everybody_gets_as_far_as_the_tables_say(kind: Kind) {
    let app = App::plan(kind).named("access").set("CAIRN_STEP_UP_AGE", 120).start().await;
    let person = Person::new("entitled");
    let tokens = person.arrives(&app).await;
    let mut browser = Browser::new();
    let form = browser.open(&app, "/login").await.form("login");
    browser.send(&app, &form.with("identifier", &person.email).with("password", &person.password)).await;
    let asks = async |spec| request(&app, spec).bearer(&tokens.access).header("cookie", &browser.header()).send().await;
    // What ends the session comes last.
    let others = || specs().filter(|spec| !matches!(spec.access, Access::BearerOrRepeat | Access::Client));
    for spec in others() {
        let answer = asks(spec).await;
        assert!(!asks_who(&answer), "{spec:?}: {answer}");
    }
    // The same token, when its sign-in is too long ago for what is sensitive.
    app.restart_at(130).await;
    let mut sensitive = 0;
    for spec in others() {
        let answer = asks(spec).await;
        if spec.access == Access::FreshBearer {
            answer.problem(401, "step-up");
            sensitive += 1;
        } else {
            assert!(!asks_who(&answer), "{spec:?}: {answer}");
        }
    }
    assert!(sensitive > 3, "{sensitive} sensitive routes");
    // A repeat under its key is known though its session is over; nothing else is.
    for spec in specs().filter(|spec| spec.access == Access::BearerOrRepeat) {
        for key in ["end", "end"] {
            request(&app, spec).bearer(&tokens.access).key(key).send().await.expect(204);
        }
        request(&app, spec).bearer(&tokens.access).key("another").send().await.problem(401, "session-ended");
        request(&app, spec).bearer(&tokens.access).send().await.problem(401, "session-ended");
    }
    for spec in others() {
        stranger(spec, &asks(spec).await, "session-ended");
    }
}
