//! Connections: how many, how long, and how they end.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
const WAIT: &str = "GET /auth/wait HTTP/1.1\r\nhost: x\r\n\r\n";
const SOON: Duration = Duration::from_millis(20);

impl Connection {
    async fn health(&mut self) {
        self.send(HEALTH).await;
        assert_eq!(self.hear().await.json(), json!({"status": "ok"}));
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut_the_first_as_the_second() {
    let server = TestServer::with(Limits { head_time: SOON, ..Limits::default() }).await;
    assert_eq!(server.connect().await.end().await, b"");
    let mut slow = server.connect().await;
    slow.send("GET /health HTTP/1.1\r\nho").await;
    assert_eq!(slow.end().await, b"");
    let mut second = server.connect().await;
    second.health().await;
    second.send("GET").await;
    assert_eq!(second.end().await, b"");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_but_not_one_that_waits_for_its_answer() {
    let server = TestServer::with(Limits { idle_time: SOON, ..Limits::default() }).await;
    let mut waiting = server.connect().await;
    waiting.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    let mut idle = server.connect().await;
    idle.health().await;
    assert_eq!(idle.end().await, b"");
    server.demo.gate.add_permits(1);
    assert_eq!(waiting.hear().await.status, 200);
    assert_eq!(waiting.end().await, b"");
}

#[tokio::test]
async fn the_longest_idle_connection_gives_way() {
    let server = TestServer::with(Limits { connections: 2, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.health().await;
    let mut second = server.connect().await;
    second.health().await;
    first.health().await;
    let mut third = server.connect().await;
    third.health().await;
    assert_eq!(second.end().await, b"");
    first.health().await;
    third.health().await;
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_who_speaks() {
    let server = TestServer::with(Limits { connections: 8, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(server.connect().await);
    }
    server.connect().await.health().await;
}

#[tokio::test]
async fn when_all_are_busy_the_oldest_of_the_client_with_most_gives_way() {
    let server = TestServer::with(Limits { connections: 4, ..Limits::default() }).await;
    let busy = async |last: u8| {
        let mut connection = server.connect_from(last).await;
        connection.send(WAIT).await;
        server.demo.entered.acquire().await.unwrap().forget();
        connection
    };
    let mut alone = busy(2).await;
    let oldest = busy(3).await;
    let (mut second, mut third) = (busy(3).await, busy(3).await);
    server.connect_from(4).await.health().await;
    assert_eq!(oldest.end().await, b"");
    server.demo.gate.add_permits(4);
    for connection in [&mut alone, &mut second, &mut third] {
        assert_eq!(connection.hear().await.json(), json!({"waited": true}));
    }
    server.demo.left.acquire_many(4).await.unwrap().forget();
}

#[tokio::test]
async fn a_client_has_a_share_of_the_connections_and_a_trusted_proxy_has_none() {
    let proxies = vec!["127.0.0.9".parse().unwrap()];
    let server = TestServer::with(Limits { connections: 7, connections_each: 2, proxies, ..Limits::default() }).await;
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut connection = server.connect_from(2).await;
        connection.health().await;
        own.push(connection);
    }
    assert_eq!(own.remove(0).end().await, b"", "its longest idle one");
    let mut proxy = Vec::new();
    for _ in 0..4 {
        let mut connection = server.connect_from(9).await;
        connection.send(WAIT).await;
        server.demo.entered.acquire().await.unwrap().forget();
        proxy.push(connection);
    }
    // The proxy has most, and is amid requests: others give way.
    for _ in 0..3 {
        server.connect_from(3).await.health().await;
    }
    server.demo.gate.add_permits(4);
    for mut connection in proxy {
        assert_eq!(connection.hear().await.status, 200);
    }
}

/// Frames of HTTP/2, written by hand.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface with settings, and GET of a path of the table.
fn opening(settings: &[u8]) -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, settings)].concat()
}

fn head(path: &str) -> Vec<u8> {
    let literal = |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    // RFC 7541, appendix A: GET, the scheme, then path and authority as literals.
    [&[0x82, 0x86][..], &literal(0x04, path), &literal(0x01, "x")].concat()
}

#[tokio::test]
async fn frames_that_are_no_requests_keep_no_connection_alive() {
    let server = TestServer::with(Limits { idle_time: SOON, ..Limits::default() }).await;
    let settings = frame(4, 0, 0, &[]);
    let window = frame(8, 0, 0, &1_u32.to_be_bytes());
    let ping = frame(6, 0, 0, &[7; 8]);
    let unknown = frame(0xfe, 0, 0, b"grease");
    for kind in [settings, window, ping, unknown] {
        let mut connection = server.connect().await;
        connection.send([opening(&[]), frame(1, 5, 1, &head("/health"))].concat()).await;
        let mut turns = 0;
        // Each turn takes what came in answer, so that neither end is held up.
        while connection.stream.write_all(&kind).await.is_ok() {
            while connection.stream.try_read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
            turns += 1;
            assert!(turns < 1_000_000, "{kind:?} goes on for ever");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_whatever_it_speaks() {
    let mut server = TestServer::with(Limits { answer_pause: SOON, ..Limits::default() }).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing at all, and one octet.
    for window in [0_u8, 1] {
        let mut connection = server.connect().await;
        let settings = opening(&[0, 4, 0, 0, 0, window]);
        connection.send([settings, frame(1, 5, 1, &head("/health"))].concat()).await;
        connection.end().await;
    }
    let mut connection = server.connect().await;
    connection.send("GET /auth/great HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.demo.left.acquire().await.unwrap().forget();
    server.stop();
    assert_eq!((&mut server.task).await.unwrap(), Ended { cut: 0 }, "it was waited for");
    drop(connection);
}

#[tokio::test]
async fn a_head_in_two_pieces_after_a_long_rest_is_served() {
    let server = TestServer::with(Limits { answer_pause: Duration::ZERO, ..Limits::default() }).await;
    let mut connection = server.connect().await;
    connection.send(opening(&[])).await;
    let request = frame(1, 5, 1, &head("/auth/wait"));
    let (begin, end) = request.split_at(12);
    connection.send(begin).await;
    // Until the first piece has been seen, and the connection looked at.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    connection.send(end).await;
    let closed = async { while connection.more().await > 0 {} };
    tokio::select! {
        entered = server.demo.entered.acquire() => entered.unwrap().forget(),
        () = closed => panic!("the connection was cut"),
    }
    server.demo.gate.add_permits(1);
    server.demo.left.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_head_in_frames_has_to_end_like_any_other() {
    let server = TestServer::with(Limits { head_time: SOON, ..Limits::default() }).await;
    let mut connection = server.connect().await;
    connection.send([opening(&[]), frame(1, 5, 1, &head("/auth/wait"))].concat()).await;
    server.demo.entered.acquire().await.unwrap().forget();
    // Another request is being served, and this one's head never ends.
    connection.send(frame(1, 1, 3, &head("/health"))).await;
    connection.end().await;
    server.demo.gate.add_permits(1);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let mut server = TestServer::open().await;
    let mut waiting = server.connect().await;
    waiting.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    let mut idle = server.connect().await;
    idle.health().await;
    let silent = server.connect().await;
    server.stop();
    assert_eq!(idle.end().await, b"");
    assert_eq!(silent.end().await, b"");
    server.demo.gate.add_permits(1);
    let told = waiting.hear().await;
    assert_eq!((told.status, told.header("connection")), (200, "close"));
    assert_eq!(waiting.end().await, b"");
    assert_eq!(server.task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn who_had_connected_before_the_stop_is_served() {
    let mut server = TestServer::open().await;
    server.connect().await.health().await;
    let mut opened = Vec::new();
    for _ in 0..20 {
        let mut connection = server.connect().await;
        connection.send(HEALTH).await;
        opened.push(connection);
    }
    server.stop();
    for mut connection in opened {
        assert_eq!(connection.hear().await.status, 200);
    }
    assert_eq!(server.task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn who_comes_after_the_stop_is_refused_while_others_are_served() {
    let mut server = TestServer::open().await;
    let mut waiting = server.connect().await;
    waiting.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    let mut idle = server.connect().await;
    idle.health().await;
    server.stop();
    // The port is closed before anybody is told to go.
    assert_eq!(idle.end().await, b"");
    let refused = TcpStream::connect(server.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    server.demo.gate.add_permits(1);
    assert_eq!(waiting.hear().await.status, 200);
    assert_eq!(server.task.await.unwrap(), Ended { cut: 0 });
    // A supervisor that begins it anew has nothing to serve.
    assert_eq!(TestServer::on(server.port, Limits::default()).task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = TestServer::with(Limits { drain_time: SOON, ..Limits::default() }).await;
    let mut stuck = server.connect().await;
    stuck.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    server.stop();
    assert_eq!(stuck.end().await, b"");
    assert_eq!(server.task.await.unwrap(), Ended { cut: 1 });
}

#[tokio::test]
async fn the_port_outlives_a_server_that_broke_off() {
    let server = TestServer::open().await;
    let mut before = server.connect().await;
    before.health().await;
    server.task.abort();
    assert_eq!(before.end().await, b"");
    let mut meanwhile = TcpStream::connect(server.address).await.unwrap();
    meanwhile.write_all(HEALTH.as_bytes()).await.unwrap();
    let again = TestServer::on(server.port.clone(), Limits::default());
    assert_eq!(Connection { stream: meanwhile, rest: Vec::new() }.hear().await.status, 200);
    again.connect().await.health().await;
}

#[tokio::test]
async fn http_2_is_spoken_to_who_begins_with_it() {
    let mut server = TestServer::open().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |method: &str, path: &str, body: Vec<u8>| {
        http::Request::builder()
            .method(method)
            .uri(format!("http://id.example{path}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let waiting = client.send_request(request("GET", "/auth/wait", Vec::new()));
    let waiting = tokio::spawn(waiting);
    server.demo.entered.acquire().await.unwrap().forget();
    let told = client.send_request(request("POST", "/auth/echo", b"{\"name\":\"a\"}".to_vec())).await.unwrap();
    assert_eq!((told.status().as_u16(), told.headers()["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    let told = client.send_request(request("POST", "/auth/echo", vec![b' '; 70_000])).await.unwrap();
    assert_eq!(told.status(), 413);
    let told = client.send_request(request("HEAD", "/health", Vec::new())).await.unwrap();
    assert_eq!(told.headers()["content-length"], "15");
    let told = client.send_request(request("GET", &format!("/{}", "x".repeat(9000)), Vec::new())).await.unwrap();
    assert_eq!(told.status(), 414);
    server.stop();
    server.demo.gate.add_permits(1);
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.into_body().collect().await.unwrap().to_bytes(), "{\"waited\":true}");
    connection.await.unwrap().unwrap();
    assert_eq!(server.task.await.unwrap(), Ended { cut: 0 });
}
