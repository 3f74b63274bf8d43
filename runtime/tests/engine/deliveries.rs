//! Deliveries: answered, put off, expired, dead, interrupted, and fought over by two nodes.

use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::scenarios::town::Mood;
use cairn_runtime::testing::store::Mode;
use cairn_runtime::testing::suite::given;
use cairn_runtime::testing::toy::{Child, Errand, Faulty, Parent, Trip, child, errand, faulty, parent, trip};
use cairn_runtime::{Clock, Failure, FlowId, Timestamp, Tuning, pump};
use tokio::sync::oneshot;

use crate::support::flows::{Announce, Herald};
use crate::support::{DAY, HOUR, House, MINUTE, Plan, crashes, nth, until};

const CLAIM: Duration = Duration::from_secs(21);

async fn errand(house: &House) -> FlowId {
    let go = errand::Go { card: "4242".to_owned(), cents: 500 };
    house.start::<Errand>(go).await.unwrap().flow
}

async fn trip(house: &House) -> FlowId {
    let plan = trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 };
    house.start::<Trip>(plan).await.unwrap().flow
}

/// A child whose parent waits for it.
async fn child(house: &House) -> FlowId {
    let sent = house.start::<Parent>(parent::SendOut { children: 1, patience: DAY }).await.unwrap();
    let parent::Says::Out { out } = sent.outcome else { panic!("one is out") };
    out[0]
}

async fn herald(house: &House, to: FlowId, expires: Option<Timestamp>) -> FlowId {
    let flow = house.start::<Herald>(Announce { to, is_faulty: false, expires }).await.unwrap().flow;
    house.host.quiet().await;
    flow
}

fn heard(house: &House, flow: FlowId) -> Vec<Result<(), Failure>> {
    serde_json::from_str::<Herald>(&house.row(flow).state).unwrap().heard
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_carried_at_once_and_its_answer_taken() {
    let house = House::new().await;
    let flow = trip(&house).await;
    house.host.quiet().await;
    assert_eq!(house.row(flow).phase, "charging", "the room was booked without anybody looking into the outbox");
    assert_eq!(house.deliver().await, 1, "what may happen only once goes by way of a claim");
    assert_eq!(house.row(flow).phase, "booked");
    assert_eq!((house.town.rooms().len(), house.town.charged().len()), (1, 1));
    let numbers: Vec<u32> = house.town.attempts().iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 1]);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_happen_once_is_never_tried_again_and_answers_that_nobody_knows() {
    for (mood, charged) in [(Mood::StrikeBefore, 0), (Mood::StrikeAfter, 1)] {
        let house = House::new().await;
        house.town.next("charge", mood);
        let flow = errand(&house).await;
        assert_eq!(house.deliver().await, 1);
        assert_eq!(house.row(flow).phase, "out", "whoever was out dropped dead");
        assert_eq!(house.deliver().await, 0, "it is still in the hands of the dead");
        assert_eq!(house.deliver_after(CLAIM).await, 1);
        assert_eq!(house.row(flow).phase, "unsure");
        for _ in 0..5 {
            house.deliver_after(HOUR / 60).await;
        }
        let charges = house.town.attempts().iter().filter(|attempt| attempt.flow == flow && attempt.number < 2).count();
        assert_eq!((house.town.charged().len(), charges), (charged, 2), "one charge, and one note to the clerk");
        house.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_happen_once_is_not_put_off_either() {
    let house = House::new().await;
    house.town.next("charge", Mood::Later(None));
    let flow = errand(&house).await;
    house.deliver().await;
    assert_eq!(house.row(flow).phase, "unsure", "who cannot say that it failed does not know");
    assert_eq!(house.deliver_after(HOUR / 2).await, 0);
    assert_eq!(house.town.charged(), []);
    house.is_at_rest().await;
    house.town.next("charge", Mood::Refuse);
    let flow = errand(&house).await;
    house.deliver().await;
    assert_eq!((house.row(flow).phase.as_str(), house.delivery(flow).dead), ("not_done", true), "but a no is a no");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn the_known_end_of_what_may_happen_once_is_kept_until_its_flow_can_hear_it() {
    let (plan, store) = Plan::new().faulty();
    let house = plan.build().await;
    let flow = errand(&house).await;
    house.engine.kill_shell(flow);
    until("the shell is gone", || house.engine.active() == 0).await;
    // The flow cannot be read as its answer comes; the settlement can be written.
    store.aim(nth(1, "load", Mode::ErrorBefore));
    house.deliver().await;
    assert_eq!((store.hit(), house.row(flow).phase.as_str()), (Some("load"), "out"));
    house.deliver_after(MINUTE).await;
    assert_eq!(house.row(flow).phase, "done", "charged, and not unsure");
    assert_eq!(house.town.attempts().len(), 1);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_tagged_signal_that_is_taken_is_answered() {
    let house = House::new().await;
    let child = child(&house).await;
    let asking = herald(&house, child, None).await;
    assert_eq!(heard(&house, asking), [Ok(())]);
    assert_eq!(house.row(child).phase, "called_off");
    let again = herald(&house, child, None).await;
    assert_eq!(heard(&house, again), [Ok(())], "taken though it changes nothing any more");
    assert_eq!(house.row(child).version, 2);
    assert_eq!(house.deliver_after(HOUR).await, 0, "everything is settled");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_tagged_signal_to_nobody_is_answered_too() {
    let house = House::new().await;
    let asking = herald(&house, FlowId::from_bytes([9; 16]), None).await;
    assert_eq!(heard(&house, asking), [Err(Failure::Refused("there is no such flow".to_owned()))]);
    assert!(house.delivery(asking).dead);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_takes_effect_once_though_its_commit_is_in_doubt() {
    for mode in [Mode::ErrorAfter, Mode::Drop] {
        let (plan, store) = Plan::new().faulty();
        let house = plan.build().await;
        let child = child(&house).await;
        store.aim(nth(2, "commit", mode)); // the first begins the herald, the second is the child's step
        let asking = herald(&house, child, None).await;
        assert!(store.hit().is_some());
        for _ in 0..4 {
            house.deliver_after(CLAIM).await;
        }
        assert_eq!(heard(&house, asking), [Ok(())]);
        assert_eq!((house.row(child).version, house.sum("called off")), (2, 1), "{mode:?}");
        house.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_refused_is_dead_and_answers_so() {
    let house = House::new().await;
    house.town.next("book", Mood::Refuse);
    let flow = trip(&house).await;
    house.host.quiet().await;
    assert_eq!((house.row(flow).phase.as_str(), house.sum("no room")), ("ended", 1));
    let delivery = house.delivery(flow);
    assert_eq!((delivery.dead, delivery.note.as_str()), (true, "the world says no"));
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_opened_is_dead_and_answers_so() {
    let house = House::new().await;
    let flow = house.faulty(faulty::Defects::default()).await;
    let mut garbage = given::delivery(1, flow);
    garbage.flow_kind = "faulty".to_owned();
    garbage.tag = Some("note".to_owned());
    let item = given::act(1).sends(garbage).item;
    cairn_runtime::store::Store::commit(&*house.sim, &[item]).await.unwrap();
    assert_eq!(house.deliver().await, 1);
    let delivery = house.delivery(flow);
    assert!(delivery.dead && delivery.note.starts_with("it cannot be opened"), "{delivery:?}");
    assert_eq!(house.row(flow).version, 2, "and its flow knows");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_double_and_end_at_the_expiry_which_is_answered() {
    let house = House::new().await;
    for _ in 0..100 {
        house.town.next("book", Mood::Later(None));
    }
    let flow = trip(&house).await;
    house.host.quiet().await;
    let expires = house.clock.now().after(HOUR);
    let mut pauses = Vec::new();
    while house.row(flow).phase == "booking" {
        let delivery = house.delivery(flow);
        assert_eq!(delivery.expires, Some(expires));
        assert!(delivery.due <= expires, "never past its expiry");
        assert_eq!(delivery.note, "the world is busy");
        pauses.push(delivery.due.since(house.clock.now()));
        assert_eq!(house.deliver().await, 0, "not before its time");
        house.clock.set(delivery.due);
        assert_eq!(house.deliver().await, 1);
    }
    assert_eq!(house.clock.now(), expires);
    for (pause, doubled) in pauses.iter().zip([2, 4, 8, 16, 32, 64, 128, 256, 512]) {
        let longest = Duration::from_secs(doubled);
        assert!(*pause <= longest && *pause >= longest * 7 / 10, "{pause:?} of {longest:?}");
    }
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(900)), "{pauses:?}");
    let history = house.sim.inspect(|tables| tables.history(flow));
    let phases: Vec<&str> = history.iter().map(|event| event.to.as_str()).collect();
    assert_eq!(phases, ["booking", "cancelling", "ended"], "it may have been booked, and nobody heard of it");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_that_died_with_their_carrier_do_not_lengthen_the_first_pause() {
    let house = House::new().await;
    for _ in 0..6 {
        house.town.next("book", Mood::StrikeBefore);
    }
    house.town.next("book", Mood::Later(None));
    let flow = trip(&house).await;
    house.host.quiet().await;
    for _ in 0..6 {
        assert_eq!(house.deliver_after(CLAIM).await, 1);
        house.host.quiet().await;
    }
    let delivery = house.delivery(flow);
    assert_eq!((delivery.note.as_str(), delivery.attempts), ("the world is busy", 1));
    assert!(delivery.due.since(house.clock.now()) <= Duration::from_secs(2), "{:?}", delivery.due);
    assert_eq!(house.deliver_after(Duration::from_secs(2)).await, 1);
    assert_eq!(house.row(flow).phase, "charging");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_may_ask_for_a_pause_of_its_own() {
    let house = House::new().await;
    house.town.next("book", Mood::Later(Some(MINUTE)));
    let flow = trip(&house).await;
    house.host.quiet().await;
    assert_eq!(house.delivery(flow).due, house.clock.now().after(MINUTE));
    house.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(house.deliver().await, 0);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(house.deliver().await, 1);
    assert_eq!(house.row(flow).phase, "charging");
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_came_too_late_is_answered_as_expired_and_not_told() {
    let (plan, store) = Plan::new().faulty();
    let house = plan.build().await;
    let child = child(&house).await;
    store.aim(nth(1, "load", Mode::ErrorBefore)); // the child cannot be read, and the signal is put off
    let asking = herald(&house, child, Some(house.clock.now().after(MINUTE))).await;
    assert_eq!(heard(&house, asking), []);
    house.deliver_after(2 * MINUTE).await;
    assert_eq!(heard(&house, asking), [Err(Failure::Expired)]);
    assert_eq!(house.row(child).version, 1);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lapsed_in_hand_belongs_to_whoever_has_it_now() {
    let late = House::new().await;
    let other = late.neighbour("other").await;
    late.town.next("book", Mood::StrikeBefore);
    let flow = trip(&late).await;
    late.host.quiet().await;
    late.clock.advance(CLAIM);
    let clock = std::sync::Arc::clone(&late.clock);
    late.host.at(Point::DeliveryClaimed, move || clock.advance(CLAIM));
    assert_eq!(late.deliver().await, 1, "claimed, and then nothing happens for longer than the claim is good");
    assert_eq!(late.town.attempts().len(), 1, "only the one that was struck down");
    assert_eq!(other.deliver().await, 1);
    assert_eq!((other.town.attempts().len(), other.row(flow).phase.as_str()), (1, "charging"));
    late.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_late_does_not_even_bury_what_expired_in_its_hands() {
    let late = House::new().await;
    let other = late.neighbour("other").await;
    late.town.next("book", Mood::StrikeBefore);
    let flow = trip(&late).await;
    late.host.quiet().await;
    late.clock.advance(HOUR - CLAIM);
    // Late takes it shortly before it expires and falls asleep; the other takes it when that claim has run out.
    let clock = std::sync::Arc::clone(&late.clock);
    late.host.at(Point::DeliveryClaimed, move || clock.advance(CLAIM));
    assert_eq!(late.deliver().await, 1);
    assert_eq!((late.delivery(flow).settled, late.row(flow).phase.as_str()), (None, "booking"));
    assert_eq!(other.deliver().await, 1);
    let told = other.sim.inspect(|tables| tables.history(flow));
    assert_eq!((told[1].name.as_str(), told[1].to.as_str()), ("answered", "cancelling"));
    assert_eq!(told[1].node, "other", "expired, said by the one whose it was");
    late.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_two_nodes_carry_has_one_id_and_one_effect() {
    let slow = House::new().await;
    let other = slow.neighbour("other").await;
    let (go_on, wait) = oneshot::channel();
    slow.town.next("book", Mood::Wait(wait));
    let flow = trip(&slow).await;
    until("it is being carried", || slow.town.attempts().len() == 1).await;
    slow.clock.advance(CLAIM);
    assert_eq!(other.deliver().await, 1);
    assert_eq!(other.row(flow).phase, "charging");
    go_on.send(()).unwrap();
    slow.host.quiet().await;
    let (first, second) = (&slow.town.attempts()[0], &other.town.attempts()[0]);
    assert_eq!((first.id, &first.delivery), (second.id, &second.delivery), "a double has the same id and content");
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(other.row(flow).version, 2, "answered once");
    slow.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_in_hand_waits_in_the_outbox() {
    let tuning = Tuning { deliveries: 1, ..Tuning::default() };
    let house = Plan { tuning, ..Plan::new() }.build().await;
    let (go_on, wait) = oneshot::channel();
    house.town.next("book", Mood::Wait(wait));
    let (first, second) = (trip(&house).await, trip(&house).await);
    until("the first is being carried", || house.town.attempts().len() == 1).await;
    assert_eq!((house.engine.in_flight().deliveries, house.delivery(second).attempts), (1, 0));
    assert_eq!(pump::deliver(&house.engine).await.unwrap(), 0, "there is no room");
    go_on.send(()).unwrap();
    house.host.quiet().await;
    assert_eq!(house.row(first).phase, "charging");
    for _ in 0..3 {
        assert_eq!(house.deliver().await, 1, "one at a time");
    }
    assert_eq!((house.row(first).phase.as_str(), house.row(second).phase.as_str()), ("booked", "booked"));
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn places_in_hand_are_given_back_whatever_becomes_of_a_step() {
    let (plan, store) = Plan::new().faulty();
    let house = plan.build().await;
    // Refused by the database; struck in the committer; lost to the host.
    store.aim(nth(1, "commit", Mode::ErrorBefore));
    let engine = house.engine.clone();
    let begin = || faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    until("the database is back", || house.engine.in_flight().deliveries == 0).await;
    while !house.engine.is_available() {
        tokio::time::advance(Duration::from_millis(250)).await;
    }
    house.host.at(Point::Queued, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    house.host.at(Point::HandOff, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    house.host.at(Point::DeliverySent, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_ok());
    house.is_at_rest().await;
    house.deliver_after(CLAIM).await;
    assert!(house.sim.outbox().iter().all(|delivery| delivery.settled.is_some()), "two were committed, both arrive");
    assert_eq!((house.sim.outbox().len(), house.town.notes().len()), (2, 3));
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_begins_anew_finds_what_the_last_one_had_in_hand() {
    let house = House::new().await;
    house.town.next("book", Mood::StrikeBefore);
    let flow = trip(&house).await;
    house.host.quiet().await;
    let next = Plan { clock: std::sync::Arc::clone(&house.clock), seed: 2, ..Plan::over(&house.sim) }.build().await;
    assert_eq!(next.deliver().await, 0, "the dead one's claim is still good");
    next.engine.store().release_claims().await.unwrap();
    assert_eq!(next.deliver().await, 1);
    assert_eq!((next.row(flow).phase.as_str(), next.town.attempts()[0].number), ("charging", 2));
    next.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_told_by_a_dead_node_is_told_by_the_next() {
    let house = House::new().await;
    let child = child(&house).await;
    let other = house.neighbour("other").await;
    let engine = house.engine.clone();
    house.host.at(Point::HandOff, strike);
    let asker = engine.asker("test");
    assert!(!crashes(async move { engine.call::<Child>(child, asker, child::Ask::Finish).await }).await);
    assert_eq!(house.row(child).phase, "done", "committed, and the hand-off in memory lost");
    house.clock.advance(CLAIM);
    other.deliver().await;
    assert_eq!(house.sum("came home"), 1);
    house.is_at_rest().await;
}
