//! Lanes: each has its own room, back-off and breaker.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::testing::scenarios::hang;
use cairn_runtime::testing::scenarios::town::Mood;
use cairn_runtime::testing::store::SimStore;
use cairn_runtime::testing::suite::Bench;
use cairn_runtime::testing::toy::{CALLS, Faulty, Toy, Trip, faulty, trip};
use cairn_runtime::{FlowId, Tuning, pump};

use crate::support::{DAY, Fixture, Plan, until};

const SECOND: Duration = Duration::from_secs(1);

async fn trip(fixture: &Fixture) -> FlowId {
    let plan = trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 };
    fixture.start::<Trip>(plan).await.unwrap().flow
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_back_nothing_but_its_own_lane() {
    let store = Arc::new(SimStore::<Toy>::new());
    let bench = Bench { store: Arc::clone(&store) as _, probe: store };
    hang::a_receiver_that_hangs_holds_back_nothing_but_its_own_lane(bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_in_which_nothing_gets_through_rests_and_is_tried_with_one() {
    let rule = CALLS.breaker.unwrap();
    let fixture = Fixture::new().await;
    for _ in 0..rule.failures {
        fixture.town.next("book", Mood::Later(Some(10 * SECOND)));
        trip(&fixture).await;
        fixture.host.quiet().await;
    }
    let failed = usize::try_from(rule.failures).unwrap();
    assert_eq!(fixture.town.attempts().len(), failed);
    let waits = trip(&fixture).await;
    fixture.host.quiet().await;
    assert_eq!((fixture.deliver().await, fixture.delivery(waits).attempts), (0, 0), "nothing more of it is taken up");

    // Another lane does not rest.
    fixture.start::<Faulty>(faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }).await.unwrap();
    fixture.host.quiet().await;
    assert_eq!(fixture.town.notes().len(), 1);

    // After its rest one is tried; that fails, and the next rest is twice as long.
    fixture.town.next("book", Mood::Later(Some(10 * SECOND)));
    fixture.clock.advance(rule.rest);
    assert_eq!((fixture.deliver().await, fixture.delivery(waits).attempts), (1, 1));
    fixture.clock.advance(rule.rest);
    let another = trip(&fixture).await;
    fixture.host.quiet().await;
    assert_eq!((fixture.deliver().await, fixture.delivery(another).attempts), (0, 0));
    fixture.clock.advance(rule.rest);
    assert_eq!(fixture.deliver().await, 1);
    assert_eq!(fixture.row(another).phase, "charging", "it got through");

    // And with that the lane is as it was.
    fixture.clock.advance(10 * SECOND);
    assert_eq!(fixture.deliver().await, failed + 2, "all bookings that were put off, and the charge");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_must_be_claimed_is_claimed_at_once() {
    // It looks by itself once a day only: what is found sooner is found by a hint.
    let tuning = Tuning { poll: DAY, ..Tuning::default() };
    let plan = Plan { tuning, tasks: &["committer", "outbox"], ..Plan::new() };
    let fixture = plan.build().await;
    let flow = trip(&fixture).await;
    until("it is booked and charged", || fixture.row(flow).phase == "booked").await;
    let charged = fixture.sim.outbox().into_iter().find(|delivery| delivery.once).unwrap();
    assert_eq!((charged.lane.as_str(), charged.attempts), (CALLS.name, 1), "by way of a claim");
    assert_eq!(pump::deliver(&fixture.engine).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_hinted_at_all_the_time_keeps_no_other_from_being_polled() {
    let tuning = Tuning { poll: SECOND, deliveries: 1, ..Tuning::default() };
    let plan = Plan { tuning, tasks: &["committer", "outbox"], ..Plan::new() };
    let fixture = plan.build().await;
    let (release, hangs) = tokio::sync::oneshot::channel();
    fixture.town.next("book", Mood::Wait(hangs));
    fixture.town.next("note", Mood::Later(Some(5 * SECOND)));
    trip(&fixture).await;
    fixture.start::<Faulty>(faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }).await.unwrap();
    until("the note was put off", || fixture.sim.outbox().iter().any(|one| !one.note.is_empty())).await;
    fixture.clock.advance(6 * SECOND);
    // Bookings come faster than the outbox looks by itself, and find no room.
    for _ in 0..50 {
        trip(&fixture).await;
        tokio::time::advance(SECOND / 5).await;
        tokio::task::yield_now().await;
    }
    until("the note has arrived", || fixture.town.notes().len() == 1).await;
    release.send(()).unwrap();
}
