//! The database goes away, loses answers, refuses, fills up: what is answered meanwhile, and how all goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::store::StoreFault;
use cairn_runtime::testing::store::Mode;
use cairn_runtime::testing::toy::{Faulty, Ticket, faulty, ticket};
use cairn_runtime::{Fault, Method, Tuning};

use crate::support::between::Instead;
use crate::support::{Fixture, HOUR, MINUTE, Plan, nth, repeating, until};

async fn comes_back(fixture: &Fixture) {
    for _ in 0..1_000 {
        if fixture.engine.is_available() {
            break;
        }
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    assert!(fixture.engine.is_available(), "the database is there, and nobody noticed");
    fixture.host.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_everybody_is_told_at_once_and_shells_stay() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let (one, other) = (fixture.ticket("ada").await, fixture.ticket("eve").await);
    fixture.sim.set_down(true);
    assert!(matches!(fixture.stamp(one).await, Err(Fault::Unavailable(_))), "whoever finds out");
    assert!(!fixture.engine.is_available());
    let asked = store.calls().into_iter().filter(|(call, _)| *call != "ping").collect::<Vec<_>>();
    for _ in 0..50 {
        assert!(matches!(fixture.stamp(other).await, Err(Fault::Unavailable(_))));
    }
    let since = store.calls().into_iter().filter(|(call, _)| *call != "ping").collect::<Vec<_>>();
    assert_eq!(since, asked, "nobody else asks the database");
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(fixture.engine.active(), 2, "shells stay");
    fixture.sim.set_down(false);
    comes_back(&fixture).await;
    let reply = fixture.stamp(one).await.unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Actor));
    assert!(fixture.stamp(other).await.is_ok());
    assert_eq!(fixture.host.passed(Point::Activated), 1, "only what failed is read anew");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_drops_dead_while_it_is_asked_whether_it_is_back_is_asked_again() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    fixture.sim.set_down(true);
    assert!(matches!(fixture.stamp(flow).await, Err(Fault::Unavailable(_))));
    store.aim(nth(1, "ping", Mode::Drop));
    fixture.sim.set_down(false);
    comes_back(&fixture).await;
    assert_eq!(store.hit(), Some("ping"));
    assert!(fixture.stamp(flow).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_restarts_nothing_and_afterwards_all_is_made_up_for() {
    let plan = Plan { tasks: &["committer", "outbox", "wake", "idle"], ..Plan::new() };
    let fixture = plan.build().await;
    let overdue = fixture.ticket("ada").await;
    let begin = faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
    let (down, sim) = (Arc::clone(&fixture.sim), Arc::clone(&fixture.sim));
    fixture.host.at(Point::HandOff, move || down.set_down(true));
    let asking = fixture.start::<Faulty>(begin).await.unwrap().flow;
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(fixture.row(asking).version, 1, "nobody could settle anything");
    assert!(fixture.supervision.is_running());
    assert_eq!(*fixture.exits.lock().unwrap(), Vec::<String>::new(), "ten minutes without a database end nobody");
    fixture.clock.advance(2 * HOUR);
    sim.set_down(false);
    tokio::time::sleep(MINUTE).await;
    assert!(fixture.engine.is_available());
    assert_eq!(fixture.row(overdue).phase, "expired", "woken");
    assert!(fixture.sim.outbox().iter().all(|delivery| delivery.settled.is_some()), "delivered");
    assert!(fixture.stamp(overdue).await.is_ok());
    assert_eq!(fixture.sim.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_found_out_and_the_asker_notices_nothing() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    store.aim(nth(1, "commit", Mode::ErrorAfter));
    let reply = fixture.stamp(flow).await.unwrap();
    assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps: 1 }, 2));
    assert_eq!(store.calls()["commit"], 2, "the same batch ran again");
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 2 });
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_commit_was_in_doubt_goes_out_once() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    store.aim(nth(1, "commit", Mode::ErrorAfter));
    let begin = faulty::Begin { asks_the_world: true, ..faulty::Begin::default() };
    let flow = fixture.start::<Faulty>(begin).await.unwrap().flow;
    fixture.host.quiet().await;
    for _ in 0..4 {
        fixture.deliver_after(Duration::from_secs(10)).await;
    }
    assert_eq!((fixture.town.notes().len(), fixture.row(flow).version), (1, 2));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_fate_that_stays_unknown_is_not_waited_for_for_ever() {
    let tuning = Tuning { ambiguity: Duration::from_secs(8), ..Tuning::default() };
    let (plan, between) = Plan { tuning, ..Plan::new() }.between();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    between.poison(|_| Some(StoreFault::Ambiguous("cut".to_owned())));
    // The clock stands still, as though it were set back again and again: it ends all the same.
    assert!(matches!(fixture.stamp(flow).await, Err(Fault::Unavailable(_))));
    between.poison(|_| None);
    comes_back(&fixture).await;
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 1 });
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_tried_again_and_nobody_hears_of_it() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    for _ in 0..5 {
        between.plan(Instead::Fault(StoreFault::Conflict("40001".to_owned())));
    }
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 1 });
    assert!(fixture.engine.is_available());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn one_item_that_the_database_refuses_disturbs_none_of_the_others() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let mut flows = Vec::new();
    for number in 0..16 {
        flows.push(fixture.ticket(&format!("ticket {number}")).await);
    }
    let bad = flows[11];
    between.poison(move |batch| {
        let poisoned = batch.iter().any(|item| item.change.as_ref().is_some_and(|change| change.row.id == bad));
        poisoned.then(|| StoreFault::Unexpected("a constraint".to_owned()))
    });
    let before = between.sizes().len();
    let calls: Vec<_> = flows.iter().map(|flow| (*flow, fixture.stamping(*flow))).collect();
    for (flow, call) in calls {
        match call.await.unwrap() {
            Ok(reply) => assert_eq!((reply.outcome, flow == bad), (ticket::Says::Good { stamps: 1 }, false)),
            Err(Fault::Defect(why)) => assert_eq!((why.as_str(), flow == bad), ("a constraint", true)),
            Err(fault) => panic!("{fault}"),
        }
    }
    let sizes = between.sizes().split_off(before);
    assert_eq!(sizes[0], 16, "they came together, and were parted: {sizes:?}");
    assert!(fixture.engine.is_available(), "that is no outage");
    between.poison(|_| None);
    assert_eq!(fixture.stamp(bad).await.unwrap().outcome, ticket::Says::Good { stamps: 1 });
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_answered_and_outlived() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    between.plan(Instead::Fault(StoreFault::Full("no space left".to_owned())));
    assert_eq!(fixture.stamp(flow).await.unwrap_err(), Fault::Storage("no space left".to_owned()));
    assert!(fixture.engine.is_available(), "reads go on");
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 1 });
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_write_that_could_not_be_made_durable_the_process_ends_itself() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    between.plan(Instead::Fault(StoreFault::SyncFailed("fsync".to_owned())));
    assert!(matches!(fixture.stamp(flow).await, Err(Fault::Unavailable(_))), "and nothing is acknowledged");
    assert_eq!(*fixture.exits.lock().unwrap(), ["fsync"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_always_finds_others_faster_gives_up_in_the_end() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let other = fixture.neighbour("other").await;
    let flow = fixture.ticket("ada").await;
    let stamped = Arc::new(AtomicU32::new(0));
    for _ in 0..8 {
        let (engine, stamped) = (other.engine.clone(), Arc::clone(&stamped));
        between.plan(Instead::First(Box::pin(async move {
            engine.call::<Ticket>(flow, engine.asker("test"), ticket::Ask::Stamp).await.unwrap();
            stamped.fetch_add(1, Ordering::SeqCst);
        })));
    }
    assert_eq!(fixture.stamp(flow).await.unwrap_err(), Fault::Contended);
    assert_eq!(stamped.load(Ordering::SeqCst), 8);
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 9 });
    assert_eq!(fixture.versions(flow), (1..=10).collect::<Vec<_>>());
    fixture.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_an_older_state_is_not_held_against_the_fresh_one() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let other = fixture.neighbour("other").await;
    let (flow, eve) = (fixture.ticket("ada").await, other.ticket("eve").await);
    let engine = other.engine.clone();
    // The name is taken; and before that can be said, its holder gives it back and the ticket moves on another node.
    between.before_check(Box::pin(async move {
        engine.call::<Ticket>(eve, engine.asker("test"), ticket::Ask::Close).await.unwrap();
        engine.call::<Ticket>(flow, engine.asker("test"), ticket::Ask::Stamp).await.unwrap();
    }));
    let renamed = fixture.call::<Ticket>(flow, ticket::Ask::Rename("eve".to_owned())).await.unwrap();
    assert_eq!((renamed.outcome, renamed.version), (ticket::Says::Good { stamps: 1 }, 3));
    assert_eq!(fixture.sim.guards().into_keys().collect::<Vec<_>>(), ["name:eve"]);
    fixture.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_same_asker_may_ask_again_whichever_way_it_failed() {
    for mode in [Mode::ErrorBefore, Mode::ErrorAfter, Mode::Drop] {
        for call in ["event", "load", "commit"] {
            let (plan, store) = Plan::new().faulty();
            let fixture = plan.build().await;
            let flow = fixture.ticket("ada").await;
            fixture.engine.kill_shell(flow);
            until("the shell is gone", || fixture.engine.active() == 0).await;
            store.aim(nth(1, call, mode));
            let ask = || fixture.calling::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp);
            let _ = ask().await;
            assert_eq!(store.hit(), Some(call));
            comes_back(&fixture).await;
            let reply = ask().await.unwrap().unwrap();
            assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps: 1 }, 2), "{mode:?} at {call}");
            assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
            fixture.is_at_rest().await;
        }
    }
}
