//! What keeps a store small and honest: the next instant, counts, audit and retention.

use super::Bench;
use super::given::{Draft, act, at, claim, delivery, flow, nothing, row, start, step};
use crate::clock::Timestamp;
use crate::store::{Backlog, OutboxRow, Retention, Verb};
use crate::testing::toy::NOTES;

fn far() -> Timestamp {
    Timestamp(253_402_300_799_999) // the end of the year 9999
}

async fn next(bench: &Bench) -> Option<Timestamp> {
    bench.store.next_due().await.expect("a read")
}

async fn counts(bench: &Bench) -> (u64, Backlog) {
    (bench.store.live().await.expect("a count"), bench.store.backlog().await.expect("a count"))
}

async fn retain(bench: &Bench, payloads: i64, rows: i64, limit: u32) -> u64 {
    let retention = Retention { now: at(0), payloads_before: at(payloads), rows_before: at(rows), limit };
    bench.store.retain(retention).await.expect("a write")
}

/// The store answers.
pub async fn a_ping_is_answered(bench: Bench) {
    assert_eq!(bench.store.ping().await, Ok(()));
}

/// Flows and deliveries, due long ago or in eight thousand years, and not before the end of a claim.
pub async fn the_next_due_instant_is_known_however_far(bench: Bench) {
    assert_eq!(next(&bench).await, None);
    bench.commit([start(1).wakes(Some(far())), start(2).wakes(None)]).await;
    assert_eq!(next(&bench).await, Some(far()));
    let sent = OutboxRow { due: at(50), ..delivery(1, flow(3)) };
    bench.done(start(3).wakes(Some(at(90))).sends(sent)).await;
    assert_eq!(next(&bench).await, Some(at(50)));
    assert_eq!(bench.store.claim_deliveries(NOTES.name, claim("one", at(50))).await.expect("a claim").len(), 1);
    assert_eq!(next(&bench).await, Some(at(90)), "the delivery is in somebody's hands until 110");
    assert_eq!(bench.store.claim_due(claim("one", at(90))).await.expect("a claim").len(), 1);
    assert_eq!(next(&bench).await, Some(at(110)));
    bench.done(nothing(1).settles(1)).await;
    assert_eq!(next(&bench).await, Some(at(150)));
    bench.store.quarantine(flow(3), 1, at(91), "it panics").await.expect("a write");
    assert_eq!(next(&bench).await, Some(far()));
}

/// Live, set aside, waiting, dead.
pub async fn counts_tell_what_lives_waits_and_died(bench: Bench) {
    assert_eq!(counts(&bench).await, (0, Backlog::default()));
    let letter = |number: u8| OutboxRow { created: at(number.into()), ..delivery(number.into(), flow(1)) };
    let letters = |draft: Draft| (1..=4).fold(draft, |draft, number| draft.sends(letter(number)));
    bench.commit([letters(start(1)), start(2), start(3).wakes(None), start(4)]).await;
    bench.commit([nothing(1).settles(1), nothing(2).buries(2, "no")]).await;
    bench.store.quarantine(flow(4), 1, at(1), "it panics").await.expect("a write");
    let waits = Backlog { quarantined: 1, pending: 2, dead: 1, oldest: Some(at(3)) };
    assert_eq!(counts(&bench).await, (3, waits));
}

/// A store that only its port has written to is sound.
pub async fn an_audit_counts_and_finds_nothing_wrong(bench: Bench) {
    bench.commit([start(1).sends(delivery(1, flow(1))).opens(2), act(1), start(3).wakes(None)]).await;
    bench.done(step(&row(1), 2).settles(1)).await;
    bench.done(step(&row(2), 3).wakes(None)).await;
    bench.is_sound().await;
    assert_eq!(bench.figures().await, [3, 6, 1]);
}

/// Whoever is told that a flow was set aside finds out here which and why, for as long as something is to be done.
pub async fn an_audit_names_what_is_set_aside(bench: Bench) {
    bench.commit([start(1), start(2), start(3)]).await;
    for number in [1, 2] {
        bench.store.quarantine(flow(number), 1, at(1), "it panics").await.expect("a write");
    }
    assert!(bench.store.operate(flow(2), Verb::End, at(2)).await.expect("a write"));
    let audit = bench.store.audit(at(3)).await.expect("an audit");
    let [finding] = audit.findings.as_slice() else { panic!("{:?}", audit.findings) };
    assert_eq!(finding.invariant, "I7");
    assert!(finding.flow.as_deref().is_some_and(|named| named.contains(&flow(1).0.crockford())), "{finding:?}");
    assert!(finding.what.contains("quarantine") && finding.what.contains("it panics"), "{finding:?}");
    assert!(bench.store.operate(flow(1), Verb::Retry, at(4)).await.expect("a write"));
    bench.is_sound().await;
}

/// A row that moved without an event is found, and its flow is named.
pub async fn an_audit_finds_a_version_without_its_event(bench: Bench) {
    bench.commit([start(1), start(2)]).await;
    let mut silent = step(&row(1), 1);
    silent.item.event = None;
    bench.done(silent).await;
    finds_only_a_gap_in_flow_1(&bench).await;
}

/// Versions that jump are found, though row and last event agree.
pub async fn an_audit_finds_a_gap_in_a_history(bench: Bench) {
    bench.commit([start(1), start(2)]).await;
    let jump = step(&row(1), 1).with_row(|row| row.version = 3).with_event(|event| event.version = 3);
    bench.done(jump).await;
    finds_only_a_gap_in_flow_1(&bench).await;
}

async fn finds_only_a_gap_in_flow_1(bench: &Bench) {
    let audit = bench.store.audit(at(0)).await.expect("an audit");
    assert!(!audit.findings.is_empty(), "the gap was not found");
    for finding in &audit.findings {
        assert_eq!(finding.invariant, "I2", "{finding:?}");
        let named = finding.flow.as_deref().unwrap_or_default();
        assert!(named.contains(&flow(1).0.crockford()), "{finding:?}");
    }
}

/// A day after its end a letter's words are gone, while its row still tells that it was sent.
pub async fn payloads_are_wiped_before_their_rows_go(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1))).sends(delivery(2, flow(1)))).await;
    bench.done(nothing(1).settles(1)).await;
    assert_eq!(retain(&bench, 1, -100, 10).await, 0, "settled at 1, not before");
    assert_eq!(retain(&bench, 2, -100, 10).await, 1);
    assert_eq!(retain(&bench, 2, -100, 10).await, 0, "once wiped it is done");
    for delivery in bench.deliveries(flow(1)).await {
        assert_eq!(delivery.payload.is_empty(), delivery.settled.is_some(), "{delivery:?}");
    }
    assert_eq!(bench.figures().await, [1, 1, 2]);
}

/// The commit that says that a delivery arrived can wipe it: nothing else is left to do then.
pub async fn what_nobody_reads_later_is_wiped_when_it_has_arrived(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1))).sends(delivery(2, flow(1)))).await;
    bench.commit([nothing(1).forgets(1), nothing(2).settles(2)]).await;
    let left = bench.deliveries(flow(1)).await;
    let wiped: Vec<(bool, bool)> =
        left.iter().map(|delivery| (delivery.settled.is_some(), delivery.payload.is_empty())).collect();
    assert_eq!(wiped, [(true, true), (true, false)]);
    assert_eq!(retain(&bench, 2, -100, 10).await, 1, "the other one");
    assert_eq!(bench.figures().await, [1, 1, 2]);
}

/// Events and ends from before an instant go; what lives, waits or is younger stays.
pub async fn only_what_is_old_and_over_goes(bench: Bench) {
    let finished = |number: u64, second: i64| {
        let touch = start(number).wakes(None).with_row(|row| row.touched_at = at(second));
        touch.with_event(|event| event.at = at(second))
    };
    let waits = start(1).sends(delivery(1, flow(1)));
    bench.commit([waits, finished(2, 10), finished(3, 1_000), finished(4, 20)]).await;
    bench.done(finished(5, 15).sends(delivery(5, flow(5)))).await;
    bench.commit([nothing(1).settles(5)]).await;
    while retain(&bench, 500, 500, 100).await > 0 {}
    let kept = [flow(1), flow(3)];
    for number in 1..=5 {
        assert_eq!(bench.load(flow(number)).await.is_some(), kept.contains(&flow(number)), "flow {number}");
    }
    assert_eq!(bench.deliveries(flow(1)).await.len(), 1, "it has not ended");
    assert_eq!(bench.deliveries(flow(5)).await, []);
    assert_eq!(bench.history(flow(2)).await, []);
    assert_eq!(bench.history(flow(3)).await.len(), 1);
    bench.is_sound().await;
}

/// Each bite is small, so that nobody waits for it; the oldest go first, so that histories stay whole.
pub async fn retention_takes_small_bites_and_leaves_no_gap(bench: Bench) {
    let mut last = row(1);
    bench.done(start(1)).await;
    for number in 1..=9 {
        let second = i64::try_from(number).expect("a small number");
        let draft = step(&last, number).with_row(|row| row.touched_at = at(second));
        last = draft.row();
        bench.done(draft.with_event(|event| event.at = at(second))).await;
    }
    let mut bites = 0;
    while bench.history(flow(1)).await.len() > 4 {
        let touched = retain(&bench, 6, 6, 2).await;
        assert!((1..=2).contains(&touched), "two events at a time, not {touched}");
        bench.is_sound().await;
        bites += 1;
    }
    assert_eq!(bites, 3);
    assert_eq!(retain(&bench, 6, 6, 2).await, 0);
    let versions: Vec<u64> = bench.history(flow(1)).await.iter().map(|event| event.version).collect();
    assert_eq!(versions, [7, 8, 9, 10], "the younger ones stay");
    assert_eq!(bench.row(flow(1)).await.version, 10);
}

/// What the domain keeps for less time goes sooner: events one by one, which the audit does not miss, and finished flows
/// with all that hangs on them.
pub async fn what_the_domain_keeps_for_less_goes_sooner(bench: Bench) {
    const DAY: i64 = 86_400;
    let happens = |draft: Draft, name: &str, when: i64| {
        let draft = draft.with_row(|row| row.touched_at = at(when));
        draft.with_event(|event| (event.name, event.at) = (name.to_owned(), at(when)))
    };
    let mut last = row(1);
    bench.done(happens(start(1), "asked", -5 * DAY)).await;
    for (number, name, when) in [(1, "tick", -4 * DAY), (2, "tick", -2 * DAY), (3, "asked", -DAY), (4, "tick", -10)] {
        let draft = happens(step(&last, number), name, when);
        last = draft.row();
        bench.done(draft).await;
    }
    // Moved last by what is gone.
    bench.done(happens(start(2), "asked", -9 * DAY)).await;
    bench.done(happens(step(&row(2), 5), "tick", -8 * DAY)).await;
    let over = |number: u64, phase: &str, when: i64| {
        let draft = happens(start(number), "asked", when).wakes(None).with_row(|row| row.phase = phase.to_owned());
        draft.with_event(|event| event.to = phase.to_owned())
    };
    let sent = over(3, "spent", -2 * DAY).sends(delivery(1, flow(3))).sends(delivery(2, flow(3)));
    let waiting = over(5, "spent", -2 * DAY).wakes(Some(at(100)));
    bench.commit([sent, over(4, "spent", -DAY / 2), waiting, over(6, "open", -2 * DAY)]).await;
    bench.done(nothing(9).settles(1)).await;
    while retain(&bench, -30 * DAY, -30 * DAY, 1).await > 0 {
        bench.is_sound().await;
    }
    let versions =
        async |number| -> Vec<u64> { bench.history(flow(number)).await.iter().map(|event| event.version).collect() };
    assert_eq!(versions(1).await, [1, 3, 4, 5]);
    assert_eq!(versions(2).await, [1]);
    assert_eq!((bench.load(flow(3)).await, versions(3).await), (None, Vec::new()));
    let left = bench.deliveries(flow(3)).await;
    assert_eq!(
        left.iter().map(|delivery| delivery.settled).collect::<Vec<_>>(),
        [None],
        "what is under way is not lost"
    );
    for number in [4, 5, 6] {
        assert!(bench.load(flow(number)).await.is_some(), "flow {number}");
        assert_eq!(versions(number).await, [1]);
    }
}
