//! Every metric of the engine: its name, its help and its labels, described once at start.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Committed steps and acts. Labels: `flow`, `from`, `to`.
pub const STEPS: &str = "cairn_flow_steps_total";
/// Attempts at deliveries. Labels: `kind`, `result` (`accepted`, `retrying`, `dead`, `unknown`).
pub const DELIVERIES: &str = "cairn_deliveries_total";
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

/// Describes all of them to the recorder that is installed.
pub fn describe() {
    describe_counter!(STEPS, "Committed steps of flows and acts, by phase before and after");
    describe_counter!(DELIVERIES, "Attempts at deliveries, by kind and result");
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
}
