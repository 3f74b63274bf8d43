//! Defects of flows: one caller is told, nobody else is harmed, and what comes again by itself ends in quarantine.

use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::store::{Row, Verb};
use cairn_runtime::testing::suite::given;
use cairn_runtime::testing::toy::Faulty;
use cairn_runtime::testing::toy::faulty::{Ask, Begin, Defects, Says, Told};
use cairn_runtime::{ActStep, Clock, Effects, Failure, Fault, FlowId};

use crate::support::flows::{Announce, Elder, Herald};
use crate::support::{DAY, Fixture, HOUR, MINUTE, until};

const WOKEN: Defects = Defects { woken: true, told: false, answered: false, mended_at: None };

/// Sends a signal to a faulty flow, from no flow.
async fn tell(fixture: &Fixture, flow: FlowId) {
    let decide = |_lost: Option<&_>, _cx: &cairn_runtime::Cx<'_, _>| {
        let effects = Effects::none().tell::<Faulty>(flow, &Told);
        ActStep { says: (), effects, user: None, public: serde_json::Value::Null }
    };
    fixture.engine.act("telling", fixture.engine.asker("test"), decide).await.unwrap();
    fixture.host.quiet().await;
}

fn is_set_aside(fixture: &Fixture, flow: FlowId) -> bool {
    fixture.row(flow).quarantined.is_some()
}

/// Wakes it as often as it takes, letting its pauses pass; gives how often it was claimed.
async fn wake_until_set_aside(fixture: &Fixture, flow: FlowId) -> usize {
    let mut claimed = 0;
    for _ in 0..20 {
        claimed += fixture.tick().await;
        if is_set_aside(fixture, flow) {
            return claimed;
        }
        fixture.clock.advance(MINUTE);
    }
    panic!("it is not set aside after {claimed} claims");
}

#[tokio::test(start_paused = true)]
async fn a_panic_hurts_the_one_who_asked_and_the_queue_behind_goes_on() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(Defects::default()).await;
    let ask = |ask| fixture.calling::<Faulty>(flow, fixture.engine.asker("test"), ask);
    let calls = [ask(Ask::Work), ask(Ask::Panic), ask(Ask::Work), ask(Ask::Panic), ask(Ask::Work)];
    let mut told = Vec::new();
    for call in calls {
        told.push(call.await.unwrap().map(|reply| reply.outcome));
    }
    let [Ok(one), Err(Fault::Defect(why)), Ok(two), Err(Fault::Defect(_)), Ok(three)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!([one, two, three], [1, 2, 3].map(|done| Says::Done { done }).each_ref());
    assert!(why.contains("a faulty flow panics when it is asked to"), "{why}");
    assert_eq!(fixture.host.passed(Point::Activated), 2, "after each panic the state is read anew");
    assert_eq!((fixture.engine.active(), fixture.versions(flow)), (1, vec![1, 2, 3, 4]), "by one and the same shell");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_persons_command_never_puts_a_flow_into_quarantine() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(Defects::default()).await;
    for _ in 0..10 {
        assert!(matches!(fixture.call::<Faulty>(flow, Ask::Panic).await, Err(Fault::Defect(_))));
    }
    let row = fixture.row(flow);
    assert_eq!((row.quarantined, row.attempts), (None, 0));
    assert!(fixture.call::<Faulty>(flow, Ask::Work).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_persons_command_to_an_overdue_flow_that_cannot_be_woken_is_a_defect_and_no_more() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(WOKEN).await;
    fixture.clock.advance(HOUR);
    for _ in 0..5 {
        assert!(matches!(fixture.call::<Faulty>(flow, Ask::Work).await, Err(Fault::Defect(_))));
    }
    assert_eq!((fixture.row(flow).attempts, is_set_aside(&fixture, flow)), (0, false));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_panics_as_it_begins_leaves_nothing() {
    let fixture = Fixture::new().await;
    let begun = fixture.start::<Faulty>(Begin { stillborn: true, ..Begin::default() }).await;
    assert!(matches!(begun, Err(Fault::Defect(_))));
    assert!(fixture.sim.rows().is_empty() && fixture.sim.events().is_empty());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn writing_without_going_anywhere_is_a_defect_and_writes_nothing() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(Defects::default()).await;
    assert!(matches!(fixture.call::<Faulty>(flow, Ask::WriteWhileStaying).await, Err(Fault::Defect(_))));
    assert_eq!((fixture.sum("smuggled"), fixture.versions(flow)), (0, vec![1]));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_fails_three_wake_ups_is_set_aside_with_its_bytes_untouched() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(WOKEN).await;
    let before = fixture.row(flow);
    fixture.clock.advance(MINUTE);
    assert_eq!(wake_until_set_aside(&fixture, flow).await, 3);
    let after = fixture.row(flow);
    assert!(after.quarantined.as_ref().unwrap().why.contains("panics when it is woken"));
    assert_eq!(Row { quarantined: None, attempts: 0, ..after }, before);
    assert_eq!(fixture.call::<Faulty>(flow, Ask::Work).await.unwrap_err(), Fault::Quarantined);
    fixture.clock.advance(DAY);
    assert_eq!(fixture.tick().await, 0, "nobody wakes it any more");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_let_a_mended_flow_try_again() {
    let fixture = Fixture::new().await;
    let mended_at = Some(fixture.clock.now().after(2 * HOUR));
    let flow = fixture.faulty(Defects { mended_at, ..WOKEN }).await;
    fixture.clock.advance(MINUTE);
    wake_until_set_aside(&fixture, flow).await;
    assert!(fixture.engine.operate(flow, Verb::Retry).await.unwrap());
    assert_eq!(wake_until_set_aside(&fixture, flow).await, 3, "another three attempts, and it was too early");
    fixture.clock.advance(2 * HOUR);
    assert!(fixture.engine.operate(flow, Verb::Retry).await.unwrap());
    assert_eq!(fixture.tick().await, 1);
    assert_eq!((fixture.row(flow).phase.as_str(), fixture.row(flow).version), ("over", 2));
    assert!(!fixture.engine.operate(flow, Verb::Retry).await.unwrap(), "there is nothing more to operate on");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_skip_what_a_flow_cannot_take() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(WOKEN).await;
    fixture.clock.advance(MINUTE);
    wake_until_set_aside(&fixture, flow).await;
    assert!(fixture.engine.operate(flow, Verb::Skip).await.unwrap());
    fixture.clock.advance(DAY - MINUTE);
    assert_eq!(fixture.tick().await, 0, "the wake-up waits a day");
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.tick().await, 1);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_end_a_flow() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(WOKEN).await;
    let bytes = fixture.row(flow).state;
    fixture.clock.advance(MINUTE);
    wake_until_set_aside(&fixture, flow).await;
    assert!(fixture.engine.operate(flow, Verb::End).await.unwrap());
    fixture.clock.advance(2 * DAY);
    assert_eq!(fixture.tick().await, 0);
    let row = fixture.row(flow);
    assert_eq!((row.phase.as_str(), row.wake_at, row.state), ("ended", None, bytes));
    assert_eq!(fixture.call::<Faulty>(flow, Ask::Work).await.unwrap_err(), Fault::Ended);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_fails_three_signals_is_set_aside_and_the_signal_waits_for_better_days() {
    let fixture = Fixture::new().await;
    let mended_at = Some(fixture.clock.now().after(Duration::from_secs(50)));
    let flow = fixture.faulty(Defects { told: true, mended_at, ..Defects::default() }).await;
    fixture.call::<Faulty>(flow, Ask::Work).await.unwrap(); // which also puts its end off by an hour
    tell(&fixture, flow).await;
    for failures in 1..=3 {
        assert_eq!(is_set_aside(&fixture, flow), failures == 3, "after {failures} failures");
        if failures < 3 {
            assert_eq!(fixture.deliver_after(Duration::from_secs(10)).await, 1);
        }
    }
    assert_eq!(fixture.row(flow).version, 2);
    fixture.deliver_after(Duration::from_secs(20)).await;
    let signal = fixture.sim.outbox().pop().unwrap();
    assert_eq!((signal.settled, signal.note.as_str()), (None, "the flow is in quarantine"));
    fixture.clock.advance(Duration::from_secs(10));
    assert!(fixture.engine.operate(flow, Verb::Retry).await.unwrap());
    fixture.deliver_after(MINUTE).await;
    assert_eq!((fixture.row(flow).version, fixture.sum("faulty")), (3, 2), "taken at last, and once");
    assert!(fixture.sim.outbox().pop().is_some_and(|signal| signal.settled.is_some() && !signal.dead));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_worth_another_three_attempts_of_a_signal() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(Defects { told: true, ..Defects::default() }).await;
    fixture.call::<Faulty>(flow, Ask::Work).await.unwrap();
    tell(&fixture, flow).await;
    for _ in 0..2 {
        let mut failures = u32::from(fixture.sim.outbox()[0].attempts == 1);
        while !is_set_aside(&fixture, flow) {
            failures += u32::try_from(fixture.deliver_after(Duration::from_secs(70)).await).unwrap();
        }
        assert_eq!(failures, 3);
        assert!(fixture.engine.operate(flow, Verb::Retry).await.unwrap());
    }
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_fails_three_answers_is_set_aside_and_nothing_is_carried_twice() {
    let fixture = Fixture::new().await;
    let defects = Defects { answered: true, ..Defects::default() };
    let begin = Begin { defects, asks_the_world: true, ..Begin::default() };
    let flow = fixture.start::<Faulty>(begin).await.unwrap().flow;
    fixture.host.quiet().await;
    let mut failures = 1;
    while !is_set_aside(&fixture, flow) {
        failures += fixture.deliver_after(Duration::from_secs(10)).await;
        assert!(failures < 10, "it is never set aside");
    }
    assert_eq!(failures, 3);
    assert_eq!(fixture.town.attempts().len(), 1, "its end was known, so the note was not carried again");
    assert!(fixture.engine.operate(flow, Verb::Skip).await.unwrap());
    fixture.deliver_after(HOUR / 2).await;
    let open = fixture.sim.outbox().into_iter().filter(|delivery| delivery.settled.is_none()).count();
    assert_eq!((open, is_set_aside(&fixture, flow)), (0, false), "what it could not take is given up");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_skip_a_signal_and_those_behind_it_are_still_brought() {
    let fixture = Fixture::new().await;
    let mended_at = Some(fixture.clock.now().after(MINUTE / 2));
    let flow = fixture.faulty(Defects { told: true, mended_at, ..Defects::default() }).await;
    fixture.call::<Faulty>(flow, Ask::Work).await.unwrap(); // which also puts its end off by an hour
    tell(&fixture, flow).await;
    while !is_set_aside(&fixture, flow) {
        fixture.deliver_after(Duration::from_secs(6)).await;
    }
    let poison = fixture.sim.outbox().pop().unwrap();
    assert_eq!((poison.target, poison.attempts), (Some(flow), 3));
    tell(&fixture, flow).await;
    fixture.deliver_after(Duration::from_secs(1)).await;
    assert!(fixture.engine.operate(flow, Verb::Skip).await.unwrap());
    fixture.deliver_after(2 * MINUTE).await;
    let (given_up, brought): (Vec<_>, Vec<_>) = fixture.sim.outbox().into_iter().partition(|told| told.id == poison.id);
    assert!(matches!(&given_up[..], [told] if told.dead && told.note == "skipped by the operator"), "{given_up:?}");
    assert!(matches!(&brought[..], [told] if told.settled.is_some() && !told.dead), "{brought:?}");
    assert_eq!((fixture.row(flow).version, fixture.sum("faulty")), (3, 2), "one signal was taken, once");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_of_a_skipped_signal_is_told() {
    let fixture = Fixture::new().await;
    let flow = fixture.faulty(Defects { told: true, ..Defects::default() }).await;
    fixture.call::<Faulty>(flow, Ask::Work).await.unwrap(); // which also puts its end off by an hour
    let herald = fixture.start::<Herald>(Announce { to: flow, is_faulty: true, expires: None }).await.unwrap().flow;
    fixture.host.quiet().await;
    while !is_set_aside(&fixture, flow) {
        fixture.deliver_after(Duration::from_secs(6)).await;
    }
    assert!(fixture.engine.operate(flow, Verb::Skip).await.unwrap());
    fixture.deliver_after(Duration::from_secs(1)).await;
    let state: Herald = serde_json::from_str(&fixture.row(herald).state).unwrap();
    assert_eq!(state.heard, [Err(Failure::Expired)], "once");
    assert!(fixture.sim.outbox().iter().all(|told| told.settled.is_some()), "{:?}", fixture.sim.outbox());
    assert!(!is_set_aside(&fixture, flow));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_flow_that_an_operator_ended_ends_with_it() {
    let fixture = Fixture::new().await;
    let defects = Defects { answered: true, told: true, ..Defects::default() };
    let begin = Begin { defects, asks_the_world: true, ..Begin::default() };
    let flow = fixture.start::<Faulty>(begin).await.unwrap().flow;
    tell(&fixture, flow).await;
    while !is_set_aside(&fixture, flow) {
        fixture.deliver_after(Duration::from_secs(10)).await;
    }
    assert!(fixture.engine.operate(flow, Verb::End).await.unwrap());
    for _ in 0..5 {
        fixture.deliver_after(2 * MINUTE).await;
    }
    let outbox = fixture.sim.outbox();
    assert_eq!(outbox.len(), 3, "the note, its answer and the signal; nothing comes after them");
    assert!(outbox.iter().all(|delivery| delivery.settled.is_some()), "{outbox:?}");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_carrier_are_not_held_against_the_flow() {
    use cairn_runtime::testing::scenarios::town::Mood;
    let fixture = Fixture::new().await;
    for _ in 0..4 {
        fixture.town.next("note", Mood::Later(None));
    }
    let mended_at = Some(fixture.clock.now().after(Duration::from_secs(55)));
    let defects = Defects { answered: true, mended_at, ..Defects::default() };
    let begin = Begin { defects, asks_the_world: true, ..Begin::default() };
    let flow = fixture.start::<Faulty>(begin).await.unwrap().flow;
    fixture.call::<Faulty>(flow, Ask::Work).await.unwrap();
    fixture.host.quiet().await;
    while fixture.town.attempts().len() < 5 {
        fixture.deliver_after(Duration::from_secs(5)).await;
    }
    assert!(!is_set_aside(&fixture, flow), "it has failed once, its carrier four times");
    fixture.clock.advance(Duration::from_secs(20));
    fixture.deliver().await;
    assert_eq!(fixture.row(flow).version, 3, "the answer was taken in the end");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_decode_is_set_aside_and_never_overwritten() {
    for by_a_person in [true, false] {
        let fixture = Fixture::new().await;
        let flow = fixture.faulty(Defects::default()).await;
        fixture.call::<Faulty>(flow, Ask::BecomeUnreadable).await.unwrap();
        fixture.engine.kill_shell(flow);
        until("the shell is gone", || fixture.engine.active() == 0).await;
        let before = fixture.row(flow);
        if by_a_person {
            assert_eq!(fixture.call::<Faulty>(flow, Ask::Work).await.unwrap_err(), Fault::Quarantined);
        } else {
            assert_eq!(fixture.tick().await, 1);
        }
        let after = fixture.row(flow);
        assert!(after.quarantined.as_ref().unwrap().why.contains("does not decode"));
        assert_eq!(Row { quarantined: None, attempts: 0, ..after }, before);
        assert_eq!(fixture.call::<Faulty>(flow, Ask::Work).await.unwrap_err(), Fault::Quarantined);
        fixture.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_upcast_that_refuses_or_panics_takes_nobody_along() {
    let fixture = Fixture::new().await;
    let innocent = fixture.ticket("ada").await;
    let bench = given_elders(&fixture).await;
    fixture.clock.advance(2 * HOUR);
    while fixture.tick().await > 0 {}
    for (flow, why) in bench.into_iter().zip(["an upcast panics", "an upcast refuses"]) {
        let row = fixture.row(flow);
        assert!(row.quarantined.as_ref().unwrap().why.contains(why), "{row:?}");
        assert_eq!((row.version, row.state.as_str()), (1, "\"old\""));
        assert_eq!(fixture.call::<Elder>(flow, ()).await.unwrap_err(), Fault::Quarantined);
    }
    assert_eq!(fixture.row(innocent).phase, "expired");
    fixture.is_at_rest().await;
}

/// Two flows written by older releases: the upcast of the first panics, that of the second refuses.
async fn given_elders(fixture: &Fixture) -> [FlowId; 2] {
    for schema in [1, 2] {
        let old = given::start(u64::from(schema)).with_row(|row| {
            row.kind = "elder".to_owned();
            row.schema = schema;
            row.state = "\"old\"".to_owned();
        });
        cairn_runtime::store::Store::commit(&*fixture.sim, &[old.item]).await.unwrap();
    }
    [given::flow(1), given::flow(2)]
}
