//! The route groups put together: one boxed warp filter each, tried in order, and an answer to every request whatever it is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::{ALLOW, HOST};
use http::{HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::access::client_address::{Network, client_address, client_network};
use crate::access::host::Hosts;
use crate::access::{Admission, sent_by_another_site};
use crate::decode;
use crate::limits::Limits;
use crate::load::Load;
use crate::problem::Problem;
use crate::reply::{Reply, Transport};
use crate::request::{BodyStream, Head, Peer, crowded, discard};
use crate::route_group::{AnyGroup, Arrival, RouteGroup, UNMATCHED, count, said_by};

/// What holds for all route groups.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bounds of requests.
    pub limits: Limits,
    /// Makes the id of a request that came without a good one: 1 to 128 of `A-Za-z0-9._-`, never the same twice.
    pub new_request_id: fn() -> String,
    /// Origins whose scripts may call route groups that are open to them, as browsers write them: `https://app.example`.
    pub cors_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Our own origin, from the public URL.
    pub own_origin: String,
    /// Hosts that are answered to.
    pub hosts: Hosts,
    /// Whether pages of other sites may send requests here; those that may not are refused all of them.
    pub other_sites: bool,
    /// Whether browsers are told that hosts below ours want TLS, too (`includeSubDomains`).
    pub tls_below: bool,
    /// Paths whose every answer says `no-store`, problems included.
    pub no_store: &'static [&'static str],
}

impl Settings {
    /// The contract's bounds, nobody trusted, no other origin.
    #[must_use]
    pub fn new(new_request_id: fn() -> String, own_origin: impl Into<String>) -> Self {
        Self {
            limits: Limits::default(),
            new_request_id,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            own_origin: own_origin.into(),
            hosts: Hosts::Any,
            other_sites: true,
            tls_below: false,
            no_store: &["/auth", "/users"],
        }
    }

    /// Of a listener that asks nobody who they are: it answers to IP addresses, `localhost` and these names only, and to no
    /// page of another site.
    #[must_use]
    pub fn for_operations(new_request_id: fn() -> String, names: Vec<String>) -> Self {
        Self { hosts: Hosts::AddressesAnd(names), other_sites: false, ..Self::new(new_request_id, String::new()) }
    }

    /// Why a request is refused whatever it asks for.
    fn refuse(&self, head: &Head) -> Option<Problem> {
        if !self.hosts.include(&head.headers) {
            return Some(Problem::misdirected());
        }
        let origin =
            || format!("http://{}", head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default());
        (!self.other_sites && sent_by_another_site(&head.headers, &origin())).then(Problem::another_site)
    }

    fn transport(&self) -> Transport {
        match (self.own_origin.starts_with("https://"), self.tls_below) {
            (false, _) => Transport::Any,
            (true, false) => Transport::Tls,
            (true, true) => Transport::TlsBelow,
        }
    }

    fn is_private(&self, path: &str) -> bool {
        let normal = decode::normal_path(path);
        let path = normal.as_deref().unwrap_or(path);
        self.no_store.iter().any(|prefix| is_below(path, prefix))
    }
}

/// Whether `path` is `prefix` or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The route groups of one listener, in the order in which they are asked.
pub struct Router {
    settings: Arc<Settings>,
    groups: Vec<Arc<dyn AnyGroup>>,
}

impl Router {
    /// A listener without route groups: every path is a 404.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), groups: Vec::new() }
    }

    /// Adds a group behind those already there.
    #[must_use]
    pub fn with<S: Admission>(mut self, group: RouteGroup<S>) -> Self {
        self.groups.push(Arc::new(group));
        self
    }

    /// The filter to be served: it answers every request and rejects none.
    #[must_use]
    pub fn filter(self) -> BoxedFilter<(Response,)> {
        let Self { settings, groups } = self;
        let load = Load::new(&settings.limits);
        let serving = |group| answering(Arc::clone(&settings), Arc::clone(&load), group);
        let last = serving(Arc::new(Nowhere) as Arc<dyn AnyGroup>);
        let all = groups.into_iter().rev().fold(last, |behind, group| serving(group).or(behind).unify().boxed());
        // No filter above rejects but to pass a request on. Should a change ever break that, a client still gets a
        // problem and not a library's text.
        all.recover(move |rejection: Rejection| {
            let settings = Arc::clone(&settings);
            async move { Ok::<_, Infallible>(rejected(&settings, &rejection)) }
        })
        .unify()
        .boxed()
    }
}

/// `load` counts the requests that do not come through our accept loop, which counts its own.
fn answering(settings: Arc<Settings>, load: Arc<Load>, group: Arc<dyn AnyGroup>) -> BoxedFilter<(Response,)> {
    let claimant = Arc::clone(&group);
    let claimed = warp::path::full()
        .and_then(move |path: FullPath| {
            let claimed = claimant.claims(path.as_str());
            async move { if claimed { Ok(()) } else { Err(warp::reject::not_found()) } }
        })
        .untuple_one();
    claimed
        .and(warp::method())
        .and(warp::path::full())
        .and(raw_query())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Arc<Load>>())
        .and(body())
        .then(move |method, path: FullPath, query, headers, peer: Option<Peer>, loaded: Option<Arc<Load>>, body| {
            // A request that did not come through our accept loop has no peer, and is nobody's neighbour.
            let peer = peer.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |Peer(address)| address);
            let client = client_address(peer, &headers, &settings.trusted_proxies);
            let head = Head { method, path: path.as_str().to_owned(), query, headers, peer, client };
            answer(Arc::clone(&settings), loaded.unwrap_or_else(|| Arc::clone(&load)), Arc::clone(&group), head, body)
        })
        .boxed()
}

fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

fn body() -> impl Filter<Extract = (BodyStream,), Error = Rejection> + Clone {
    warp::body::stream().map(|stream| {
        let chunks = whole_chunks(stream);
        Box::pin(chunks) as Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>
    })
}

fn whole_chunks<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> impl Stream<Item = Result<Bytes, warp::Error>> + Send {
    stream.map(|chunk| chunk.map(|mut chunk| chunk.copy_to_bytes(chunk.remaining())))
}

/// Answers one request. What its group does runs in a task of its own, to its end: a client that hangs up, or resets its
/// stream, changes nothing of it.
async fn answer(
    settings: Arc<Settings>,
    load: Arc<Load>,
    group: Arc<dyn AnyGroup>,
    head: Head,
    body: BodyStream,
) -> Response {
    let id = head.given_id().unwrap_or_else(settings.new_request_id);
    let (method, private) = (head.method.clone(), settings.is_private(&head.path));
    let refused = settings.refuse(&head);
    let reply = if refused.is_none() && head.method == Method::OPTIONS && head.path == "*" {
        // RFC 9110, section 9.3.7: the server as a whole is asked.
        let reply = Reply::empty(StatusCode::NO_CONTENT)
            .header(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        count(UNMATCHED, &head.method, reply.status, Duration::ZERO);
        reply
    } else {
        let admitted = load.admit(client_network(head.client));
        let refused = refused.or_else(|| admitted.is_none().then(crowded));
        let arrival = Arrival { id: id.clone(), load: Arc::clone(&load), refused };
        let serving = group.serve(Arc::clone(&settings), head, body, arrival);
        let serving = caught(serving, id.clone());
        match admitted {
            Some(admitted) => load.run(admitted, serving).await.unwrap_or_else(|| crowded().to_reply(&id)),
            None => serving.await,
        }
    };
    reply.completed(&method, &id, private, settings.transport()).into_response()
}

async fn caught(serving: BoxFuture<'static, Reply>, id: String) -> Reply {
    match AssertUnwindSafe(serving).catch_unwind().await {
        Ok(reply) => reply,
        Err(panic) => {
            tracing::error!(request_id = id, cause = said_by(&*panic), "a route group met a defect");
            Problem::fault("a route group").to_reply(&id)
        }
    }
}

fn rejected(settings: &Settings, rejection: &Rejection) -> Response {
    let id = (settings.new_request_id)();
    let problem = if rejection.is_not_found() {
        Problem::not_found()
    } else {
        Problem::unreadable("Send the request as HTTP describes it.")
    };
    problem.to_reply(&id).completed(&Method::GET, &id, true, settings.transport()).into_response()
}

/// What stands behind all route groups: nothing is here.
struct Nowhere;

impl AnyGroup for Nowhere {
    fn claims(&self, _path: &str) -> bool {
        true
    }

    fn serve(
        self: Arc<Self>,
        settings: Arc<Settings>,
        head: Head,
        body: BodyStream,
        arrival: Arrival,
    ) -> BoxFuture<'static, Reply> {
        Box::pin(async move {
            let Arrival { id, refused, .. } = arrival;
            let problem = refused.or_else(|| head.check(&settings.limits).err()).unwrap_or_else(Problem::not_found);
            discard(&head.headers, body, &settings.limits).await;
            count(UNMATCHED, &head.method, problem.status(), Duration::ZERO);
            problem.to_reply(&id)
        })
    }
}

/// Tells the recorder of metrics what the front counts, and makes the counters whose labels are known, at 0.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "cairn_http_requests_total",
        "Requests answered, by the table's pattern, method and status"
    );
    metrics::describe_histogram!(
        "cairn_http_request_seconds",
        metrics::Unit::Seconds,
        "Time from a request's head to its answer, by the table's pattern"
    );
    metrics::describe_gauge!("cairn_http_connections", "Connections open");
    metrics::describe_counter!("cairn_http_limited_total", "Requests refused by a rate limit, by bucket");
    metrics::describe_counter!(
        "cairn_http_requests_abandoned_total",
        "Requests whose client hung up before the answer, and which ran to their end all the same"
    );
    metrics::describe_counter!("cairn_http_connections_cut_total", "Connections that had to give way, by reason");
    metrics::gauge!("cairn_http_connections").set(0.0);
    metrics::counter!("cairn_http_requests_abandoned_total").increment(0);
    for bucket in crate::access::rate::names() {
        metrics::counter!("cairn_http_limited_total", "bucket" => bucket).increment(0);
    }
    for reason in crate::connection::CUT {
        metrics::counter!("cairn_http_connections_cut_total", "reason" => reason).increment(0);
    }
}
