//! What follows from a group's table: methods, doors, headers, other origins, defects, and the counting of it all.

use std::sync::Mutex;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = TestServer::open().await;
    for (method, path, allow) in [
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("PUT", "/auth/things/1", "GET, HEAD, DELETE, OPTIONS"),
        ("GET", "/auth/echo", "POST, OPTIONS"),
        ("HEAD", "/auth/echo", "POST, OPTIONS"),
        ("BREW", "/auth/echo", "POST, OPTIONS"),
        ("TRACE", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/page", "GET, HEAD, POST, OPTIONS"),
    ] {
        let mut connection = server.connect().await;
        connection.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let told = connection.head().await;
        assert_eq!((told.status, told.header("allow")), (405, allow), "{method} {path}");
    }
    server.ask("POST /health HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(405, "method");
}

#[tokio::test]
async fn options_lists_the_methods_of_a_path() {
    let server = TestServer::open().await;
    for (path, allow) in [("/auth/things/7", "GET, HEAD, DELETE, OPTIONS"), ("/users/me", "POST, OPTIONS")] {
        let told = server.ask(format!("OPTIONS {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!((told.status, told.header("allow")), (204, allow));
        assert!(!told.headers.contains_key("content-length"));
        assert!(!told.headers.keys().any(|name| name.starts_with("access-control")), "{told:?}");
    }
    server.ask("OPTIONS /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await.problem(404, "not-found");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = TestServer::open().await;
    for path in ["/health", "/page", "/auth/things/7", "/nowhere", "/auth/nowhere"] {
        let mut connection = server.connect().await;
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: same\r\n\r\n")).await;
        let mut get = connection.hear().await;
        connection
            .send(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nx-request-id: same\r\nconnection: close\r\n\r\n"))
            .await;
        let mut head = connection.head().await;
        for told in [&mut get, &mut head] {
            told.headers.remove("date");
            told.headers.remove("connection");
        }
        assert_eq!((get.status, get.headers), (head.status, head.headers), "{path}");
        assert_eq!(connection.end().await, b"", "{path}");
        assert!(!get.body.is_empty());
    }
}

#[tokio::test]
async fn what_is_private_is_stored_nowhere_and_nothing_is_sniffed() {
    let server = TestServer::open().await;
    for path in
        ["/auth/things/1", "/auth/nowhere", "/users/me", "/users", "/auth", "/%61uth/x", "/auth/%zz", "/auth/panic"]
    {
        let told = server.get(path).await;
        assert_eq!(told.header("cache-control"), "no-store", "{path}");
        assert_eq!(told.header("x-content-type-options"), "nosniff");
        assert_eq!(told.header("referrer-policy"), "no-referrer");
        assert_eq!(told.header("x-frame-options"), "DENY");
    }
    let open = server.get("/health").await;
    assert_eq!((open.header("cache-control"), open.header("content-type")), ("", "application/json"));
    let page = server.get("/page").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none';"), "{page:?}");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn every_answer_keeps_browsers_to_tls_and_others_out() {
    let server = TestServer::open().await;
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("GET", "/page", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/auth/nowhere", 404),
        ("GET", "/auth/panic", 500),
        ("DELETE", "/health", 405),
        ("POST", "/users/me", 401),
        ("POST", "/auth/echo", 400),
        ("OPTIONS", "/health", 204),
        ("OPTIONS", "*", 204),
    ] {
        let told = server.ask(format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")).await;
        assert_eq!(told.status, status, "{method} {path}");
        assert_eq!(told.header("strict-transport-security"), "max-age=31536000", "{path}");
        assert_eq!(told.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(told.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(told.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(told.header("referrer-policy"), "no-referrer", "{path}");
        assert!(told.header("permissions-policy").contains("camera=()"), "{path}");
        assert!(told.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
}

#[tokio::test]
async fn what_is_for_ourselves_is_open_to_no_other_origin() {
    let server = TestServer::open().await;
    let listed = "origin: https://app.example\r\n";
    let ask = async |more: &str| server.ask(format!("POST /local HTTP/1.1\r\nhost: 127.0.0.1:1\r\n{more}\r\n")).await;
    let told = ask("origin: https://id.example\r\n").await;
    assert_eq!(told.status, 200);
    assert!(!told.headers.keys().any(|name| name.starts_with("access-control")), "{told:?}");
    for other in [listed, "sec-fetch-site: cross-site\r\n", "sec-fetch-site: same-site\r\n"] {
        let told = ask(other).await;
        told.problem(404, "not-found");
        assert!(!told.headers.keys().any(|name| name.starts_with("access-control")), "{told:?}");
    }
    let preflight = |path: &str, method: &str| {
        format!("OPTIONS {path} HTTP/1.1\r\nhost: x\r\n{listed}access-control-request-method: {method}\r\n\r\n")
    };
    for (path, method) in [("/local", "POST"), ("/auth/things/1", "POST"), ("/auth/things/1", "bad method")] {
        let told = server.ask(preflight(path, method)).await;
        assert_eq!(told.status, 204);
        assert!(!told.headers.keys().any(|name| name.starts_with("access-control")), "{path}: {told:?}");
    }
    let told = server.ask(preflight("/auth/things/1", "DELETE")).await;
    assert_eq!(told.header("access-control-allow-origin"), "https://app.example");
}

#[tokio::test]
async fn a_handler_may_tell_more_of_its_limits_also_when_it_refuses() {
    let server = TestServer::open().await;
    for (query, status) in [("", 200), ("?refuse", 429), ("?panic", 500)] {
        let told = server.ask(format!("GET /auth/carried{query} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!((told.status, told.header("ratelimit")), (status, "\"more\";r=0;t=1"), "{query}");
    }
}

#[tokio::test]
async fn a_person_is_told_by_a_page_and_a_program_by_a_document() {
    let server = TestServer::open().await;
    let told =
        server.ask("GET /nowhere HTTP/1.1\r\nhost: x\r\naccept: text/html,*/*;q=0.8\r\nx-request-id: r9\r\n\r\n").await;
    assert_eq!((told.status, told.header("content-type")), (404, "text/html; charset=utf-8"));
    let page = String::from_utf8(told.body).unwrap();
    assert!(page.contains("There is nothing here") && page.contains("r9"), "{page}");
    let told = server.ask("DELETE /page HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n").await;
    assert_eq!((told.status, told.header("allow")), (405, "GET, HEAD, POST, OPTIONS"));
    server.ask("GET /auth/x HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n").await.problem(404, "not-found");
    server.get("/nowhere").await.problem(404, "not-found");
}

#[tokio::test]
async fn each_access_says_what_is_missing() {
    let server = TestServer::open().await;
    let post = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let none = server.ask(post("/users/me?access_token=good", "cookie: access_token=good\r\n")).await;
    none.problem(401, "credentials");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let bad = server.ask(post("/users/me", "authorization: Bearer bad\r\n")).await;
    bad.problem(401, "session-ended");
    assert_eq!(bad.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    let good = server.ask(post("/users/me", "authorization: Bearer good\r\n")).await;
    assert_eq!(good.json(), json!({"caller": "good"}));
    let stale = server.ask(post("/users/danger", "authorization: Bearer good\r\n")).await;
    stale.problem(401, "step-up");
    let challenge = "Bearer error=\"insufficient_user_authentication\", max_age=600";
    assert_eq!(stale.header("www-authenticate"), challenge);
    let local = |host: &str, more: &str| format!("POST /local HTTP/1.1\r\nhost: {host}\r\n{more}\r\n");
    for host in ["127.0.0.1:8080", "[::1]", "localhost:8080"] {
        assert_eq!(server.ask(local(host, "")).await.status, 200, "{host}");
        server.ask(local(host, "x-forwarded-for: 127.0.0.1\r\n")).await.problem(404, "not-found");
    }
    server.ask(local("evil.example:8080", "")).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_limited_route_tells_its_policy_on_every_answer() {
    let server = TestServer::open().await;
    let post = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let good = "authorization: Bearer good\r\n";
    let told = server.ask(post("/auth/limited", good)).await;
    assert_eq!((told.status, told.header("ratelimit-policy")), (204, "\"demo\";q=1;w=60"));
    let told = server.ask(post("/auth/limited", "")).await;
    assert_eq!((told.status, told.header("ratelimit-policy")), (401, "\"demo\";q=1;w=60"));
    let told = server.ask(post("/auth/limited?full", good)).await;
    told.problem(429, "slow-down");
    assert_eq!((told.header("retry-after"), told.header("ratelimit-policy")), ("2", "\"demo\";q=1;w=60"));
}

#[tokio::test]
async fn a_limited_form_of_a_person_is_shown_again_and_every_other_is_refused() {
    let limits = Limits { linger_time: Duration::from_millis(200), ..Limits::default() };
    let server = TestServer::with(limits).await;
    let form = "content-type: application/x-www-form-urlencoded\r\naccept: text/html\r\n";
    let post = |path: &str, more: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
    };
    let told = server.ask(post("/page/limited", form, "code=7")).await;
    assert_eq!((told.status, told.text().as_str()), (200, "done with 7"));
    let told = server.ask(post("/page/limited?full", form, "code=7")).await;
    assert_eq!((told.status, told.text().as_str()), (429, "again with 7"));
    assert_eq!((told.header("retry-after"), told.header("ratelimit-policy")), ("2", "\"demo\";q=1;w=60"));

    let machine = "content-type: application/x-www-form-urlencoded\r\n";
    let stranger = format!("{form}sec-fetch-site: cross-site\r\n");
    let typeless = "content-type: text/plain\r\naccept: text/html\r\n";
    let patient = format!("{form}expect: 100-continue\r\n");
    let long = format!("code={}", "7".repeat(70_000));
    let late = "POST /page/limited?full HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n".to_owned() + form + "\r\ncode";
    for asked in [
        post("/page/limited?full", machine, "code=7"),
        post("/page/limited?full", &stranger, "code=7"),
        post("/page/limited?full", typeless, "code=7"),
        post("/page/limited?full", form, "code=%ff"),
        post("/page/limited?full", form, "code=elsewhere"),
        post("/page/limited?full", form, &long),
        post("/page/limited?full", &patient, "code=7"),
        // Of which no more than this ever comes.
        late,
    ] {
        let told = server.ask(&asked).await;
        assert_eq!((told.status, told.header("retry-after")), (429, "2"), "{}", &asked[..120]);
        assert!(!told.text().contains("again with") && !told.text().contains("done"), "{}", told.text());
        assert!(!told.headers.contains_key("location"), "{}", &asked[..120]);
    }
}

#[tokio::test]
async fn a_listed_origin_is_welcome_and_no_other_is_refused() {
    let server = TestServer::open().await;
    let ask = |method: &str, path: &str, more: &str| format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let listed = "origin: https://app.example\r\n";
    let told = server.ask(ask("GET", "/health", listed)).await;
    assert_eq!(told.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(told.header("vary"), "origin");
    assert!(!told.headers.contains_key("access-control-allow-credentials"));
    let told = server.ask(ask("POST", "/users/me", listed)).await;
    assert_eq!((told.status, told.header("access-control-allow-origin")), (401, "https://app.example"));

    let asking = "access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n";
    let told = server.ask(ask("OPTIONS", "/auth/echo", &format!("{listed}{asking}"))).await;
    assert_eq!(told.status, 204);
    assert_eq!(told.header("access-control-allow-methods"), "POST, OPTIONS");
    assert!(told.header("access-control-allow-headers").contains("content-type"));

    for other in ["https://evil.example", "https://app.example.evil", "http://app.example", "null"] {
        let more = format!("origin: {other}\r\n{asking}");
        for (method, path, status) in [("GET", "/health", 200), ("OPTIONS", "/auth/echo", 204), ("GET", "/auth/x", 404)]
        {
            let told = server.ask(ask(method, path, &more)).await;
            assert_eq!(told.status, status, "{other}");
            assert!(!told.headers.keys().any(|name| name.starts_with("access-control")), "{told:?}");
        }
    }
    let page = server.ask(ask("GET", "/page", listed)).await;
    assert!(!page.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_defect_is_told_without_its_reason_and_harms_nobody_else() {
    let server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send("GET /auth/panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let told = connection.hear().await;
    told.problem(500, "fault");
    assert!(!String::from_utf8_lossy(&told.body).contains("secret"));
    connection.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.hear().await.status, 200);
}

#[test]
fn a_table_that_contradicts_itself_or_another_is_found_before_it_is_served() {
    routes! {
        static TWICE: Demo, plain;
        POST "/a", open, none => 204, unlimited, |_, _| nothing();
        POST "/a", bearer, none => 204, unlimited, |_, _| nothing();
    }
    routes! {
        static UNCLEAR: Demo, plain;
        POST "/{a}", open, none => 204, unlimited, |_, _| nothing();
        POST "/{b}", open, none => 204, unlimited, |_, _| nothing();
    }
    let group = |name, table| RouteGroup::new(name, Arc::new(Demo::default()), table);
    let router = || Router::new(Settings::new(fresh_id, "https://id.example"));
    assert!(matches!(group("r", TWICE).err(), Some(TableFault::Twice { path: "/a", .. })));
    let unclear = router().with(group("r", UNCLEAR).unwrap()).err();
    assert!(matches!(unclear, Some(TableFault::Pattern { group: "r", path: "/{b}", .. })), "{unclear:?}");
    // What one group has, no other can have.
    let there = router().with(group("first", PAGES).unwrap()).unwrap();
    let again = there.with(group("second", PAGES).unwrap()).err();
    assert!(matches!(again, Some(TableFault::Pattern { group: "second", path: "/page", .. })), "{again:?}");
}

/// Keeps the keys of everything that is counted.
#[derive(Default)]
struct Ledger(Mutex<Vec<String>>);

impl Ledger {
    fn note(&self, key: &Key) {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap().push(format!("{}{{{}}}", key.name(), labels.join(",")));
    }
}

impl Recorder for &'static Ledger {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

#[tokio::test]
async fn requests_are_counted_by_pattern_and_never_by_what_strangers_invent() {
    let ledger: &'static Ledger = Box::leak(Box::default());
    let recorder: &'static &'static Ledger = Box::leak(Box::new(ledger));
    let _installed = metrics::set_default_local_recorder(recorder);
    let server = TestServer::open().await;
    server.get("/auth/things/one-of-many").await;
    server.get("/invented/path").await;
    server.ask("INVENTED /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let counted = ledger.0.lock().unwrap().clone();
    for key in [
        "cairn_http_requests_total{route=/auth/things/{id},method=GET,status=200}",
        "cairn_http_request_seconds{route=/auth/things/{id}}",
        "cairn_http_requests_total{route=unmatched,method=GET,status=404}",
        "cairn_http_requests_total{route=/health,method=other,status=405}",
    ] {
        assert!(counted.iter().any(|known| known == key), "{key} in {counted:?}");
    }
    assert!(!counted.iter().any(|key| key.to_lowercase().contains("invented")), "{counted:?}");
}

async fn server_of(settings: Settings) -> TestServer {
    TestServer::of(Port::bind(([127, 0, 0, 1], 0).into()).await.unwrap(), settings)
}

#[tokio::test]
async fn a_listener_that_asks_nobody_answers_to_its_hosts_only_and_to_no_page_of_another_site() {
    let server = server_of(Settings::for_operations(fresh_id, vec!["cairn".to_owned()])).await;
    let ask = async |head: &str| server.ask(format!("GET {head}\r\n\r\n")).await;
    let mine = ["127.0.0.1", "127.0.0.1:8081", "[::1]:8081", "localhost:8081", "cairn:8081", "192.0.2.7"];
    for host in mine {
        assert_eq!(ask(&format!("/health HTTP/1.1\r\nhost: {host}")).await.status, 200, "{host}");
        let own = format!("/health HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}");
        assert_eq!(ask(&own).await.status, 200, "{host}");
    }
    for head in [
        "/health HTTP/1.1\r\nhost: evil.example",
        "/nowhere HTTP/1.1\r\nhost: evil.example:8081",
        "/health HTTP/1.1",
        "/health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example",
        // The target's authority is the host, whatever the header says.
        "http://evil.example/health HTTP/1.1\r\nhost: localhost",
        "http://localhost@evil.example/health HTTP/1.1\r\nhost: localhost",
    ] {
        ask(head).await.problem(421, "misdirected");
    }
    server.ask("OPTIONS * HTTP/1.1\r\nhost: evil.example\r\n\r\n").await.problem(421, "misdirected");
    for sent_by in ["sec-fetch-site: cross-site", "sec-fetch-site: same-site", "origin: http://evil.example"] {
        ask(&format!("/health HTTP/1.1\r\nhost: localhost\r\n{sent_by}")).await.problem(403, "forbidden");
    }
    for sent_by in ["sec-fetch-site: none", "sec-fetch-site: same-origin"] {
        let told = ask(&format!("/health HTTP/1.1\r\nhost: localhost\r\n{sent_by}")).await;
        assert_eq!(told.status, 200, "{sent_by}");
    }
}

#[tokio::test]
async fn with_a_list_of_hosts_a_person_too_is_told_that_this_is_another() {
    let mut settings = Settings::new(fresh_id, "https://id.example");
    settings.hosts = Hosts::These(vec!["id.example".to_owned()]);
    let server = server_of(settings).await;
    let told = server.ask("GET /page HTTP/1.1\r\nhost: evil.example\r\naccept: text/html\r\n\r\n").await;
    assert_eq!((told.status, told.header("content-type")), (421, "text/html; charset=utf-8"));
    server.get("/auth/things/1").await.problem(421, "misdirected");
    assert_eq!(server.ask("GET /page HTTP/1.1\r\nhost: ID.example:443\r\n\r\n").await.status, 200);
    // HTTP/2 has the host in `:authority`.
    let mut client = hang_ups::second_version(&server).await;
    for (host, status) in [("id.example", 200), ("evil.example", 421)] {
        let request = http::Request::get(format!("http://{host}/health")).body(http_body_util::Empty::new()).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), status, "{host}");
    }
}
