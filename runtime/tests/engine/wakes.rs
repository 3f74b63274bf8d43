//! Wake-ups: in batches and without shells, moot when the flow has moved, and counted before they are tried.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::store::StoreFault;
use cairn_runtime::testing::clock::{FixedClock, Rng};
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::store::{Mode, SimStore, Stored};
use cairn_runtime::testing::suite::given;
use cairn_runtime::testing::toy::{Errand, Faulty, Toy, errand, faulty, ticket};
use cairn_runtime::{Clock, FlowId, Timestamp, pump};

use crate::support::between::Instead;
use crate::support::flows::{Count, Metronome};
use crate::support::{Fixture, HOUR, MINUTE, Plan, crashes, nth};

async fn tickets(fixture: &Fixture, count: usize) -> Vec<FlowId> {
    let mut flows = Vec::new();
    for number in 0..count {
        flows.push(fixture.ticket(&format!("ticket {number}")).await);
    }
    fixture.is_at_rest().await;
    flows
}

#[tokio::test(start_paused = true)]
async fn many_due_at_once_are_woken_in_one_batch_without_shells() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flows = tickets(&fixture, 500).await;
    fixture.clock.advance(2 * HOUR);
    let (hatched, commits) = (fixture.host.passed(Point::Passivating), between.sizes().len());
    assert_eq!(fixture.tick().await, 500);
    assert!(flows.iter().all(|flow| fixture.row(*flow).phase == "expired"));
    assert_eq!(fixture.engine.active(), 0);
    assert_eq!(fixture.host.passed(Point::Passivating), hatched, "no shell lived meanwhile");
    assert_eq!(between.sizes()[commits..].iter().sum::<usize>(), 500);
    assert!(between.sizes().len() - commits <= 4, "{:?}", &between.sizes()[commits..]);
    assert_eq!(fixture.tick().await, 0);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_lives_notices_that_its_flow_was_woken_beside_it() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.clock.advance(2 * HOUR);
    assert_eq!(fixture.tick().await, 1);
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Over);
    assert_eq!(fixture.versions(flow), [1, 2]);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_is_moot_when_the_flow_has_moved_meanwhile() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flow = fixture.faulty(faulty::Defects::default()).await;
    fixture.is_at_rest().await;
    // The other's clock is behind: there it is not due, and work puts its end off by an hour.
    let slow = Arc::new(FixedClock::at(fixture.clock.now()));
    let other = Plan { clock: slow, node: "other", seed: 2, ..Plan::over(&fixture.sim) }.build().await;
    fixture.clock.advance(2 * MINUTE);
    let engine = other.engine.clone();
    between.plan(Instead::First(Box::pin(async move {
        engine.call::<Faulty>(flow, engine.asker("test"), faulty::Ask::Work).await.unwrap();
    })));
    assert_eq!(fixture.tick().await, 1);
    let row = fixture.row(flow);
    assert_eq!((row.phase.as_str(), row.version), ("alive", 2), "it is not woken from a state in which it is not due");
    assert_eq!((row.attempts, row.quarantined), (0, None), "and that is no failure");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_on_when_another_node_wakes_its_flow_first() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let errand = fixture.start::<Errand>(errand::Go { card: "4242".to_owned(), cents: 5 }).await.unwrap().flow;
    let other = fixture.neighbour("other").await;
    fixture.clock.advance(2 * HOUR);
    let engine = other.engine.clone();
    between.plan(Instead::First(Box::pin(async move {
        assert_eq!(pump::tick(&engine).await.unwrap(), 1);
    })));
    let found = fixture.call::<Errand>(errand, errand::Ask::Found { done: true }).await.unwrap();
    assert_eq!((found.outcome, found.version), (errand::Says::Done, 3));
    let history = fixture.sim.inspect(|tables| tables.history(errand));
    assert_eq!(history.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["go", "woken", "found"]);
    fixture.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_overdue_several_times_is_woken_as_often_before_it_is_asked() {
    let fixture = Fixture::new().await;
    let flow = fixture.start::<Metronome>(()).await.unwrap().flow;
    fixture.clock.advance(5 * MINUTE + Duration::from_secs(1));
    assert_eq!(fixture.call::<Metronome>(flow, Count).await.unwrap().outcome, 5);
    assert_eq!(fixture.versions(flow), [1, 2, 3, 4, 5, 6]);
    fixture.clock.advance(3 * MINUTE);
    for _ in 0..3 {
        assert_eq!(fixture.tick().await, 1);
    }
    assert_eq!((fixture.tick().await, fixture.call::<Metronome>(flow, Count).await.unwrap().outcome), (0, 8));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn two_pumps_wake_a_flow_once() {
    let fixture = Fixture::new().await;
    let other = fixture.neighbour("other").await;
    tickets(&fixture, 50).await;
    fixture.clock.advance(2 * HOUR);
    let (here, there) = tokio::join!(pump::tick(&fixture.engine), pump::tick(&other.engine));
    assert_eq!(here.unwrap() + there.unwrap(), 50);
    assert_eq!(fixture.sum("expired"), 50);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_goes_away_amid_a_wake_up_is_not_held_against_the_flow() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    fixture.clock.advance(2 * HOUR);
    for _ in 0..10 {
        store.aim(nth(1, "commit", Mode::ErrorBefore));
        assert_eq!(fixture.tick().await, 1);
        assert_eq!(store.hit(), Some("commit"));
        assert!(fixture.engine.is_available(), "the host waited until it was");
        assert_eq!((fixture.row(flow).attempts, fixture.row(flow).quarantined), (0, None));
        fixture.clock.advance(MINUTE);
    }
    assert_eq!(fixture.tick().await, 1);
    assert_eq!(fixture.row(flow).phase, "expired");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_gone_on_with() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flows = tickets(&fixture, 3).await;
    fixture.clock.advance(2 * HOUR);
    store.aim(nth(1, "claim_due", Mode::ErrorAfter));
    assert!(pump::tick(&fixture.engine).await.is_err());
    assert_eq!(store.hit(), Some("claim_due"));
    assert!(flows.iter().all(|flow| fixture.row(*flow).attempts == 1), "they are claimed, and nobody knows");
    // No instant has passed: nothing waits until the claim runs out, and nobody is claimed a second time.
    assert_eq!(fixture.tick().await, 3);
    assert!(flows.iter().all(|flow| fixture.row(*flow).phase == "expired"));
    assert_eq!(fixture.tick().await, 0);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_given_back_however_long_the_database_is_away() {
    let (plan, between) = Plan::new().between();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    fixture.clock.advance(2 * HOUR);
    between.plan(Instead::Fault(StoreFault::Unavailable("away".to_owned())));
    // Tried every half second, so for longer than the claim lasts.
    between.refuses_give_backs(100);
    assert_eq!(fixture.tick().await, 1);
    assert_eq!((fixture.row(flow).attempts, fixture.row(flow).quarantined), (0, None), "it was not the flow's fault");
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.tick().await, 1);
    assert_eq!(fixture.row(flow).phase, "expired");
    fixture.is_at_rest().await;
}

/// The next process: it runs on the same machine, and begins by giving back what its predecessor had in hand, but for
/// what it had claimed alone.
async fn next_life(sim: &Arc<SimStore<Toy>>, clock: &Arc<FixedClock>, seed: u64) -> Fixture {
    let fixture = Plan { clock: Arc::clone(clock), seed, ..Plan::over(sim) }.build().await;
    fixture.engine.store().release_claims().await.unwrap();
    fixture
}

fn set_aside(sim: &SimStore<Toy>) -> Vec<FlowId> {
    sim.rows().iter().filter(|row| row.quarantined.is_some()).map(|row| row.id).collect()
}

/// Whether somebody has the flow in hand who has claimed it since it had been claimed this often.
fn in_flight(sim: &SimStore<Toy>, now: Timestamp, flow: FlowId, before: u32) -> bool {
    let free =
        |stored: &Stored| stored.row.quarantined.is_some() || stored.claimed_until.is_none_or(|until| until <= now);
    sim.inspect(|tables| !free(&tables.rows[&flow]) && tables.rows[&flow].row.attempts > before)
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_takes_the_process_down_is_found_among_many_and_set_aside_alone() {
    for place in 0..5 {
        let first = Fixture::new().await;
        let flows = tickets(&first, 5).await;
        let culprit = flows[place];
        let before = first.row(culprit).state;
        first.clock.advance(2 * HOUR);
        let (sim, clock) = (Arc::clone(&first.sim), Arc::clone(&first.clock));
        let mut crashed = 0;
        for life in 2.. {
            assert!(life < 50, "it takes the process down for ever");
            let fixture = next_life(&sim, &clock, life).await;
            let claims = fixture.row(culprit).attempts;
            let mut ended = false;
            while !ended {
                // What it decides ends the process, and whoever else is in hand.
                let (watched, now) = (Arc::clone(&sim), clock.now());
                fixture.host.at(Point::Decided, move || {
                    if in_flight(&watched, now, culprit, claims) {
                        strike();
                    }
                });
                let engine = fixture.engine.clone();
                let (told, woken) = tokio::sync::oneshot::channel();
                ended = crashes(async move {
                    let _ = told.send(pump::tick(&engine).await.unwrap());
                })
                .await;
                if woken.await.is_ok_and(|woken| woken == 0) {
                    break;
                }
            }
            if ended {
                crashed += 1;
            } else if set_aside(&sim).is_empty() {
                // The culprit's claim of the last life lasts still; between its deaths the process has time to work.
                clock.advance(Duration::from_secs(20));
            } else {
                break;
            }
        }
        assert_eq!(set_aside(&sim), [culprit], "the culprit, and nobody who was claimed together with it");
        assert_eq!(crashed, 7, "once in company, six times alone");
        assert_eq!(first.row(culprit).state, before);
        for innocent in flows.iter().filter(|flow| **flow != culprit) {
            assert_eq!(first.row(*innocent).phase, "expired");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_again_and_again_sets_nobody_aside() {
    let first = Fixture::new().await;
    let flows = tickets(&first, 60).await;
    first.clock.advance(2 * HOUR);
    let (sim, clock) = (Arc::clone(&first.sim), Arc::clone(&first.clock));
    // Killed with all of them in hand, then twice with one in hand that it hands out alone: each another.
    for life in 2..5 {
        let fixture = next_life(&sim, &clock, life).await;
        fixture.host.at(Point::DueClaimed, strike);
        let engine = fixture.engine.clone();
        assert!(crashes(async move { pump::tick(&engine).await }).await);
    }
    let attempts: Vec<u32> = flows.iter().map(|flow| first.row(*flow).attempts).collect();
    assert_eq!((attempts.iter().max(), attempts.iter().filter(|attempts| **attempts > 1).count()), (Some(&2), 2));
    // And then at any time while it works off what the others left behind.
    let mut rng = Rng::new(7);
    for life in 5..25 {
        let fixture = next_life(&sim, &clock, life).await;
        for _ in 0..rng.between(1, 4) {
            assert!(pump::tick(&fixture.engine).await.unwrap() <= 1, "whoever was claimed before comes alone");
        }
        fixture.host.at(Point::DueClaimed, strike);
        let engine = fixture.engine.clone();
        let _ = crashes(async move { pump::tick(&engine).await }).await;
    }
    let fixture = next_life(&sim, &clock, 99).await;
    clock.advance(Duration::from_secs(20));
    while fixture.tick().await > 0 {}
    assert_eq!(set_aside(&sim), []);
    assert!(flows.iter().all(|flow| fixture.row(*flow).phase == "expired"));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_nobody_knows_is_set_aside_like_any_other_defect() {
    let fixture = Fixture::new().await;
    let unknown = given::start(1).wakes(Some(fixture.clock.now())).item;
    cairn_runtime::store::Store::commit(&*fixture.sim, &[unknown]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(fixture.tick().await, 1);
        fixture.clock.advance(MINUTE);
    }
    assert!(fixture.row(given::flow(1)).quarantined.unwrap().why.contains("there are no flows of kind toy"));
    assert_eq!(fixture.tick().await, 0);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_ends_claims_nothing_more_and_leaves_it_to_others() {
    let fixture = Fixture::new().await;
    let due = given::start(1).wakes(Some(fixture.clock.now())).sends(given::delivery(1, given::flow(1))).item;
    cairn_runtime::store::Store::commit(&*fixture.sim, &[due]).await.unwrap();
    fixture.engine.drain();
    assert_eq!((fixture.tick().await, fixture.deliver().await), (0, 0));
    let claimed_until = fixture.sim.inspect(|tables| tables.rows[&given::flow(1)].claimed_until);
    assert_eq!((fixture.row(given::flow(1)).attempts, claimed_until), (0, None));
    let waits = fixture.delivery(given::flow(1));
    assert_eq!((waits.attempts, waits.claimed_until, waits.settled), (0, None, None));
}
