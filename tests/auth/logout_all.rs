//! `POST /auth/logout-all`: every session of a person ends, the one that asks too.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Person, json};

on_both_databases!(every_session_ends, a_repeat_is_known_though_its_session_is_over, a_body_has_nothing_to_say);

async fn leave_all(app: &App, tokens: &Tokens, key: Option<&str>) -> Answer {
    let request = app.client().request("POST", "/auth/logout-all").bearer(&tokens.access);
    match key {
        Some(key) => request.key(key),
        None => request,
    }
    .send()
    .await
}

async fn every_session_ends(app: &App) {
    let (person, bystander) = (Person::new("leaver"), Person::new("bystander").arrives(app).await);
    let sessions = [person.arrives(app).await, person.signs_in(app).await, person.signs_in(app).await];
    leave_all(app, &sessions[1], None).await.expect(204);
    for session in &sessions {
        app.client().get("/users/me").bearer(&session.access).send().await.problem(401, "session-ended");
        let refresh = json!({"refresh_token": session.refresh});
        app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    }
    leave_all(app, &sessions[1], None).await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&bystander.access).send().await.expect(200);
    person.signs_in(app).await;
    app.client().request("POST", "/auth/logout-all").send().await.problem(401, "credentials");
}

async fn a_repeat_is_known_though_its_session_is_over(app: &App) {
    let person = Person::new("repeater");
    let tokens = person.arrives(app).await;
    leave_all(app, &tokens, Some("all")).await.expect(204);
    let later = person.signs_in(app).await;
    leave_all(app, &tokens, Some("all")).await.expect(204);
    // Under the key of an earlier session nobody is told that this one has ended.
    leave_all(app, &later, Some("all")).await.problem(422, "idempotency-mismatch");
    app.client().get("/users/me").bearer(&later.access).send().await.expect(200);
    leave_all(app, &tokens, Some("another")).await.problem(401, "session-ended");
    // Somebody else's key is another key.
    let other = Person::new("other").arrives(app).await;
    leave_all(app, &other, Some("all")).await.expect(204);
    app.client().get("/users/me").bearer(&other.access).send().await.problem(401, "session-ended");
}

async fn a_body_has_nothing_to_say(app: &App) {
    let tokens = Person::new("wordy").arrives(app).await;
    let json = Some("application/json");
    let bodies = [
        (Some("text/plain"), "{}", 415, "media-type"),
        (None, "{}", 415, "media-type"),
        (json, "{", 400, "unreadable"),
        (json, "[]", 400, "unreadable"),
        (json, r#"{"more":1}"#, 400, "unreadable"),
    ];
    for (kind, body, status, problem) in bodies {
        for path in ["/auth/logout-all", "/auth/register/reg_00000000000000000000000000/resend"] {
            let request = app.client().request("POST", path).bearer(&tokens.access).body(body);
            let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
            request.send().await.problem(status, problem);
        }
    }
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    app.client().post("/auth/logout-all", &json!({})).bearer(&tokens.access).send().await.expect(204);
}
