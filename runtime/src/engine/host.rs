//! What the engine runs on: tasks, timers and shells.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::crash::Point;
use crate::id::FlowId;
use crate::shell::{Body, Mailbox};

/// Where tasks, timers and shells live: ractor and tokio in production, a seeded scheduler in the simulation.
pub trait Host: Send + Sync + 'static {
    /// Runs a task that nobody waits for.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Ends after a span.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
    /// Gives a shell a mailbox and someone who watches it; `None` when that cannot be had now.
    fn hatch(&self, flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>>;
    /// Ends the process: what memory believes may not be on disk.
    fn abort(&self, why: &str);
    /// A named place is passed; a test's host may do its worst there.
    fn pass(&self, _point: Point) {}
}
