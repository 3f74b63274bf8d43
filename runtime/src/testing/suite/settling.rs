//! The end of a delivery, and the step that its answer causes, are one commit.

use futures_util::future::join_all;

use super::Bench;
use super::given::{act, at, delivery, delivery_id, flow, nothing, row, start, step};
use crate::store::{Postpone, Verdict};

/// That is how a signal counts once.
pub async fn a_delivery_is_settled_once(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1)))).await;
    bench.done(step(&row(1), 1).settles(1).add("told", 1)).await;
    let settled = &bench.deliveries(flow(1)).await[0];
    assert_eq!((settled.settled, settled.dead, settled.note.as_str()), (Some(at(1)), false, ""));
    let two = bench.row(flow(1)).await;
    assert_eq!(bench.verdict(step(&two, 2).settles(1).add("told", 1)).await, Verdict::Settled);
    assert_eq!(bench.verdict(nothing(3).buries(1, "too late")).await, Verdict::Settled);
    assert_eq!(bench.row(flow(1)).await, two);
    assert_eq!(bench.probe.counter("told").await, 1);
    assert_eq!(bench.deliveries(flow(1)).await[0].settled, Some(at(1)));
    assert_eq!(bench.figures().await, [1, 2, 1]);
}

/// A delivery that ended badly says why, for the operator.
pub async fn a_dead_delivery_remembers_why(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1))).sends(delivery(2, flow(1)))).await;
    bench.done(nothing(1).buries(1, "550 no such mailbox „ß“")).await;
    let both = bench.deliveries(flow(1)).await;
    let dead = both.iter().find(|delivery| delivery.id == delivery_id(1)).expect("it is there");
    assert_eq!((dead.settled, dead.dead, dead.note.as_str()), (Some(at(1)), true, "550 no such mailbox „ß“"));
    let open = both.iter().find(|delivery| delivery.id == delivery_id(2)).expect("it is there");
    assert_eq!((open.settled, open.dead), (None, false));
    assert_eq!(bench.figures().await, [1, 1, 2]);
}

/// The note tells of the last attempt; when that succeeded there is nothing to tell.
pub async fn a_success_clears_the_note_of_the_failure_before(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1)))).await;
    let later = Postpone { delivery: delivery_id(1), due: at(9), note: "busy".to_owned(), uncounted: 0 };
    bench.store.postpone(&[later]).await.expect("a write");
    assert_eq!(bench.deliveries(flow(1)).await[0].note, "busy");
    bench.done(nothing(1).settles(1)).await;
    assert_eq!(bench.deliveries(flow(1)).await[0].note, "");
}

/// What retention took long ago, or what never was, cannot be settled again.
pub async fn what_is_not_there_counts_as_settled(bench: Bench) {
    assert_eq!(bench.verdict(nothing(1).settles(1)).await, Verdict::Settled);
    assert_eq!(bench.verdict(start(1).settles(1).add("a", 1)).await, Verdict::Settled);
    assert_eq!(bench.load(flow(1)).await, None);
    assert_eq!(bench.probe.counter("a").await, 0);
}

/// When the step is undone, the delivery stays open, and is answered again.
pub async fn a_settlement_and_its_step_are_one(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1)))).await;
    let lost = step(&row(1), 1).settles(1).hold("fence:never", 0);
    assert_eq!(bench.verdict(lost).await, Verdict::Lost(0));
    let stale = nothing(2).settles(1).expects(flow(1), 2);
    assert_eq!(bench.verdict(stale).await, Verdict::Stale);
    assert_eq!(bench.deliveries(flow(1)).await[0].settled, None);
    bench.done(nothing(3).settles(1).expects(flow(1), 1)).await;
    assert_eq!(bench.deliveries(flow(1)).await[0].settled, Some(at(1)));
}

/// Two nodes bring the same answer; one of them has nothing more to do.
pub async fn racing_settlements_have_one_winner(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1)))).await;
    let racers = (10..18).map(|number| {
        let bench = bench.clone();
        async move { bench.verdict(act(number).settles(1).add("told", 1)).await }
    });
    let verdicts = join_all(racers).await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Done).count(), 1, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Settled).count(), 7, "{verdicts:?}");
    assert_eq!(bench.probe.counter("told").await, 1);
}
