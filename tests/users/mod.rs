//! `/users`: what a signed-in person reads of themselves, edits, takes along and has deleted.

mod delete;
mod edit;
mod export;

use crate::support::{App, Person};

on_both_databases!(
    a_person_reads_their_profile,
    only_the_header_carries_the_token,
    a_missing_token_is_told_from_a_bad_one
);

async fn a_person_reads_their_profile(app: &App) {
    let person = Person::new("self");
    let user = person.joins(app).await;
    let tokens = person.signs_in(app).await;
    let answer = app.client().get("/users/me").bearer(&tokens.access).send().await;
    let me = answer.expect(200);
    assert_eq!(me["id"], user["id"]);
    assert_eq!(me["email"], person.email.as_str());
    assert_eq!(me["username"], person.username.as_str());
    assert_eq!((me["first_name"].as_str(), me["last_name"].as_str()), (Some("Nora"), Some("Quist")));
    assert_eq!(me["name"], "Nora Quist");
    assert!(me["roles"].is_array(), "{me}");
    for time in ["created_at", "updated_at"] {
        assert!(me[time].as_str().is_some_and(|at| at.ends_with('Z')), "{me}");
    }
    assert!(!answer.text().contains("argon2"), "{me}");
    assert!(answer.header("etag").is_some_and(|tag| tag.ends_with('"')), "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

async fn only_the_header_carries_the_token(app: &App) {
    let person = Person::new("query");
    person.joins(app).await;
    let access = person.signs_in(app).await.access;
    app.client().get(&format!("/users/me?access_token={access}")).send().await.problem(401, "credentials");
    let cookie = format!("access_token={access}");
    app.client().get("/users/me").header("cookie", &cookie).send().await.problem(401, "credentials");
    let lower = format!("bearer {access}");
    app.client().get("/users/me").header("authorization", &lower).send().await.expect(200);
}

async fn a_missing_token_is_told_from_a_bad_one(app: &App) {
    let answer = app.client().get("/users/me").send().await;
    answer.problem(401, "credentials");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "bare, as RFC 6750 asks");
    for token in ["x", "a.b.c", "cairn_rt_AAAA", "eyJhbGciOiJub25lIn0.e30."] {
        let answer = app.client().get("/users/me").bearer(token).send().await;
        answer.problem(401, "session-ended");
        assert!(answer.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")), "{answer}");
    }
}
