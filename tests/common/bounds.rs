//! How large and how slow a request may be: body, target, headers, nesting, and a head that never ends.

use std::time::Duration;

use crate::support::{App, Kind, PATIENCE, Person, json, proving, raw, shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

on_both_databases!(a_body_holds_64_kib, a_target_holds_8_kib, a_head_holds_32_kib_and_100_headers, json_nests_64_deep,);

const PATIENT: Duration = Duration::from_secs(20);

async fn a_body_holds_64_kib(app: &App) {
    let padded = |size: usize| {
        let text = Person::new("large").registration().to_string();
        format!("{text}{}", " ".repeat(size - text.len()))
    };
    let post = |body: String| {
        app.client().request("POST", "/auth/register").header("content-type", "application/json").body(body)
    };
    post(padded(64 * 1024)).send().await.expect(202);
    post(padded(64 * 1024 + 1)).send().await.problem(413, "too-large");

    // Without a length, in pieces: counted as it comes.
    let head = "POST /auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunked = |body: &str| {
        let mut bytes = head.as_bytes().to_vec();
        for piece in body.as_bytes().chunks(4096) {
            bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    };
    let server = app.client().server();
    assert_eq!(raw::status(&raw::exchange(server, &chunked(&padded(60_000)), PATIENT).await), Some(202));
    assert_eq!(raw::status(&raw::exchange(server, &chunked(&padded(70_000)), PATIENT).await), Some(413));
}

async fn a_target_holds_8_kib(app: &App) {
    let target = |size: usize| format!("/health?{}", "x".repeat(size - "/health?".len()));
    app.client().get(&target(8 * 1024)).send().await.expect(200);
    app.client().get(&target(8 * 1024 + 1)).send().await.problem(414, "too-large");
}

async fn a_head_holds_32_kib_and_100_headers(app: &App) {
    let of_size = |size: usize| app.client().get("/health").header("x-padding", &"x".repeat(size));
    of_size(30 * 1024).send().await.expect(200);
    of_size(33 * 1024).send().await.problem(431, "too-large");
    let of_count = |count: usize| {
        let request = app.client().get("/health");
        (0..count).fold(request, |request, number| request.header(&format!("x-{number}"), "y"))
    };
    of_count(90).send().await.expect(200);
    of_count(101).send().await.problem(431, "too-large");
    // Far beyond what the HTTP library holds at all: it may answer by itself or cut, and must go on.
    let huge = format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(2_000_000));
    let answer = raw::exchange(app.client().server(), huge.as_bytes(), PATIENT).await;
    assert!(raw::status(&answer).is_none_or(|status| status == 431), "{}", String::from_utf8_lossy(&answer));
    app.client().get("/health").send().await.expect(200);
}

async fn json_nests_64_deep(app: &App) {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [65, 1_000, 30_000] {
        let body = format!("{{\"email\": {}}}", nested(depth));
        let request = app.client().request("POST", "/auth/register").header("content-type", "application/json");
        request.body(body).send().await.problem(400, "unreadable");
    }
    app.client().get("/health").send().await.expect(200);
}

/// Sends a beginning and waits for the server to give up: by an answer of 408 or by cutting the connection.
async fn is_given_up(beginning: &str) {
    let app = shared(Kind::Sqlite).await;
    let mut stream = TcpStream::connect(app.client().server()).await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "half a request is held for ever");
    assert!(raw::status(&answer).is_none_or(|status| status == 408), "{}", String::from_utf8_lossy(&answer));
    app.client().get("/health").send().await.expect(200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    is_given_up("GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    // Half a minute of the server's patience: only where there is time for it.
    if proving() {
        is_given_up(
            "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{",
        )
        .await;
    }
    let short = json!({"refresh_token": "x"}).to_string();
    let bytes = format!(
        "POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{short}",
        short.len()
    );
    let app = shared(Kind::Sqlite).await;
    let answer = raw::exchange(app.client().server(), bytes.as_bytes(), PATIENT).await;
    assert_eq!(raw::status(&answer), Some(401), "a body that ends is answered");
}
