//! Connections: how many, how long, and how they end.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
const WAIT: &str = "GET /auth/wait HTTP/1.1\r\nhost: x\r\n\r\n";
const SOON: Duration = Duration::from_millis(20);

impl Line {
    async fn health(&mut self) {
        self.send(HEALTH).await;
        assert_eq!(self.hear().await.json(), json!({"status": "ok"}));
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut_the_first_as_the_second() {
    let house = House::with(Limits { head_time: SOON, ..Limits::default() }).await;
    assert_eq!(house.line().await.end().await, b"");
    let mut slow = house.line().await;
    slow.send("GET /health HTTP/1.1\r\nho").await;
    assert_eq!(slow.end().await, b"");
    let mut second = house.line().await;
    second.health().await;
    second.send("GET").await;
    assert_eq!(second.end().await, b"");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_but_not_one_that_waits_for_its_answer() {
    let house = House::with(Limits { idle_time: SOON, ..Limits::default() }).await;
    let mut waiting = house.line().await;
    waiting.send(WAIT).await;
    house.demo.entered.acquire().await.unwrap().forget();
    let mut idle = house.line().await;
    idle.health().await;
    assert_eq!(idle.end().await, b"");
    house.demo.gate.add_permits(1);
    assert_eq!(waiting.hear().await.status, 200);
    assert_eq!(waiting.end().await, b"");
}

#[tokio::test]
async fn the_longest_idle_connection_gives_way() {
    let house = House::with(Limits { connections: 2, ..Limits::default() }).await;
    let mut first = house.line().await;
    first.health().await;
    let mut second = house.line().await;
    second.health().await;
    first.health().await;
    let mut third = house.line().await;
    third.health().await;
    assert_eq!(second.end().await, b"");
    first.health().await;
    third.health().await;
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_who_speaks() {
    let house = House::with(Limits { connections: 8, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(house.line().await);
    }
    house.line().await.health().await;
}

#[tokio::test]
async fn nobody_gives_way_amid_a_request() {
    let house = House::with(Limits { connections: 1, ..Limits::default() }).await;
    let mut busy = house.line().await;
    busy.send(WAIT).await;
    house.demo.entered.acquire().await.unwrap().forget();
    let mut next = house.line().await;
    next.send(HEALTH).await;
    house.demo.gate.add_permits(1);
    assert_eq!(busy.hear().await.json(), json!({"waited": true}));
    assert_eq!(next.hear().await.status, 200);
    assert_eq!(busy.end().await, b"");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let mut house = House::open().await;
    let mut waiting = house.line().await;
    waiting.send(WAIT).await;
    house.demo.entered.acquire().await.unwrap().forget();
    let mut idle = house.line().await;
    idle.health().await;
    let silent = house.line().await;
    house.stop();
    assert_eq!(idle.end().await, b"");
    assert_eq!(silent.end().await, b"");
    house.demo.gate.add_permits(1);
    let told = waiting.hear().await;
    assert_eq!((told.status, told.header("connection")), (200, "close"));
    assert_eq!(waiting.end().await, b"");
    assert_eq!(house.task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn who_had_connected_before_the_stop_is_served() {
    let mut house = House::open().await;
    house.line().await.health().await;
    let mut lines = Vec::new();
    for _ in 0..20 {
        let mut line = house.line().await;
        line.send(HEALTH).await;
        lines.push(line);
    }
    house.stop();
    for mut line in lines {
        assert_eq!(line.hear().await.status, 200);
    }
    assert_eq!(house.task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn who_comes_after_the_stop_is_refused_while_others_are_served() {
    let mut house = House::open().await;
    let mut waiting = house.line().await;
    waiting.send(WAIT).await;
    house.demo.entered.acquire().await.unwrap().forget();
    let mut idle = house.line().await;
    idle.health().await;
    house.stop();
    // The port is closed before anybody is told to go.
    assert_eq!(idle.end().await, b"");
    let refused = TcpStream::connect(house.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    house.demo.gate.add_permits(1);
    assert_eq!(waiting.hear().await.status, 200);
    assert_eq!(house.task.await.unwrap(), Ended { cut: 0 });
    // A supervisor that begins it anew has nothing to serve.
    assert_eq!(House::on(house.port, Limits::default()).task.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut house = House::with(Limits { drain_time: SOON, ..Limits::default() }).await;
    let mut stuck = house.line().await;
    stuck.send(WAIT).await;
    house.demo.entered.acquire().await.unwrap().forget();
    house.stop();
    assert_eq!(stuck.end().await, b"");
    assert_eq!(house.task.await.unwrap(), Ended { cut: 1 });
}

#[tokio::test]
async fn the_port_outlives_a_server_that_broke_off() {
    let house = House::open().await;
    let mut before = house.line().await;
    before.health().await;
    house.task.abort();
    assert_eq!(before.end().await, b"");
    let mut meanwhile = TcpStream::connect(house.address).await.unwrap();
    meanwhile.write_all(HEALTH.as_bytes()).await.unwrap();
    let again = House::on(house.port.clone(), Limits::default());
    assert_eq!(Line { stream: meanwhile, rest: Vec::new() }.hear().await.status, 200);
    again.line().await.health().await;
}

#[tokio::test]
async fn http_2_is_spoken_to_who_begins_with_it() {
    let mut house = House::open().await;
    let stream = TcpStream::connect(house.address).await.unwrap();
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
    house.demo.entered.acquire().await.unwrap().forget();
    let told = client.send_request(request("POST", "/auth/echo", b"{\"name\":\"a\"}".to_vec())).await.unwrap();
    assert_eq!((told.status().as_u16(), told.headers()["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    let told = client.send_request(request("POST", "/auth/echo", vec![b' '; 70_000])).await.unwrap();
    assert_eq!(told.status(), 413);
    let told = client.send_request(request("HEAD", "/health", Vec::new())).await.unwrap();
    assert_eq!(told.headers()["content-length"], "15");
    let told = client.send_request(request("GET", &format!("/{}", "x".repeat(9000)), Vec::new())).await.unwrap();
    assert_eq!(told.status(), 414);
    house.stop();
    house.demo.gate.add_permits(1);
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.into_body().collect().await.unwrap().to_bytes(), "{\"waited\":true}");
    connection.await.unwrap().unwrap();
    assert_eq!(house.task.await.unwrap(), Ended { cut: 0 });
}
