//! A small server of two route groups behind the real accept loop, spoken to in raw octets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may stop where it stands, and owns the tasks that it begins"
)]

mod bodies;
mod connections;
mod hang_ups;
mod heads;
mod properties;
mod tables;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::access::Limited;
use crate::reply::PAGE_POLICY;
use crate::request::wants_html;
use crate::route::routes;
use crate::server::{Ended, serve};
use crate::*;

struct Demo {
    /// One permit for each handler that waits in `/auth/wait`.
    entered: Semaphore,
    /// One permit lets one of them out.
    gate: Semaphore,
    /// One permit for each that has come to its end.
    left: Semaphore,
    /// What `/auth/steps` has done.
    steps: std::sync::Mutex<Vec<String>>,
}

impl Default for Demo {
    fn default() -> Self {
        let none = || Semaphore::new(0);
        Self { entered: none(), gate: none(), left: none(), steps: std::sync::Mutex::default() }
    }
}

impl Demo {
    async fn step(&self, what: impl Into<String>) {
        self.steps.lock().unwrap().push(what.into());
        tokio::task::yield_now().await;
    }
}

struct Caller(String);

/// A bucket of this server.
const DEMO: &str = "demo";

impl Admission for Demo {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn admit<'a>(&'a self, access: Access, request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            if request.route() == "/auth/steps" {
                self.step("entered").await;
            }
            match request.bearer().map(str::to_owned) {
                None => Err(Problem::credentials()),
                Some(token) if token != "good" => Err(Problem::session_ended()),
                Some(_) if access == Access::FreshBearer => Err(Problem::step_up(Duration::from_secs(600))),
                Some(token) => {
                    request.extensions_mut().insert(Arc::new(Caller(token)));
                    Ok(())
                }
            }
        })
    }

    fn meter(&self, bucket: &'static str, request: &Request) -> Metered {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-policy", HeaderValue::from_static("\"demo\";q=1;w=60"));
        let empty = bucket == "never" || request.query("full").is_some();
        let verdict = if empty { Err(Problem::slow_down(Duration::from_millis(1500))) } else { Ok(()) };
        Metered { headers, verdict }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    inner: Option<Box<Named>>,
}

async fn echo(request: Request) -> Answer {
    let named: Named = request.json()?;
    let inner = named.inner.map(|inner| inner.name);
    Reply::json(StatusCode::OK, &json!({"name": named.name, "inner": inner}))
}

async fn wait(demo: Arc<Demo>) -> Answer {
    demo.entered.add_permits(1);
    demo.gate.acquire().await.unwrap().forget();
    demo.left.add_permits(1);
    Reply::json(StatusCode::OK, &json!({"waited": true}))
}

/// Answers with more than the sockets between two ends hold.
async fn great(demo: Arc<Demo>) -> Answer {
    demo.left.add_permits(1);
    Ok(Reply::html(StatusCode::OK, "x".repeat(32 * 1024 * 1024)))
}

/// Does several things one after the other.
async fn steps(demo: Arc<Demo>, request: Request) -> Answer {
    let named: Named = request.json()?;
    demo.step(format!("read {}", named.name)).await;
    for step in ["one", "two", "three"] {
        demo.step(step).await;
    }
    Reply::json(StatusCode::OK, &json!({}))
}

/// Finds out more than the meter could know.
async fn carried(request: Request) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", HeaderValue::from_static("\"more\";r=0;t=1"));
    request.extensions().get::<AnswerHeaders>().unwrap().add(headers);
    match request.raw_query() {
        "refuse" => Err(Problem::slow_down(Duration::from_secs(1))),
        "panic" => panic!("after all"),
        _ => Reply::json(StatusCode::OK, &json!({})),
    }
}

/// Whom the admission has let in.
async fn whom(request: Request) -> Answer {
    let caller = request.extensions().get::<Arc<Caller>>().map(|caller| caller.0.clone());
    Reply::json(StatusCode::OK, &json!({"caller": caller}))
}

/// What a thing is asked with.
async fn thing(request: Request) -> Answer {
    let thing = json!({"id": request.param("id"), "q": request.query("q"), "route": request.route()});
    Reply::json(StatusCode::OK, &thing)
}

async fn health() -> Answer {
    Reply::json(StatusCode::OK, &json!({"status": "ok"}))
}

async fn count(request: Request) -> Answer {
    Reply::json(StatusCode::OK, &json!({"octets": request.body().len()}))
}

async fn nothing() -> Answer {
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn hello() -> Answer {
    Ok(Reply::html(StatusCode::OK, "<!doctype html><p>hello"))
}

async fn code(request: Request) -> Answer {
    let form = request.form()?;
    Ok(Reply::html(StatusCode::OK, form.get("code").unwrap_or_default().to_owned()))
}

/// Every handler of these tables is given state and request, and answers as it likes.
macro_rules! plain {
    ($state:ident, $request:ident, $access:ident, $body:ident $(($wants:ty))?, [$($said:tt)+], $run:expr) => {
        ($run)($state, $request)
    };
}
use plain;

routes! {
    static API: Demo, plain;
    GET "/auth/great", open, none => page, unlimited, |demo, _| great(demo);
    POST "/auth/steps", bearer, json(Named) => 200(Value), unlimited, steps;
    GET "/health", open, none => 200(Value), unlimited, |_, _| health();
    POST "/auth/echo", open, json(Named) => 200(Value), unlimited, |_, request| echo(request);
    GET "/auth/things/{id}", open, none => 200(Value), unlimited, |_, request| thing(request);
    DELETE "/auth/things/{id}", open, none => 204, unlimited, |_, _| nothing();
    POST "/auth/count", open, none => 200(Value), unlimited, |_, request| count(request);
    GET "/auth/panic", open, none => 204, unlimited, |_, _| async { panic!("the secret reason") };
    GET "/auth/carried", open, none => 200(Value), unlimited, |_, request| carried(request);
    GET "/auth/wait", open, none => 200(Value), unlimited, |demo, _| wait(demo);
    POST "/users/me", bearer, none => 200(Value), unlimited, |_, request| whom(request);
    POST "/users/danger", fresh_bearer, none => 200(Value), unlimited, |_, request| whom(request);
    POST "/local", loopback, none => 200(Value), unlimited, |_, request| whom(request);
    POST "/auth/limited", bearer, none => 204, DEMO, |_, _| nothing();
}

routes! {
    static PAGES: Demo, plain;
    GET "/page", open, none => page, unlimited, |_, _| hello();
    POST "/page", own_form, form => page, unlimited, |_, request| code(request);
    POST "/page/limited", own_form, form => page, DEMO, |_, request| async move { limited(&request) };
}

/// A form that keeps its promise: see [`RouteGroup::forms_again`].
fn limited(request: &Request) -> Answer {
    let form = request.form()?;
    let code = form.get("code").unwrap_or_default();
    match (request.extensions().get::<Limited>(), code) {
        (Some(_), "elsewhere") => Reply::see_other("/page"),
        (Some(_), _) => Ok(Reply::html(StatusCode::UNPROCESSABLE_ENTITY, format!("again with {code}"))),
        (None, _) => Ok(Reply::html(StatusCode::OK, format!("done with {code}"))),
    }
}

fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn router(demo: &Arc<Demo>, settings: Settings) -> warp::filters::BoxedFilter<(warp::reply::Response,)> {
    let api = RouteGroup::new("api", Arc::clone(demo), API).unwrap().below(&["/auth", "/users"]).cors(Cors::Listed);
    let pages = RouteGroup::new("pages", Arc::clone(demo), PAGES).unwrap().everything_else().forms_again();
    let pages = pages.page_policy(PAGE_POLICY).errors(|_, problem, refused| {
        if !wants_html(&refused.head.headers) {
            return problem.to_reply(refused.id);
        }
        let page = format!("<!doctype html><h1>{}</h1><p>{}", problem.kind().title(), refused.id);
        problem.dress(Reply::html(problem.status(), page))
    });
    Router::new(settings).with(api).unwrap().with(pages).unwrap().filter()
}

struct TestServer {
    address: SocketAddr,
    port: Port,
    demo: Arc<Demo>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Ended>,
}

impl TestServer {
    async fn open() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::on(Port::bind(([127, 0, 0, 1], 0).into()).await.unwrap(), limits)
    }

    fn on(port: Port, limits: Limits) -> Self {
        let mut settings = Settings::new(fresh_id, "https://id.example");
        settings.limits = limits;
        settings.cors_origins = vec!["https://app.example".to_owned()];
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        Self::of(port, settings)
    }

    fn of(port: Port, settings: Settings) -> Self {
        let limits = settings.limits.clone();
        let demo = Arc::new(Demo::default());
        let filter = router(&demo, settings);
        let (stop, stopped) = oneshot::channel();
        let address = port.address();
        let task = tokio::spawn(serve(port.clone(), filter, limits, async {
            stopped.await.ok();
        }));
        Self { address, port, demo, stop: Some(stop), task }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// A connection from another client on this machine.
    async fn connect_from(&self, last: u8) -> Connection {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        Connection { stream: socket.connect(self.address).await.unwrap(), rest: Vec::new() }
    }

    async fn connect(&self) -> Connection {
        Connection { stream: TcpStream::connect(self.address).await.unwrap(), rest: Vec::new() }
    }

    /// Sends octets on a connection of their own and reads one answer.
    async fn ask(&self, octets: impl AsRef<[u8]>) -> Told {
        let mut connection = self.connect().await;
        connection.send(octets).await;
        connection.hear().await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    }

    async fn post(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Told {
        let body = body.as_ref();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.ask([head.as_bytes(), body].concat()).await
    }
}

struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    /// Sends what the other end takes: it may hang up before the end.
    async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(octets.as_ref()).await;
    }

    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.rest).await.unwrap()
    }

    async fn head(&mut self) -> Told {
        loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.rest.drain(..end + 4).collect()).unwrap();
                return Told::of(&head);
            }
            let so_far = String::from_utf8_lossy(&self.rest).into_owned();
            assert_ne!(self.more().await, 0, "the line ends instead of an answer: {so_far:?}");
        }
    }

    /// Reads one answer with its body.
    async fn hear(&mut self) -> Told {
        let mut told = self.head().await;
        let length = told.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            assert_ne!(self.more().await, 0, "the line ends amid a body");
        }
        told.body = self.rest.drain(..length).collect();
        told
    }

    /// Reads until the other end hangs up; gives what came before.
    async fn end(mut self) -> Vec<u8> {
        while matches!(self.stream.read_buf(&mut self.rest).await, Ok(1..)) {}
        self.rest
    }
}

#[derive(Debug)]
struct Told {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Told {
    fn of(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self { status, headers: headers.collect(), body: Vec::new() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Checks that this is a whole problem document and gives it.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["type"], json!(format!("/problems/{kind}")), "{document}");
        assert_eq!(document["status"], json!(status));
        assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert_eq!(document["request_id"], json!(self.header("x-request-id")), "{self:?}");
        document
    }
}
