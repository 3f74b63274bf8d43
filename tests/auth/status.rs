//! `GET /auth/status`: who is signed in, in which session, since when and how.

use crate::support::token::claims;
use crate::support::{App, Person, json};

on_both_databases!(a_token_says_whose_it_is_and_how_they_proved_it);

async fn a_token_says_whose_it_is_and_how_they_proved_it(app: &App) {
    let person = Person::new("present");
    let user = person.joins(app).await;
    let tokens = person.signs_in(app).await;
    let get = || app.client().get("/auth/status").bearer(&tokens.access).send();
    let answer = get().await;
    let status = answer.expect(200);
    assert_eq!(status["user"], json!({"id": user["id"], "email": person.email}));
    assert_eq!(status["session"], tokens.session.as_str());
    assert_eq!(status["amr"], json!(["pwd"]));
    assert!(status["auth_time"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    assert_eq!(claims(&tokens.access)["sid"], tokens.session.as_str());
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    app.client().post("/auth/logout", &json!({"refresh_token": tokens.refresh})).send().await.expect(204);
    get().await.problem(401, "session-ended");
    let answer = app.client().get("/auth/status").send().await;
    answer.problem(401, "credentials");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}
