//! The wake pump: flows whose instant has come are claimed in batches and woken without shells.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use crate::clock::Timestamp;
use crate::crash::Point;
use crate::engine::{Engine, Fault};
use crate::flow::Domain;
use crate::store::{Claim, PATIENCE, Row, StoreFault, Unclaim};

/// Due flows claimed at once.
const BATCH: u32 = 1_024;
/// Claims from which a flow may come back without a word. The first was perhaps in company and says nothing of it:
/// whatever ends a process ends a whole batch. From then on the store hands it out alone, and after a death no sooner
/// than its claim ends: a flow that ends the process does so now and then, not at every start. When it has come to that
/// twice as often as [`PATIENCE`], it is known by name and not touched again. (Three times happened to innocent flows
/// where a node was killed every few seconds.)
const CRASHES: u32 = 1 + 2 * PATIENCE;

/// Claims what is due and wakes it; gives how many were claimed.
///
/// # Errors
/// What the store says.
pub(crate) async fn tick<D: Domain>(engine: &Engine<D>) -> Result<usize, Fault> {
    // What a node claims as it ends keeps it from ending, and from other nodes until the claim runs out.
    if engine.is_draining() {
        return Ok(0);
    }
    let mut claimed = recall(engine).await?;
    if claimed.is_none() {
        claimed = claim(engine).await?;
    }
    let Some((lapses, rows)) = claimed.filter(|(_, rows)| !rows.is_empty()) else { return Ok(0) };
    let count = rows.len();
    engine.0.host.pass(Point::DueClaimed);
    join_all(rows.into_iter().map(|row| wake(engine, row, lapses))).await;
    Ok(count)
}

/// When a claim ends by itself, and what it took.
type Claimed = Option<(Timestamp, Vec<Row>)>;

/// Claims what is due, if anything is.
async fn claim<D: Domain>(engine: &Engine<D>) -> Result<Claimed, Fault> {
    let now = engine.now();
    match engine.0.store.next_due().await? {
        Some(next) if next <= now => {}
        _ => return Ok(None),
    }
    let claim = Claim { now, until: now.after(engine.0.tuning.claim), node: engine.node().to_owned(), limit: BATCH };
    let asked = claim.clone();
    let rows = engine.chore(move |store| Box::pin(async move { store.claim_due(asked).await })).await;
    let lapses = claim.until;
    if let Err(StoreFault::Ambiguous(_)) = &rows {
        *unanswered(engine) = Some(claim);
    }
    Ok(Some((lapses, rows?)))
}

/// What a claim took whose answer was lost. Left alone it would lapse, and count as an attempt of which nothing was
/// heard: three of those set a flow aside that harms nobody.
async fn recall<D: Domain>(engine: &Engine<D>) -> Result<Claimed, Fault> {
    let lost = unanswered(engine).clone();
    let Some(claim) = lost else { return Ok(None) };
    let lapses = claim.until;
    let rows = engine.0.store.claimed(claim).await?;
    *unanswered(engine) = None;
    Ok(Some((lapses, rows)).filter(|(_, rows)| !rows.is_empty()))
}

fn unanswered<D: Domain>(engine: &Engine<D>) -> MutexGuard<'_, Option<Claim>> {
    engine.0.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wake<D: Domain>(engine: &Engine<D>, row: Row, lapses: Timestamp) {
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
    give_back(engine, Unclaim { flow, version, node: engine.node().to_owned(), lapses, until, counts }).await;
}

/// Gives a claim back, again and again until the database takes it: an attempt that stays counted though the database was
/// away would in the end blame the flow.
async fn give_back<D: Domain>(engine: &Engine<D>, back: Unclaim) {
    const PAUSE: Duration = Duration::from_millis(500);
    let back = Arc::new(back);
    loop {
        let asked = Arc::clone(&back);
        let chore = engine.chore(move |store| Box::pin(async move { store.unclaim(&asked).await }));
        let Err(why) = chore.await else { return };
        if engine.is_draining() {
            tracing::debug!(flow = %back.flow, %why, "its claim runs out by itself");
            return;
        }
        engine.0.host.sleep(PAUSE).await;
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
