//! Flows that are due: claimed once, counted before they are woken, and alone when they failed before.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::Bench;
use super::given::{at, claim, flow, row, start, step};
use crate::clock::Timestamp;
use crate::id::FlowId;
use crate::store::{Claim, Row, Unclaim};

async fn due(bench: &Bench, claim: Claim) -> Vec<Row> {
    bench.store.claim_due(claim).await.expect("a claim")
}

async fn due_ids(bench: &Bench, node: &str, now: Timestamp) -> Vec<FlowId> {
    due(bench, claim(node, now)).await.into_iter().map(|row| row.id).collect()
}

/// A claim of node one at an instant, given back until another.
fn given_back(flow: FlowId, claimed: Timestamp, until: Timestamp, counts: bool) -> Unclaim {
    let Claim { node, until: lapses, .. } = claim("one", claimed);
    Unclaim { flow, version: 1, node, lapses, until, counts }
}

/// The attempt is counted at the claim, so that a crash on the way is counted too.
pub async fn a_due_flow_is_claimed_once_and_counted(bench: Bench) {
    bench.done(start(1).wakes(Some(at(10)))).await;
    assert_eq!(due(&bench, claim("one", at(9))).await, []);
    let claimed = due(&bench, claim("one", at(10))).await;
    assert_eq!(claimed, [Row { attempts: 1, wake_at: Some(at(10)), ..row(1) }]);
    assert_eq!(bench.row(flow(1)).await.attempts, 1);
    assert_eq!(due(&bench, claim("two", at(11))).await, []);
    assert_eq!(due(&bench, claim("one", at(12))).await, [], "not even by the same node");
    assert_eq!(bench.row(flow(1)).await.version, 1, "a claim is no step");
}

/// Only what lives and is overdue is woken.
pub async fn what_is_not_due_or_finished_or_set_aside_is_not_claimed(bench: Bench) {
    let batch =
        [start(1).wakes(Some(at(100))), start(2).wakes(None), start(3).wakes(Some(at(1))), start(4).wakes(Some(at(2)))];
    bench.commit(batch).await;
    bench.store.quarantine(flow(3), 1, at(3), "panics").await.expect("a write");
    assert_eq!(due_ids(&bench, "one", at(50)).await, [flow(4)]);
}

/// Whoever waits longest comes first, also in the list.
pub async fn the_longest_overdue_come_first_and_no_more_than_asked(bench: Bench) {
    bench.commit((1..=9).map(|number| start(number).wakes(Some(at(waiting(number)))))).await;
    let few = Claim { limit: 4, ..claim("one", at(100)) };
    let order = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(order(due(&bench, few.clone()).await), [flow(9), flow(8), flow(7), flow(6)]);
    assert_eq!(order(due(&bench, few.clone()).await), [flow(5), flow(4), flow(3), flow(2)]);
    assert_eq!(order(due(&bench, few).await), [flow(1)]);
}

fn waiting(number: u64) -> i64 {
    50 - i64::try_from(number).expect("a small number")
}

/// Nothing is counted twice, and nothing of another node or of another claim is in it.
pub async fn a_claim_whose_answer_was_lost_is_read_back(bench: Bench) {
    bench.commit((1..=4).map(|number| start(number).wakes(Some(at(0))))).await;
    let two = |node, now| Claim { limit: 2, ..claim(node, now) };
    let taken = due(&bench, two("one", at(0))).await;
    due(&bench, two("two", at(0))).await;
    let back = async |claim| bench.store.claimed(claim).await.expect("a read");
    let by_id = |mut rows: Vec<Row>| {
        rows.sort_by_key(|row| row.id);
        rows
    };
    assert_eq!(by_id(back(two("one", at(0))).await), by_id(taken.clone()));
    assert_eq!(back(two("one", at(1))).await, [], "another claim of the same node");
    let [first, second] = [taken[0].id, taken[1].id];
    bench.store.quarantine(first, 1, at(1), "panics").await.expect("a write");
    bench.store.unclaim(&given_back(second, at(0), at(1), true)).await.expect("a write");
    assert_eq!(back(two("one", at(0))).await, [], "set aside, and given back");
}

/// A node that died with a flow in its hands does not keep it.
pub async fn a_claim_runs_out(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [flow(1)]);
    assert_eq!(due_ids(&bench, "two", at(59)).await, []);
    assert_eq!(due_ids(&bench, "two", at(60)).await, [flow(1)]);
    assert_eq!(bench.row(flow(1)).await.attempts, 2);
}

/// A flow that takes the process down with it must be known by name: nobody else is claimed beside it.
pub async fn a_flow_that_failed_before_comes_alone(bench: Bench) {
    bench.commit((1..=6).map(|number| start(number).wakes(Some(at(0))))).await;
    let first: BTreeSet<FlowId> = due_ids(&bench, "one", at(0)).await.into_iter().collect();
    assert_eq!(first.len(), 6);
    // Six claims run out; of the fresh flows three have waited longer than those, three less long.
    bench.commit((7..=9).map(|number| start(number).wakes(Some(at(-10))))).await;
    bench.commit((10..=12).map(|number| start(number).wakes(Some(at(30))))).await;
    let mut came = BTreeSet::new();
    let mut claims = 0;
    while came.len() < 12 {
        let claimed = due(&bench, claim("two", at(60))).await;
        let again = claimed.iter().filter(|row| row.attempts > 1).count();
        assert!(again == 0 || claimed.len() == 1, "{} claimed, {again} of them had failed before", claimed.len());
        assert!(!claimed.is_empty(), "{} of twelve came, all are due", came.len());
        came.extend(claimed.into_iter().map(|row| row.id));
        claims += 1;
    }
    assert!(claims <= 8, "six alone, six together: {claims} claims");
    assert_eq!(due(&bench, claim("two", at(60))).await, []);
}

/// A step begins anew: no claim, no attempts.
pub async fn a_step_gives_the_claim_back(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    let claimed = due(&bench, claim("one", at(0))).await.remove(0);
    bench.done(step(&claimed, 1).wakes(Some(at(5)))).await;
    assert_eq!(bench.row(flow(1)).await.attempts, 0);
    let again = due(&bench, claim("one", at(5))).await;
    assert_eq!(again.iter().map(|row| (row.version, row.attempts)).collect::<Vec<_>>(), [(2, 1)]);
}

/// When it was not the flow's fault the attempt does not count; when it was, it does; either may be tried soon.
pub async fn a_claim_can_be_given_back_early(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [flow(1)]);
    bench.store.unclaim(&given_back(flow(1), at(0), at(5), false)).await.expect("a write");
    assert_eq!(bench.row(flow(1)).await.attempts, 0);
    assert_eq!(due_ids(&bench, "one", at(4)).await, []);
    assert_eq!(due_ids(&bench, "one", at(5)).await, [flow(1)]);
    bench.store.unclaim(&given_back(flow(1), at(5), at(7), true)).await.expect("a write");
    assert_eq!(bench.row(flow(1)).await.attempts, 1);
    assert_eq!(due_ids(&bench, "two", at(6)).await, []);
    assert_eq!(due_ids(&bench, "two", at(7)).await, [flow(1)]);
    assert_eq!(bench.row(flow(1)).await.attempts, 2);
    bench.store.unclaim(&given_back(flow(2), at(0), at(7), false)).await.expect("who is not there is not missed");
}

/// Whoever gives back late takes nothing out of another's hands, and of a flow that has moved on nothing is taken.
pub async fn a_claim_that_has_lapsed_is_not_given_back_for_another(bench: Bench) {
    bench.done(start(1).wakes(Some(at(0)))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [flow(1)]);
    let lapsed = claim("one", at(0)).until;
    assert_eq!(due_ids(&bench, "two", lapsed).await, [flow(1)]);
    bench.store.unclaim(&given_back(flow(1), at(0), at(1), false)).await.expect("a write");
    assert_eq!(bench.row(flow(1)).await.attempts, 1, "the attempt of the first was not the flow's fault");
    assert_eq!(due_ids(&bench, "three", lapsed).await, [], "the second has it still");
    bench.store.unclaim(&Unclaim { version: 2, ..given_back(flow(1), at(0), at(1), false) }).await.expect("a write");
    assert_eq!(bench.row(flow(1)).await.attempts, 1);
}

/// A process that begins alone has nothing in its hands, nor has any other; what was tried stays counted.
pub async fn all_claimed_flows_are_given_back(bench: Bench) {
    bench.commit([start(1).wakes(Some(at(0))), start(2).wakes(Some(at(0)))]).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await.len(), 2);
    bench.done(start(3).wakes(Some(at(0)))).await;
    assert_eq!(due_ids(&bench, "two", at(1)).await, [flow(3)]);
    bench.store.release_claims().await.expect("a write");
    let mut back = Vec::new();
    for _ in 0..3 {
        back.extend(due_ids(&bench, "three", at(2)).await); // each alone, because it was claimed before
    }
    assert_eq!(BTreeSet::from_iter(back), BTreeSet::from([flow(1), flow(2), flow(3)]));
    assert_eq!(due_ids(&bench, "three", at(2)).await, []);
    assert_eq!(bench.row(flow(1)).await.attempts, 2);
    bench.store.release_claims().await.expect("a write");
    assert_eq!(due_ids(&bench, "three", at(3)).await, [], "what was claimed alone waits until its claim ends");
    let mut later = Vec::new();
    for _ in 0..3 {
        later.extend(due_ids(&bench, "four", claim("three", at(2)).until).await);
    }
    assert_eq!(BTreeSet::from_iter(later), BTreeSet::from([flow(1), flow(2), flow(3)]));
}

/// However many ask at once, each flow comes to one of them.
pub async fn racing_nodes_claim_no_flow_twice(bench: Bench) {
    bench.commit((0..64).map(|number| start(number).wakes(Some(at(0))))).await;
    let nodes = (0..8).map(|node| {
        let bench = bench.clone();
        async move { due(&bench, Claim { limit: 16, ..claim(&format!("node {node}"), at(0)) }).await }
    });
    let mut claimed: Vec<FlowId> = join_all(nodes).await.into_iter().flatten().map(|row| row.id).collect();
    // Whoever found others at work may have come away with less; nothing is lost by that.
    loop {
        let rest = due_ids(&bench, "last", at(0)).await;
        if rest.is_empty() {
            break;
        }
        claimed.extend(rest);
    }
    assert_eq!(claimed.len(), 64);
    assert_eq!(BTreeSet::from_iter(claimed).len(), 64);
}
