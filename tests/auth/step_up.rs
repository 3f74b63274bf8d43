//! `POST /auth/step-up`: what is sensitive asks for a fresh proof (RFC 9470), and the password gives it.

use crate::support::person::Tokens;
use crate::support::token::claims;
use crate::support::{Answer, App, Kind, Person, Value, json};

on_both_databases!(
    a_step_up_gives_new_tokens_of_the_same_session,
    a_wrong_password_is_no_step_up,
    a_step_up_with_a_key_is_known_when_it_comes_again,
);
of_each_kind!(what_is_sensitive_asks_for_a_fresh_proof);

async fn step_up(app: &App, tokens: &Tokens, password: &str) -> Answer {
    app.client().post("/auth/step-up", &json!({"password": password})).bearer(&tokens.access).send().await
}

async fn refresh(app: &App, tokens: &Tokens) -> Answer {
    app.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await
}

async fn a_step_up_gives_new_tokens_of_the_same_session(app: &App) {
    let person = Person::new("prover");
    let first = person.arrives(app).await;
    let answer = step_up(app, &first, &person.password).await;
    let body = answer.expect(200);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(300)), "{body}");
    let second = Tokens::of(&body);
    assert_eq!(second.session, first.session);
    assert_ne!(second.refresh, first.refresh);
    let time = |tokens: &Tokens| claims(&tokens.access)["auth_time"].as_i64().unwrap();
    assert!(time(&second) >= time(&first));
    app.client().get("/users/me").bearer(&first.access).send().await.expect(200);
    // The token from before gets nothing that came of the proof, and ends nothing while its client may have lost the
    // answer: who has lost it proves the password once more.
    for _ in 0..2 {
        refresh(app, &first).await.problem(401, "session-ended");
    }
    let third = Tokens::of(&step_up(app, &first, &person.password).await.expect(200));
    refresh(app, &third).await.expect(200);
}

async fn a_wrong_password_is_no_step_up(app: &App) {
    let person = Person::new("guesser");
    let tokens = person.arrives(app).await;
    step_up(app, &tokens, "not the velvet umbrella").await.problem(401, "credentials");
    let body = json!({"password": person.password});
    app.client().post("/auth/step-up", &body).send().await.problem(401, "credentials");
    app.client().post("/auth/step-up", &json!({})).bearer(&tokens.access).send().await.problem(400, "unreadable");
    refresh(app, &tokens).await.expect(200);
}

async fn a_step_up_with_a_key_is_known_when_it_comes_again(app: &App) {
    let person = Person::new("keyed");
    let tokens = person.arrives(app).await;
    let post = |password: &str| {
        let request = app.client().post("/auth/step-up", &json!({"password": password}));
        request.bearer(&tokens.access).key("fresh").send()
    };
    let first = Tokens::of(&post(&person.password).await.expect(200));
    let again = Tokens::of(&post(&person.password).await.expect(200));
    assert_eq!(again.refresh, first.refresh);
    assert_eq!(claims(&again.access)["jti"], claims(&first.access)["jti"]);
    post("not the velvet umbrella").await.problem(401, "credentials");
    refresh(app, &first).await.expect(200);
}

fn sensitive(person: &Person) -> [(&'static str, &'static str, Value); 4] {
    [
        ("GET", "/users/me/export", Value::Null),
        (
            "POST",
            "/auth/email-change",
            json!({"new_email": format!("new.{}", person.email), "password": person.password}),
        ),
        (
            "POST",
            "/auth/password-change",
            json!({"current_password": person.password, "new_password": "granite lantern 47 marmalade"}),
        ),
        ("DELETE", "/users/me", json!({"password": "granite lantern 47 marmalade"})),
    ]
}

async fn what_is_sensitive_asks_for_a_fresh_proof(kind: Kind) {
    let app = App::plan(kind).named("fresh").set("CAIRN_STEP_UP_AGE", 120).start().await;
    let person = Person::new("sensitive");
    let tokens = person.arrives(&app).await;
    let ask = async |tokens: &Tokens, (method, path, body): (&str, &str, Value)| {
        let mut request = app.client().request(method, path).bearer(&tokens.access);
        if !body.is_null() {
            request = request.json(&body);
        }
        request.send().await
    };
    app.restart_at(130).await;
    // A refresh is no proof of anything.
    let stale = Tokens::of(&refresh(&app, &tokens).await.expect(200));
    for call in sensitive(&person) {
        let answer = ask(&stale, call).await;
        answer.problem(401, "step-up");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
        assert!(challenge.contains("max_age=120") || challenge.contains(r#"max_age="120""#), "{challenge}");
    }
    app.client().get("/users/me").bearer(&stale.access).send().await.expect(200);
    let fresh = Tokens::of(&step_up(&app, &stale, &person.password).await.expect(200));
    let time = |tokens: &Tokens| claims(&tokens.access)["auth_time"].as_i64().unwrap();
    assert!(time(&fresh) >= time(&stale) + 120, "it is fresh");
    assert_eq!(ask(&stale, sensitive(&person)[0].clone()).await.status, 401, "and the stale token stays stale");
    for (call, status) in sensitive(&person).into_iter().zip([200, 202, 200, 202]) {
        let answer = ask(&fresh, call).await;
        assert_eq!(answer.status, status, "{answer}");
    }
}
