//! `GET /auth/register/{flow}`: what a waiting page is told.

use crate::support::{App, Kind, Person, eventually, json};

on_both_databases!(the_status_follows_the_flow, a_flow_of_nobody_is_not_found);
of_each_kind!(what_is_not_verified_in_a_day_expires);

async fn the_status_follows_the_flow(app: &App) {
    let person = Person::new("watcher");
    let flow = person.registers(app).await;
    let path = format!("/auth/register/{flow}");
    let mail = eventually("the letter to leave", async || {
        let status = app.client().get(&path).send().await.expect(200);
        let state = status["mail"]["state"].as_str().unwrap_or_else(|| panic!("no mail state: {status}")).to_owned();
        assert!(["queued", "accepted", "retrying", "failed"].contains(&state.as_str()), "{status}");
        (state == "accepted").then_some(status)
    })
    .await;
    assert_eq!(mail["flow"]["phase"], "awaiting_code", "{mail}");
    assert_eq!(mail["flow"]["id"], flow.as_str());
    assert!(mail["mail"]["at"].as_str().unwrap().ends_with('Z'), "{mail}");
    person.verifies(app, &flow).await;
    let status = app.client().get(&path).send().await.expect(200);
    assert_eq!(status["flow"]["phase"], "verified", "{status}");
    assert!(status["flow"]["version"].as_u64().unwrap() > 1, "{status}");
}

async fn a_flow_of_nobody_is_not_found(app: &App) {
    let flow = Person::new("prefix").registers(app).await;
    let bare = flow.strip_prefix("reg_").unwrap();
    let changed = format!("reg_{}", bare.chars().rev().collect::<String>());
    let long = format!("{flow}0");
    let ids = [
        "reg_",
        "x",
        "reg_00000000000000000000000000",
        "%00",
        "..%2f..",
        &long,
        &changed,
        &format!("ses_{bare}"),
        bare,
    ];
    for id in ids {
        app.client().get(&format!("/auth/register/{id}")).send().await.problem(404, "not-found");
    }
}

async fn what_is_not_verified_in_a_day_expires(kind: Kind) {
    let app = App::plan(kind).named("expiry").start().await;
    let person = Person::new("late");
    let flow = person.registers(&app).await;
    let letter = person.verification(&app).await;
    app.restart_at(25 * 3600).await;
    // Nobody asks the flow anything: it is woken because it is due.
    eventually("an expired flow", async || {
        let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
        (status["flow"]["phase"] == "expired").then_some(())
    })
    .await;
    let verify = async |body| app.client().post("/auth/verify-email", &body).send().await;
    verify(json!({"flow": flow, "code": letter.code()})).await.problem(410, "flow-ended");
    verify(json!({"token": letter.token(), "password": person.password})).await.problem(410, "flow-ended");
    // The address is free for another try.
    let flow = person.registers(&app).await;
    person.verifies(&app, &flow).await;
}
