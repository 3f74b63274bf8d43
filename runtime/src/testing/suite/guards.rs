//! Claims, releases, holds and bumps: one way to lose, and nothing left of the loser.

use futures_util::future::join_all;

use super::Bench;
use super::given::{act, flow, input, nothing, start};
use crate::store::Verdict;

/// Who claims a key that nobody has, has it.
pub async fn a_claim_takes_a_key_at_number_zero(bench: Bench) {
    assert_eq!(bench.probe.guard("name:a").await, None);
    bench.done(act(1).claim("name:a")).await;
    assert_eq!(bench.probe.guard("name:a").await, Some(0));
}

/// One lost claim undoes the item, its other claims included; they are free for the next.
pub async fn a_taken_key_is_lost_and_the_other_claims_go(bench: Bench) {
    bench.done(act(1).claim("name:b").claim("fence:1")).await;
    let loser = start(1).with_everything(1).claim("name:a").claim("name:b").claim("name:c");
    assert_eq!(bench.verdict(loser).await, Verdict::Lost(3));
    assert_eq!(bench.load(flow(1)).await, None);
    for gone in ["name:1", "name:a", "name:c"] {
        assert_eq!(bench.probe.guard(gone).await, None, "{gone}");
    }
    assert_eq!(bench.probe.guard("fence:1").await, Some(0), "a bump goes as well");
    assert_eq!(bench.probe.counter("everything").await, 0);
    assert_eq!(bench.figures().await, [0, 1, 0]);
    bench.done(act(2).claim("name:a").claim("name:c")).await;
}

/// A key that comes back begins anew.
pub async fn a_key_that_was_given_back_can_be_claimed_anew(bench: Bench) {
    bench.done(act(1).claim("name:a")).await;
    bench.done(act(2).bump("name:a")).await;
    bench.done(act(3).release("name:a").claim("name:b")).await;
    assert_eq!(bench.probe.guard("name:a").await, None);
    assert_eq!(bench.verdict(act(4).claim("name:b")).await, Verdict::Lost(0));
    bench.done(act(5).claim("name:a")).await;
    assert_eq!(bench.probe.guard("name:a").await, Some(0));
}

/// A release cannot be lost.
pub async fn giving_back_what_is_not_there_is_no_loss(bench: Bench) {
    bench.done(act(1).release("name:a")).await;
    assert_eq!(bench.probe.guard("name:a").await, None);
}

/// A hold changes nothing; it is lost when the number moved, and when the key is gone.
pub async fn a_hold_stands_only_while_the_number_does(bench: Bench) {
    bench.done(act(1).claim("fence:a")).await;
    bench.done(act(2).hold("fence:a", 0)).await;
    bench.done(act(3).bump("fence:a")).await;
    assert_eq!(bench.verdict(act(4).add("held", 1).hold("fence:a", 0)).await, Verdict::Lost(0));
    bench.done(act(5).hold("fence:a", 1)).await;
    bench.done(act(6).release("fence:a")).await;
    assert_eq!(bench.verdict(act(7).hold("fence:a", 1)).await, Verdict::Lost(0));
    assert_eq!(bench.verdict(act(8).hold("fence:never", 0)).await, Verdict::Lost(0));
    assert_eq!(bench.probe.counter("held").await, 0);
}

/// A bump raises by one; with an expectation it is lost when the number is another, and always when the key is gone.
pub async fn a_bump_raises_the_number_that_it_expects(bench: Bench) {
    bench.done(act(1).claim("fence:a")).await;
    bench.done(act(2).bump("fence:a")).await;
    bench.done(act(3).bump_from("fence:a", 1)).await;
    assert_eq!(bench.probe.guard("fence:a").await, Some(2));
    assert_eq!(bench.verdict(act(4).bump_from("fence:a", 1)).await, Verdict::Lost(0));
    assert_eq!(bench.verdict(act(5).bump("fence:never")).await, Verdict::Lost(0));
    assert_eq!(bench.verdict(act(6).bump_from("fence:never", 0)).await, Verdict::Lost(0));
    assert_eq!(bench.probe.guard("fence:a").await, Some(2));
    assert_eq!(bench.probe.guard("fence:never").await, None);
}

/// The verdict says which guard it was, so that the flow can say which.
pub async fn the_lost_guard_is_named_by_its_place(bench: Bench) {
    bench.done(act(1).claim("a").claim("b").claim("c").claim("d")).await;
    bench.done(act(2).bump("d")).await;
    let spoilt = [
        act(10).claim("a").hold("b", 0).bump("c").bump_from("d", 1).release("e"),
        act(11).claim("x").hold("b", 7).bump("c").bump_from("d", 1).release("e"),
        act(12).release("e").hold("b", 0).bump("none").bump_from("d", 1).claim("x"),
        act(13).release("e").claim("x").bump("c").bump_from("d", 0).hold("b", 0),
        act(14).release("e").claim("x").bump("c").bump_from("d", 1).claim("a"),
    ];
    for (draft, place) in spoilt.into_iter().zip([0, 1, 2, 3, 4]) {
        assert_eq!(bench.verdict(draft).await, Verdict::Lost(place));
    }
    bench.done(act(15).release("e").claim("x").hold("b", 0).bump("c").bump_from("d", 1)).await;
    let numbers = [bench.probe.guard("b").await, bench.probe.guard("c").await, bench.probe.guard("d").await];
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
}

/// Where an item names a key twice, the second guard is judged against what the first has left.
pub async fn a_guard_sees_what_the_one_before_it_has_left(bench: Bench) {
    bench.done(act(1).claim("a").bump("a").hold("a", 1).bump_from("a", 1).hold("a", 2)).await;
    assert_eq!(bench.probe.guard("a").await, Some(2));
    bench.done(act(2).release("a").claim("a")).await;
    assert_eq!(bench.probe.guard("a").await, Some(0), "it began anew");
    bench.done(act(3).bump("a").bump("a").claim("b").release("b")).await;
    assert_eq!((bench.probe.guard("a").await, bench.probe.guard("b").await), (Some(2), None));
    let lost = [
        (act(10).claim("c").claim("c"), 1),
        (act(11).bump("a").hold("a", 2), 1),
        (act(12).hold("a", 2).bump("a").bump_from("a", 2), 2),
        (act(13).release("a").hold("a", 2), 1),
        (act(14).claim("c").release("c").bump("c"), 2),
        (act(15).claim("a").release("a"), 0),
    ];
    for (draft, place) in lost {
        let input = draft.item.input;
        assert_eq!(bench.verdict(draft.add("lost", 1)).await, Verdict::Lost(place), "{input}");
    }
    assert_eq!((bench.probe.guard("a").await, bench.probe.guard("c").await), (Some(2), None));
    bench.done(act(20).claim("c").release("a").claim("d").bump("d")).await;
    assert_eq!((bench.probe.guard("a").await, bench.probe.guard("d").await), (None, Some(1)));
    assert_eq!(bench.probe.counter("lost").await, 0);
}

/// Keys are compared as bytes: no case, no accent, no space is overlooked.
pub async fn keys_differ_in_every_character(bench: Bench) {
    let long = "k".repeat(300);
    let keys = ["a", "A", "a ", " a", "á", "a\u{301}", "ａ", "a%", "a_", "a'", "a\\", "\"a\"", "", long.as_str()];
    let mut drafts = Vec::new();
    for (number, key) in (1..).zip(keys) {
        drafts.push(act(number).claim(key));
    }
    let verdicts = bench.commit(drafts).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    bench.done(act(50).bump("a")).await;
    for key in keys {
        assert_eq!(bench.probe.guard(key).await, Some(i64::from(key == "a")), "{key:?}");
    }
    assert_eq!(bench.verdict(act(51).claim(&long)).await, Verdict::Lost(0));
}

/// A thousand sign-ins of one person do not wait for one another.
pub async fn many_items_of_a_batch_may_hold_one_key(bench: Bench) {
    bench.done(act(1).claim("fence:a")).await;
    let mut drafts: Vec<_> = (10..42).map(|number| start(number).hold("fence:a", 0).add("held", 1)).collect();
    drafts.push(nothing(2).hold("fence:a", 0));
    drafts.push(act(3).hold("fence:a", 4).add("held", 1));
    let verdicts = bench.commit(drafts).await;
    let (last, others) = verdicts.split_last().expect("many verdicts");
    assert!(others.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    assert_eq!(*last, Verdict::Lost(0));
    assert_eq!(bench.probe.counter("held").await, 32);
}

/// Reading decides what only holds exactly as writing would.
pub async fn check_says_what_a_commit_would_say(bench: Bench) {
    bench.done(start(1).claim("fence:a").claim("fence:b")).await;
    bench.done(act(1).bump("fence:b")).await;
    let drafts = || {
        [
            nothing(20),
            nothing(21).hold("fence:a", 0),
            nothing(22).hold("fence:a", 0).hold("fence:b", 1).expects(flow(1), 1),
            nothing(23).hold("fence:a", 0).hold("fence:b", 0),
            nothing(24).hold("fence:never", 0),
            nothing(25).expects(flow(1), 2),
            nothing(26).expects(flow(2), 1),
            nothing(1).seen().hold("fence:a", 9),
            nothing(27).seen().hold("fence:a", 0),
        ]
    };
    for (checked, committed) in drafts().into_iter().zip(drafts()) {
        assert!(checked.item.only_holds());
        let input = checked.item.input;
        let read = bench.store.check(&checked.item).await.expect("a read");
        assert_eq!(read, bench.verdict(committed).await, "{input}");
    }
    let repeated = bench.store.check(&nothing(1).seen().item).await.expect("a read");
    assert!(matches!(repeated, Verdict::Before(event) if event.input == input(1)));
    assert_eq!(bench.figures().await, [1, 2, 0]);
}

/// Many commits at once, one key: one has it, and nothing is left of the others.
pub async fn a_race_for_a_key_has_one_winner(bench: Bench) {
    let racers = (1..=8).map(|number| {
        let bench = bench.clone();
        let own = format!("name:own {number}");
        async move { bench.verdict(start(number).claim(&own).claim("name:a").add("won", 1)).await }
    });
    let verdicts = join_all(racers).await;
    let winners = verdicts.iter().filter(|verdict| **verdict == Verdict::Done).count();
    assert_eq!(winners, 1, "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Done | Verdict::Lost(1))), "{verdicts:?}");
    assert_eq!(bench.probe.counter("won").await, 1);
    assert_eq!(bench.figures().await, [1, 1, 0]);
    for (number, verdict) in (1..).zip(&verdicts) {
        let own = bench.probe.guard(&format!("name:own {number}")).await;
        assert_eq!(own.is_some(), *verdict == Verdict::Done, "{number}");
    }
}

/// Bumps without expectation all count; of those that expect the same number one wins.
pub async fn racing_bumps_are_all_counted_or_have_one_winner(bench: Bench) {
    bench.done(act(1).claim("fence:a").claim("fence:b")).await;
    let racers = (10..18).map(|number| {
        let bench = bench.clone();
        async move {
            let any = bench.verdict(act(number).bump("fence:a")).await;
            (any, bench.verdict(act(number + 100).bump_from("fence:b", 0)).await)
        }
    });
    let verdicts = join_all(racers).await;
    assert!(verdicts.iter().all(|(any, _)| *any == Verdict::Done), "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|(_, first)| *first == Verdict::Done).count(), 1, "{verdicts:?}");
    assert_eq!(bench.probe.guard("fence:a").await, Some(8));
    assert_eq!(bench.probe.guard("fence:b").await, Some(1));
}

/// Whoever holds an old number either comes before the bump, or not at all.
pub async fn nothing_that_held_a_fence_is_committed_after_its_bump(bench: Bench) {
    bench.done(act(1).claim("fence:a")).await;
    // Each step under the fence is counted; once the bump is durable, the count may not grow any more.
    let holders = (10..22).map(|number| {
        let bench = bench.clone();
        async move { bench.verdict(start(number).hold("fence:a", 0).add("under the fence", 1)).await }
    });
    let bumps = [act(2).bump("fence:a")].map(|draft| {
        let bench = bench.clone();
        async move {
            bench.done(draft).await;
            bench.probe.counter("under the fence").await
        }
    });
    let (verdicts, at_bump) = futures_util::future::join(join_all(holders), join_all(bumps)).await;
    let stood = verdicts.iter().filter(|verdict| **verdict == Verdict::Done).count() as i64;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Done | Verdict::Lost(0))), "{verdicts:?}");
    assert_eq!(bench.probe.counter("under the fence").await, stood);
    assert_eq!(at_bump, [stood], "whatever stood, stood when the bump was durable");
    assert_eq!(bench.verdict(start(30).hold("fence:a", 0)).await, Verdict::Lost(0));
}
