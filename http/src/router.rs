//! The route groups put together: one match of the path over all their tables, and an answer to every request whatever it
//! is.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::access::Admission;
use crate::access::client_address::{client_address, client_network};
use crate::decode;
use crate::load::Load;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::{BodyStream, Head, Peer, crowded, discard};
use crate::route_group::{AnyGroup, Arrival, Found, RouteGroup, TableFault, UNMATCHED, count, said_by};
use crate::settings::Settings;

/// The route groups of one listener.
pub struct Router {
    settings: Arc<Settings>,
    groups: Vec<Arc<dyn AnyGroup>>,
    paths: matchit::Router<Place>,
}

/// Where a pattern stands: in which group, and where among its patterns.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    entry: usize,
}

impl Router {
    /// A listener without route groups: every path is a 404.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), groups: Vec::new(), paths: matchit::Router::new() }
    }

    /// Adds a group behind those already there.
    ///
    /// # Errors
    /// [`TableFault::Pattern`] when a path of its table cannot be told from one that is there, or is malformed.
    pub fn with<S: Admission>(mut self, group: RouteGroup<S>) -> Result<Self, TableFault> {
        let (name, patterns, place) = (group.name(), group.patterns(), self.groups.len());
        for (entry, path) in patterns.into_iter().enumerate() {
            let added = self.paths.insert(path, Place { group: place, entry });
            added.map_err(|error| TableFault::Pattern { group: name, path, why: error.to_string() })?;
        }
        self.groups.push(Arc::new(group));
        Ok(self)
    }

    /// The filter to be served: it answers every request and rejects none.
    #[must_use]
    pub fn filter(self) -> BoxedFilter<(Response,)> {
        // Counts the requests that do not come through our accept loop, which counts its own.
        let (load, router) = (Load::new(&self.settings.limits), Arc::new(self));
        let last = Arc::clone(&router);
        warp::method()
            .and(warp::path::full())
            .and(raw_query())
            .and(warp::header::headers_cloned())
            .and(warp::ext::optional::<Peer>())
            .and(warp::ext::optional::<Arc<Load>>())
            .and(body())
            .then(move |method, path: FullPath, query, headers, peer: Option<Peer>, loaded: Option<Arc<Load>>, body| {
                // Requests made in tests have no peer; no share of anything applies to them.
                let peer = peer.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |Peer(address)| address);
                let client = client_address(peer, &headers, &router.settings.trusted_proxies);
                let head = Head { method, path: path.as_str().to_owned(), query, headers, peer, client };
                let load = loaded.unwrap_or_else(|| Arc::clone(&load));
                Arc::clone(&router).answer(load, Arc::new(head), body)
            })
            // No filter above rejects. Should a change ever break that, a client still gets a problem and not a library's
            // text.
            .recover(move |rejection: Rejection| {
                let router = Arc::clone(&last);
                async move { Ok::<_, Infallible>(rejected(&router.settings, &rejection)) }
            })
            .unify()
            .boxed()
    }

    /// The group that answers a path, and what its table has there.
    fn find(&self, path: &str) -> (Option<&Arc<dyn AnyGroup>>, Option<Found>) {
        match self.paths.at(path) {
            Ok(found) => {
                let place = *found.value;
                let params = found.params.iter().map(|(name, raw)| Some((name.to_owned(), decode::segment(raw)?)));
                (self.groups.get(place.group), Some(Found { entry: place.entry, params: params.collect() }))
            }
            Err(_) => (self.groups.iter().find(|group| group.claims(path)), None),
        }
    }

    /// Answers one request. What its group does runs in a task of its own, to its end: a client that hangs up, or resets
    /// its stream, changes nothing of it.
    async fn answer(self: Arc<Self>, load: Arc<Load>, head: Arc<Head>, body: BodyStream) -> Response {
        let settings = Arc::clone(&self.settings);
        let id = head.given_id().unwrap_or_else(settings.new_request_id);
        let path = decode::normal_path(&head.path);
        let private = settings.is_private(path.as_deref().unwrap_or(&head.path));
        let refused = settings.refuse(&head);
        let reply = if refused.is_none() && head.method == Method::OPTIONS && head.path == "*" {
            // RFC 9110, section 9.3.7: the server as a whole is asked.
            let reply = Reply::empty(StatusCode::NO_CONTENT)
                .header(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
            count(UNMATCHED, &head.method, reply.status, Duration::ZERO);
            reply
        } else {
            let (group, found) = self.find(path.as_deref().unwrap_or(&head.path));
            let path = path.map(Cow::into_owned);
            let admitted = load.admit(client_network(head.client));
            let refused = refused.or_else(|| admitted.is_none().then(crowded));
            let arrival = Arrival { head: Arc::clone(&head), path, found, id: id.clone(), refused };
            let serving = match group {
                Some(group) => Arc::clone(group).serve(Arc::clone(&settings), arrival, body, Arc::clone(&load)),
                None => Box::pin(nowhere(Arc::clone(&settings), arrival, body)),
            };
            let serving = caught(serving, id.clone());
            match admitted {
                Some(admitted) => load.run(admitted, serving).await.unwrap_or_else(|| crowded().to_reply(&id)),
                None => serving.await,
            }
        };
        reply.completed(&head.method, &id, private, settings.transport()).into_response()
    }
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

/// Answers where no group does: nothing is there.
async fn nowhere(settings: Arc<Settings>, arrival: Arrival, body: BodyStream) -> Reply {
    let Arrival { head, id, refused, .. } = arrival;
    let problem = refused.or_else(|| head.check(&settings.limits).err()).unwrap_or_else(Problem::not_found);
    discard(&head.headers, body, &settings.limits).await;
    count(UNMATCHED, &head.method, problem.status(), Duration::ZERO);
    problem.to_reply(&id)
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
