//! `POST /auth/login`: one and the same refusal whatever is wrong, and tokens that a stranger can verify.

use crate::support::person::Tokens;
use crate::support::token::{read, verifies};
use crate::support::{App, Person, json};

on_both_databases!(
    a_verified_person_signs_in_by_address_or_username,
    every_refusal_is_the_same,
    the_access_token_is_an_rfc_9068_token,
    each_sign_in_is_a_session_of_its_own,
    a_sign_in_names_the_person_in_one_way,
);

async fn a_verified_person_signs_in_by_address_or_username(app: &App) {
    let person = Person::new("either");
    let user = person.joins(app).await;
    let body = [
        json!({"email": person.email, "password": person.password}),
        json!({"email": person.email.to_uppercase(), "password": person.password}),
        json!({"username": person.username, "password": person.password}),
        json!({"username": person.username.to_uppercase(), "password": person.password}),
    ];
    for body in body {
        let answer = app.client().post("/auth/login", &body).send().await;
        let json = answer.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(json["token_type"], "Bearer", "{answer}");
        assert_eq!(json["expires_in"], 300, "{answer}");
        assert!(["actor", "direct"].contains(&json["method"].as_str().unwrap()), "{answer}");
        let tokens = Tokens::of(&json);
        assert!(tokens.refresh.starts_with("cairn_rt_"), "{answer}");
        assert!(tokens.session.starts_with("ses_"), "{answer}");
        assert_eq!(read(&tokens.access).1["sub"], user["id"]);
    }
}

async fn every_refusal_is_the_same(app: &App) {
    let person = Person::new("refused");
    let unverified = Person::new("unverified");
    person.joins(app).await;
    unverified.registers(app).await;
    let bodies = [
        json!({"email": person.email, "password": "not the velvet umbrella"}),
        json!({"email": Person::new("nobody").email, "password": person.password}),
        json!({"email": unverified.email, "password": unverified.password}),
        json!({"username": person.username, "password": "not the velvet umbrella"}),
        json!({"username": Person::new("nobody").username, "password": person.password}),
        json!({"username": unverified.username, "password": unverified.password}),
        json!({"email": person.email, "password": ""}),
    ];
    let mut seen = None;
    for body in bodies {
        let answer = app.client().post("/auth/login", &body).send().await;
        let mut problem = answer.problem(401, "credentials");
        problem["request_id"] = json!(null);
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        let this = (problem, challenge, answer.headers.keys().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(*seen.get_or_insert_with(|| this.clone()), this, "{body} is told apart");
    }
}

async fn the_access_token_is_an_rfc_9068_token(app: &App) {
    let person = Person::new("claims");
    let user = person.joins(app).await;
    let tokens = person.signs_in(app).await;
    let (header, claims) = read(&tokens.access);
    assert_eq!(header["typ"], "at+jwt");
    assert!(header["kid"].is_string());
    let keys = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert!(verifies(&tokens.access, &keys));
    let mut forged = tokens.access.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let signed = String::from_utf8(forged).unwrap();
    let me = app.client().get("/users/me").bearer(&signed).send().await;
    me.problem(401, "session-ended");

    assert_eq!(claims["iss"], app.public_url());
    assert_eq!(claims["aud"], app.public_url());
    assert_eq!(claims["client_id"], "cairn");
    assert_eq!(claims["sub"], user["id"]);
    assert_eq!(claims["sid"], tokens.session.as_str());
    assert_eq!(claims["email"], person.email.as_str());
    assert_eq!(claims["preferred_username"], person.username.as_str());
    assert_eq!(claims["name"], "Nora Quist");
    assert!(claims["roles"].is_array(), "{claims}");
    assert!(claims["jti"].is_string(), "{claims}");
    let number = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("{name} in {claims}"));
    assert_eq!(number("exp") - number("iat"), 300, "{claims}");
    assert!(number("auth_time") <= number("iat"), "{claims}");
}

async fn each_sign_in_is_a_session_of_its_own(app: &App) {
    let person = Person::new("several");
    person.joins(app).await;
    let (one, two) = (person.signs_in(app).await, person.signs_in(app).await);
    assert_ne!(one.session, two.session);
    app.client().post("/auth/logout", &json!({"refresh_token": one.refresh})).send().await.expect(204);
    app.client().get("/users/me").bearer(&one.access).send().await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&two.access).send().await.expect(200);
}

async fn a_sign_in_names_the_person_in_one_way(app: &App) {
    for body in [json!({"password": "x"}), json!({"email": "ada@example.org"}), json!({})] {
        app.client().post("/auth/login", &body).send().await.problem(400, "unreadable");
    }
    let body = json!({"email": "ada@example.org", "password": 7});
    let problem = app.client().post("/auth/login", &body).send().await.problem(400, "unreadable");
    assert_eq!(problem["pointer"], "/password", "{problem}");
}
