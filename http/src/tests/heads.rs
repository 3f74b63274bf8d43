//! Heads: targets of every form, bounds, ids, garbage.

use super::*;

#[tokio::test]
async fn an_id_is_kept_when_it_is_good_and_replaced_when_not() {
    let server = TestServer::open().await;
    let with = |id: String| format!("GET /health HTTP/1.1\r\nhost: x\r\n{id}\r\n");
    for good in ["a".to_owned(), "A-z_0.9".to_owned(), "x".repeat(128)] {
        let told = server.ask(with(format!("X-Request-Id: {good}\r\n"))).await;
        assert_eq!(told.header("x-request-id"), good);
    }
    for bad in ["", "a b", "a/b", "é", &"x".repeat(129), "a\r\nX-Request-Id: b"] {
        let told = server.ask(with(format!("X-Request-Id: {bad}\r\n"))).await;
        assert_eq!(told.status, 200);
        assert!(told.header("x-request-id").starts_with("fresh-"), "{bad:?}: {told:?}");
    }
    let told = server.ask("GET /nowhere HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n\r\n").await;
    assert_eq!(told.problem(404, "not-found")["request_id"], "mine");
}

#[tokio::test]
async fn a_head_over_our_bounds_is_answered_with_a_problem() {
    let server = TestServer::open().await;
    let path = |length: usize| format!("/auth/things/{}", "x".repeat(length - "/auth/things/".len()));
    assert_eq!(server.get(&path(8 * 1024)).await.status, 200);
    server.get(&path(8 * 1024 + 1)).await.problem(414, "too-large");
    server.get(&format!("/health?{}", "q".repeat(8 * 1024))).await.problem(414, "too-large");
    server.get(&path(40 * 1024)).await.problem(414, "too-large");

    let lines = |count: usize| format!("GET /health HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(server.ask(lines(100)).await.status, 200);
    server.ask(lines(101)).await.problem(431, "too-large");
    server.ask(lines(200)).await.problem(431, "too-large");

    let octets = |count: usize| format!("GET /health HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(count - 5));
    assert_eq!(server.ask(octets(32 * 1024)).await.status, 200);
    server.ask(octets(32 * 1024 + 1)).await.problem(431, "too-large");
    server.ask(octets(60 * 1024)).await.problem(431, "too-large");
}

#[tokio::test]
async fn what_the_library_answers_by_itself_arrives_though_the_client_talks_on() {
    let server = TestServer::open().await;
    assert_eq!(server.ask(format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(2_000_000))).await.status, 431);
    assert_eq!(server.ask(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000))).await.status, 414);
    assert_eq!(server.ask(vec![0; 100_000]).await.status, 400);
}

#[tokio::test]
async fn garbage_never_gets_past_400_and_never_ends_the_server() {
    let server = TestServer::open().await;
    for garbage in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\na\0b: c\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"G\xc3\x89T / HTTP/1.1\r\n\r\n",
    ] {
        let told = server.ask(garbage).await;
        assert_eq!(told.status, 400, "{garbage:?}");
    }
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn odd_paths_are_simply_not_there() {
    let server = TestServer::open().await;
    for path in [
        "/",
        "//",
        "//health",
        "/health/",
        "/health/x",
        "/Health",
        "/health%",
        "/health%2",
        "/health%zz",
        "/auth/../health",
        "/./health",
        "/auth%2Fecho",
        "/auth/things/",
        "/auth/things/a/",
        "/auth/things/%ff",
        "/auth/things/%00",
        "/auth/things/%",
        "/auth/things/a%0Ab",
        "/é",
        "/%C3%28",
        "/{id}",
        "/auth/%7Bid%7D",
    ] {
        server.get(path).await.problem(404, "not-found");
    }
    assert_eq!(server.get("/%68ealth").await.status, 200);
    assert_eq!(server.get("/health?").await.status, 200);
    assert_eq!(server.get("/health?x=%zz&&=").await.status, 200);
    let told = server.get("/auth/things/a%20%C3%A9%2Fb?x=1&q=c+d%21&q=e").await.json();
    assert_eq!(told, json!({"id": "a é/b", "q": "c d!", "route": "/auth/things/{id}"}));
}

#[tokio::test]
async fn targets_of_the_other_forms_are_understood() {
    let server = TestServer::open().await;
    let absolute = "GET http://elsewhere.example/health?a=b HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(server.ask(absolute).await.status, 200);
    server.ask("GET http://elsewhere.example HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(404, "not-found");
    let whole = server.ask("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((whole.status, whole.header("allow")), (204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    assert!(!whole.header("x-request-id").is_empty());
    server.ask("GET * HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(404, "not-found");
    server.ask("CONNECT db.example:5432 HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(404, "not-found");
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send(
        "GET /auth/things/1 HTTP/1.1\r\nhost: x\r\n\r\n\
         POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}\
         POST /auth/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"name\":\"b\"}\
         HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n\
         GET /auth/things/2 HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    .await;
    assert_eq!(connection.hear().await.json()["id"], "1");
    connection.hear().await.problem(404, "not-found");
    assert_eq!(connection.hear().await.json()["name"], "b");
    assert_eq!(connection.head().await.status, 200);
    assert_eq!(connection.hear().await.json()["id"], "2");
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_let_go() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send("GET /health HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(connection.end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
}
