//! The operations listener: health, metrics, the runtime's status, a ping through a real flow, the audit, and the signing
//! keys.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_actors::services::Services;
use cairn_actors::services::ping::Pinged;
use cairn_runtime::store::Finding;
use cairn_runtime::{Timestamp, telemetry};
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::{Access, Admission};
use crate::description::{Area, Description};
use crate::problem::Problem;
use crate::reply::{Reply, instant};
use crate::request::Request;
use crate::route::{Answer, RouteSpec, call, routes};
use crate::route_group::{RouteGroup, TableFault};
use crate::schema;

pub mod keys;

/// Whether the process should be sent requests. Red until it is ready, and again from the signal to stop on.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the operations handlers share.
pub struct Operations {
    /// The use cases, and through them the engine.
    pub services: Services,
    /// Whether requests should come.
    pub readiness: Readiness,
    /// Renders all metrics in the Prometheus text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// What an operator should know of a server that is ready all the same.
    pub remark: Box<dyn Fn() -> Option<&'static str> + Send + Sync>,
    /// When the process began.
    pub started_at: Timestamp,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Operations")
    }
}

impl Admission for Operations {
    fn now(&self) -> Timestamp {
        self.services.engine.now()
    }

    fn admit<'a>(&'a self, _door: Access, _request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async { Err(Problem::credentials()) })
    }
}

routes! {
    static ROUTES: Operations, call;
    GET "/health", open, none => 200(Health) | 503(Health), unlimited, |_, _| async { good() }, HEALTH;
    GET "/health/live", open, none => 200(Health) | 503(Health), unlimited, |_, _| async { good() }, LIVE;
    GET "/health/ready", open, none => 200(Health) | 503(Health), unlimited, |operations, _| ready(operations), READY;
    GET "/health/db", open, none => 200(Health) | 503(Health), unlimited, |operations, _| database(operations), DATABASE;
    GET "/health/runtime", open, none => 200(Health) | 503(Health), unlimited, |operations, _| runtime(operations), RUNTIME;
    GET "/metrics", open, none => file, unlimited, |operations, _| metrics_page(operations), METRICS;
    GET "/runtime/status", open, none => 200(Status), unlimited, |operations, _| status(operations), STATUS;
    GET "/runtime/audit", open, none => 200(AuditBody), unlimited, |operations, _| audit(operations), AUDIT;
    POST "/runtime/ping", open, no_members => 200(PingBody), unlimited, ping, PING;
    GET "/keys", open, none => 200(keys::KeysBody), unlimited, |operations, _| keys::list(operations), keys::LIST;
    POST "/keys/rotate", open, json(keys::RotationBody) => 200(keys::KeysBody), unlimited, keys::rotate, keys::ROTATE;
}

const HEALTH: Description = Description::new("getHealth", Area::Health, "Ask whether the process answers");
const LIVE: Description = Description::new("getLiveness", Area::Health, "Ask whether the process is alive");
const READY: Description = Description::new("getReadiness", Area::Health, "Ask whether requests should be sent")
    .text("503 until the process is ready, and from the signal to stop on.");
const DATABASE: Description = Description::new("getDatabaseHealth", Area::Health, "Ask whether the database answers");
const RUNTIME: Description = Description::new("getRuntimeHealth", Area::Health, "Ask whether the committer answers");
const METRICS: Description =
    Description::new("getMetrics", Area::Runtime, "Get all metrics as Prometheus reads them").file("text/plain");
const STATUS: Description = Description::new("getRuntimeStatus", Area::Runtime, "Get how much there is to do");
const AUDIT: Description = Description::new("getAudit", Area::Runtime, "Audit the database")
    .text("Looks for what must not be, as far as rows show it. 200 also with findings.");
const PING: Description =
    Description::new("ping", Area::Runtime, "Send a ping through a flow").text("A real flow: one actor, two commits.");

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of the operations listener.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(operations: Operations) -> Result<RouteGroup<Operations>, TableFault> {
    Ok(RouteGroup::new("operations", Arc::new(operations), ROUTES)?.everything_else())
}

/// How a part of the process is.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// What an operator should know though it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    remark: Option<&'static str>,
    /// `ok` or `unavailable`.
    status: &'static str,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    why: Option<String>,
}

fn good() -> Answer {
    Reply::json(StatusCode::OK, &Health { remark: None, status: "ok", why: None })
}

fn bad(why: impl Into<String>) -> Answer {
    let health = Health { remark: None, status: "unavailable", why: Some(why.into()) };
    Reply::json(StatusCode::SERVICE_UNAVAILABLE, &health)
}

async fn ready(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    if !engine.is_available() {
        return bad("the database is away");
    }
    if !operations.readiness.get() {
        return bad("starting or stopping");
    }
    Reply::json(StatusCode::OK, &Health { remark: (operations.remark)(), status: "ok", why: None })
}

async fn database(operations: Arc<Operations>) -> Answer {
    match operations.services.engine.store().ping().await {
        Ok(()) => good(),
        Err(why) => bad(why.to_string()),
    }
}

async fn runtime(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    if engine.flushes().await { good() } else { bad("the committer does not answer") }
}

/// How long the metrics wait for the database. What it says of itself is then as old as its last answer.
const BACKLOG_WITHIN: Duration = Duration::from_secs(1);

async fn metrics_page(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    let backlog = tokio::time::timeout(BACKLOG_WITHIN, engine.store().backlog()).await;
    operations.services.measure_signing_keys();
    telemetry::standing(engine, backlog.ok().and_then(Result::ok).as_ref());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(Reply::bytes(StatusCode::OK, kind, (operations.metrics)()))
}

/// How much there is to do on this node and in the database.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RuntimeStatus")]
struct Status {
    /// The committer of this node.
    committer: CommitterCounts,
    /// The flows that have not ended.
    flows: FlowCounts,
    /// The name of this node.
    node: String,
    /// The deliveries.
    outbox: OutboxCounts,
    /// When the process began.
    #[schemars(with = "schema::Instant")]
    started_at: String,
}

/// How many flows there are.
#[derive(Serialize, JsonSchema)]
struct FlowCounts {
    /// With an actor on this node.
    active: u64,
    /// Without one.
    idle: u64,
    /// Set aside for an operator.
    quarantined: u64,
}

/// How many deliveries there are.
#[derive(Serialize, JsonSchema)]
struct OutboxCounts {
    /// That will not go out.
    dead: u64,
    /// That wait.
    pending: u64,
}

/// How much waits for the committer.
#[derive(Serialize, JsonSchema)]
struct CommitterCounts {
    /// Steps that wait to be committed.
    #[schemars(with = "u64")]
    queued: usize,
}

async fn status(operations: Arc<Operations>) -> Result<Status, Problem> {
    let engine = &operations.services.engine;
    let (live, backlog) = (engine.store().live().await?, engine.store().backlog().await?);
    let active = engine.active() as u64;
    Ok(Status {
        node: engine.node().to_owned(),
        started_at: instant(operations.started_at),
        flows: FlowCounts { active, idle: live.saturating_sub(active), quarantined: backlog.quarantined },
        outbox: OutboxCounts { pending: backlog.pending, dead: backlog.dead },
        committer: CommitterCounts { queued: engine.queued() },
    })
}

/// What an audit of the database has found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
struct AuditBody {
    /// What was looked at.
    counted: Counted,
    /// What is wrong.
    #[schemars(with = "Vec<schema::Finding>")]
    findings: Vec<Finding>,
    /// Whether nothing is.
    ok: bool,
}

/// How much an audit has looked at.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditCounts")]
struct Counted {
    /// Deliveries.
    deliveries: u64,
    /// Events.
    events: u64,
    /// Flows.
    flows: u64,
}

async fn audit(operations: Arc<Operations>) -> Result<AuditBody, Problem> {
    let engine = &operations.services.engine;
    let found = engine.store().audit(engine.now()).await?;
    let counted = Counted { flows: found.flows, events: found.events, deliveries: found.deliveries };
    Ok(AuditBody { ok: found.findings.is_empty(), findings: found.findings, counted })
}

/// How long a flow took from the request to its second commit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Ping")]
struct PingBody {
    /// The flow.
    #[schemars(with = "schema::FlowId")]
    flow: String,
    /// How the server reached the flow.
    #[schemars(with = "schema::Method")]
    method: cairn_runtime::Method,
    /// The same by its parts.
    parts: PingParts,
    /// Milliseconds.
    total_ms: f64,
}

/// How long the parts of a ping took.
#[derive(Serialize, JsonSchema)]
struct PingParts {
    /// Milliseconds until the flow was begun.
    start_ms: f64,
    /// Milliseconds of the step after it.
    step_ms: f64,
}

async fn ping(operations: Arc<Operations>, request: Request) -> Result<PingBody, Problem> {
    // Its type is what a form of another site cannot send.
    if !request.headers().contains_key(CONTENT_TYPE) {
        return Err(Problem::media_type("Send application/json with an empty object, or nothing at all."));
    }
    let Pinged { flow, method, start, step } = operations.services.ping(request.id()).await?;
    let millis = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
    let parts = PingParts { start_ms: millis(start), step_ms: millis(step) };
    Ok(PingBody { flow, method, total_ms: millis(start + step), parts })
}
