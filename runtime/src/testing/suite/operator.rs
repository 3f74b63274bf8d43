//! Quarantine: a flow is set aside with its bytes untouched, until an operator says what is to become of it.

use std::collections::BTreeSet;

use super::Bench;
use super::given::{Draft, at, claim, delivery, delivery_id, flow, row, start, step};
use crate::id::FlowId;
use crate::store::{OutboxRow, PATIENCE, Quarantine, Row, Verb, Verdict};
use crate::testing::toy::NOTES;

async fn set_aside(bench: &Bench, number: u64) {
    bench.store.quarantine(flow(number), 1, at(3), "it panics").await.expect("a write");
}

async fn operate(bench: &Bench, number: u64, verb: Verb) -> bool {
    bench.store.operate(flow(number), verb, at(100)).await.expect("a write")
}

async fn due_ids(bench: &Bench, second: i64) -> Vec<FlowId> {
    let claimed = bench.store.claim_due(claim("one", at(second))).await.expect("a claim");
    claimed.into_iter().map(|row| row.id).collect()
}

/// The row shows since when and why, and is otherwise as it was.
pub async fn a_flow_is_set_aside_with_its_reason_and_its_bytes(bench: Bench) {
    bench.done(start(1).with_row(|row| row.state = "{ not even : JSON".to_owned())).await;
    let before = bench.row(flow(1)).await;
    set_aside(&bench, 1).await;
    let after = bench.row(flow(1)).await;
    assert_eq!(after.quarantined, Some(Quarantine { at: at(3), why: "it panics".to_owned() }));
    assert_eq!(Row { quarantined: None, touched_at: before.touched_at, ..after }, before);
    bench.store.quarantine(flow(1), 1, at(9), "again").await.expect("a write");
    assert_eq!(bench.row(flow(1)).await.quarantined.expect("still").why, "it panics", "the first reason stays");
    assert_eq!(bench.figures().await, [1, 1, 0]);
}

/// Who decides on an old version knows nothing of the new one.
pub async fn a_flow_that_moved_is_not_set_aside(bench: Bench) {
    bench.done(start(1)).await;
    bench.done(step(&row(1), 1)).await;
    set_aside(&bench, 1).await;
    set_aside(&bench, 2).await;
    assert_eq!(bench.row(flow(1)).await.quarantined, None);
    assert_eq!(bench.load(flow(2)).await, None);
}

/// A node that had it in memory learns that it must not touch it.
pub async fn a_flow_in_quarantine_takes_no_step(bench: Bench) {
    bench.done(start(1)).await;
    set_aside(&bench, 1).await;
    let before = bench.row(flow(1)).await;
    let unaware = step(&row(1), 1).claim("name:a").add("a", 1);
    assert_eq!(bench.verdict(unaware).await, Verdict::Stale);
    assert_eq!(bench.row(flow(1)).await, before);
    assert_eq!((bench.probe.guard("name:a").await, bench.probe.counter("a").await), (None, 0));
    assert!(operate(&bench, 1, Verb::Retry).await);
    bench.done(step(&row(1), 2)).await;
}

/// The verbs are for quarantine, and each says whether there was anything to do.
pub async fn only_what_is_in_quarantine_can_be_operated_on(bench: Bench) {
    bench.done(start(1)).await;
    for verb in [Verb::Retry, Verb::Skip, Verb::End] {
        assert!(!operate(&bench, 1, verb).await);
        assert!(!operate(&bench, 2, verb).await);
    }
    assert_eq!(bench.row(flow(1)).await, row(1));
    set_aside(&bench, 1).await;
    assert!(operate(&bench, 1, Verb::Retry).await);
    assert!(!operate(&bench, 1, Verb::Retry).await);
}

/// Its attempts begin anew, and no old claim delays it.
pub async fn retry_gives_it_another_chance_at_once(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    assert_eq!(due_ids(&bench, 90).await, [flow(1)]);
    set_aside(&bench, 1).await;
    assert!(operate(&bench, 1, Verb::Retry).await);
    let back = bench.row(flow(1)).await;
    assert_eq!(Row { touched_at: at(0), ..back }, Row { wake_at: Some(at(0)), ..row(1) });
    assert_eq!(due_ids(&bench, 100).await, [flow(1)]);
    assert_eq!(bench.row(flow(1)).await.attempts, 1);
}

/// A wake-up waits a day; an open delivery whose answer would come back to the flow ends dead; its letters still go.
pub async fn skip_lets_a_wake_up_wait_a_day_and_ends_what_it_waited_for(bench: Bench) {
    let mut tagged = delivery(1, flow(1));
    tagged.tag = Some("card".to_owned());
    let mut done = delivery(3, flow(1));
    done.tag = Some("room".to_owned());
    let others = start(2).sends(delivery(4, flow(2)));
    bench.done(start(1).wakes(Some(at(0))).sends(tagged).sends(delivery(2, flow(1))).sends(done)).await;
    bench.done(others.settles(3)).await;
    set_aside(&bench, 1).await;
    assert!(operate(&bench, 1, Verb::Skip).await);
    let back = bench.row(flow(1)).await;
    assert_eq!((back.quarantined, back.attempts, back.version), (None, 0, 1));
    assert_eq!(back.state, row(1).state);
    for delivery in bench.deliveries(flow(1)).await {
        let dead = delivery.id == delivery_id(1);
        assert_eq!(delivery.dead, dead, "{delivery:?}");
        assert_eq!(delivery.settled.is_some(), delivery.id != delivery_id(2), "{delivery:?}");
        assert_eq!(delivery.note.is_empty(), !dead, "{delivery:?}");
    }
    assert_eq!(bench.deliveries(flow(2)).await[0].settled, None);
    assert_eq!(due_ids(&bench, 100 + 86_399).await, [flow(2)]);
    assert_eq!(due_ids(&bench, 100 + 86_400).await, [flow(1)]);
}

/// What failed as often as it takes is given up, be it a signal or an answer; what only waits is brought to it later.
/// Whoever waits for the end of a signal is told: it expires, and its next attempt ends it.
pub async fn skip_gives_up_the_signals_that_failed_and_no_others(bench: Bench) {
    let told = |number, kind: &str, to, attempts| OutboxRow {
        kind: kind.to_owned(),
        target: Some(flow(to)),
        attempts,
        due: at(50),
        ..delivery(number, flow(2))
    };
    let poison = told(1, "signal", 1, PATIENCE);
    let waits = told(2, "signal", 1, PATIENCE - 1);
    let anothers = told(3, "signal", 3, PATIENCE);
    let in_flight = OutboxRow { claimed_until: Some(at(500)), claimed_by: Some("one".to_owned()), ..poison.clone() };
    let awaited = OutboxRow { id: delivery_id(4), tag: Some("seat".to_owned()), ..in_flight };
    let answer = told(5, "answer", 1, PATIENCE + 1);
    let given = OutboxRow { flow: flow(1), ..told(6, "answer", 2, PATIENCE) };
    let sent = [poison, waits, anothers, awaited, answer];
    bench.done(sent.into_iter().fold(start(2), Draft::sends)).await;
    bench.done(start(1).sends(given)).await;
    assert!(!operate(&bench, 1, Verb::Skip).await, "it is not set aside");
    assert!(bench.deliveries(flow(2)).await.iter().all(|delivery| delivery.settled.is_none()));
    set_aside(&bench, 1).await;
    assert!(operate(&bench, 1, Verb::Skip).await);

    let mut after = bench.deliveries(flow(2)).await;
    after.extend(bench.deliveries(flow(1)).await);
    assert_eq!(after.len(), 6);
    for delivery in &after {
        let given_up = [delivery_id(1), delivery_id(5)].contains(&delivery.id);
        assert_eq!((delivery.dead, delivery.settled), (given_up, given_up.then_some(at(100))), "{delivery:?}");
        let told = given_up || delivery.id == delivery_id(4);
        assert_eq!(delivery.note.is_empty(), !told, "{delivery:?}");
        assert_eq!(delivery.expires, (delivery.id == delivery_id(4)).then_some(at(100)), "{delivery:?}");
    }
    let next = bench.store.claim_deliveries(NOTES.name, claim("two", at(100))).await.expect("a claim");
    let next: BTreeSet<_> = next.iter().map(|delivery| delivery.id).collect();
    assert_eq!(next, [2, 3, 4, 6].map(delivery_id).into());
}

/// An ended flow is never woken and takes no step; its bytes stay for whoever must find out what happened.
pub async fn end_is_for_ever(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    set_aside(&bench, 1).await;
    assert!(operate(&bench, 1, Verb::End).await);
    let ended = bench.row(flow(1)).await;
    assert_eq!((ended.phase.as_str(), ended.wake_at, ended.version), ("ended", None, 1));
    assert_eq!(ended.state, row(1).state);
    assert_eq!(due_ids(&bench, 1_000_000).await, []);
    assert_eq!(bench.verdict(step(&row(1), 1)).await, Verdict::Stale);
    assert!(!operate(&bench, 1, Verb::Retry).await);
    let quarantined = bench.store.backlog().await.expect("a count").quarantined;
    assert_eq!((bench.store.live().await, quarantined), (Ok(0), 0));
}
