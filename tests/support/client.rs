//! A client of the REST contract: one connection a request, so that nothing outlives a server that was killed. Every
//! answer is held to the document of the interface.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::contract::{self, Listener};

/// Longer than any answer takes on a busy machine; a server that says nothing for so long is broken.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Speaks to one listener, from one loopback address (the server tells clients apart by it).
#[derive(Clone)]
pub struct Client {
    server: SocketAddr,
    source: Ipv4Addr,
    listener: Listener,
}

/// A request in the making.
pub struct Request {
    client: Client,
    method: Method,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Bytes>,
}

/// No answer: the connection was refused, cut or silent.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A text as it stands in a query or a form: everything but letters and digits as `%` and two digits.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Client {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, source: Ipv4Addr::LOCALHOST, listener: Listener::Public }
    }

    /// The same client of an operations listener.
    pub fn of_operations(mut self) -> Self {
        self.listener = Listener::Operations;
        self
    }

    /// The same client as seen from 127.0.0.`last`.
    pub fn at_loopback(mut self, last: u8) -> Self {
        self.source = Ipv4Addr::new(127, 0, 0, last);
        self
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request {
            client: self.clone(),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A form, as programs send it.
    pub fn form(&self, target: &str, fields: &[(&str, &str)]) -> Request {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let request = self.request("POST", target).header("content-type", "application/x-www-form-urlencoded");
        request.body(body.join("&"))
    }

    pub fn post(&self, target: &str, body: &Value) -> Request {
        self.request("POST", target).json(body)
    }

    async fn exchange(&self, request: http::Request<Full<Bytes>>, asked: String) -> Result<Answer, Broken> {
        let broken = |what: &str, error: &dyn fmt::Display| Broken(format!("{asked}: {what}: {error}"));
        let socket = TcpSocket::new_v4().map_err(|error| broken("socket", &error))?;
        if self.source != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::from((self.source, 0))).map_err(|error| broken("bind", &error))?;
        }
        let stream = socket.connect(self.server).await.map_err(|error| broken("connect", &error))?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken("handshake", &error))?;
        // Dropped with this future, and the connection with it.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| broken("no answer", &error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| broken("half an answer", &error))?.to_bytes();
        Ok(Answer { asked, status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Request {
    pub fn header(self, name: &str, value: &str) -> Self {
        self.octets(name, value.as_bytes())
    }

    /// A header of any bytes that may stand in one.
    pub fn octets(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Names this request, so that a repeat is known for one.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it; a broken connection is an answer that some tests expect.
    pub async fn attempt(self) -> Result<Answer, Broken> {
        let asked = format!("{} {}", self.method, self.target);
        let (method, listener) = (self.method.clone(), self.client.listener);
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header("host", self.client.server.to_string())
            .body(Full::new(self.body.unwrap_or_default()))
            .unwrap_or_else(|error| panic!("{asked}: not a request: {error}"));
        for (name, value) in &self.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        match tokio::time::timeout(TIMEOUT, self.client.exchange(request, asked.clone())).await {
            Ok(answer) => {
                let answer = answer?;
                contract::check(listener, method.as_str(), &self.target, &answer);
                Ok(answer)
            }
            Err(_) => Err(Broken(format!("{asked}: silent for {TIMEOUT:?}"))),
        }
    }

    /// Sends it and expects an answer, whatever it says.
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Answer> {
        let place = std::panic::Location::caller();
        async move { self.attempt().await.unwrap_or_else(|broken| panic!("{place}: {broken}")) }
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All values of a header, joined as a list.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name);
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).map(|item| item.trim().to_owned()).filter(|s| !s.is_empty()).collect()
    }

    /// Holds the answer to a status and gives its JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Holds the answer to a problem (RFC 9457): status, type, content type and the request's id in it.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "expected {kind}: {self}");
        let content = self.header("content-type").unwrap_or_default();
        assert!(content.starts_with("application/problem+json"), "{content}: {self}");
        let problem = self.json();
        let named = problem["type"].as_str().unwrap_or_default();
        assert!(named.ends_with(&format!("/problems/{kind}")), "{named} is not {kind}: {self}");
        assert_eq!(problem["status"], status, "{self}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self}");
        let (title, detail) = (problem["title"].as_str().unwrap(), problem["detail"].as_str().unwrap_or_default());
        let says = detail.ends_with('.') && detail.split(' ').count() > 2 && !detail.contains(title);
        assert!(says, "the detail says what to do next, and not the title again: {self}");
        problem
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(2_000).collect();
        write!(f, "{} answered {} {:?}\n{shown}", self.asked, self.status, self.headers)
    }
}
