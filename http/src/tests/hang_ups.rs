//! A client that hangs up changes nothing of what its request does.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{Empty, StreamBody};
use hyper::body::Frame;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::task::yield_now;

use super::*;

const WAIT: &str = "GET /auth/wait HTTP/1.1\r\nhost: x\r\n\r\n";

/// A body in two pieces, neither of which is there when it is first asked for.
fn body() -> impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let pieces = stream::unfold(&b"{\"name\":\"a\"}"[..], |rest| async move {
        yield_now().await;
        let (piece, rest) = rest.split_at_checked(6).unwrap_or((rest, b""));
        (!piece.is_empty()).then(|| (Ok(Frame::data(Bytes::from_static(piece))), rest))
    });
    StreamBody::new(Box::pin(pieces))
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_of_its_awaits_ends_as_if_it_were_not() {
    for polls in 1.. {
        let demo = Arc::new(Demo::default());
        let filter = router(&demo, Settings::new(fresh_id, "https://id.example"));
        let service = TowerToHyperService::new(warp::service(filter));
        let request = http::Request::builder()
            .method("POST")
            .uri("/auth/steps")
            .header("content-type", "application/json")
            .header("authorization", "Bearer good")
            .body(body())
            .unwrap();
        let mut answering = Box::pin(service.call(request));
        let mut answered = false;
        for _ in 0..polls {
            answered = futures_util::poll!(answering.as_mut()).is_ready();
            if answered {
                break;
            }
            yield_now().await;
        }
        drop(answering);
        // More turns than any handler here takes.
        for _ in 0..100 {
            yield_now().await;
        }
        let steps = demo.steps.lock().unwrap().clone();
        assert_eq!(steps, ["entered", "read a", "one", "two", "three"], "dropped after {polls} polls");
        if answered {
            assert!(polls > 5, "the request was seen at {polls} places only");
            break;
        }
    }
}

pub(super) async fn second_version(server: &TestServer) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_no_handler_and_a_stop_waits_for_it() {
    let mut server = TestServer::open().await;
    let mut client = second_version(&server).await;
    let request = || http::Request::get("http://id.example/auth/wait").body(Empty::new()).unwrap();
    let mut waiting = Box::pin(client.send_request(request()));
    tokio::select! {
        _ = &mut waiting => unreachable!("the gate is closed"),
        entered = server.demo.entered.acquire() => entered.unwrap().forget(),
    }
    drop(waiting);
    // An answer on the same connection comes after the reset has been read.
    let health = http::Request::get("http://id.example/health").body(Empty::new()).unwrap();
    assert_eq!(client.send_request(health).await.unwrap().status(), 200);
    drop(client);
    server.stop();
    server.demo.gate.add_permits(1);
    assert_eq!((&mut server.task).await.unwrap(), Ended { cut: 0 });
    assert_eq!(server.demo.left.available_permits(), 1, "the handler has not come to its end");
}

#[tokio::test]
async fn a_connection_that_is_closed_ends_no_handler_and_a_stop_waits_for_it() {
    let mut server = TestServer::open().await;
    let mut connection = server.connect().await;
    connection.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    // Closed with a reset, because something stands unread.
    connection.stream.set_zero_linger().unwrap();
    drop(connection);
    server.stop();
    // What is left is the handler alone.
    while TcpStream::connect(server.address).await.is_ok() {}
    server.demo.gate.add_permits(1);
    assert_eq!((&mut server.task).await.unwrap(), Ended { cut: 0 });
    assert_eq!(server.demo.left.available_permits(), 1, "the handler has not come to its end");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_for_a_handler_whose_client_has_gone() {
    let mut server = TestServer::with(Limits { drain_time: Duration::from_millis(20), ..Limits::default() }).await;
    let mut connection = server.connect().await;
    connection.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    connection.stream.set_zero_linger().unwrap();
    drop(connection);
    server.stop();
    assert_eq!((&mut server.task).await.unwrap(), Ended { cut: 1 });
}

#[tokio::test]
async fn requests_whose_client_has_gone_count_among_those_that_a_client_may_have() {
    let server = TestServer::with(Limits { requests_each: 2, ..Limits::default() }).await;
    for _ in 0..2 {
        let mut connection = server.connect().await;
        connection.send(WAIT).await;
        server.demo.entered.acquire().await.unwrap().forget();
        connection.stream.set_zero_linger().unwrap();
    }
    let refused = server.get("/health").await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    server.demo.gate.add_permits(1);
    server.demo.left.acquire().await.unwrap().forget();
    // Counted down after the handler has answered, to nobody.
    while server.get("/health").await.status == 503 {}
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn requests_of_all_clients_together_are_bounded() {
    let server = TestServer::with(Limits { requests: 1, ..Limits::default() }).await;
    let mut waiting = server.connect().await;
    waiting.send(WAIT).await;
    server.demo.entered.acquire().await.unwrap().forget();
    let told = server.ask("GET /page HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n").await;
    assert_eq!((told.status, told.header("content-type")), (503, "text/html; charset=utf-8"), "a page for a person");
    server.demo.gate.add_permits(1);
    assert_eq!(waiting.hear().await.status, 200);
}
