//! Request ids, media types, unreadable bodies, other sites: what every answer owes every request.

use std::time::Duration;

use crate::support::{App, Kind, Person, json, raw};

on_both_databases!(
    every_answer_bears_a_request_id,
    a_body_must_say_that_it_is_json,
    unknown_query_parameters_are_ignored,
    an_unlisted_origin_is_neither_refused_nor_let_in,
    an_unknown_path_is_a_problem_too,
);

async fn every_answer_bears_a_request_id(app: &App) {
    let client = app.client();
    let longest = "a".repeat(128);
    for id in ["a", "Trace-7_of.9", &longest] {
        for path in ["/health", "/users/me", "/nowhere"] {
            let answer = client.get(path).header("x-request-id", id).send().await;
            assert_eq!(answer.header("x-request-id"), Some(id), "{answer}");
        }
    }
    let too_long = "a".repeat(129);
    for id in ["", "with space", "new/line", "é", &too_long] {
        let answer = client.get("/nowhere").header("x-request-id", id).send().await;
        let given = answer.header("x-request-id").expect("an id of the server's own");
        assert_ne!(given, id);
        assert!((1..=128).contains(&given.len()), "{answer}");
        answer.problem(404, "not-found");
    }
    let one = client.get("/health").send().await;
    let two = client.get("/health").send().await;
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

async fn a_body_must_say_that_it_is_json(app: &App) {
    let body = Person::new("media").registration().to_string();
    let post = |content: Option<&str>| {
        let request = app.client().request("POST", "/auth/register");
        match content {
            Some(content) => request.header("content-type", content),
            None => request,
        }
        .body(body.clone())
    };
    for content in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json", ""] {
        post(Some(content)).send().await.problem(415, "media-type");
    }
    post(None).send().await.problem(415, "media-type");
    for content in ["application/json", "Application/JSON; Charset=UTF-8", "application/json;charset=\"utf-8\""] {
        post(Some(content)).send().await.expect(202);
    }
    let latin = app.client().request("POST", "/auth/register").header("content-type", "application/json");
    latin.body(&b"{\"email\": \"\xe9\"}"[..]).send().await.problem(400, "unreadable");
}

async fn unknown_query_parameters_are_ignored(app: &App) {
    let person = Person::new("query");
    app.client().post("/auth/register?utm=1&utm=2&%ff=%zz", &person.registration()).send().await.expect(202);
}

async fn an_unlisted_origin_is_neither_refused_nor_let_in(app: &App) {
    let person = Person::new("origin");
    let request = app.client().post("/auth/register", &person.registration());
    let answer = request.header("origin", "https://elsewhere.example").send().await;
    answer.expect(202);
    let named: Vec<_> = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(named.is_empty(), "{answer}");
}

async fn an_unknown_path_is_a_problem_too(app: &App) {
    for path in [
        "/nowhere",
        "/auth",
        "/auth/",
        "/auth/register/",
        "//auth/register",
        "/auth/../users/me",
        "/AUTH/register",
        "/%61uth/xregister",
    ] {
        let answer = app.client().get(path).send().await;
        answer.problem(404, "not-found");
    }
    let bytes = b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = raw::exchange(app.client().server(), bytes, Duration::from_secs(20)).await;
    assert!(
        raw::status(&answer).is_some_and(|status| (400..500).contains(&status)),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_listed_origin_may_read_the_answer() {
    let app = App::plan(Kind::Sqlite).named("cors").set("CAIRN_CORS_ORIGINS", "https://app.example").start().await;
    let ask = |origin: &str| {
        app.client().post("/auth/login", &json!({"email": "a@b.example", "password": "x"})).header("origin", origin)
    };
    let answer = ask("https://app.example").send().await;
    answer.problem(401, "credentials");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "{answer}");
    assert!(answer.list("vary").iter().any(|name| name.eq_ignore_ascii_case("origin")), "{answer}");
    let other = ask("https://app.example.evil.example").send().await;
    assert_eq!(other.header("access-control-allow-origin"), None, "{other}");
    let preflight = app.client().request("OPTIONS", "/auth/login").header("origin", "https://app.example");
    let preflight = preflight
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = preflight.send().await;
    answer.expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "{answer}");
    assert!(answer.list("access-control-allow-methods").contains(&"POST".to_owned()), "{answer}");
}
