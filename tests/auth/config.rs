//! `GET /auth/config`, and a server where nobody may register.

use crate::support::browser::Browser;
use crate::support::{App, Kind, Person, json};

on_both_databases!(the_rules_are_told_before_anybody_signs_in);

async fn the_rules_are_told_before_anybody_signs_in(app: &App) {
    let answer = app.client().get("/auth/config").send().await;
    let rules = answer.expect(200);
    let expected = json!({
        "name": "Cairn",
        "registration": "open",
        "sign_in": ["password"],
        "password": {"min_length": 10, "max_bytes": 256},
        "username": {"required": false, "pattern": "^[a-z][a-z0-9._-]{2,31}$"},
        "code_length": 6,
    });
    assert_eq!(rules, expected);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"), "{answer}");
    let refused = app.client().request("POST", "/auth/config").send().await;
    assert_eq!(refused.header("cache-control"), Some("no-store"), "{refused}");
}

#[tokio::test]
async fn where_registration_is_closed_page_and_interface_say_so_and_what_waits_goes_on() {
    let app = App::plan(Kind::Sqlite).named("closed").set("CAIRN_NAME", "Acme").start().await;
    let person = Person::new("waiting");
    let flow = person.registers(&app).await;
    app.kill9();
    app.change("CAIRN_REGISTRATION", "closed");
    app.launch();
    app.ready().await;

    let rules = app.client().get("/auth/config").send().await.expect(200);
    assert_eq!((&rules["name"], &rules["registration"]), (&json!("Acme"), &json!("closed")));
    let refused = app.client().post("/auth/register", &Person::new("late").registration()).send().await;
    let problem = refused.problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap_or_default().starts_with("Registration is closed here"), "{problem}");

    let mut browser = Browser::new();
    let page = browser.open(&app, "/register").await;
    page.says(200, "Registration is closed");
    assert!(!page.has_form("register") && page.link("Sign in") == "/login");
    let login = browser.open(&app, "/login").await;
    assert!(login.has_form("login"));
    login.says_not("/register");

    // What waits may still be proved, sent again included.
    app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    person.verifies(&app, &flow).await;
    person.signs_in(&app).await;
}

#[tokio::test]
async fn a_form_that_was_open_when_registration_closed_is_told_so() {
    let app = App::plan(Kind::Sqlite).named("closed-form").start().await;
    let mut browser = Browser::new();
    let form = browser.open(&app, "/register").await.form("register");
    app.kill9();
    app.change("CAIRN_REGISTRATION", "closed");
    app.launch();
    app.ready().await;
    let person = Person::new("slow");
    let form = form.with("email", &person.email).with("password", &person.password);
    browser.send(&app, &form).await.says(403, "Registration is closed");
}
