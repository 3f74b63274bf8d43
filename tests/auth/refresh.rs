//! `POST /auth/refresh`: rotation, the same answer for a repeat within the grace time, and the end of a chain that was
//! stolen.

use crate::support::person::Tokens;
use crate::support::token::claims;
use crate::support::{Answer, App, Kind, Person, json};

on_both_databases!(
    a_refresh_rotates,
    a_repeat_gets_the_same_answer_until_its_successor_is_used,
    an_old_token_ends_the_session,
    parallel_refreshes_agree,
    what_is_no_token_is_an_ended_session,
);
of_each_kind!(after_the_grace_time_the_predecessor_ends_the_session);

async fn refresh(app: &App, token: &str) -> Answer {
    app.client().post("/auth/refresh", &json!({"refresh_token": token})).send().await
}

async fn signed_in(app: &App) -> Tokens {
    let person = Person::new("chain");
    person.joins(app).await;
    person.signs_in(app).await
}

/// What a repeat must bring again.
fn identity(tokens: &Tokens) -> impl PartialEq + std::fmt::Debug + use<> {
    let claims = claims(&tokens.access);
    (tokens.refresh.clone(), tokens.session.clone(), ["jti", "iat", "exp"].map(|name| claims[name].clone()))
}

async fn a_refresh_rotates(app: &App) {
    let first = signed_in(app).await;
    let answer = refresh(app, &first.refresh).await;
    let second = Tokens::of(&answer.expect(200));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(second.refresh, first.refresh);
    assert_ne!(claims(&second.access)["jti"], claims(&first.access)["jti"]);
    assert_eq!(second.session, first.session);
    assert_eq!(claims(&second.access)["auth_time"], claims(&first.access)["auth_time"], "a refresh is no sign-in");
    app.client().get("/users/me").bearer(&second.access).send().await.expect(200);
}

async fn a_repeat_gets_the_same_answer_until_its_successor_is_used(app: &App) {
    let first = signed_in(app).await;
    let second = Tokens::of(&refresh(app, &first.refresh).await.expect(200));
    let repeat = Tokens::of(&refresh(app, &first.refresh).await.expect(200));
    assert_eq!(identity(&repeat), identity(&second));
    let third = Tokens::of(&refresh(app, &second.refresh).await.expect(200));
    refresh(app, &first.refresh).await.problem(401, "session-ended");
    refresh(app, &third.refresh).await.problem(401, "session-ended");
}

async fn an_old_token_ends_the_session(app: &App) {
    let first = signed_in(app).await;
    let mut last = first.clone();
    for _ in 0..3 {
        last = Tokens::of(&refresh(app, &last.refresh).await.expect(200));
    }
    let answer = refresh(app, &first.refresh).await;
    answer.problem(401, "session-ended");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer") && challenge.contains("invalid_token"), "{challenge}");
    refresh(app, &last.refresh).await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&last.access).send().await.problem(401, "session-ended");
}

async fn parallel_refreshes_agree(app: &App) {
    let first = signed_in(app).await;
    let ask = || refresh(app, &first.refresh);
    let answers = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
    let answers = <[Answer; 6]>::from(answers).map(|answer| Tokens::of(&answer.expect(200)));
    for answer in &answers {
        assert_eq!(identity(answer), identity(&answers[0]));
    }
    refresh(app, &answers[5].refresh).await.expect(200);
}

async fn what_is_no_token_is_an_ended_session(app: &App) {
    let tokens = signed_in(app).await;
    let cut = &tokens.refresh[..tokens.refresh.len() - 2];
    let long = "x".repeat(4000);
    for token in ["", "x", "cairn_rt_", "cairn_rt_AAAA", cut, &tokens.access, &long, "é\u{0}"] {
        refresh(app, token).await.problem(401, "session-ended");
    }
    app.client().post("/auth/refresh", &json!({})).send().await.problem(400, "unreadable");
    refresh(app, &tokens.refresh).await.expect(200);
}

async fn after_the_grace_time_the_predecessor_ends_the_session(kind: Kind) {
    let app = App::plan(kind).named("grace").start().await;
    let first = signed_in(&app).await;
    let second = Tokens::of(&refresh(&app, &first.refresh).await.expect(200));
    app.restart_at(31).await;
    refresh(&app, &first.refresh).await.problem(401, "session-ended");
    refresh(&app, &second.refresh).await.problem(401, "session-ended");
}
