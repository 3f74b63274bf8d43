//! `GET /users/me/export`: all that is kept about a person, and no secret.

use crate::support::{App, Person, json};

on_both_databases!(an_export_has_everything_but_secrets, one_persons_export_is_theirs_alone);

async fn an_export_has_everything_but_secrets(app: &App) {
    let mut person = Person::new("collector");
    person.joins(app).await;
    let tokens = person.signs_in(app).await;
    let to = format!("new.{}", person.email);
    person.moves_to(app, &tokens, &to).await;
    app.client().post("/auth/password-reset/request", &json!({"email": to})).send().await.expect(202);
    app.letter(&to, "recovery.reset").await;

    let answer = app.client().get("/users/me/export").bearer(&tokens.access).send().await;
    let export = answer.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(export["profile"]["email"], to.as_str());
    assert_eq!(export["sessions"][0]["id"], tokens.session.as_str());
    let kinds: Vec<&str> =
        export["flows"].as_array().unwrap().iter().map(|flow| flow["kind"].as_str().unwrap()).collect();
    for kind in ["registration", "session", "email_change", "recovery"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let text = answer.text();
    let secrets = [&tokens.access, &tokens.refresh, &person.password];
    assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    for letter in app.mailbox(&to).await {
        for secret in [letter.token(), letter.code()].into_iter().flatten() {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
    for word in ["argon2", "salt", "password_hash", "cairn_"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    app.client().get("/users/me/export").send().await.problem(401, "credentials");
}

async fn one_persons_export_is_theirs_alone(app: &App) {
    let (one, two) = (Person::new("mine"), Person::new("yours"));
    let (first, second) = (one.arrives(app).await, two.arrives(app).await);
    let answer = app.client().get("/users/me/export").bearer(&first.access).send().await;
    answer.expect(200);
    let text = answer.text();
    assert!(!text.contains(&two.email) && !text.contains(&second.session), "{text}");
}
