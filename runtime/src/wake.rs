//! The wake pump: flows whose instant has come are claimed in batches and woken without shells.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use crate::clock::Timestamp;
use crate::crash::Point;
use crate::engine::{Engine, Fault};
use crate::flow::Domain;
use crate::id::FlowId;
use crate::store::{Claim, PATIENCE, Row, StoreFault};

/// Due flows claimed at once.
const BATCH: u32 = 1_024;
/// Claims from which a flow may come back without a word. The first was perhaps in company and says nothing of it:
/// whatever ends a process ends a whole batch. From then on the store hands it out alone; when the process ends
/// [`PATIENCE`] times more with this one flow in its hands, it is known by name and not touched again.
const CRASHES: u32 = 1 + PATIENCE;

/// Claims what is due and wakes it; gives how many were claimed.
///
/// # Errors
/// What the store says.
pub(crate) async fn tick<D: Domain>(engine: &Engine<D>) -> Result<usize, Fault> {
    // What a node claims as it ends keeps it from ending, and from other nodes until the claim runs out.
    if engine.is_draining() {
        return Ok(0);
    }
    let mut rows = recall(engine).await?;
    if rows.is_empty() {
        rows = claim(engine).await?;
    }
    if rows.is_empty() {
        return Ok(0);
    }
    let count = rows.len();
    engine.0.host.pass(Point::DueClaimed);
    join_all(rows.into_iter().map(|row| wake(engine, row))).await;
    Ok(count)
}

/// Claims what is due, if anything is.
async fn claim<D: Domain>(engine: &Engine<D>) -> Result<Vec<Row>, Fault> {
    let now = engine.now();
    match engine.0.store.next_due().await? {
        Some(next) if next <= now => {}
        _ => return Ok(Vec::new()),
    }
    let claim = Claim { now, until: now.after(engine.0.tuning.claim), node: engine.node().to_owned(), limit: BATCH };
    let asked = claim.clone();
    let claimed = engine.chore(move |store| Box::pin(async move { store.claim_due(asked).await })).await;
    if let Err(StoreFault::Ambiguous(_)) = &claimed {
        *unanswered(engine) = Some(claim);
    }
    Ok(claimed?)
}

/// What a claim took whose answer was lost. Left alone it would lapse, and count as an attempt of which nothing was
/// heard: three of those set a flow aside that harms nobody.
async fn recall<D: Domain>(engine: &Engine<D>) -> Result<Vec<Row>, Fault> {
    let lost = unanswered(engine).clone();
    let Some(claim) = lost else { return Ok(Vec::new()) };
    let rows = if claim.until > engine.now() { engine.0.store.claimed(claim).await? } else { Vec::new() };
    *unanswered(engine) = None;
    Ok(rows)
}

fn unanswered<D: Domain>(engine: &Engine<D>) -> MutexGuard<'_, Option<Claim>> {
    engine.0.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wake<D: Domain>(engine: &Engine<D>, row: Row) {
    let (flow, version, attempts, kind) = (row.id, row.version, row.attempts, row.kind.clone());
    if attempts > CRASHES {
        let why = format!("claimed {attempts} times, and nothing was heard of it again: it may end the process");
        if engine.quarantine(flow, &kind, version, &why).await.is_ok() {
            return;
        }
    }
    let woken = match engine.kind(&kind) {
        Some(known) => known.wake(engine.clone(), row).await,
        None => Err(Fault::Defect(format!("there are no flows of kind {kind}"))),
    };
    let now = engine.now();
    let (until, counts) = match woken {
        Ok(()) | Err(Fault::Settled) => {
            metrics::counter!(crate::telemetry::WOKEN, "flow" => kind, "result" => "done").increment(1);
            return;
        }
        Err(Fault::Defect(why)) => {
            metrics::counter!(crate::telemetry::WOKEN, "flow" => kind.clone(), "result" => "failed").increment(1);
            if attempts >= PATIENCE {
                let why = format!("woken {attempts} times in vain: {why}");
                if engine.quarantine(flow, &kind, version, &why).await.is_ok() {
                    return;
                }
            }
            (now.after(Duration::from_secs(1 << attempts.min(6))), true)
        }
        Err(why) => {
            tracing::debug!(%flow, %why, "a due flow could not be woken now");
            (now.after(Duration::from_millis(250)), false)
        }
    };
    give_back(engine, flow, until, counts).await;
}

/// Gives a claim back, again and again while it lasts: an attempt that stays counted though the database was away would
/// in the end blame the flow.
async fn give_back<D: Domain>(engine: &Engine<D>, flow: FlowId, until: Timestamp, counts: bool) {
    const PAUSE: Duration = Duration::from_millis(500);
    let mut left = engine.0.tuning.claim;
    loop {
        let chore = engine.chore(move |store| Box::pin(async move { store.unclaim(flow, until, counts).await }));
        let Err(why) = chore.await else { return };
        if left.is_zero() {
            tracing::debug!(%flow, %why, "its claim runs out by itself");
            return;
        }
        engine.0.host.sleep(PAUSE).await;
        left = left.saturating_sub(PAUSE);
    }
}

/// Wakes due flows for ever.
pub(crate) async fn run<D: Domain>(engine: Engine<D>) {
    let _alone = engine.0.pumping.lock().await;
    loop {
        match tick(&engine).await {
            Ok(count) if count > 0 => continue,
            Ok(_) => {}
            Err(why) => tracing::warn!(%why, "due flows could not be claimed"),
        }
        let hinted = std::pin::pin!(engine.0.due.notified());
        let _: Either<_, _> = select(hinted, engine.0.host.sleep(engine.0.tuning.poll)).await;
    }
}

/// What tests and the simulation drive instead of waiting.
pub mod pump {
    use super::{Domain, Engine, Fault};

    /// Wakes what is due, once; gives how many were claimed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn tick<D: Domain>(engine: &Engine<D>) -> Result<usize, Fault> {
        super::tick(engine).await
    }

    /// Sets due deliveries on their way, once; gives how many were claimed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn deliver<D: Domain>(engine: &Engine<D>) -> Result<usize, Fault> {
        crate::outbox::tick(engine).await
    }
}
