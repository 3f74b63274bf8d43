//! Every metric of the engine: its name, its help and its labels, described once at start.

use metrics::{describe_counter, describe_gauge, describe_histogram};

use crate::store::Backlog;
use crate::{Domain, Engine};

/// Committed steps and acts. Labels: `flow`, `from`, `to`.
pub const STEPS: &str = "cairn_flow_steps_total";
/// Attempts at deliveries. Labels: `kind`, `result` (`accepted`, `retrying`, `dead`, `unknown`).
pub const DELIVERIES: &str = "cairn_deliveries_total";
/// 1 while deliveries of a lane are taken up, 0 while it rests. Label: `lane`.
pub const LANE_OPEN: &str = "cairn_outbox_lane_open";
/// Steps that were decided on a row which had moved. Label: `flow`.
pub const STALE: &str = "cairn_flow_stale_total";
/// Inputs that went without a shell. Label: `flow`.
pub const DIRECT: &str = "cairn_flow_direct_total";
/// Shells hatched. Label: `flow`.
pub const ACTIVATIONS: &str = "cairn_flow_activations_total";
/// Shells alive.
pub const SHELLS: &str = "cairn_shells";
/// Flows woken. Labels: `flow`, `result`.
pub const WOKEN: &str = "cairn_flow_woken_total";
/// Flows set aside. Label: `flow`.
pub const QUARANTINED: &str = "cairn_flow_quarantined_total";
/// Commands refused because too much waits. Label: `where`.
pub const REFUSED: &str = "cairn_commands_refused_total";
/// Defects of ours: panics in decisions, refused writes.
pub const DEFECTS: &str = "cairn_defects_total";
/// Items in one transaction.
pub const BATCH: &str = "cairn_commit_batch_size";
/// From taking a batch to its durability.
pub const COMMIT_SECONDS: &str = "cairn_commit_seconds";
/// Commits whose answer was lost.
pub const AMBIGUOUS: &str = "cairn_commit_ambiguous_total";
/// Commits that the database asked to try again.
pub const CONFLICTS: &str = "cairn_commit_conflicts_total";
/// 1 while the database answers.
pub const DATABASE_AVAILABLE: &str = "cairn_database_available";
/// Restarts by a supervisor. Label: `task`.
pub const RESTARTS: &str = "cairn_restarts_total";
/// Flows in quarantine, of the whole database.
pub const IN_QUARANTINE: &str = "cairn_flows_quarantined";
/// Deliveries that wait, of the whole database.
pub const PENDING: &str = "cairn_outbox_pending";
/// Deliveries that ended badly and are still remembered, of the whole database.
pub const DEAD: &str = "cairn_outbox_dead";
/// How long the oldest of the deliveries that wait has waited.
pub const OLDEST_SECONDS: &str = "cairn_outbox_oldest_seconds";
/// Items that wait for this node's committer.
pub const QUEUED: &str = "cairn_committer_queued";

/// The values of the label `where` of [`REFUSED`].
const PLACES: [&str; 3] = ["commands", "committer", "flow"];
/// The values of the label `result` of [`DELIVERIES`].
const RESULTS: [&str; 4] = ["accepted", "dead", "retrying", "unknown"];
/// The values of the label `result` of [`WOKEN`].
const WAKINGS: [&str; 2] = ["done", "failed"];

/// Describes all of them to the recorder that is installed.
pub fn describe() {
    describe_counter!(STEPS, "Committed steps of flows and acts, by phase before and after");
    describe_counter!(DELIVERIES, "Attempts at deliveries, by kind and result");
    describe_gauge!(LANE_OPEN, "1 while deliveries of a lane are taken up, 0 from failures on until one gets through");
    describe_counter!(STALE, "Steps decided again because the row had moved meanwhile");
    describe_counter!(DIRECT, "Inputs brought to a flow without a shell");
    describe_counter!(ACTIVATIONS, "Shells hatched for flows");
    describe_gauge!(SHELLS, "Shells alive on this node");
    describe_counter!(WOKEN, "Due flows woken, by result");
    describe_counter!(QUARANTINED, "Flows set aside for the operator");
    describe_counter!(REFUSED, "Commands refused because too much was waiting, by place");
    describe_counter!(DEFECTS, "Defects: decisions that panicked, writes that the database refused");
    describe_histogram!(BATCH, "Items committed in one transaction");
    describe_histogram!(COMMIT_SECONDS, metrics::Unit::Seconds, "From taking a batch to its durability");
    describe_counter!(AMBIGUOUS, "Commits whose answer was lost and asked for again");
    describe_counter!(CONFLICTS, "Commits that the database asked to try again");
    describe_gauge!(DATABASE_AVAILABLE, "1 while the database answers, 0 while it is away");
    describe_counter!(RESTARTS, "Restarts of tasks and supervisors, by task");
    describe_gauge!(IN_QUARANTINE, "Flows in quarantine, of the whole database");
    describe_gauge!(PENDING, "Deliveries that wait, of the whole database");
    describe_gauge!(DEAD, "Deliveries that ended badly and are still remembered, of the whole database");
    describe_gauge!(
        OLDEST_SECONDS,
        metrics::Unit::Seconds,
        "How long the oldest of the deliveries that wait has waited; 0 when none waits"
    );
    describe_gauge!(QUEUED, "Items that wait for this node's committer");
}

/// Makes every counter whose labels are known, at 0: a counter that appears with its first increment shows no increase
/// then, and no alert sees the first incident after a start.
pub(crate) fn begin<'a, D: Domain>(flows: impl Iterator<Item = &'a &'static str>) {
    use metrics::counter;

    metrics::gauge!(SHELLS).increment(0.0);
    counter!(DEFECTS).increment(0);
    counter!(AMBIGUOUS).increment(0);
    counter!(CONFLICTS).increment(0);
    for place in PLACES {
        counter!(REFUSED, "where" => place).increment(0);
    }
    for flow in flows.copied() {
        counter!(STALE, "flow" => flow).increment(0);
        counter!(DIRECT, "flow" => flow).increment(0);
        counter!(ACTIVATIONS, "flow" => flow).increment(0);
        counter!(QUARANTINED, "flow" => flow).increment(0);
        for result in WAKINGS {
            counter!(WOKEN, "flow" => flow, "result" => result).increment(0);
        }
    }
    for kind in D::KINDS.iter().copied().chain(crate::payload::KINDS) {
        for result in RESULTS {
            counter!(DELIVERIES, "kind" => kind, "result" => result).increment(0);
        }
    }
}

/// Sets the gauges of what waits. `None` for the backlog, when the database does not answer, leaves its gauges as they
/// were.
pub fn standing<D: Domain>(engine: &Engine<D>, backlog: Option<&Backlog>) {
    use metrics::gauge;

    gauge!(QUEUED).set(figure(engine.queued() as u64));
    let Some(backlog) = backlog else { return };
    gauge!(IN_QUARANTINE).set(figure(backlog.quarantined));
    gauge!(PENDING).set(figure(backlog.pending));
    gauge!(DEAD).set(figure(backlog.dead));
    let oldest = backlog.oldest.map_or(0.0, |oldest| engine.now().since(oldest).as_secs_f64());
    gauge!(OLDEST_SECONDS).set(oldest);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a floating-point number, and exact to 2⁵³")]
fn figure(count: u64) -> f64 {
    count as f64
}
