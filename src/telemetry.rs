//! Logs and metrics: where they go.

use cairn_persistence::Database;
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::output::Log;

/// Modules of the PostgreSQL driver that quote what they could not read: a line of `.pgpass`, the value of a parameter.
const QUOTING: [&str; 2] = ["sqlx_postgres::options::pgpass", "sqlx_postgres::options::parse"];

/// Logs go to standard error; standard output has the one line that says ready.
pub(crate) fn log(config: &Config) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(&config.log).map_err(|why| format!("CAIRN_LOG: {why}"))?;
    for target in QUOTING {
        let silence = format!("{target}=off").parse().map_err(|why| format!("CAIRN_LOG: {why}"))?;
        filter = filter.add_directive(silence);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log).log_internal_errors(false);
    let set = if config.log_json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    set.map_err(|why| why.to_string())
}

/// Every histogram of seconds has these buckets: from a commit in memory to a request that waits for a mail server.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Installs the recorder and describes what will be recorded.
pub(crate) fn metrics() -> Result<PrometheusHandle, String> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(cairn_runtime::telemetry::BATCH.to_owned()), BATCHES)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|why| why.to_string())?;
    cairn_runtime::telemetry::describe();
    cairn_http::describe_metrics();
    cairn_actors::describe_metrics();
    describe_gauge!(
        CONNECTIONS,
        "Connections to the database, by what they are for and whether something runs on them"
    );
    describe_gauge!(CONNECTIONS_MOST, "Connections to the database that there may be, by what they are for");
    describe_gauge!(
        CONNECTIONS_WAITING,
        "Callers that wait for a connection to the database, by what they want it for"
    );
    Ok(handle)
}

/// Connections of this process to the database. Labels: `use` (`read`, `write`), `state` (`busy`, `idle`).
const CONNECTIONS: &str = "cairn_database_connections";
/// How many there may be. Label: `use`.
const CONNECTIONS_MOST: &str = "cairn_database_connections_most";
/// Callers that wait for one. Label: `use`.
const CONNECTIONS_WAITING: &str = "cairn_database_connections_waiting";

/// Sets the gauges of the connections to the database.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a floating-point number, and there are no 2⁵³ connections")]
pub(crate) fn connections(database: &Database) {
    let (reading, writing) = database.figures();
    for (purpose, figures) in [("read", reading), ("write", writing)] {
        let idle = figures.open.saturating_sub(figures.in_use);
        gauge!(CONNECTIONS, "use" => purpose, "state" => "busy").set(figures.in_use as f64);
        gauge!(CONNECTIONS, "use" => purpose, "state" => "idle").set(idle as f64);
        gauge!(CONNECTIONS_MOST, "use" => purpose).set(figures.most as f64);
        gauge!(CONNECTIONS_WAITING, "use" => purpose).set(figures.waiting as f64);
    }
}
