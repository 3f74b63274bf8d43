//! The life of a command: through the shell, without one, past its bounds, and beyond its caller.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::engine::InFlight;
use cairn_runtime::shell::{Body, Mailbox, Message};
use cairn_runtime::store::Retention;
use cairn_runtime::testing::scenarios::host::WatchedHost;
use cairn_runtime::testing::store::Mode;
use cairn_runtime::testing::toy::{Gate, Ticket, Toy, ToyKey, gate, ticket};
use cairn_runtime::{ActStep, Clock, Cx, Effects, Fault, FlowId, Guard, Host, Method, Tuning};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::support::{DAY, Fixture, HOUR, MINUTE, Plan, nth, until};

#[tokio::test(start_paused = true)]
async fn a_command_goes_through_the_shell_of_its_flow() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    for stamps in 1..=3 {
        let reply = fixture.stamp(flow).await.unwrap();
        assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps }, u64::from(stamps) + 1));
        assert_eq!((reply.method, reply.repeated, reply.phase.as_str()), (Method::Actor, false, "open"));
    }
    assert_eq!(fixture.engine.active(), 1);
    assert_eq!(fixture.host.passed(Point::Activated), 0, "whoever began the flow knows its state");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn without_shells_every_command_finds_its_flow_all_the_same() {
    let fixture = Fixture::new().await;
    fixture.host.set_barren(true);
    let issue = ticket::Issue { name: "ada".to_owned(), fence: None, lasts: HOUR };
    let begun = fixture.start::<Ticket>(issue).await.unwrap();
    let stamped = fixture.stamp(begun.flow).await.unwrap();
    assert_eq!((begun.method, stamped.method), (Method::Direct, Method::Direct));
    assert_eq!((stamped.outcome, stamped.version), (ticket::Says::Good { stamps: 1 }, 2));
    assert_eq!(fixture.engine.active(), 0);
    fixture.host.set_barren(false);
    assert_eq!(fixture.stamp(begun.flow).await.unwrap().method, Method::Actor);
    assert_eq!(fixture.versions(begun.flow), [1, 2, 3]);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_shell_killed_with_a_command_in_hand_answers_it_once_all_the_same() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    store.aim(nth(1, "commit", Mode::Hang));
    let call = fixture.stamping(flow);
    until("the commit hangs", || store.hit().is_some()).await;
    assert!(fixture.engine.kill_shell(flow));
    // The caller goes on by itself, finds nothing committed, and its own step queues up behind that of the dead shell.
    until("both wait", || fixture.engine.queued() == 1).await;
    store.release();
    let reply = call.await.unwrap().unwrap();
    assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps: 1 }, 2));
    assert_eq!((reply.method, reply.repeated), (Method::Direct, false));
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_shell_killed_while_it_begins_a_flow_begins_it_once() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    store.aim(nth(1, "commit", Mode::Hang));
    let (engine, asker) = (fixture.engine.clone(), fixture.engine.asker("test"));
    let flow = asker.input.starts();
    let issue = ticket::Issue { name: "ada".to_owned(), fence: None, lasts: HOUR };
    let call = tokio::spawn(async move { engine.start::<Ticket>(asker, issue).await });
    until("the commit hangs", || store.hit().is_some()).await;
    fixture.engine.kill_shell(flow);
    until("both wait", || fixture.engine.queued() == 1).await;
    store.release();
    let reply = call.await.unwrap().unwrap();
    assert_eq!((reply.flow, reply.outcome, reply.version), (flow, ticket::Says::Good { stamps: 0 }, 1));
    assert_eq!((fixture.versions(flow), fixture.sum("issued")), (vec![1], 1));
    fixture.is_at_rest().await;
}

/// A mailbox that nobody empties: what is in it goes with its last handle.
struct Hoard(Mutex<Vec<Message>>);

impl Mailbox for Hoard {
    fn send(&self, message: Message) -> Result<(), Message> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
    fn stop(&self) {}
    fn kill(&self) {}
}

/// Hatches bodies that never serve, and keeps them for whoever wants to drop them.
struct Hoarder {
    inside: Arc<WatchedHost>,
    bodies: Mutex<Vec<Box<dyn Body>>>,
}

impl Host for Hoarder {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inside.spawn(task);
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.inside.sleep(span)
    }
    fn hatch(&self, _flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        self.bodies.lock().unwrap().push(body);
        Box::pin(std::future::ready(Some(Arc::new(Hoard(Mutex::default())) as Arc<dyn Mailbox>)))
    }
    fn abort(&self, why: &str) {
        self.inside.abort(why);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_shell_whose_mailbox_goes_last_gives_its_messages_back() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let hoarder = Arc::new(Hoarder { inside: Arc::clone(&fixture.host), bodies: Mutex::default() });
    let other = Plan { seed: 2, ..Plan::over(&fixture.sim) }.hosted(&fixture, Arc::clone(&hoarder) as _);
    let asker = other.asker("test");
    let asking = other.clone();
    let call = tokio::spawn(async move { asking.call::<Ticket>(flow, asker, ticket::Ask::Stamp).await });
    until("the message is in the mailbox", || !hoarder.bodies.lock().unwrap().is_empty()).await;
    fixture.host.quiet().await;
    let body = hoarder.bodies.lock().unwrap().pop();
    drop(body); // the slot has the last handle of the mailbox, and lets go of it as it hears of this
    let reply = call.await.unwrap().unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Direct));
    assert_eq!(other.in_flight(), InFlight::default());
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_is_stuck_does_not_keep_its_caller_for_ever() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    fixture.engine.kill_shell(flow);
    until("the shell is gone", || fixture.engine.active() == 0).await;
    store.aim(nth(1, "load", Mode::Hang));
    // Nothing else can happen, so the timers jump to the end of the caller's patience.
    let reply = fixture.stamp(flow).await.unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Direct));
    store.release();
    until("the late shell is done", || fixture.engine.in_flight().queued == 0).await;
    fixture.is_at_rest().await;
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1), "the late shell adds nothing");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_undoes_nothing() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    fixture.engine.kill_shell(flow);
    until("the shell is gone", || fixture.engine.active() == 0).await;
    for call in ["load", "commit"] {
        store.aim(nth(1, call, Mode::Hang));
        let before = fixture.row(flow).version;
        let call = fixture.stamping(flow);
        until("it hangs", || store.hit().is_some()).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_eq!(fixture.engine.in_flight().commands, 0, "its place is given back");
        store.release();
        until("the shell goes on alone", || fixture.row(flow).version == before + 1).await;
    }
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 3 });
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_wait_in_front_of_one_flow() {
    let tuning = Tuning { per_flow: 3, ..Tuning::default() };
    let (plan, store) = Plan { tuning, ..Plan::new() }.faulty();
    let fixture = plan.build().await;
    let (busy, other) = (fixture.ticket("ada").await, fixture.ticket("eve").await);
    fixture.engine.kill_shell(busy);
    until("the shell is gone", || fixture.engine.active() == 1).await;
    store.aim(nth(1, "load", Mode::Hang));
    let waiting: Vec<_> = (0..3).map(|_| fixture.stamping(busy)).collect();
    until("three are in hand", || store.hit().is_some() && fixture.engine.in_flight().commands == 3).await;
    assert_eq!(fixture.stamp(busy).await.unwrap_err(), Fault::Overloaded);
    assert!(fixture.stamp(other).await.is_ok(), "no flow harms another");
    store.release();
    for (call, stamps) in waiting.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap().unwrap().outcome, ticket::Says::Good { stamps }, "in the order they came");
    }
    assert!(fixture.stamp(busy).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_commands_are_in_flight() {
    let tuning = Tuning { commands: 2, ..Tuning::default() };
    let (plan, store) = Plan { tuning, ..Plan::new() }.faulty();
    let fixture = plan.build().await;
    let flows = [fixture.ticket("a").await, fixture.ticket("b").await, fixture.ticket("c").await];
    store.aim(nth(1, "commit", Mode::Hang));
    let (one, two) = (fixture.stamping(flows[0]), fixture.stamping(flows[1]));
    until("two are in hand", || fixture.engine.in_flight().commands == 2).await;
    assert_eq!(fixture.stamp(flows[2]).await.unwrap_err(), Fault::Overloaded);
    store.release();
    assert!(one.await.unwrap().is_ok() && two.await.unwrap().is_ok());
    assert!(fixture.stamp(flows[2]).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_in_front_of_the_committer_refuses_at_once() {
    let tuning = Tuning { queue: 1, ..Tuning::default() };
    let (plan, store) = Plan { tuning, ..Plan::new() }.faulty();
    let fixture = plan.build().await;
    let mut flows = Vec::new();
    for name in ["a", "b", "c", "d"] {
        flows.push(fixture.ticket(name).await);
    }
    store.aim(nth(1, "commit", Mode::Hang));
    let first = fixture.stamping(flows[0]);
    until("the commit hangs", || store.hit().is_some()).await;
    let second = fixture.stamping(flows[1]);
    until("the queue is full", || fixture.engine.queued() == 1).await;
    assert_eq!(fixture.stamp(flows[2]).await.unwrap_err(), Fault::Overloaded);
    store.release();
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(fixture.stamp(flows[2]).await.is_ok(), "what was refused changed nothing, and its shell is not harmed");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_never_was_is_not_found_and_keeps_no_shell() {
    let fixture = Fixture::new().await;
    let nobody = FlowId::from_bytes([9; 16]);
    assert_eq!(fixture.stamp(nobody).await.unwrap_err(), Fault::NotFound);
    until("the shell goes by itself", || fixture.engine.in_flight().slots == 0).await;
    let taken = fixture.ticket("ada").await;
    let issue = ticket::Issue { name: "ada".to_owned(), fence: None, lasts: HOUR };
    let refused = fixture.start::<Ticket>(issue).await.unwrap();
    assert_eq!((refused.outcome, refused.version), (ticket::Says::NameTaken, 0));
    until("the shell of a flow that was refused, too", || fixture.engine.in_flight().slots == 1).await;
    assert!(fixture.stamp(taken).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_of_another_kind_is_not_found() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let through_its_shell = fixture.call::<Gate>(flow, gate::Ask::Raise).await;
    assert_eq!(through_its_shell.unwrap_err(), Fault::NotFound);
    fixture.engine.kill_shell(flow);
    until("the shell is gone", || fixture.engine.active() == 0).await;
    assert_eq!(fixture.call::<Gate>(flow, gate::Ask::Raise).await.unwrap_err(), Fault::NotFound);
    assert!(fixture.stamp(flow).await.is_ok());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn idle_shells_go_and_the_next_command_reads_the_row() {
    let fixture = Fixture::new().await;
    let (idle, busy) = (fixture.ticket("ada").await, fixture.ticket("eve").await);
    fixture.clock.advance(MINUTE / 2);
    fixture.stamp(busy).await.unwrap();
    fixture.clock.advance(MINUTE / 2 + Duration::from_secs(1));
    assert_eq!(fixture.engine.passivate_idle(MINUTE), 1, "the one that had nothing to do for a minute");
    until("it is gone", || fixture.engine.active() == 1).await;
    let reply = fixture.stamp(idle).await.unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Actor));
    assert_eq!(fixture.host.passed(Point::Activated), 1);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_shell_goes_at_once_when_its_flow_has_ended() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.call::<Ticket>(flow, ticket::Ask::Close).await.unwrap();
    until("the shell is gone", || fixture.engine.in_flight().slots == 0).await;
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Over, "the row still answers");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_overdue_flow_is_woken_before_it_is_given_a_command() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.clock.advance(2 * HOUR);
    let reply = fixture.stamp(flow).await.unwrap();
    assert_eq!((reply.outcome, reply.phase.as_str()), (ticket::Says::Over, "expired"));
    let history = fixture.sim.inspect(|tables| tables.history(flow));
    assert_eq!(history.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["issue", "woken"]);
    assert_eq!(fixture.tick().await, 0, "nothing is left to be woken");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_writes_no_row_into_the_past() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let written = fixture.row(flow).touched_at;
    fixture.clock.set_back(HOUR);
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 1 });
    assert_eq!(fixture.row(flow).touched_at, written);
    assert_eq!(fixture.tick().await, 0, "nothing is woken because of it");
    fixture.clock.advance(HOUR);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_version_gets_it_as_soon_as_it_is_there() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let engine = fixture.engine.clone();
    let waiting = tokio::spawn(async move { engine.wait(flow, 3, DAY).await });
    until("it waits", || fixture.engine.in_flight().waits == 1).await;
    fixture.stamp(flow).await.unwrap();
    until("it waits on", || fixture.engine.in_flight().waits == 1).await;
    assert!(!waiting.is_finished());
    let before = tokio::time::Instant::now();
    fixture.stamp(flow).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().version, 3);
    assert_eq!(before.elapsed(), Duration::ZERO, "told by the commit, not found by looking");
    assert_eq!(fixture.engine.wait(flow, 3, DAY).await.unwrap().version, 3, "what is there is there at once");
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_gets_what_is_there() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let before = tokio::time::Instant::now();
    assert_eq!(fixture.engine.wait(flow, 9, MINUTE).await.unwrap().version, 1);
    assert!(before.elapsed() >= MINUTE && before.elapsed() < 2 * MINUTE, "{:?}", before.elapsed());
    let nobody = FlowId::from_bytes([9; 16]);
    assert_eq!(fixture.engine.wait(nobody, 1, MINUTE).await.unwrap_err(), Fault::NotFound);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn another_nodes_commit_is_found_by_looking() {
    let fixture = Fixture::new().await;
    let other = fixture.neighbour("other").await;
    let flow = fixture.ticket("ada").await;
    let engine = fixture.engine.clone();
    let waiting = tokio::spawn(async move { engine.wait(flow, 2, DAY).await });
    until("it waits", || fixture.engine.in_flight().waits == 1).await;
    other.stamp(flow).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().version, 2);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_is_forgotten() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    for _ in 0..3 {
        let engine = fixture.engine.clone();
        let waiting = tokio::spawn(async move { engine.wait(flow, 9, DAY).await });
        until("it waits", || fixture.engine.in_flight().waits == 1).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(fixture.engine.in_flight().waits, 0);
    }
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn who_drains_refuses_what_is_new_and_ends_what_has_begun() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    store.aim(nth(1, "commit", Mode::Hang));
    let begun = fixture.stamping(flow);
    until("the commit hangs", || store.hit().is_some()).await;
    fixture.engine.drain();
    assert!(fixture.engine.is_draining());
    assert!(matches!(fixture.stamp(flow).now_or_never(), Some(Err(Fault::Unavailable(_)))), "at once");
    let engine = fixture.engine.clone();
    let drained = tokio::spawn(async move { engine.drained().await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!drained.is_finished(), "one is still in flight");
    store.release();
    drained.await.unwrap();
    assert_eq!(begun.await.unwrap().unwrap().outcome, ticket::Says::Good { stamps: 1 });
    fixture.is_at_rest().await;
}

/// Redeems a code once, by an act.
async fn redeem(fixture: &Fixture, by: &'static str) -> &'static str {
    let decide = move |lost: Option<&ToyKey>, cx: &Cx<'_, Toy>| {
        let code = ToyKey::Name("code".to_owned());
        let (says, effects) = match lost {
            Some(_) => ("used".to_owned(), Effects::none()),
            None => (by.to_owned(), Effects::none().guard(Guard::ClaimUntil(code, cx.now.after(MINUTE)))),
        };
        ActStep { says, effects, user: None, public: serde_json::Value::Null }
    };
    let told = fixture.engine.act("redeem", fixture.engine.asker("test"), decide).await.unwrap().outcome;
    if told == by { by } else { "used" }
}

#[tokio::test(start_paused = true)]
async fn a_claim_for_a_while_keeps_others_out_for_so_long_and_then_goes() {
    let fixture = Fixture::new().await;
    assert_eq!((redeem(&fixture, "ada").await, redeem(&fixture, "eve").await), ("ada", "used"));
    fixture.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(redeem(&fixture, "eve").await, "used");
    fixture.clock.advance(Duration::from_millis(1));
    // Two that find it free at once are put into one queue, and one has it.
    assert_eq!(tokio::join!(redeem(&fixture, "eve"), redeem(&fixture, "bob")), ("eve", "used"));
    fixture.clock.advance(MINUTE);
    let now = fixture.clock.now();
    let retention = Retention { now, payloads_before: now.before(DAY), rows_before: now.before(DAY), limit: 10 };
    assert_eq!(fixture.engine.store().retain(retention).await, Ok(1));
    assert!(fixture.sim.guards().is_empty());
    fixture.is_at_rest().await;
}
