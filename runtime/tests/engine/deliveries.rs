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
use crate::support::{DAY, Fixture, HOUR, MINUTE, Plan, crashes, nth, until};

const CLAIM: Duration = Duration::from_secs(21);

async fn errand(fixture: &Fixture) -> FlowId {
    let go = errand::Go { card: "4242".to_owned(), cents: 500 };
    fixture.start::<Errand>(go).await.unwrap().flow
}

async fn trip(fixture: &Fixture) -> FlowId {
    let plan = trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 };
    fixture.start::<Trip>(plan).await.unwrap().flow
}

/// A child whose parent waits for it.
async fn child(fixture: &Fixture) -> FlowId {
    let sent = fixture.start::<Parent>(parent::SendOut { children: 1, patience: DAY }).await.unwrap();
    let parent::Says::Out { out } = sent.outcome else { panic!("one is out") };
    out[0]
}

async fn herald(fixture: &Fixture, to: FlowId, expires: Option<Timestamp>) -> FlowId {
    let flow = fixture.start::<Herald>(Announce { to, is_faulty: false, expires }).await.unwrap().flow;
    fixture.host.quiet().await;
    flow
}

fn heard(fixture: &Fixture, flow: FlowId) -> Vec<Result<(), Failure>> {
    serde_json::from_str::<Herald>(&fixture.row(flow).state).unwrap().heard
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_carried_at_once_and_its_answer_taken() {
    let fixture = Fixture::new().await;
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    assert_eq!(fixture.row(flow).phase, "charging", "the room was booked without anybody looking into the outbox");
    assert_eq!(fixture.deliver().await, 1, "what may happen only once goes by way of a claim");
    assert_eq!(fixture.row(flow).phase, "booked");
    assert_eq!((fixture.town.rooms().len(), fixture.town.charged().len()), (1, 1));
    let numbers: Vec<u32> = fixture.town.attempts().iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 1]);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_happen_once_is_never_tried_again_and_answers_that_nobody_knows() {
    for (mood, charged) in [(Mood::StrikeBefore, 0), (Mood::StrikeAfter, 1)] {
        let fixture = Fixture::new().await;
        fixture.town.next("charge", mood);
        let flow = errand(&fixture).await;
        assert_eq!(fixture.deliver().await, 1);
        assert_eq!(fixture.row(flow).phase, "out", "whoever was out dropped dead");
        assert_eq!(fixture.deliver().await, 0, "it is still in the hands of the dead");
        assert_eq!(fixture.deliver_after(CLAIM).await, 1);
        assert_eq!(fixture.row(flow).phase, "unsure");
        for _ in 0..5 {
            fixture.deliver_after(HOUR / 60).await;
        }
        let charges =
            fixture.town.attempts().iter().filter(|attempt| attempt.flow == flow && attempt.number < 2).count();
        assert_eq!((fixture.town.charged().len(), charges), (charged, 2), "one charge, and one note to the clerk");
        fixture.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_happen_once_is_not_put_off_either() {
    let fixture = Fixture::new().await;
    fixture.town.next("charge", Mood::Later(None));
    let flow = errand(&fixture).await;
    fixture.deliver().await;
    assert_eq!(fixture.row(flow).phase, "unsure", "who cannot say that it failed does not know");
    assert_eq!(fixture.deliver_after(HOUR / 2).await, 0);
    assert_eq!(fixture.town.charged(), []);
    fixture.is_at_rest().await;
    fixture.town.next("charge", Mood::Refuse);
    let flow = errand(&fixture).await;
    fixture.deliver().await;
    assert_eq!((fixture.row(flow).phase.as_str(), fixture.delivery(flow).dead), ("not_done", true), "but a no is a no");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn the_known_end_of_what_may_happen_once_is_kept_until_its_flow_can_hear_it() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = errand(&fixture).await;
    fixture.engine.kill_shell(flow);
    until("the shell is gone", || fixture.engine.active() == 0).await;
    // The flow cannot be read as its answer comes; the settlement can be written.
    store.aim(nth(1, "load", Mode::ErrorBefore));
    fixture.deliver().await;
    assert_eq!((store.hit(), fixture.row(flow).phase.as_str()), (Some("load"), "out"));
    fixture.deliver_after(MINUTE).await;
    assert_eq!(fixture.row(flow).phase, "done", "charged, and not unsure");
    assert_eq!(fixture.town.attempts().len(), 1);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_tagged_signal_that_is_taken_is_answered() {
    let fixture = Fixture::new().await;
    let child = child(&fixture).await;
    let asking = herald(&fixture, child, None).await;
    assert_eq!(heard(&fixture, asking), [Ok(())]);
    assert_eq!(fixture.row(child).phase, "called_off");
    let again = herald(&fixture, child, None).await;
    assert_eq!(heard(&fixture, again), [Ok(())], "taken though it changes nothing any more");
    assert_eq!(fixture.row(child).version, 2);
    assert_eq!(fixture.deliver_after(HOUR).await, 0, "everything is settled");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_tagged_signal_to_nobody_is_answered_too() {
    let fixture = Fixture::new().await;
    let asking = herald(&fixture, FlowId::from_bytes([9; 16]), None).await;
    assert_eq!(heard(&fixture, asking), [Err(Failure::Refused("there is no such flow".to_owned()))]);
    assert!(fixture.delivery(asking).dead);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_takes_effect_once_though_its_commit_is_in_doubt() {
    for mode in [Mode::ErrorAfter, Mode::Drop] {
        let (plan, store) = Plan::new().faulty();
        let fixture = plan.build().await;
        let child = child(&fixture).await;
        store.aim(nth(2, "commit", mode)); // the first begins the herald, the second is the child's step
        let asking = herald(&fixture, child, None).await;
        assert!(store.hit().is_some());
        for _ in 0..4 {
            fixture.deliver_after(CLAIM).await;
        }
        assert_eq!(heard(&fixture, asking), [Ok(())]);
        assert_eq!((fixture.row(child).version, fixture.sum("called off")), (2, 1), "{mode:?}");
        fixture.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_refused_is_dead_and_answers_so() {
    let fixture = Fixture::new().await;
    fixture.town.next("book", Mood::Refuse);
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    assert_eq!((fixture.row(flow).phase.as_str(), fixture.sum("no room")), ("ended", 1));
    let delivery = fixture.delivery(flow);
    assert_eq!((delivery.dead, delivery.note.as_str()), (true, "the receiver says no"));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_opened_is_dead_and_answers_so() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(faulty::Defects::default()).await;
    let mut garbage = given::delivery(1, flow);
    garbage.flow_kind = "faulty".to_owned();
    garbage.tag = Some("note".to_owned());
    let item = given::act(1).sends(garbage).item;
    cairn_runtime::store::Store::commit(&*fixture.sim, &[item]).await.unwrap();
    assert_eq!(fixture.deliver().await, 1);
    let delivery = fixture.delivery(flow);
    assert!(delivery.dead && delivery.note.starts_with("it cannot be opened"), "{delivery:?}");
    assert_eq!(fixture.row(flow).version, 2, "and its flow knows");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_double_and_end_at_the_expiry_which_is_answered() {
    let fixture = Fixture::new().await;
    for _ in 0..100 {
        fixture.town.next("book", Mood::Later(None));
    }
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    let expires = fixture.clock.now().after(HOUR);
    let mut pauses = Vec::new();
    while fixture.row(flow).phase == "booking" {
        let delivery = fixture.delivery(flow);
        assert_eq!(delivery.expires, Some(expires));
        assert!(delivery.due <= expires, "never past its expiry");
        assert_eq!(delivery.note, "the world is busy");
        pauses.push(delivery.due.since(fixture.clock.now()));
        assert_eq!(fixture.deliver().await, 0, "not before its time");
        fixture.clock.set(delivery.due);
        assert_eq!(fixture.deliver().await, 1);
    }
    assert_eq!(fixture.clock.now(), expires);
    for (pause, doubled) in pauses.iter().zip([2, 4, 8, 16, 32, 64, 128, 256, 512]) {
        let longest = Duration::from_secs(doubled);
        assert!(*pause <= longest && *pause >= longest * 7 / 10, "{pause:?} of {longest:?}");
    }
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(900)), "{pauses:?}");
    let history = fixture.sim.inspect(|tables| tables.history(flow));
    let phases: Vec<&str> = history.iter().map(|event| event.to.as_str()).collect();
    assert_eq!(phases, ["booking", "cancelling", "ended"], "it may have been booked, and nobody heard of it");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_that_died_with_their_carrier_do_not_lengthen_the_first_pause() {
    let fixture = Fixture::new().await;
    for _ in 0..6 {
        fixture.town.next("book", Mood::StrikeBefore);
    }
    fixture.town.next("book", Mood::Later(None));
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    for _ in 0..6 {
        assert_eq!(fixture.deliver_after(CLAIM).await, 1);
        fixture.host.quiet().await;
    }
    let delivery = fixture.delivery(flow);
    assert_eq!((delivery.note.as_str(), delivery.attempts), ("the world is busy", 1));
    assert!(delivery.due.since(fixture.clock.now()) <= Duration::from_secs(2), "{:?}", delivery.due);
    assert_eq!(fixture.deliver_after(Duration::from_secs(2)).await, 1);
    assert_eq!(fixture.row(flow).phase, "charging");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_may_ask_for_a_pause_of_its_own() {
    let fixture = Fixture::new().await;
    fixture.town.next("book", Mood::Later(Some(MINUTE)));
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    assert_eq!(fixture.delivery(flow).due, fixture.clock.now().after(MINUTE));
    fixture.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(fixture.deliver().await, 0);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.deliver().await, 1);
    assert_eq!(fixture.row(flow).phase, "charging");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_came_too_late_is_answered_as_expired_and_not_told() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let child = child(&fixture).await;
    store.aim(nth(1, "load", Mode::ErrorBefore)); // the child cannot be read, and the signal is put off
    let asking = herald(&fixture, child, Some(fixture.clock.now().after(MINUTE))).await;
    assert_eq!(heard(&fixture, asking), []);
    fixture.deliver_after(2 * MINUTE).await;
    assert_eq!(heard(&fixture, asking), [Err(Failure::Expired)]);
    assert_eq!(fixture.row(child).version, 1);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lapsed_in_hand_belongs_to_whoever_has_it_now() {
    let late = Fixture::new().await;
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
    let late = Fixture::new().await;
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
    let slow = Fixture::new().await;
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
    let fixture = Plan { tuning, ..Plan::new() }.build().await;
    let (go_on, wait) = oneshot::channel();
    fixture.town.next("book", Mood::Wait(wait));
    let (first, second) = (trip(&fixture).await, trip(&fixture).await);
    until("the first is being carried", || fixture.town.attempts().len() == 1).await;
    assert_eq!((fixture.engine.in_flight().deliveries, fixture.delivery(second).attempts), (1, 0));
    assert_eq!(pump::deliver(&fixture.engine).await.unwrap(), 0, "there is no room");
    go_on.send(()).unwrap();
    fixture.host.quiet().await;
    assert_eq!(fixture.row(first).phase, "charging");
    for _ in 0..3 {
        assert_eq!(fixture.deliver().await, 1, "one at a time");
    }
    assert_eq!((fixture.row(first).phase.as_str(), fixture.row(second).phase.as_str()), ("booked", "booked"));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn places_in_hand_are_given_back_whatever_becomes_of_a_step() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    // Refused by the database; struck in the committer; lost to the host.
    store.aim(nth(1, "commit", Mode::ErrorBefore));
    let engine = fixture.engine.clone();
    let begin = || faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    until("the database is back", || fixture.engine.in_flight().deliveries == 0).await;
    while !fixture.engine.is_available() {
        tokio::time::advance(Duration::from_millis(250)).await;
    }
    fixture.host.at(Point::Queued, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    fixture.host.at(Point::HandOff, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_err());
    fixture.host.at(Point::DeliverySent, strike);
    assert!(engine.start::<Faulty>(engine.asker("test"), begin()).await.is_ok());
    fixture.is_at_rest().await;
    fixture.deliver_after(CLAIM).await;
    assert!(fixture.sim.outbox().iter().all(|delivery| delivery.settled.is_some()), "two were committed, both arrive");
    assert_eq!((fixture.sim.outbox().len(), fixture.town.notes().len()), (2, 3));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_begins_anew_finds_what_the_last_one_had_in_hand() {
    let fixture = Fixture::new().await;
    fixture.town.next("book", Mood::StrikeBefore);
    let flow = trip(&fixture).await;
    fixture.host.quiet().await;
    let next = Plan { clock: std::sync::Arc::clone(&fixture.clock), seed: 2, ..Plan::over(&fixture.sim) }.build().await;
    assert_eq!(next.deliver().await, 0, "the dead one's claim is still good");
    next.engine.store().release_claims().await.unwrap();
    assert_eq!(next.deliver().await, 1);
    assert_eq!((next.row(flow).phase.as_str(), next.town.attempts()[0].number), ("charging", 2));
    next.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_told_by_a_dead_node_is_told_by_the_next() {
    let fixture = Fixture::new().await;
    let child = child(&fixture).await;
    let other = fixture.neighbour("other").await;
    let engine = fixture.engine.clone();
    fixture.host.at(Point::HandOff, strike);
    let asker = engine.asker("test");
    assert!(!crashes(async move { engine.call::<Child>(child, asker, child::Ask::Finish).await }).await);
    assert_eq!(fixture.row(child).phase, "done", "committed, and the hand-off in memory lost");
    fixture.clock.advance(CLAIM);
    other.deliver().await;
    assert_eq!(fixture.sum("came home"), 1);
    fixture.is_at_rest().await;
}
