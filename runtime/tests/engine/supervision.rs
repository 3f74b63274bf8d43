//! Who watches is killed, and who is watched panics: work goes on, nothing is lost, and too much of it ends the process.

use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::store::Mode;
use cairn_runtime::testing::toy::{Faulty, Toy, ToyKey, ToyWrite, faulty};
use cairn_runtime::{ActStep, Cx, Effects, Fault, FlowId, Guard, Method};

use crate::support::{Fixture, HOUR, MINUTE, Plan, nth, until};

const TASKS: &[&str] = &["committer", "outbox", "wake", "idle"];

/// Lets the timers of all tasks ring for a while.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_task_is_replaced_and_the_task_goes_on() {
    for name in TASKS {
        let fixture = Plan { tasks: TASKS, ..Plan::new() }.build().await;
        let begin = faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
        for round in 1..=3_u32 {
            assert!(fixture.supervision.kill(name));
            let flow = fixture.ticket(&format!("ticket {round}")).await;
            assert!(fixture.stamp(flow).await.is_ok(), "{name} lost its keeper");
            let asking = fixture.start::<Faulty>(begin.clone()).await.unwrap().flow;
            fixture.clock.advance(2 * HOUR);
            a_while().await;
            assert_eq!((fixture.row(flow).phase.as_str(), fixture.row(asking).version >= 2), ("expired", true));
            assert_eq!(fixture.engine.active(), 0, "and idle shells go");
        }
        assert_eq!((fixture.town.notes().len(), fixture.sum("expired")), (3, 3), "nothing is done twice");
        assert!(fixture.supervision.is_running());
        assert_eq!(*fixture.exits.lock().unwrap(), Vec::<String>::new());
        fixture.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_begun_anew() {
    for (point, task) in [
        (Point::Queued, "committer"),
        (Point::Committed, "committer"),
        (Point::DeliveryClaimed, "outbox"),
        (Point::DueClaimed, "wake"),
        (Point::Passivating, "idle"),
    ] {
        let fixture = Plan { tasks: TASKS, ..Plan::new() }.build().await;
        fixture.town.next("note", cairn_runtime::testing::scenarios::town::Mood::StrikeBefore);
        fixture.host.at(point, strike);
        let begin = faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
        let _ = fixture.start::<Faulty>(begin.clone()).await;
        let _ = fixture.start::<Faulty>(begin).await;
        for _ in 0..8 {
            fixture.clock.advance(HOUR);
            a_while().await;
        }
        assert!(fixture.host.passed(point) >= 2, "{task} came to {point:?} once more");
        assert!(fixture.sim.outbox().iter().all(|delivery| delivery.settled.is_some()), "{task}");
        assert!(fixture.sim.rows().iter().all(|row| row.phase == "over"), "{task}: {:?}", fixture.sim.rows());
        assert!(fixture.supervision.is_running());
        assert_eq!(*fixture.exits.lock().unwrap(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_nursery_that_dies_takes_its_own_shells_and_no_others() {
    let fixture = Fixture::new().await;
    let mut flows = Vec::new();
    for number in 0..32 {
        flows.push(fixture.ticket(&format!("ticket {number}")).await);
    }
    assert_eq!(fixture.engine.active(), 32);
    assert!(fixture.supervision.kill("nursery"));
    until("two of thirty-two shells are gone", || fixture.engine.active() == 30).await;
    for flow in &flows {
        let reply = fixture.stamp(*flow).await.unwrap();
        assert_eq!((reply.version, reply.method), (2, Method::Actor));
    }
    assert_eq!(fixture.host.passed(Point::Activated), 2, "only those two were read anew");
    assert!(fixture.supervision.is_running());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_nursery_that_dies_amid_a_step_loses_nothing() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let mut flows = Vec::new();
    for number in 0..16 {
        flows.push(fixture.ticket(&format!("ticket {number}")).await);
    }
    store.aim(nth(1, "commit", Mode::Hang));
    let calls: Vec<_> = flows.iter().map(|flow| fixture.stamping(*flow)).collect();
    until("the commit hangs", || store.hit().is_some()).await;
    fixture.supervision.kill("nursery");
    until("one shell is gone", || fixture.engine.active() == 15).await;
    store.release();
    for call in calls {
        let reply = call.await.unwrap().unwrap();
        assert_eq!(reply.version, 2);
    }
    assert_eq!(fixture.sum("stamps"), 16);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn more_than_three_restarts_within_a_minute_end_the_process() {
    let fixture = Fixture::new().await;
    for restarts in 1..=4 {
        assert_eq!(fixture.exits.lock().unwrap().len(), 0);
        fixture.host.at(Point::Queued, strike);
        let _ = fixture.start::<Faulty>(faulty::Begin::default()).await;
        until("the root has heard of it", || restarts < 4 || !fixture.exits.lock().unwrap().is_empty()).await;
        if restarts < 4 {
            assert!(fixture.start::<Faulty>(faulty::Begin::default()).await.is_ok(), "after {restarts}");
        }
    }
    let exits = fixture.exits.lock().unwrap().clone();
    assert_eq!(exits, ["committer ended 4 times within a minute"]);
}

#[tokio::test(start_paused = true)]
async fn restarts_that_are_far_between_end_nobody() {
    let fixture = Fixture::new().await;
    for _ in 0..12 {
        fixture.host.at(Point::Queued, strike);
        let _ = fixture.start::<Faulty>(faulty::Begin::default()).await;
        assert!(fixture.start::<Faulty>(faulty::Begin::default()).await.is_ok());
        tokio::time::advance(MINUTE / 3 + Duration::from_secs(1)).await;
    }
    fixture.is_at_rest().await;
}

/// Claims a key by an act.
async fn take(fixture: &Fixture, name: &str) -> Result<String, Fault> {
    let key = ToyKey::Name(name.to_owned());
    let decide = move |lost: Option<&ToyKey>, _cx: &Cx<'_, Toy>| match lost {
        Some(_) => {
            ActStep { says: "taken".to_owned(), effects: Effects::none(), user: None, public: serde_json::Value::Null }
        }
        None => {
            let effects = Effects::none().guard(Guard::Claim(key.clone())).write(ToyWrite::add("taken", 1));
            ActStep { says: "mine".to_owned(), effects, user: None, public: serde_json::Value::Null }
        }
    };
    fixture.engine.act("taking", fixture.engine.asker("test"), decide).await.map(|reply| reply.outcome)
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_store_fails_its_batch_and_the_queue_outlives_it() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    // All three want one key, so they go one by one: the first in the batch that panics, two looked at and put back.
    store.aim(nth(1, "commit", Mode::Drop));
    let (one, two, three) = tokio::join!(take(&fixture, "ada"), take(&fixture, "ada"), take(&fixture, "ada"));
    assert_eq!(store.hit(), Some("commit"));
    assert!(matches!(one, Err(Fault::Unavailable(_))), "{one:?}");
    assert_eq!((two.unwrap(), three.unwrap()), ("taken".to_owned(), "taken".to_owned()));
    assert_eq!(fixture.sum("taken"), 1, "the first was durable, though it could not be told so");
    assert_eq!(fixture.engine.queued(), 0);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_chore_fails_that_chore_alone() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow: FlowId = fixture.ticket("ada").await;
    fixture.clock.advance(2 * HOUR);
    store.aim(nth(1, "claim_due", Mode::Drop));
    assert!(matches!(cairn_runtime::pump::tick(&fixture.engine).await, Err(Fault::Unavailable(_))));
    assert!(fixture.engine.flushes().await, "the committer is back");
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.tick().await, 1);
    assert_eq!(fixture.row(flow).phase, "expired");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_all_that_was_queued_before_it_and_gives_up_on_a_stuck_committer() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    assert!(fixture.engine.flushes().await);
    store.aim(nth(1, "commit", Mode::Hang));
    let call = fixture.stamping(flow);
    until("the commit hangs", || store.hit().is_some()).await;
    assert!(!fixture.engine.flushes().await, "two seconds are enough to know");
    store.release();
    assert!(call.await.unwrap().is_ok());
    assert!(fixture.engine.flushes().await);
    fixture.is_at_rest().await;
}
