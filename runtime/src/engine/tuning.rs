//! Bounds and spans of the engine.

use std::time::Duration;

/// Bounds and spans of the engine. The defaults are what production uses.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Commands in flight at once on this node.
    pub commands: usize,
    /// Messages that wait in front of one flow.
    pub per_flow: usize,
    /// Items in the committer's queue.
    pub queue: usize,
    /// Items in one transaction.
    pub batch: usize,
    /// Idle shells go after this.
    pub idle: Duration,
    /// Shells above this number go sooner.
    pub shells: usize,
    /// A caller waits this long for a shell before it goes without one.
    pub patience: Duration,
    /// How long a delivery or a due flow stays with the node that claimed it.
    pub claim: Duration,
    /// How often the outbox and the wake pump look by themselves.
    pub poll: Duration,
    /// Deliveries of one lane in the hands of this node at once; a lane may have less room.
    pub deliveries: usize,
    /// How long the fate of an ambiguous commit is asked for.
    pub ambiguity: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            commands: 10_000,
            per_flow: 64,
            queue: 8_192,
            batch: 256,
            idle: Duration::from_secs(60),
            shells: 50_000,
            patience: Duration::from_secs(10),
            claim: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            deliveries: 1_024,
            ambiguity: Duration::from_secs(8),
        }
    }
}
