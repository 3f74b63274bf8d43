//! `GET /users/me/export`: all that is kept about a person, and no secret.

use crate::support::{App, Person, Value, json};

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
    spelt_out("export", &export);
    let details = |kind: &str| {
        let history = export["history"].as_array().unwrap();
        &history.iter().find(|event| event["kind"] == kind).unwrap()["details"]
    };
    assert_eq!(details("session")["user"], export["profile"]["id"]);
    let until = details("session")["shown"]["expires_at"].as_str().unwrap();
    assert!(until.ends_with('Z') && until > export["profile"]["created_at"].as_str().unwrap(), "{until}");
    app.client().get("/users/me/export").send().await.problem(401, "credentials");
}

/// Nowhere is an instant in milliseconds or an id without its prefix.
fn spelt_out(place: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| spelt_out(&format!("{place}.{name}"), member))
        }
        Value::Array(members) => members.iter().for_each(|member| spelt_out(place, member)),
        Value::Number(number) => assert!(number.as_f64().unwrap() < 1e9, "{place} is {number}"),
        Value::String(text) => {
            let bare = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
            assert!(text.len() != 26 || !text.bytes().all(bare), "{place} is {text}");
        }
        Value::Null | Value::Bool(_) => {}
    }
}

async fn one_persons_export_is_theirs_alone(app: &App) {
    let (one, two) = (Person::new("mine"), Person::new("yours"));
    let (first, second) = (one.arrives(app).await, two.arrives(app).await);
    let answer = app.client().get("/users/me/export").bearer(&first.access).send().await;
    answer.expect(200);
    let text = answer.text();
    assert!(!text.contains(&two.email) && !text.contains(&second.session), "{text}");
}
