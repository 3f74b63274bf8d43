//! Who makes trouble from outside: nodes and shells are killed, clocks moved, the database taken away; and who mends it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select;

use super::cluster::Cluster;
use super::edges::with;
use crate::clock::{Clock, Timestamp};
use crate::flow::Domain;
use crate::id::FlowId;
use crate::store::{Row, Store};

/// Begins a node anew some time after it died, for ever.
pub(super) async fn revive<D: Domain>(cluster: Arc<Cluster<D>>) {
    loop {
        let span = cluster.fate.roll(|rng| rng.between(50, 900));
        cluster.outside.sleep(Duration::from_millis(span)).await;
        for number in cluster.dead() {
            if cluster.fate.is_calm() || cluster.fate.roll(|rng| rng.chance(400)) {
                cluster.revive(number);
            }
        }
    }
}

/// Has things happen about as often as the faults say, until it is calm.
pub(super) async fn trouble<D: Domain>(cluster: Arc<Cluster<D>>) {
    let faults = cluster.fate.faults();
    let usual = u64::try_from(faults.trouble.as_millis()).unwrap_or(u64::MAX);
    while usual > 0 && !cluster.fate.is_calm() {
        let span = cluster.fate.roll(|rng| rng.between(usual / 4, usual.saturating_mul(7) / 4));
        cluster.outside.sleep(Duration::from_millis(span)).await;
        if cluster.fate.is_calm() {
            break;
        }
        match cluster.fate.roll(|rng| rng.below(11)) {
            0 | 1 => kill_node(&cluster),
            2 => stop_node(&cluster).await,
            3..=6 => kill_shells(&cluster),
            7 => outage(&cluster).await,
            8 if faults.clocks => jump(&cluster),
            9 | 10 if faults.clocks => skew(&cluster),
            _ => {}
        }
    }
}

fn kill_node<D: Domain>(cluster: &Cluster<D>) {
    let places = cluster.places().len();
    let number = cluster.fate.roll(|rng| rng.place(places));
    if cluster.kill(number) {
        cluster.fate.count(|figures| figures.kills += 1);
    }
}

/// Stops a node as a deployment does: it takes no more, ends what it has, and goes; after ten seconds it is killed.
async fn stop_node<D: Domain>(cluster: &Cluster<D>) {
    let open = cluster.open();
    let Some(node) = cluster.fate.roll(|rng| rng.pick(&open).cloned()) else { return };
    cluster.fate.note(|| format!("{} is told to stop", node.handle.name()));
    node.open.store(false, Ordering::SeqCst);
    node.engine.drain();
    let drained = pin!(node.engine.drained());
    select(drained, cluster.outside.sleep(Duration::from_secs(10))).await;
    node.handle.kill();
    cluster.fate.count(|figures| figures.stopped += 1);
}

/// On every node, the shells of a few of the flows that moved last.
fn kill_shells<D: Domain>(cluster: &Cluster<D>) {
    let recent: Vec<FlowId> = cluster.memory.inspect(|tables| {
        tables.log.iter().rev().take(40).flat_map(|line| line.rows.iter().map(|row| row.id)).collect()
    });
    for node in cluster.open() {
        for _ in 0..4 {
            let flow = cluster.fate.roll(|rng| rng.pick(&recent).copied());
            if let Some(flow) = flow
                && node.engine.kill_shell(flow)
            {
                cluster.fate.count(|figures| figures.shells_killed += 1);
            }
        }
    }
}

async fn outage<D: Domain>(cluster: &Cluster<D>) {
    cluster.fate.count(|figures| figures.outages += 1);
    cluster.fate.note(|| "the database is away".to_owned());
    cluster.memory.set_down(true);
    let span = cluster.fate.roll(|rng| rng.between(100, 12_000));
    cluster.outside.sleep(Duration::from_millis(span)).await;
    cluster.memory.set_down(false);
    cluster.fate.note(|| "the database is back".to_owned());
}

/// The common clock jumps: back by up to an hour, or forward by as much.
fn jump<D: Domain>(cluster: &Cluster<D>) {
    cluster.fate.count(|figures| figures.clocks += 1);
    let clock = cluster.executor.clock();
    let (back, longest) = cluster.fate.roll(|rng| {
        let back = rng.chance(500);
        (back, if rng.chance(500) { 3_600_000 } else { 20_000 })
    });
    let span = Duration::from_millis(cluster.fate.roll(|rng| rng.below(longest)));
    cluster.fate.note(|| format!("the clock jumps {} by {span:?}", if back { "back" } else { "forward" }));
    if back { clock.set_back(span) } else { clock.advance(span) }
}

/// One node's clock goes wrong, or right again.
fn skew<D: Domain>(cluster: &Cluster<D>) {
    cluster.fate.count(|figures| figures.clocks += 1);
    let places = cluster.places().len();
    let (number, wrong_by) = cluster.fate.roll(|rng| {
        let far = i64::try_from(rng.below(60_000)).unwrap_or(0);
        (rng.place(places), *rng.pick(&[0, far, -far, far / 60, -far / 60]).unwrap_or(&0))
    });
    cluster.fate.note(|| format!("the clock of node {number} is wrong by {wrong_by} ms"));
    if let Some(place) = cluster.places().get(number) {
        place.clock.skew(wrong_by);
    }
}

/// All is well from now on: the store has no faults, clocks are right, the dead come back.
pub(super) fn calm<D: Domain>(cluster: &Cluster<D>) {
    cluster.fate.calm();
    cluster.fate.note(|| "calm".to_owned());
    cluster.memory.clear_faults();
    for place in cluster.places().iter() {
        place.clock.skew(0);
    }
}

/// Whether nothing is under way: every delivery has ended, and no flow is due.
pub(super) fn is_at_rest<D: Domain>(cluster: &Cluster<D>, now: Timestamp) -> bool {
    cluster.memory.inspect(|tables| {
        tables.outbox.values().all(|delivery| delivery.settled.is_some())
            && tables.rows.values().all(|stored| {
                stored.row.quarantined.is_some() || stored.row.wake_at.is_none_or(|wake_at| wake_at > now)
            })
    })
}

/// The operator looks after flows in quarantine.
pub(super) fn operate<D: Domain>(cluster: &Cluster<D>, now: Timestamp) {
    let aside: Vec<Row> = cluster.memory.inspect(|tables| {
        let rows = tables.rows.values().map(|stored| &stored.row);
        rows.filter(|row| row.waits_for_operator()).cloned().collect()
    });
    for row in aside {
        if let Some(verb) = with(&cluster.workload, |workload| workload.operate(&row, now)) {
            cluster.fate.note(|| format!("the operator says {verb:?} to {}", row.id));
            // The store in memory has no faults any more: it answers at once.
            let _ = cluster.memory.operate(row.id, verb, now).now_or_never();
        }
    }
}

/// Moves the clock to the next instant at which a delivery may be had, if all of them wait.
pub(super) fn leap<D: Domain>(cluster: &Cluster<D>) {
    let clock = cluster.executor.clock();
    let now = clock.now();
    let next = cluster.memory.inspect(|tables| {
        let open = tables.outbox.values().filter(|delivery| delivery.settled.is_none());
        let soonest = open.map(|delivery| delivery.claimed_until.map_or(delivery.due, |until| until.max(delivery.due)));
        let claims = tables.rows.values().filter(|stored| stored.row.wake_at.is_some_and(|wake_at| wake_at <= now));
        soonest.chain(claims.filter_map(|stored| stored.claimed_until)).min()
    });
    if let Some(next) = next.filter(|next| *next > now) {
        clock.set(next);
    }
}
