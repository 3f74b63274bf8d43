//! Batches: one verdict each, in order, and nobody harmed by a neighbour.

use futures_util::future::join_all;

use super::Bench;
use super::given::{Draft, act, at, delivery, flow, input, row, start, step};
use crate::store::Verdict;

/// Nothing to commit is no error.
pub async fn an_empty_batch_is_nothing(bench: Bench) {
    assert_eq!(bench.commit([]).await, []);
    assert_eq!(bench.figures().await, [0, 0, 0]);
}

/// Writes to one counter add up within an item, within a batch and from batch to batch, each exactly once.
pub async fn writes_of_a_batch_add_up(bench: Bench) {
    bench.done(act(1).add("a", 5).add("a", -7).add("b", 1)).await;
    let batch = [act(2).add("a", 100), act(3).add("b", -1).add("c", i64::MAX), act(4).add("a", 1), act(5).add("d", 0)];
    bench.commit(batch).await;
    let sums = [
        bench.probe.counter("a").await,
        bench.probe.counter("b").await,
        bench.probe.counter("c").await,
        bench.probe.counter("d").await,
    ];
    assert_eq!(sums, [99, 0, i64::MAX, 0]);
}

/// A repeat is told what happened then, whatever else it brings, and writes nothing.
pub async fn a_repeat_of_an_input_finds_its_event(bench: Bench) {
    let first =
        start(1).claim("name:a").add("a", 1).with_event(|event| event.outcome = r#"{"told":"then"}"#.to_owned());
    let event = first.event();
    bench.done(first).await;
    bench.done(step(&row(1), 1)).await;
    let again = start(1).claim("name:a").add("a", 1).sends(delivery(1, flow(1))).seen();
    assert_eq!(bench.verdict(again).await, Verdict::Before(Box::new(event.clone())));
    let as_another = act(9).add("a", 1).caused_by_start_of(1).seen();
    assert_eq!(bench.verdict(as_another).await, Verdict::Before(Box::new(event)));
    assert_eq!(bench.probe.counter("a").await, 1);
    assert_eq!(bench.figures().await, [1, 2, 0]);
}

impl Draft {
    fn caused_by_start_of(mut self, number: u64) -> Self {
        self.item.input = flow(number).started_by();
        self.with_event(|event| event.input = flow(number).started_by())
    }
}

/// Looking for an input that nobody brought before costs nothing else.
pub async fn a_new_input_passes_though_it_is_looked_for(bench: Bench) {
    let verdicts = bench.commit([start(1).seen().add("a", 1), act(1).seen().add("a", 1)]).await;
    assert_eq!(verdicts, [Verdict::Done, Verdict::Done]);
    bench.done(step(&row(1), 2).seen()).await;
    assert_eq!(bench.probe.counter("a").await, 2);
}

/// A start whose row is there is out before it can break a constraint.
pub async fn an_unseen_repeat_of_a_start_is_no_error(bench: Bench) {
    bench.done(start(1).add("a", 1)).await;
    let verdicts = bench.commit([start(1).add("a", 1), start(2).add("a", 10)]).await;
    assert!(matches!(verdicts[0], Verdict::Stale | Verdict::Before(_)), "{verdicts:?}");
    assert_eq!(verdicts[1], Verdict::Done);
    assert_eq!(bench.probe.counter("a").await, 11);
}

/// After a lost answer the same batch is sent again: whatever had been durable says so, the rest is done now.
pub async fn a_batch_that_runs_again_finds_itself_done(bench: Bench) {
    bench.commit([start(1).claim("fence:2").claim("fence:3"), act(9).claim("name:taken")]).await;
    let batch = || {
        vec![
            step(&row(1), 1).seen().add("a", 1),
            start(2).with_everything(2).seen(),
            act(4).add("a", 1).seen(),
            start(5).claim("name:taken").seen(),
        ]
    };
    let first = bench.commit(batch()).await;
    assert_eq!(first, [Verdict::Done, Verdict::Done, Verdict::Done, Verdict::Lost(0)]);
    let figures = bench.figures().await;
    let mut again = batch();
    let events: Vec<_> = again.iter().map(Draft::event).collect();
    again.push(start(3).with_everything(3).seen());
    let second = bench.commit(again).await;
    for (verdict, event) in second.iter().zip(&events).take(3) {
        assert_eq!(*verdict, Verdict::Before(Box::new(event.clone())));
    }
    assert_eq!(second[3..], [Verdict::Lost(0), Verdict::Done]);
    assert_eq!(bench.probe.counter("a").await, 2);
    assert_eq!(bench.probe.counter("everything").await, 2);
    let [flows, events, deliveries] = figures;
    assert_eq!(bench.figures().await, [flows + 2, events + 2, deliveries + 2]);
    bench.is_sound().await;
}

/// 256 items of every kind; of each three, one is stale, lost, repeated or settled.
pub async fn one_third_of_a_batch_fails_and_the_rest_stands(bench: Bench) {
    let mut before: Vec<Draft> = (0..256).filter(|number| number % 2 == 0).map(before_mixed).collect();
    before.extend((0..256).filter(|number| number % 12 == 9).map(|number| act(2_000 + number)));
    bench.commit(before).await;

    let verdicts = bench.commit((0..256).map(mixed)).await;
    let mut won = 0;
    for (number, verdict) in (0..).zip(&verdicts) {
        let right = match number % 12 {
            0 => *verdict == Verdict::Stale,
            3 => *verdict == Verdict::Lost(1),
            6 => *verdict == Verdict::Lost(0),
            9 => matches!(verdict, Verdict::Before(event) if event.input == input(2_000 + number)),
            _ => *verdict == Verdict::Done,
        };
        assert!(right, "item {number}: {verdict:?}");
        won += i64::from(*verdict == Verdict::Done);
    }
    assert_eq!(won, 170);
    assert_eq!(bench.probe.counter("mixed").await, won);
    for number in 0..256 {
        let done = verdicts[usize::try_from(number).expect("a small number")] == Verdict::Done;
        let version = bench.load(flow(number)).await.map_or(0, |row| row.version);
        let was = u64::from(number % 2 == 0);
        assert_eq!(version, was + u64::from(done), "flow {number}");
        let own = bench.probe.guard(&format!("name:{number}")).await;
        assert_eq!(own.is_some(), done, "the claim of item {number}");
        assert_eq!(bench.deliveries(flow(number)).await.len(), usize::from(done), "the letter of item {number}");
    }
    bench.is_sound().await;
}

/// Even flows begin before the batch.
fn before_mixed(number: u64) -> Draft {
    start(number).claim(&format!("fence:{number}"))
}

/// Odd flows begin in the batch, even ones step; every twelfth fails in each of four ways.
fn mixed(number: u64) -> Draft {
    let draft = if number.is_multiple_of(2) {
        step(&row(number), 1_000 + number).bump_from(&format!("fence:{number}"), 0)
    } else {
        start(number)
    };
    let draft = match number % 12 {
        0 => {
            let mut stale = draft;
            let change = stale.item.change.as_mut().expect("a step");
            change.was = 7;
            change.row.version = 8;
            stale.with_event(|event| event.version = 8)
        }
        3 => draft.claim(&format!("name:free {number}")).hold("fence:nobody's", 0),
        6 => {
            let mut lost = draft;
            lost.item.guards.clear();
            lost.bump_from(&format!("fence:{number}"), 5)
        }
        9 => {
            let mut repeated = draft.seen();
            repeated.item.input = input(2_000 + number);
            repeated
        }
        _ => draft,
    };
    draft.claim(&format!("name:{number}")).add("mixed", 1).sends(delivery(number, flow(number)))
}

/// As many items as ever come at once, each with all that an item can bring, and long states.
pub async fn a_batch_of_the_greatest_size_with_everything_in_it_stands(bench: Bench) {
    let fences = act(900).claim("fence:shared");
    bench.done((0..256).fold(fences, |draft, number| draft.claim(&format!("fence:{number}")))).await;
    let long = format!(r#""{}""#, "x".repeat(8_000));
    let batch = (0..256).map(|number| {
        start(number).hold("fence:shared", 0).with_everything(number).with_row(|row| row.state.clone_from(&long))
    });
    let verdicts = bench.commit(batch).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    assert_eq!(bench.probe.counter("everything").await, 256);
    assert_eq!(bench.figures().await, [512, 513, 512]);
    let steps = (0..256).map(|number| step(&row(number), 1_000 + number).settles(20_000 + 2 * number));
    let verdicts = bench.commit(steps).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    assert_eq!(bench.store.backlog().await.expect("a count").pending, 256);
    bench.is_sound().await;
}

/// Items that depend on each other are judged as if each were committed by itself, in their order.
pub async fn an_item_sees_what_those_before_it_in_its_batch_have_left(bench: Bench) {
    bench.done(act(1).claim("held").claim("fence")).await;
    let batch = vec![
        // Two want one key: the first has it.
        act(10).claim("a").add("won", 1),
        act(11).claim("a").add("lost", 1),
        // Whoever loses leaves nothing to see.
        act(12).claim("b").claim("held").add("lost", 1),
        act(13).claim("b").add("won", 1),
        // What one gives back, the next can have; what one raises, the next finds raised.
        act(14).release("held").add("won", 1),
        act(15).claim("held").bump("fence").add("won", 1),
        act(16).hold("fence", 0).add("lost", 1),
        act(17).hold("fence", 1).add("won", 1),
        // So with flows.
        start(1).add("won", 1),
        step(&row(1), 18).add("won", 1),
        step(&row(1), 19).add("lost", 1),
        act(20).expects(flow(1), 2).add("won", 1),
        act(21).expects(flow(1), 1).add("lost", 1),
    ];
    let verdicts = bench.commit(batch).await;
    let expected = [
        Verdict::Done,
        Verdict::Lost(0),
        Verdict::Lost(1),
        Verdict::Done,
        Verdict::Done,
        Verdict::Done,
        Verdict::Lost(0),
        Verdict::Done,
        Verdict::Done,
        Verdict::Done,
        Verdict::Stale,
        Verdict::Done,
        Verdict::Stale,
    ];
    assert_eq!(verdicts, expected);
    assert_eq!((bench.probe.counter("won").await, bench.probe.counter("lost").await), (8, 0));
    let numbers = ["a", "b", "held", "fence"].map(|key| bench.probe.guard(key));
    assert_eq!(join_all(numbers).await, [Some(0), Some(0), Some(0), Some(1)]);
    assert_eq!(bench.row(flow(1)).await.version, 2);
    bench.is_sound().await;
}

/// Of several reasons to be out, the flow's version comes first, then the guards, then the delivery.
pub async fn a_guard_is_judged_before_the_delivery_that_ends(bench: Bench) {
    bench.done(start(1).sends(delivery(1, flow(1)))).await;
    bench.done(act(1).settles(1)).await;
    let all = step(&row(1), 2).with_row(|row| row.version = 9);
    let mut stale = all.with_event(|event| event.version = 9).hold("never", 0).settles(1);
    stale.item.change.as_mut().expect("a step").was = 8;
    assert_eq!(bench.verdict(stale).await, Verdict::Stale);
    assert_eq!(bench.verdict(step(&row(1), 3).hold("never", 0).settles(1)).await, Verdict::Lost(0));
    assert_eq!(bench.verdict(step(&row(1), 4).claim("a").settles(1)).await, Verdict::Settled);
    assert_eq!(bench.probe.guard("a").await, None);
}

/// Many nodes decide at once from the same version: one wins, and nothing is left of the others.
pub async fn racing_steps_of_one_flow_have_one_winner(bench: Bench) {
    bench.commit([start(1), start(2)]).await;
    let racers = (10..18).map(|number| {
        let bench = bench.clone();
        async move {
            // Both flows are in every batch, each time in the other order.
            let one = step(&row(1), number).add("one", 1).sends(delivery(number, flow(1)));
            let two = step(&row(2), 100 + number).add("two", 1).with_row(|row| row.touched_at = at(1));
            if number % 2 == 0 { bench.commit([one, two]).await } else { bench.commit([two, one]).await }
        }
    });
    let verdicts: Vec<Verdict> = join_all(racers).await.into_iter().flatten().collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Done).count(), 2, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Stale).count(), 14, "{verdicts:?}");
    assert_eq!((bench.probe.counter("one").await, bench.probe.counter("two").await), (1, 1));
    assert_eq!((bench.row(flow(1)).await.version, bench.row(flow(2)).await.version), (2, 2));
    assert_eq!(bench.figures().await, [2, 4, 1]);
    bench.is_sound().await;
}
