//! `POST /auth/logout`: 204 for every string, and any generation of a chain ends its session.

use crate::support::person::Tokens;
use crate::support::{App, Person, json};

on_both_databases!(signing_out_ends_the_session, any_generation_signs_out, every_string_is_answered_alike);

async fn signing_out_ends_the_session(app: &App) {
    let person = Person::new("leaver");
    person.joins(app).await;
    let tokens = person.signs_in(app).await;
    let body = json!({"refresh_token": tokens.refresh});
    for _ in 0..2 {
        let answer = app.client().post("/auth/logout", &body).send().await;
        answer.expect(204);
        assert!(answer.body.is_empty());
    }
    app.client().post("/auth/refresh", &body).send().await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&tokens.access).send().await.problem(401, "session-ended");
}

async fn any_generation_signs_out(app: &App) {
    let person = Person::new("old-leaver");
    person.joins(app).await;
    let first = person.signs_in(app).await;
    let mut last = first.clone();
    for _ in 0..3 {
        let body = json!({"refresh_token": last.refresh});
        last = Tokens::of(&app.client().post("/auth/refresh", &body).send().await.expect(200));
    }
    app.client().post("/auth/logout", &json!({"refresh_token": first.refresh})).send().await.expect(204);
    let body = json!({"refresh_token": last.refresh});
    app.client().post("/auth/refresh", &body).send().await.problem(401, "session-ended");
}

async fn every_string_is_answered_alike(app: &App) {
    for token in ["", "x", "cairn_rt_", "cairn_rt_AAAAAAAAAAAAAAAAAAAAAAAA", "é\u{0}"] {
        app.client().post("/auth/logout", &json!({"refresh_token": token})).send().await.expect(204);
    }
    app.client().post("/auth/logout", &json!({"refresh_token": 7})).send().await.problem(400, "unreadable");
}
