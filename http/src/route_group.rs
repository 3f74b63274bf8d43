//! A route group: a table of routes that share what they need, with everything that follows from a table.
//!
//! From the table come 404, 405 with `Allow`, HEAD, OPTIONS, the labels of the metrics, and later the description of
//! the interface. The order in which a request is judged is the order of [`RouteGroup::judge`], and visible there.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, EXPECT, ORIGIN, RETRY_AFTER, VARY,
};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use crate::access::client_address::client_network;
use crate::access::cookie::Names;
use crate::access::host::names_this_machine;
use crate::access::{Access, Admission, AnswerHeaders, Limited, sent_by_another_site};
use crate::load::{Held, Load};
use crate::problem::{Kind, Problem};
use crate::reply::{DATA_POLICY, Reply};
use crate::request::{BodyStream, Head, Request, collect, crowded, discard};
use crate::route::{Answer, Route};
use crate::settings::{Settings, is_below};

/// How a group tells of problems: as a document, as a page, as its protocol wants it.
pub(crate) type ErrorWriter<S> = fn(&S, &Problem, &Refused<'_>) -> Reply;

/// A request that was refused, as error writers see it.
pub(crate) struct Refused<'a> {
    /// Its head.
    pub(crate) head: &'a Head,
    /// Its id.
    pub(crate) id: &'a str,
}

/// Tells of a problem as `application/problem+json` (RFC 9457).
fn document<S>(_state: &S, problem: &Problem, refused: &Refused<'_>) -> Reply {
    problem.to_reply(refused.id)
}

/// Whose scripts may call a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Those of our own pages.
    OwnPages,
    /// Those of the origins that the settings list, too.
    Listed,
    /// Everybody's: what the group answers is the same for all, and it reads no cookie.
    Everybody,
}

/// Headers that scripts of a listed origin may read, and may send.
const EXPOSED: &str = "etag, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id";
const ACCEPTED: &str =
    "authorization, cairn-device, content-type, idempotency-key, if-match, if-none-match, x-request-id";

/// A table that contradicts itself, found when the group is built.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// Two patterns cannot be told apart, or one is malformed.
    #[error("group {group}: {path}: {why}")]
    Pattern {
        /// The group's name.
        group: &'static str,
        /// The pattern that could not be added.
        path: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The same method stands twice at one path.
    #[error("group {group}: {method} {path} stands twice")]
    Twice {
        /// The group's name.
        group: &'static str,
        /// The doubled method.
        method: Method,
        /// Its path.
        path: &'static str,
    },
}

/// What a table has at one path.
struct Entry<S: 'static> {
    pattern: &'static str,
    routes: Vec<&'static Route<S>>,
    allow: HeaderValue,
}

/// A table of routes, and what holds for all its answers.
pub struct RouteGroup<S: 'static> {
    name: &'static str,
    state: Arc<S>,
    entries: Vec<Entry<S>>,
    prefixes: &'static [&'static str],
    everything_else: bool,
    cors: Cors,
    errors: ErrorWriter<S>,
    page_policy: HeaderValue,
    forms_again: bool,
}

impl<S: Admission> RouteGroup<S> {
    /// Compiles a table.
    ///
    /// # Errors
    /// [`TableFault`] when two lines contradict each other.
    pub fn new(name: &'static str, state: Arc<S>, routes: &'static [Route<S>]) -> Result<Self, TableFault> {
        let mut by_path: Vec<(&'static str, Vec<&'static Route<S>>)> = Vec::new();
        for route in routes {
            let line = &route.spec;
            match by_path.iter_mut().find(|(path, _)| *path == line.path) {
                Some((_, there)) if there.iter().any(|other| other.spec.method == line.method) => {
                    return Err(TableFault::Twice { group: name, method: line.method.clone(), path: line.path });
                }
                Some((_, there)) => there.push(route),
                None => by_path.push((line.path, vec![route])),
            }
        }
        let entry = |(pattern, routes): (&'static str, Vec<&'static Route<S>>)| {
            let allow = allow_of(&routes);
            Entry { pattern, routes, allow }
        };
        Ok(Self {
            name,
            state,
            entries: by_path.into_iter().map(entry).collect(),
            prefixes: &[],
            everything_else: false,
            cors: Cors::OwnPages,
            errors: document::<S>,
            page_policy: DATA_POLICY,
            forms_again: false,
        })
    }

    /// Paths below these belong to this group even when its table does not have them.
    #[must_use]
    pub fn below(mut self, prefixes: &'static [&'static str]) -> Self {
        self.prefixes = prefixes;
        self
    }

    /// Every path that no earlier group has belongs to this one, which says 404 in its own manner.
    #[must_use]
    pub fn everything_else(mut self) -> Self {
        self.everything_else = true;
        self
    }

    /// Whose scripts may call this group. Without it: those of our own pages.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// The content-security policy of the group's pages. Without it they may load nothing.
    #[must_use]
    pub fn page_policy(mut self, policy: HeaderValue) -> Self {
        self.page_policy = policy;
        self
    }

    /// How the group tells of problems. Without it: as `application/problem+json`.
    #[must_use]
    pub(crate) fn errors(mut self, writer: ErrorWriter<S>) -> Self {
        self.errors = writer;
        self
    }

    /// Who sends a form of ours and finds the bucket empty is shown it again. Every handler of such a form promises that
    /// it shows it and does nothing else where [`Limited`] is among the request's extensions.
    #[must_use]
    pub fn forms_again(mut self) -> Self {
        self.forms_again = true;
        self
    }

    /// Decides what happens to a request, in this order: its bounds, its path, its method, the meter, the access.
    async fn judge(&self, settings: &Settings, arrival: Arrival, trail: &mut Trail) -> Result<Next<S>, Problem> {
        let Arrival { head, path, found, id, refused } = arrival;
        if let Some(problem) = refused {
            return Err(problem);
        }
        head.check(&settings.limits)?;
        let (path, found) = path.zip(found).ok_or_else(Problem::not_found)?;
        let entry = self.entries.get(found.entry).ok_or_else(Problem::not_found)?;
        trail.route = entry.pattern;
        let params = found.params.ok_or_else(Problem::not_found)?;
        if head.method == Method::OPTIONS {
            entry.allow_preflight(&head, trail);
            return Ok(Next::Said(Reply::empty(StatusCode::NO_CONTENT).header(ALLOW, entry.allow.clone())));
        }
        let route = entry.serving(&head.method).ok_or_else(|| Problem::method(entry.allow.clone()))?;
        if !route.spec.access.is_for_other_origins() {
            trail.forget_welcome();
        }
        let mut request = Request {
            head,
            path,
            id,
            route: entry.pattern,
            params,
            body: Bytes::new(),
            nesting: settings.limits.nesting,
            extensions: Extensions::new(),
            names: Names::of(&settings.own_origin),
        };
        request.extensions_mut().insert(trail.answer_headers.clone());
        if let Some(bucket) = route.spec.bucket {
            let metered = self.state.meter(bucket, &request);
            trail.headers.extend(metered.headers);
            match metered.verdict {
                Ok(()) => {}
                Err(slow) if self.may_show_again(settings, route, &request) => {
                    return Ok(Next::ShowAgain(route, Box::new(request), Box::new(slow)));
                }
                Err(slow) => return Err(slow),
            }
        }
        match route.spec.access {
            Access::Open | Access::Client | Access::Token | Access::Session => {}
            Access::OwnForm | Access::SessionForm | Access::SessionFormOrRepeat => {
                if sent_by_another_site(request.headers(), &settings.own_origin) {
                    return Err(Problem::another_site());
                }
            }
            Access::Loopback => {
                let near = request.is_local()
                    && names_this_machine(request.headers())
                    && !sent_by_another_site(request.headers(), &settings.own_origin);
                if !near {
                    return Err(Problem::not_found());
                }
            }
            access @ (Access::Bearer | Access::FreshBearer | Access::BearerOrRepeat) => {
                self.state.admit(access, &mut request).await?;
            }
        }
        Ok(Next::Run(route, Box::new(request)))
    }

    async fn answer(
        &self,
        settings: &Settings,
        arrival: Arrival,
        body: BodyStream,
        load: &Arc<Load>,
        trail: &mut Trail,
    ) -> Answer {
        let head = Arc::clone(&arrival.head);
        let judged = self.judge(settings, arrival, trail).await;
        // Held until the handler has ended.
        let mut held = load.body(client_network(head.client)).ok_or_else(crowded)?;
        let (route, mut request) = match judged {
            Ok(Next::Run(route, request)) => (route, request),
            Ok(Next::ShowAgain(route, request, slow)) => {
                return self.show_again(settings, &head, body, &mut held, (route, request), *slow).await;
            }
            Ok(Next::Said(reply)) => {
                discard(&head.headers, body, &settings.limits).await;
                return Ok(reply);
            }
            Err(problem) => {
                discard(&head.headers, body, &settings.limits).await;
                return Err(problem);
            }
        };
        request.body = collect(&head.headers, body, &settings.limits, &mut held).await?;
        request.check_media_type(route.spec.body.media_type())?;
        (route.run)(Arc::clone(&self.state), *request).await
    }

    /// Whether a limited request is a form of our own pages, sent from one by a person.
    fn may_show_again(&self, settings: &Settings, route: &Route<S>, request: &Request) -> bool {
        self.forms_again
            && route.spec.access.is_own_form()
            && !sent_by_another_site(request.headers(), &settings.own_origin)
            && request.wants_html()
    }

    /// Has the form of a limited request shown again, with what was typed. The meter has spoken before, so it costs a
    /// flood no more than opening the same page would: its body is waited for no longer than to throw it away, and
    /// whatever is not the form in the end is the plain refusal.
    async fn show_again(
        &self,
        settings: &Settings,
        head: &Head,
        body: BodyStream,
        held: &mut Held,
        (route, mut request): (&'static Route<S>, Box<Request>),
        slow: Problem,
    ) -> Answer {
        // Who waits for a 100 has not sent it yet, and should not.
        if head.headers.contains_key(EXPECT) {
            return Err(slow);
        }
        let reading = collect(&head.headers, body, &settings.limits, held);
        match tokio::time::timeout(settings.limits.linger_time, reading).await {
            Ok(Ok(body)) => request.body = body,
            Ok(Err(_)) | Err(_) => return Err(slow),
        }
        if request.check_media_type(route.spec.body.media_type()).is_err() {
            return Err(slow);
        }
        let seconds = slow.seconds_to_wait().unwrap_or(1);
        request.extensions_mut().insert(Limited { seconds });
        match (route.run)(Arc::clone(&self.state), *request).await {
            Ok(mut form) if form.is_html() => {
                form.status = slow.status();
                form.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
                Ok(form)
            }
            _ => Err(slow),
        }
    }

    /// Names a listed origin as welcome, or all of them. Others get no such header and are served all the same: their
    /// browser keeps the answer from them, and our own pages' posts carry an origin as well.
    fn welcome_origin(&self, settings: &Settings, head: &Head, trail: &mut Trail) {
        if self.cors == Cors::Everybody {
            trail.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            trail.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            return;
        }
        if self.cors == Cors::OwnPages || settings.cors_origins.is_empty() {
            return;
        }
        trail.headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = head.headers.get(ORIGIN) else { return };
        if settings.cors_origins.iter().any(|listed| origin == listed.as_str()) {
            trail.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            trail.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// Renders a problem, and logs what is ours to mend: once, here, where it is handled.
    fn tell(&self, problem: &Problem, refused: &Refused<'_>, route: &'static str) -> Reply {
        let id = refused.id;
        match problem.kind() {
            Kind::Fault => {
                let cause = problem.logged().unwrap_or("no cause given");
                tracing::error!(request_id = id, group = self.name, route, cause, "a request met a defect");
            }
            Kind::Unavailable | Kind::Storage => {
                let cause = problem.logged().unwrap_or("no cause given");
                tracing::warn!(request_id = id, group = self.name, route, cause, "a request was turned away");
            }
            _ => {}
        }
        // It may draw a page by a template, which may have its own defect.
        let told = panic::catch_unwind(AssertUnwindSafe(|| (self.errors)(&self.state, problem, refused)));
        told.unwrap_or_else(|_| problem.to_reply(refused.id))
    }
}

enum Next<S: 'static> {
    Said(Reply),
    Run(&'static Route<S>, Box<Request>),
    ShowAgain(&'static Route<S>, Box<Request>, Box<Problem>),
}

/// What is known of a request however it ends.
struct Trail {
    route: &'static str,
    headers: HeaderMap,
    /// What the handler adds.
    answer_headers: AnswerHeaders,
}

impl Trail {
    /// The route is for our own pages: no origin is welcome, whatever the list says.
    fn forget_welcome(&mut self) {
        self.headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        self.headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}

impl<S> Entry<S> {
    /// Answers what a browser asks before it sends a script's request: yes, when the origin is listed and the route that
    /// the method names is for other origins.
    fn allow_preflight(&self, head: &Head, trail: &mut Trail) {
        let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD) else { return };
        let method = Method::from_bytes(asked.as_bytes()).ok();
        let open = method
            .and_then(|method| self.serving(&method))
            .is_some_and(|route| route.spec.access.is_for_other_origins());
        if !open {
            trail.forget_welcome();
        } else if trail.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            trail.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.allow.clone());
            // Where everybody is welcome, so is whatever they send: libraries name headers of their own.
            let everybody = trail.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|origin| origin == "*");
            let wanted = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| everybody).cloned();
            let accepted = wanted.unwrap_or(HeaderValue::from_static(ACCEPTED));
            trail.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, accepted);
            trail.headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }

    fn serving(&self, method: &Method) -> Option<&'static Route<S>> {
        let of = |wanted: &Method| self.routes.iter().copied().find(|route| route.spec.method == *wanted);
        of(method).or_else(|| if method == Method::HEAD { of(&Method::GET) } else { None })
    }
}

fn allow_of<S>(routes: &[&'static Route<S>]) -> HeaderValue {
    let mut methods = Vec::new();
    for route in routes {
        methods.push(route.spec.method.as_str());
        if route.spec.method == Method::GET && !routes.iter().any(|other| other.spec.method == Method::HEAD) {
            methods.push("HEAD");
        }
    }
    if !methods.contains(&"OPTIONS") {
        methods.push("OPTIONS");
    }
    HeaderValue::try_from(methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// A route group whatever its handlers share, as the router sees it.
pub(crate) trait AnyGroup: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The patterns of its table; where one stands among them is where [`Found::entry`] finds it.
    fn patterns(&self) -> Vec<&'static str>;

    /// Whether a path that no table has is this group's to refuse.
    fn claims(&self, path: &str) -> bool;

    /// Answers, whatever the request is.
    fn serve(
        self: Arc<Self>,
        settings: Arc<Settings>,
        arrival: Arrival,
        body: BodyStream,
        load: Arc<Load>,
    ) -> BoxFuture<'static, Reply>;
}

/// A request as it comes to its group.
pub(crate) struct Arrival {
    /// Its head.
    pub(crate) head: Arc<Head>,
    /// Its path with escapes of unreserved characters undone; `None` when it is none.
    pub(crate) path: Option<String>,
    /// What the tables have at this path.
    pub(crate) found: Option<Found>,
    /// Its id.
    pub(crate) id: String,
    /// Why it is refused whatever the group thinks of it.
    pub(crate) refused: Option<Problem>,
}

/// A path that a table has.
pub(crate) struct Found {
    /// Where its pattern stands among the group's.
    pub(crate) entry: usize,
    /// What the pattern's parameters are, decoded; `None` when one cannot be.
    pub(crate) params: Option<Vec<(String, String)>>,
}

impl<S: Admission> AnyGroup for RouteGroup<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn patterns(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.pattern).collect()
    }

    fn claims(&self, path: &str) -> bool {
        self.everything_else || self.prefixes.iter().any(|prefix| is_below(path, prefix))
    }

    fn serve(
        self: Arc<Self>,
        settings: Arc<Settings>,
        arrival: Arrival,
        body: BodyStream,
        load: Arc<Load>,
    ) -> BoxFuture<'static, Reply> {
        Box::pin(async move {
            let (head, id) = (Arc::clone(&arrival.head), arrival.id.clone());
            let began = Instant::now();
            let mut trail =
                Trail { route: UNMATCHED, headers: HeaderMap::new(), answer_headers: AnswerHeaders::default() };
            self.welcome_origin(&settings, &head, &mut trail);
            let answer =
                AssertUnwindSafe(self.answer(&settings, arrival, body, &load, &mut trail)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|panic| Err(Problem::fault(said_by(&*panic))));
            let refused = Refused { head: &head, id: &id };
            let reply =
                answer.unwrap_or_else(|problem| self.tell(&problem.told_at(self.state.now()), &refused, trail.route));
            let mut reply = reply.with_page_policy(&self.page_policy);
            for (name, value) in &trail.headers {
                if name == VARY {
                    reply.headers.append(name, value.clone());
                } else {
                    reply.headers.insert(name, value.clone());
                }
            }
            for (name, value) in &trail.answer_headers.take() {
                reply.headers.append(name, value.clone());
            }
            count(trail.route, &head.method, reply.status, began.elapsed());
            reply
        })
    }
}

/// The label of requests that no table knows.
pub(crate) const UNMATCHED: &str = "unmatched";

/// Counts one answered request. Only words of a closed list become labels: a path or an invented method would let
/// strangers fill the memory.
pub(crate) fn count(route: &'static str, method: &Method, status: StatusCode, took: Duration) {
    let method = match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    };
    let status = status.as_str().to_owned();
    metrics::counter!("cairn_http_requests_total", "route" => route, "method" => method, "status" => status)
        .increment(1);
    metrics::histogram!("cairn_http_request_seconds", "route" => route).record(took.as_secs_f64());
}

pub(crate) fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a text"))
}
