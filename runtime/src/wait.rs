//! Waiting for a flow to reach a version: woken by commits of this node, and by a look at the row now and then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use crate::engine::{Engine, Fault};
use crate::flow::Domain;
use crate::id::FlowId;
use crate::store::Row;

/// Who waits for which flow.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<FlowId, Vec<oneshot::Sender<()>>>>);

impl Waits {
    /// For how many flows somebody waits.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn enlist(&self, flow: FlowId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waits.entry(flow).or_default();
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }

    /// A flow has moved.
    pub(crate) fn moved(&self, flow: FlowId) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&flow);
        for sender in waiting.into_iter().flatten() {
            let _ = sender.send(());
        }
    }

    fn tidy(&self, flow: FlowId) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waits.get_mut(&flow) {
            waiting.retain(|sender| !sender.is_closed());
            if waiting.is_empty() {
                waits.remove(&flow);
            }
        }
    }
}

/// Strikes off who does not wait any more, whichever way the waiting ended.
struct Leaves<'a>(&'a Waits, FlowId);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.tidy(self.1);
    }
}

impl<D: Domain> Engine<D> {
    /// Waits until a flow is at this version or later, at most this long; gives its row as it is then.
    ///
    /// # Errors
    /// [`Fault::NotFound`], or the database is away.
    pub async fn wait(&self, flow: FlowId, version: u64, at_most: Duration) -> Result<Row, Fault> {
        let mut left = at_most;
        let look = self.0.tuning.poll;
        let _leaves = Leaves(&self.0.waits, flow);
        loop {
            let moved = self.0.waits.enlist(flow);
            let row = self.0.store.load(flow).await?.ok_or(Fault::NotFound)?;
            if row.version >= version || left.is_zero() {
                return Ok(row);
            }
            let span = look.min(left);
            if let Either::Right(_) = select(moved, self.0.host.sleep(span)).await {
                left = left.saturating_sub(span);
            }
        }
    }
}
