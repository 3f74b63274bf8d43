//! Whole journeys: a person from the first request to the last refresh, through crashes, on each database.

use crate::support::audit::{Audit, outbox_drained};
use crate::support::person::{Tokens, flow_id};
use crate::support::smtp::Sink;
use crate::support::token::{claims, verifies};
use crate::support::{App, Kind, Person, json};

of_each_kind!(
    a_newcomer_registers_though_the_server_dies_in_between,
    a_repeat_is_known_after_a_crash,
    a_letter_carries_the_same_credential_after_a_crash,
    the_clock_may_jump_back_an_hour,
    keys_and_sessions_outlive_the_process,
);

async fn a_newcomer_registers_though_the_server_dies_in_between(kind: Kind) {
    let app = App::plan(kind).named("newcomer").start().await;
    let person = Person::new("newcomer");

    let flow = person.registers(&app).await;
    app.crash_and_restart().await;

    let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    assert_eq!(status["flow"]["phase"], "awaiting_code", "{status}");
    let letter = person.verification(&app).await;
    app.crash_and_restart().await;

    assert_eq!(person.verification(&app).await, letter, "the same letter after a crash");
    let user = person.verifies(&app, &flow).await;
    assert_eq!(user["email"], person.email.as_str());
    assert_eq!(user["username"], person.username.as_str());
    app.crash_and_restart().await;

    app.letter(&person.email, "registration.welcome").await;
    let signed_in = person.signs_in(&app).await;
    app.crash_and_restart().await;

    let mut tokens = signed_in;
    for _ in 0..3 {
        let answer = app.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await;
        let next = Tokens::of(&answer.expect(200));
        assert_eq!(next.session, tokens.session);
        tokens = next;
        app.crash_and_restart().await;
    }
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["id"], user["id"], "{me}");

    app.client().post("/auth/logout", &json!({"refresh_token": tokens.refresh})).send().await.expect(204);
    app.crash_and_restart().await;
    let answer = app.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await;
    answer.problem(401, "session-ended");
    Audit::of(&app).await.must_be_clean();
}

async fn a_repeat_is_known_after_a_crash(kind: Kind) {
    let app = App::plan(kind).named("repeat").start().await;
    let person = Person::new("repeater");
    let register = || app.client().post("/auth/register", &person.registration()).key("the-first-of-the-day");
    let first = register().send().await.expect(202);
    app.crash_and_restart().await;
    let second = register().send().await.expect(202);
    assert_eq!(first["flow"], second["flow"]);
    assert_eq!(app.mailbox(&person.email).await.len(), 1, "no second letter for a repeat");

    let code = person.verification(&app).await.code().unwrap();
    let verify = || {
        let body = json!({"flow": flow_id(&first), "code": code});
        app.client().post("/auth/verify-email", &body).key("the-second")
    };
    let first = verify().send().await.expect(200);
    app.crash_and_restart().await;
    let second = verify().send().await.expect(200);
    assert_eq!((&first["flow"], &first["user"]), (&second["flow"], &second["user"]));
    let other = json!({"flow": flow_id(&first), "code": "000000"});
    let other = app.client().post("/auth/verify-email", &other).key("the-second").send().await;
    other.problem(422, "idempotency-mismatch");
}

async fn a_letter_carries_the_same_credential_after_a_crash(kind: Kind) {
    use crate::support::smtp::Moment;
    let sink = Sink::start();
    let app = App::plan(kind).named("letter").set("SMTP_URL", sink.url()).start().await;
    let person = Person::new("reader");
    let sprung = sink.trap(Moment::Received);
    let flow = person.registers(&app).await;
    // The letter is at the mail server, and the process dies before it can hear so.
    let held = sprung.await.unwrap();
    app.kill9();
    drop(held);
    sink.next_epoch().await;
    app.launch();
    app.ready().await;
    outbox_drained(&app).await;

    let letters = sink.letters(&person.email, "registration.verify");
    assert_eq!(letters.len(), 2, "at least once, and at most one extra for one crash");
    assert_eq!(letters[0].message_id, letters[1].message_id);
    assert_eq!(letters[0].code(), letters[1].code());
    assert_eq!(letters[0].link(), letters[1].link());
    let body = json!({"flow": flow, "code": letters[0].code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
}

async fn the_clock_may_jump_back_an_hour(kind: Kind) {
    let app = App::plan(kind).named("clock").start().await;
    let person = Person::new("traveller");
    let waiting = Person::new("waiting");
    person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    let flow = waiting.registers(&app).await;

    app.restart_at(-3600).await;
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    let answer = app.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await;
    let tokens = Tokens::of(&answer.expect(200));
    waiting.verifies(&app, &flow).await;
    waiting.signs_in(&app).await;

    app.restart_at(0).await;
    app.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await.expect(200);
    Audit::of(&app).await.must_be_clean();
}

async fn keys_and_sessions_outlive_the_process(kind: Kind) {
    let app = App::plan(kind).named("keys").start().await;
    let person = Person::new("keeper");
    person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    assert!(app.terminate().await.success(), "SIGTERM is a way to end well");
    app.launch();
    app.ready().await;
    let keys = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert!(verifies(&tokens.access, &keys), "{keys}");
    assert_eq!(claims(&tokens.access)["iss"], app.public_url());
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
}
