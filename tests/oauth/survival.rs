//! The process is killed between all steps of an authorization, and every one of them is found again.

use super::{Client, somebody};
use crate::support::browser::Browser;
use crate::support::{App, Kind, Person};

of_each_kind!(an_authorization_survives_a_kill_between_all_its_steps);

async fn an_authorization_survives_a_kill_between_all_its_steps(kind: Kind) {
    let app = App::plan(kind).named("killed").start().await;
    let client = Client::confidential(&app, "killed").await;
    let person = Person::new("killed");
    person.joins(&app).await;
    let mut browser = Browser::new();
    app.crash_and_restart().await;
    let login = browser.open(&app, &client.request(&[])).await;
    app.crash_and_restart().await;
    let form = login.form("login").with("identifier", &person.email).with("password", &person.password);
    let asked = browser.send(&app, &form).await;
    app.crash_and_restart().await;
    let back = browser.send(&app, &asked.form("consent").pressed("decision", "allow")).await;
    let code = back.parameter("code");
    app.crash_and_restart().await;
    let tokens = client.redeem(&app, &code).await.expect(200);
    app.crash_and_restart().await;
    // The client that never heard of it asks again.
    assert_eq!(client.redeem(&app, &code).await.expect(200)["refresh_token"], tokens["refresh_token"]);
    let next = client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.expect(200);
    app.crash_and_restart().await;
    client.refresh(&app, next["refresh_token"].as_str().unwrap()).await.expect(200);
    crate::support::audit::Audit::of(&app).await.must_be_clean();
}

#[tokio::test]
async fn a_request_that_was_left_alone_is_taken_up_a_quarter_of_an_hour_later() {
    let app = App::plan(Kind::Sqlite).named("left-alone").start().await;
    let client = Client::public(&app, "patient").await;
    let person = Person::new("patient");
    person.joins(&app).await;
    let mut browser = Browser::new();
    let login = browser.open(&app, &client.request(&[])).await;
    app.restart_at(15 * 60).await;
    let form = login.form("login").with("identifier", &person.email).with("password", &person.password);
    let asked = browser.send(&app, &form).await;
    let back = browser.send(&app, &asked.form("consent").pressed("decision", "allow")).await;
    client.redeem(&app, &back.parameter("code")).await.expect(200);
    // A code is good for a minute.
    let (_, mut other) = somebody(&app, "late").await;
    let back = super::allowed(&app, &mut other, &client.request(&[])).await;
    app.restart_at(17 * 60).await;
    super::refused(&client.redeem(&app, &back.parameter("code")).await, 400, "invalid_grant");
}
