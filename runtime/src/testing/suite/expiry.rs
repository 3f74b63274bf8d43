//! Claims that expire: free from their instant on, for every guard, and swept some time later.

use futures_util::future::join_all;

use super::Bench;
use super::given::{Draft, act, at, nothing, start};
use crate::store::{Retention, Verdict};

async fn sweep(bench: &Bench, second: i64, limit: u32) -> u64 {
    let old = at(-1_000_000);
    let retention = Retention { now: at(second), payloads_before: old, rows_before: old, limit };
    bench.store.retain(retention).await.expect("a write")
}

/// The next one has it in the same commit, without waiting for a sweep.
pub async fn a_claim_that_has_expired_is_free_for_the_next(bench: Bench) {
    bench.done(act(1).claim_until("jti", at(60))).await;
    bench.done(act(2).claim_until("jti", at(200)).add("won", 1).decided(at(60))).await;
    assert_eq!(bench.verdict(act(3).claim_until("jti", at(300)).decided(at(61))).await, Verdict::Lost(0));
    bench.done(act(4).claim("jti").add("won", 1).decided(at(200))).await;
    assert_eq!(bench.verdict(act(5).claim_until("jti", at(9_999)).decided(at(9_000))).await, Verdict::Lost(0));
    assert_eq!(bench.probe.counter("won").await, 2);
}

/// Until its instant it is a claim like any other.
pub async fn a_claim_that_has_not_expired_is_not_free(bench: Bench) {
    bench.done(act(1).claim_until("jti", at(60))).await;
    for (number, draft) in [act(2).claim("jti"), act(3).claim_until("jti", at(500))].into_iter().enumerate() {
        let just_before = crate::Timestamp(at(60).0 - 1);
        let verdict = bench.verdict(draft.claim("other").add("lost", 1).decided(just_before)).await;
        assert_eq!(verdict, Verdict::Lost(0), "{number}");
    }
    bench.done(act(4).hold("jti", 0).decided(at(59))).await;
    bench.done(act(5).bump("jti").decided(at(59))).await;
    bench.done(act(6).hold("jti", 1).decided(at(59))).await;
    assert_eq!(bench.verdict(act(7).hold("jti", 1).decided(at(60))).await, Verdict::Lost(0), "raised, not prolonged");
    bench.done(act(8).release("jti").claim("jti").decided(at(59))).await;
    bench.done(act(9).hold("jti", 0).decided(at(9_000))).await;
    assert_eq!((bench.probe.counter("lost").await, bench.probe.guard("other").await), (0, None));
}

/// For every guard it is as if the key were not there; reading says so as writing does.
pub async fn what_has_expired_can_be_neither_held_nor_raised(bench: Bench) {
    bench.done(act(1).claim_until("code", at(60)).claim("fence")).await;
    let spoilt = |number: u64| -> [Draft; 3] {
        [
            act(number).hold("fence", 0).hold("code", 0),
            act(number + 1).claim(&format!("own {number}")).bump("code"),
            act(number + 2).hold("fence", 0).bump_from("code", 0),
        ]
    };
    for draft in spoilt(10) {
        assert_eq!(bench.verdict(draft.add("lost", 1).decided(at(60))).await, Verdict::Lost(1));
    }
    for (seconds, expected) in [(59, Verdict::Done), (60, Verdict::Lost(0))] {
        let item = nothing(20).hold("code", 0).decided(at(seconds)).item;
        assert_eq!(bench.store.check(&item).await.expect("a read"), expected, "{seconds}");
    }
    bench.done(act(30).release("code").decided(at(61))).await;
    assert_eq!((bench.probe.counter("lost").await, bench.probe.guard("own 10").await), (0, None));
    bench.done(act(31).claim("code").decided(at(61))).await;
}

/// Its number is 0 again, whatever it had been raised to.
pub async fn a_claim_over_an_expired_one_begins_anew(bench: Bench) {
    bench.done(act(1).claim_until("code", at(60)).bump("code").bump("code")).await;
    assert_eq!(bench.probe.guard("code").await, Some(2));
    bench.done(act(2).claim_until("code", at(120)).hold("code", 0).bump("code").decided(at(60))).await;
    assert_eq!(bench.probe.guard("code").await, Some(1));
    assert_eq!(bench.verdict(act(3).claim("code").decided(at(100))).await, Verdict::Lost(0));
    // Who loses elsewhere leaves the expired one as it was.
    let lost = act(4).claim("code").hold("never", 0).decided(at(120));
    assert_eq!(bench.verdict(lost).await, Verdict::Lost(1));
    assert_eq!(bench.verdict(act(5).hold("code", 1).decided(at(119))).await, Verdict::Done);
}

/// The order of the batch decides.
pub async fn of_two_claims_of_one_expired_key_in_a_batch_one_wins(bench: Bench) {
    bench.done(act(1).claim_until("jti", at(60))).await;
    let claim = |number: u64| start(number).claim_until("jti", at(500)).add("won", 1).decided(at(100));
    let verdicts = bench.commit([claim(1), act(2).add("won", 10), claim(3)]).await;
    assert_eq!(verdicts, [Verdict::Done, Verdict::Done, Verdict::Lost(0)]);
    assert_eq!((bench.probe.counter("won").await, bench.figures().await), (11, [1, 3, 0]));
}

/// Many nodes find the key expired at once: one has it.
pub async fn a_race_for_an_expired_key_has_one_winner(bench: Bench) {
    bench.done(act(1).claim_until("jti", at(60))).await;
    let racers = (1..=8).map(|number| {
        let bench = bench.clone();
        async move {
            let own = format!("own {number}");
            let draft = start(number).claim_until(&own, at(500)).claim_until("jti", at(500)).add("won", 1);
            bench.verdict(draft.decided(at(100))).await
        }
    });
    let verdicts = join_all(racers).await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Done).count(), 1, "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Done | Verdict::Lost(1))), "{verdicts:?}");
    assert_eq!(bench.probe.counter("won").await, 1);
    for (number, verdict) in (1..).zip(&verdicts) {
        let own = bench.probe.guard(&format!("own {number}")).await;
        assert_eq!(own.is_some(), *verdict == Verdict::Done, "{number}");
    }
}

/// Upkeep takes what is over, the oldest first, and so much at once as it is told.
pub async fn what_has_expired_is_swept_in_small_bites_and_nothing_else(bench: Bench) {
    let claims = (0..5).fold(act(1), |draft, number| draft.claim_until(&format!("jti {number}"), at(number * 10)));
    bench.done(claims.claim("for good").claim_until("later", at(1_000))).await;
    let left = async || -> Vec<i64> {
        let mut left = Vec::new();
        for number in 0..5 {
            if bench.probe.guard(&format!("jti {number}")).await.is_some() {
                left.push(number);
            }
        }
        left
    };
    assert_eq!(sweep(&bench, -1, 10).await, 0, "nothing is over yet");
    assert_eq!((sweep(&bench, 30, 2).await, left().await), (2, vec![2, 3, 4]));
    assert_eq!((sweep(&bench, 30, 10).await, left().await), (2, vec![4]));
    assert_eq!((sweep(&bench, 39, 10).await, left().await), (0, vec![4]));
    assert_eq!((sweep(&bench, 40, 10).await, left().await), (1, vec![]));
    assert_eq!(bench.probe.guard("for good").await, Some(0));
    assert_eq!(bench.probe.guard("later").await, Some(0));
    bench.done(act(2).claim("jti 4").decided(at(41))).await;
    bench.is_sound().await;
}
