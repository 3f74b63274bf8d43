//! The operations listener: health, metrics, the runtime's status, a ping through a real flow, and the audit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_actors::services::Services;
use cairn_runtime::{Timestamp, telemetry};
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use crate::access::{Access, Admission};
use crate::api::instant;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::{Answer, Route, RouteGroup, Run, Schema, TableFault};

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

    fn enter<'a>(&'a self, _door: Access, _request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async { Err(Problem::credentials()) })
    }
}

static ROUTES: &[Route<Operations>] = &[
    get("/health", |_, _| Box::pin(async { ok() })),
    get("/health/live", |_, _| Box::pin(async { ok() })),
    get("/health/ready", |operations, _| Box::pin(ready(operations))),
    get("/health/db", |operations, _| Box::pin(database(operations))),
    get("/health/runtime", |operations, _| Box::pin(runtime(operations))),
    get("/metrics", |operations, _| Box::pin(metrics_page(operations))),
    get("/runtime/status", |operations, _| Box::pin(status(operations))),
    get("/runtime/audit", |operations, _| Box::pin(audit(operations))),
    Route {
        method: Method::POST,
        path: "/runtime/ping",
        access: Access::Open,
        bucket: None,
        schema: Schema::Json,
        run: |operations, request| Box::pin(ping(operations, request)),
    },
];

const fn get(path: &'static str, run: Run<Operations>) -> Route<Operations> {
    Route { method: Method::GET, path, access: Access::Open, bucket: None, schema: Schema::Nothing, run }
}

/// The route group of the operations listener.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(operations: Operations) -> Result<RouteGroup<Operations>, TableFault> {
    Ok(RouteGroup::new("operations", Arc::new(operations), ROUTES)?.everything_else())
}

fn ok() -> Answer {
    Reply::json(StatusCode::OK, &json!({ "status": "ok" }))
}

fn verdict(good: bool, why: &str) -> Answer {
    if good {
        ok()
    } else {
        Reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "unavailable", "why": why }))
    }
}

async fn ready(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    if !engine.is_available() {
        return verdict(false, "the database is away");
    }
    if !operations.readiness.get() {
        return verdict(false, "starting or stopping");
    }
    match (operations.remark)() {
        Some(remark) => Reply::json(StatusCode::OK, &json!({ "status": "ok", "remark": remark })),
        None => ok(),
    }
}

async fn database(operations: Arc<Operations>) -> Answer {
    match operations.services.engine.store().ping().await {
        Ok(()) => ok(),
        Err(why) => verdict(false, &why.to_string()),
    }
}

async fn runtime(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    verdict(engine.flushes().await, "the committer does not answer")
}

/// How long the metrics wait for the database. What it says of itself is then as old as its last answer.
const BACKLOG_WITHIN: Duration = Duration::from_secs(1);

async fn metrics_page(operations: Arc<Operations>) -> Answer {
    let engine = &operations.services.engine;
    let backlog = tokio::time::timeout(BACKLOG_WITHIN, engine.store().backlog()).await;
    telemetry::standing(engine, backlog.ok().and_then(Result::ok).as_ref());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(Reply::bytes(StatusCode::OK, kind, (operations.metrics)()))
}

async fn status(operations: Arc<Operations>) -> Answer {
    let services = &operations.services;
    let store = services.engine.store();
    let (live, backlog) = (store.live().await?, store.backlog().await?);
    let active = services.engine.active() as u64;
    Reply::json(
        StatusCode::OK,
        &json!({
            "node": services.engine.node(),
            "started_at": instant(operations.started_at),
            "flows": {
                "active": active,
                "idle": live.saturating_sub(active),
                "quarantined": backlog.quarantined,
            },
            "outbox": { "pending": backlog.pending, "dead": backlog.dead },
            "committer": { "queued": services.engine.queued() },
        }),
    )
}

async fn audit(operations: Arc<Operations>) -> Answer {
    let services = &operations.services;
    let now = services.engine.now();
    let found = services.engine.store().audit(now).await?;
    Reply::json(
        StatusCode::OK,
        &json!({
            "ok": found.findings.is_empty(),
            "findings": found.findings,
            "counted": { "flows": found.flows, "events": found.events, "deliveries": found.deliveries },
        }),
    )
}

async fn ping(operations: Arc<Operations>, request: Request) -> Answer {
    // Its type is what a form of another site cannot send.
    if !request.headers().contains_key(CONTENT_TYPE) {
        return Err(Problem::media_type("Send application/json with an empty object, or nothing at all."));
    }
    request.no_members()?;
    let services = &operations.services;
    let pinged = services.ping(request.id()).await?;
    let millis = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
    Reply::json(
        StatusCode::OK,
        &json!({
            "flow": pinged.flow,
            "method": pinged.method,
            "total_ms": millis(pinged.start + pinged.step),
            "parts": { "start_ms": millis(pinged.start), "step_ms": millis(pinged.step) },
        }),
    )
}
