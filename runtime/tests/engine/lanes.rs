//! Lanes: each has its own room, back-off and breaker.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::testing::scenarios::hang;
use cairn_runtime::testing::scenarios::town::Mood;
use cairn_runtime::testing::store::SimStore;
use cairn_runtime::testing::suite::Bench;
use cairn_runtime::testing::toy::{CALLS, Faulty, Toy, Trip, faulty, trip};
use cairn_runtime::{FlowId, Tuning, pump};

use crate::support::{DAY, House, Plan, until};

const SECOND: Duration = Duration::from_secs(1);

async fn trip(house: &House) -> FlowId {
    let plan = trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 };
    house.start::<Trip>(plan).await.unwrap().flow
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
    let house = House::new().await;
    for _ in 0..rule.failures {
        house.town.next("book", Mood::Later(Some(10 * SECOND)));
        trip(&house).await;
        house.host.quiet().await;
    }
    let failed = usize::try_from(rule.failures).unwrap();
    assert_eq!(house.town.attempts().len(), failed);
    let waits = trip(&house).await;
    house.host.quiet().await;
    assert_eq!((house.deliver().await, house.delivery(waits).attempts), (0, 0), "nothing more of it is taken up");

    // Another lane does not rest.
    house.start::<Faulty>(faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }).await.unwrap();
    house.host.quiet().await;
    assert_eq!(house.town.notes().len(), 1);

    // After its rest one is tried; that fails, and the next rest is twice as long.
    house.town.next("book", Mood::Later(Some(10 * SECOND)));
    house.clock.advance(rule.rest);
    assert_eq!((house.deliver().await, house.delivery(waits).attempts), (1, 1));
    house.clock.advance(rule.rest);
    let another = trip(&house).await;
    house.host.quiet().await;
    assert_eq!((house.deliver().await, house.delivery(another).attempts), (0, 0));
    house.clock.advance(rule.rest);
    assert_eq!(house.deliver().await, 1);
    assert_eq!(house.row(another).phase, "charging", "it got through");

    // And with that the lane is as it was.
    house.clock.advance(10 * SECOND);
    assert_eq!(house.deliver().await, failed + 2, "all bookings that were put off, and the charge");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_must_be_claimed_is_claimed_at_once() {
    // It looks by itself once a day only: what is found sooner is found by a hint.
    let tuning = Tuning { poll: DAY, ..Tuning::default() };
    let plan = Plan { tuning, tasks: &["committer", "outbox"], ..Plan::new() };
    let house = plan.build().await;
    let flow = trip(&house).await;
    until("it is booked and charged", || house.row(flow).phase == "booked").await;
    let charged = house.sim.outbox().into_iter().find(|delivery| delivery.once).unwrap();
    assert_eq!((charged.lane.as_str(), charged.attempts), (CALLS.name, 1), "by way of a claim");
    assert_eq!(pump::deliver(&house.engine).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_hinted_at_all_the_time_keeps_no_other_from_being_polled() {
    let tuning = Tuning { poll: SECOND, deliveries: 1, ..Tuning::default() };
    let plan = Plan { tuning, tasks: &["committer", "outbox"], ..Plan::new() };
    let house = plan.build().await;
    let (release, hangs) = tokio::sync::oneshot::channel();
    house.town.next("book", Mood::Wait(hangs));
    house.town.next("note", Mood::Later(Some(5 * SECOND)));
    trip(&house).await;
    house.start::<Faulty>(faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }).await.unwrap();
    until("the note was put off", || house.sim.outbox().iter().any(|one| !one.note.is_empty())).await;
    house.clock.advance(6 * SECOND);
    // Bookings come faster than the outbox looks by itself, and find no room.
    for _ in 0..50 {
        trip(&house).await;
        tokio::time::advance(SECOND / 5).await;
        tokio::task::yield_now().await;
    }
    until("the note has arrived", || house.town.notes().len() == 1).await;
    release.send(()).unwrap();
}
