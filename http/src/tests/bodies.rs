//! Bodies: counted, timed, and read strictly.

use super::*;

const JSON: &str = "application/json";

#[tokio::test]
async fn a_body_of_64_kib_is_taken_and_one_octet_more_is_not() {
    let server = TestServer::open().await;
    assert_eq!(server.post("/auth/count", JSON, vec![b'x'; 65_536]).await.json(), json!({"octets": 65_536}));
    server.post("/auth/count", JSON, vec![b'x'; 65_537]).await.problem(413, "too-large");
    // The client sends on while the answer is on its way.
    server.post("/auth/count", JSON, vec![b'x'; 8_000_000]).await.problem(413, "too-large");
}

fn chunked(sizes: &[usize]) -> Vec<u8> {
    let mut octets =
        b"POST /auth/count HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for size in sizes {
        octets.extend(format!("{size:x}\r\n").bytes());
        octets.extend(vec![b'x'; *size]);
        octets.extend(b"\r\n");
    }
    octets.extend(b"0\r\n\r\n");
    octets
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let server = TestServer::open().await;
    assert_eq!(server.ask(chunked(&[])).await.json(), json!({"octets": 0}));
    assert_eq!(server.ask(chunked(&[1, 30_000, 35_535])).await.json(), json!({"octets": 65_536}));
    server.ask(chunked(&[1, 30_000, 35_536])).await.problem(413, "too-large");
    server.ask(chunked(&[500_000; 8])).await.problem(413, "too-large");
    let broken = "POST /auth/count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    server.ask(broken).await.problem(400, "unreadable");
    let get = "GET /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(server.ask(get).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let server = TestServer::with(Limits { body_time: Duration::from_millis(20), ..Limits::default() }).await;
    let mut connection = server.connect().await;
    connection.send("POST /auth/count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    let told = connection.hear().await;
    told.problem(408, "timeout");
    assert_eq!(told.header("connection"), "close");
    assert_eq!(connection.end().await, b"");
}

#[tokio::test]
async fn a_body_without_progress_is_given_up_before_its_time() {
    let server = TestServer::with(Limits { body_pause: Duration::from_millis(20), ..Limits::default() }).await;
    for begun in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut connection = server.connect().await;
        connection.send(format!("POST /auth/count HTTP/1.1\r\nhost: x\r\n{begun}")).await;
        connection.hear().await.problem(408, "timeout");
        assert_eq!(connection.end().await, b"");
    }
}

#[tokio::test]
async fn bodies_in_flight_have_a_sum_and_each_client_a_share_of_it() {
    let server = TestServer::with(Limits { bodies: 100_000, bodies_each: 70_000, ..Limits::default() }).await;
    let most = |length: usize| {
        let head = format!("POST /auth/count HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; length - 1]].concat()
    };
    let mut held = server.connect_from(2).await;
    held.send(most(60_000)).await;
    // Its share, as soon as the first body has come in.
    let mut tries = 0;
    let refused = loop {
        tries += 1;
        assert!(tries < 1_000, "bodies without end");
        let mut connection = server.connect_from(2).await;
        connection.send([most(20_000), b"x".to_vec()].concat()).await;
        let told = connection.hear().await;
        if told.status != 200 {
            break told;
        }
    };
    refused.problem(503, "unavailable");
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1", "close"));
    // Another client is served, up to the sum.
    let mut small = server.connect_from(3).await;
    small.send([most(20_000), b"x".to_vec()].concat()).await;
    assert_eq!(small.hear().await.json(), json!({"octets": 20_000}));
    let mut great = server.connect_from(3).await;
    great.send([most(60_000), b"x".to_vec()].concat()).await;
    great.hear().await.problem(503, "unavailable");
    // What is served is given back.
    held.send("x").await;
    assert_eq!(held.hear().await.json(), json!({"octets": 60_000}));
    for _ in 0..3 {
        let mut connection = server.connect_from(2).await;
        connection.send([most(60_000), b"x".to_vec()].concat()).await;
        assert_eq!(connection.hear().await.json(), json!({"octets": 60_000}));
    }
}

#[tokio::test]
async fn great_heads_that_are_coming_in_count_among_the_bodies() {
    let server = TestServer::with(Limits { bodies: 100_000, bodies_each: 30_000, ..Limits::default() }).await;
    let half = format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(20_000));
    let mut first = server.connect_from(2).await;
    first.send(&half).await;
    // As soon as the first has come in, there is no room for a second one of this client.
    for tries in 1.. {
        assert!(tries < 1_000, "heads without end");
        let mut second = server.connect_from(2).await;
        second.send(&half).await;
        second.send("\r\n\r\n").await;
        let _ = second.stream.shutdown().await;
        if second.end().await.is_empty() {
            break;
        }
    }
    let mut other = server.connect_from(3).await;
    other.send(&half).await;
    other.send("\r\n\r\n").await;
    assert_eq!(other.hear().await.status, 200);
    let mut small = server.connect_from(2).await;
    small.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(small.hear().await.status, 200);
    first.send("\r\n\r\n").await;
    assert_eq!(first.hear().await.status, 200);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_unreadable() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send("POST /auth/count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    connection.stream.shutdown().await.unwrap();
    connection.hear().await.problem(400, "unreadable");
}

#[tokio::test]
async fn who_closes_one_half_still_hears_the_answer() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send("GET /auth/wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    connection.stream.shutdown().await.unwrap();
    server.demo.entered.acquire().await.unwrap().forget();
    server.demo.gate.add_permits(1);
    assert_eq!(connection.hear().await.json(), json!({"waited": true}));
    assert_eq!(connection.end().await, b"");

    let mut idle = server.connect().await;
    idle.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(idle.hear().await.status, 200);
    idle.stream.shutdown().await.unwrap();
    assert_eq!(idle.end().await, b"");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_not_to() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send("POST /auth/count HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(connection.head().await.status, 100);
    connection.send("four").await;
    assert_eq!(connection.hear().await.json(), json!({"octets": 4}));

    for (path, length, status) in [("/auth/count", 65_537, 413), ("/users/me", 4, 401), ("/nowhere", 4, 404)] {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
        let told = server.ask(head).await;
        assert_eq!((told.status, told.header("connection")), (status, "close"), "{path}");
    }
}

#[tokio::test]
async fn json_is_asked_for_by_its_name() {
    let server = TestServer::open().await;
    for kind in ["application/json", "application/json;charset=utf-8", "APPLICATION/JSON; charset=\"UTF-8\""] {
        assert_eq!(server.post("/auth/echo", kind, "{\"name\":\"a\"}").await.status, 200, "{kind}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "", "\u{e9}"] {
        server.post("/auth/echo", kind, "{\"name\":\"a\"}").await.problem(415, "media-type");
    }
    let bare = "POST /auth/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 12\r\n\r\n{\"name\":\"a\"}";
    server.ask(bare).await.problem(415, "media-type");
    server.ask("POST /auth/echo HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(400, "unreadable");
    server.ask("POST /auth/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.problem(400, "unreadable");
    server.post("/auth/echo", JSON, "").await.problem(400, "unreadable");
}

#[tokio::test]
async fn a_member_is_refused_by_its_pointer_and_a_text_by_its_place() {
    let server = TestServer::open().await;
    for (body, pointer) in [
        (&b"{\"name\":\"a\",\"name\":\"b\"}"[..], "/name"),
        (b"{\"name\":\"a\",\"inner\":{\"name\":\"b\",\"name\":\"b\"}}", "/inner/name"),
        (b"{\"name\":\"a\",\"other\":1}", "/other"),
        (b"{\"name\":1}", "/name"),
        (b"{\"inner\":null}", "/name"),
        (b"{\"name\":\"a\",\"inner\":{}}", "/inner/name"),
        (b"[\"a\"]", ""),
        (b"null", ""),
    ] {
        let problem = server.post("/auth/echo", JSON, body).await.problem(400, "unreadable");
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
    let deep = [b"{\"name\":\"a\",\"inner\":".repeat(65), b"null".to_vec(), b"}".repeat(65)].concat();
    for body in
        [&b"{\"name\":"[..], b"{\"name\":\"\\ud800\"}", b"{\"name\":\"\xc3\"}", b"\0", b"{}x", &[b'['; 60_000], &deep]
    {
        let problem = server.post("/auth/echo", JSON, body).await.problem(400, "unreadable");
        assert!(problem["line"].is_u64() && problem["column"].is_u64(), "{problem}");
    }
    let nul = server.post("/auth/echo", JSON, "{\"name\":\"a\\u0000b\"}").await;
    assert_eq!(nul.json()["name"], "a\0b");
}

#[tokio::test]
async fn a_form_is_taken_from_our_own_page_only() {
    let server = TestServer::open().await;
    let send = |more: &str, kind: &str| {
        let head =
            format!("POST /page HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 12\r\n{more}\r\n");
        head + "code=123+456"
    };
    let form = "application/x-www-form-urlencoded";
    let told = server.ask(send("sec-fetch-site: same-origin\r\norigin: null\r\n", form)).await;
    assert_eq!((told.status, told.body), (200, b"123 456".to_vec()));
    server.ask(send("sec-fetch-site: cross-site\r\n", form)).await.problem(403, "forbidden");
    server.ask(send("origin: https://evil.example\r\n", form)).await.problem(403, "forbidden");
    server.ask(send("", "text/plain")).await.problem(415, "media-type");
}
