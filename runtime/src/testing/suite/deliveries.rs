//! The outbox: what is due is claimed and counted, put off, and given back.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::Bench;
use super::given::{at, claim, delivery, delivery_id, flow, nothing, start};
use crate::clock::Timestamp;
use crate::id::DeliveryId;
use crate::store::{Claim, OutboxRow, Postpone};
use crate::testing::toy::{CALLS, NOTES};

async fn due(bench: &Bench, claim: Claim) -> Vec<OutboxRow> {
    bench.store.claim_deliveries(NOTES.name, claim).await.expect("a claim")
}

async fn due_ids(bench: &Bench, node: &str, now: Timestamp) -> Vec<DeliveryId> {
    due(bench, claim(node, now)).await.into_iter().map(|delivery| delivery.id).collect()
}

async fn the_one(bench: &Bench) -> OutboxRow {
    bench.deliveries(flow(1)).await.remove(0)
}

/// A delivery that is due at an instant, and was asked for then.
fn due_at(number: u64, second: i64) -> OutboxRow {
    OutboxRow { due: at(second), created: at(second), ..delivery(number, flow(1)) }
}

/// The attempt is counted, and written, before anything leaves the house.
pub async fn a_due_delivery_is_claimed_once_and_counted(bench: Bench) {
    let sent = due_at(1, 10);
    bench.done(start(1).sends(sent.clone())).await;
    assert_eq!(due(&bench, claim("one", at(9))).await, []);
    let in_flight = OutboxRow { attempts: 1, claimed_until: Some(at(70)), claimed_by: Some("one".to_owned()), ..sent };
    assert_eq!(due(&bench, claim("one", at(10))).await, std::slice::from_ref(&in_flight));
    assert_eq!(the_one(&bench).await, in_flight);
    assert_eq!(due(&bench, claim("two", at(11))).await, []);
}

/// The end of a delivery is its end.
pub async fn what_is_settled_or_not_due_is_not_claimed(bench: Bench) {
    bench.done(start(1).sends(due_at(1, 0)).sends(due_at(2, 0)).sends(due_at(3, 99)).sends(due_at(4, 1))).await;
    bench.commit([nothing(1).settles(1), nothing(2).buries(2, "no")]).await;
    assert_eq!(due_ids(&bench, "one", at(50)).await, [delivery_id(4)]);
}

/// Who has waited longest comes first, also in the list.
pub async fn the_oldest_deliveries_come_first_and_no_more_than_asked(bench: Bench) {
    let seconds = [7, 3, 9, 1, 5];
    let draft = (0..).zip(seconds).fold(start(1), |draft, (number, second)| draft.sends(due_at(number, second)));
    bench.done(draft).await;
    let few = Claim { limit: 2, ..claim("one", at(100)) };
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(due(&bench, few.clone()).await.into_iter().map(|delivery| delivery.due));
    }
    assert_eq!(order, [at(1), at(3), at(5), at(7), at(9)]);
}

/// What a node carries straight from its memory is claimed by the commit that asks for it.
pub async fn a_delivery_may_be_committed_in_the_hands_of_its_node(bench: Bench) {
    let in_flight =
        OutboxRow { attempts: 1, claimed_until: Some(at(20)), claimed_by: Some("one".to_owned()), ..due_at(1, 0) };
    bench.done(start(1).sends(in_flight.clone())).await;
    assert_eq!(the_one(&bench).await, in_flight);
    assert_eq!(due_ids(&bench, "two", at(19)).await, []);
    assert_eq!(due_ids(&bench, "two", at(20)).await, [delivery_id(1)], "the hand-off in memory was lost");
    assert_eq!(the_one(&bench).await.attempts, 2);
}

/// However much of another lane waits, and however long: it does not come in between.
pub async fn each_lane_is_claimed_apart(bench: Bench) {
    let call = |number: u64| OutboxRow { lane: CALLS.name.to_owned(), ..due_at(number, 0) };
    let calls = (10..40).fold(start(1), |draft, number| draft.sends(call(number)));
    bench.done(calls.sends(due_at(1, 5)).sends(due_at(2, 3))).await;
    let few = Claim { limit: 2, ..claim("one", at(9)) };
    let notes: Vec<DeliveryId> = due(&bench, few.clone()).await.into_iter().map(|delivery| delivery.id).collect();
    assert_eq!(notes, [delivery_id(2), delivery_id(1)]);
    assert_eq!(due(&bench, few.clone()).await, []);
    let calls = bench.store.claim_deliveries(CALLS.name, few).await.expect("a claim");
    assert!(calls.len() == 2 && calls.iter().all(|delivery| delivery.lane == CALLS.name), "{calls:?}");
    let rest = bench.store.claim_deliveries(CALLS.name, claim("one", at(9))).await.expect("a claim");
    assert_eq!(rest.len(), 28);
    let unknown = bench.store.claim_deliveries("no such lane", claim("one", at(900))).await.expect("a claim");
    assert_eq!(unknown, []);
}

/// A node that died while it sent does not keep the delivery.
pub async fn a_claim_of_a_delivery_runs_out(bench: Bench) {
    bench.done(start(1).sends(due_at(1, 0))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [delivery_id(1)]);
    assert_eq!(due_ids(&bench, "two", at(59)).await, []);
    let again = due(&bench, claim("two", at(60))).await;
    assert_eq!(again.iter().map(|delivery| delivery.attempts).collect::<Vec<_>>(), [2]);
    assert_eq!(the_one(&bench).await.claimed_by.as_deref(), Some("two"));
}

/// Put off, it is in nobody's hands; the attempt counts or not, and the reason can be read.
pub async fn a_delivery_can_be_put_off(bench: Bench) {
    bench.done(start(1).sends(due_at(1, 0)).sends(due_at(2, 1_000))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [delivery_id(1)]);
    let later =
        |due, note: &str, uncounted| Postpone { delivery: delivery_id(1), due, note: note.to_owned(), uncounted };
    bench.store.postpone(&[later(at(30), "421 busy", 0)]).await.expect("a write");
    let put_off = the_one(&bench).await;
    assert_eq!((put_off.due, put_off.attempts, put_off.note.as_str()), (at(30), 1, "421 busy"));
    assert_eq!((put_off.claimed_until, put_off.claimed_by), (None, None));
    assert_eq!(due_ids(&bench, "one", at(29)).await, []);
    assert_eq!(due_ids(&bench, "one", at(30)).await, [delivery_id(1)], "though its first claim would still last");
    let unknown = Postpone { delivery: delivery_id(77), due: at(1), note: String::new(), uncounted: 0 };
    bench.store.postpone(&[unknown, later(at(40), "lane closed", 1)]).await.expect("a write");
    assert_eq!((the_one(&bench).await.attempts, the_one(&bench).await.due), (1, at(40)));
    bench.store.postpone(&[]).await.expect("nothing is no error");
    assert_eq!(due_ids(&bench, "one", at(40)).await, [delivery_id(1)]);
    assert_eq!(the_one(&bench).await.attempts, 2);
    bench.store.postpone(&[later(at(50), "421 busy", 7)]).await.expect("a write");
    assert_eq!(the_one(&bench).await.attempts, 0, "no more are taken back than there were");
}

/// A node that was slow does not bring a settled delivery back to life.
pub async fn what_is_settled_cannot_be_put_off(bench: Bench) {
    bench.done(start(1).sends(due_at(1, 0))).await;
    bench.done(nothing(1).buries(1, "no such mailbox")).await;
    let later = Postpone { delivery: delivery_id(1), due: at(5), note: "busy".to_owned(), uncounted: 0 };
    bench.store.postpone(&[later]).await.expect("a write");
    let dead = the_one(&bench).await;
    assert_eq!((dead.settled, dead.dead, dead.note.as_str()), (Some(at(1)), true, "no such mailbox"));
    assert_eq!(due_ids(&bench, "one", at(100)).await, []);
}

/// A process that begins alone has nothing in its hands, nor has any other; what was tried stays counted.
pub async fn all_claimed_deliveries_are_given_back(bench: Bench) {
    bench.done(start(1).sends(due_at(1, 0)).sends(due_at(2, 5))).await;
    assert_eq!(due_ids(&bench, "one", at(0)).await, [delivery_id(1)]);
    assert_eq!(due_ids(&bench, "two", at(5)).await, [delivery_id(2)]);
    bench.store.release_claims().await.expect("a write");
    let back = the_one(&bench).await;
    assert_eq!((back.claimed_until, back.claimed_by, back.attempts), (None, None, 1));
    let again = due(&bench, claim("three", at(6))).await;
    let again = again.iter().map(|delivery| (delivery.id, delivery.attempts)).collect::<Vec<_>>();
    assert_eq!(again, [(delivery_id(1), 2), (delivery_id(2), 2)]);
}

/// However many ask at once, each delivery comes to one of them.
pub async fn racing_nodes_claim_no_delivery_twice(bench: Bench) {
    bench.done((0..64).fold(start(1), |draft, number| draft.sends(due_at(number, 0)))).await;
    let nodes = (0..8).map(|node| {
        let bench = bench.clone();
        async move { due(&bench, Claim { limit: 16, ..claim(&format!("node {node}"), at(0)) }).await }
    });
    let mut claimed: Vec<DeliveryId> = join_all(nodes).await.into_iter().flatten().map(|one| one.id).collect();
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
