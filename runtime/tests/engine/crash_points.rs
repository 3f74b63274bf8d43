//! The named points, each hit by a test: the worst happens there, and what the list says must hold, holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::toy::{Faulty, Ticket, faulty, ticket};
use cairn_runtime::{Fault, FlowId, Method, pump};

use crate::support::{Fixture, HOUR, MINUTE, crashes, repeating, until};

const CLAIM: Duration = Duration::from_secs(21);

async fn stamp(fixture: &Fixture, flow: FlowId) -> crate::support::Told<Ticket> {
    fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await
}

fn asks_the_world() -> faulty::Begin {
    faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }
}

/// A house with a ticket that no shell has in its hands.
async fn at_rest() -> (Fixture, FlowId) {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.is_at_rest().await;
    (fixture, flow)
}

/// The stamp counts once, in whatever way it came to it.
async fn counts_once(fixture: &Fixture, flow: FlowId) {
    let reply = stamp(fixture, flow).await.unwrap();
    assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps: 1 }, 2));
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
    fixture.is_at_rest().await;
}

async fn before_routing() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.host.at(Point::BeforeRouting, strike);
    let engine = fixture.engine.clone();
    assert!(crashes(async move { engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await }).await);
    assert_eq!(fixture.versions(flow), [1]);
    counts_once(&fixture, flow).await;
    fixture
}

async fn activated() -> Fixture {
    let (fixture, flow) = at_rest().await;
    let killed = Arc::new(AtomicBool::new(false));
    let (engine, seen) = (fixture.engine.clone(), Arc::clone(&killed));
    // The shell is killed as it is about to read its row: the caller goes on without it.
    fixture.host.at(Point::Activated, move || seen.store(engine.kill_shell(flow), Ordering::SeqCst));
    let reply = stamp(&fixture, flow).await.unwrap();
    assert!(killed.load(Ordering::SeqCst));
    assert_eq!(reply.version, 2);
    fixture.host.at(Point::Activated, strike);
    fixture.engine.kill_shell(flow);
    until("no shell is left", || fixture.engine.active() == 0).await;
    let struck = fixture.call::<Ticket>(flow, ticket::Ask::Look).await.unwrap();
    assert_eq!((struck.method, struck.version), (Method::Direct, 2));
    counts_once(&fixture, flow).await;
    fixture
}

async fn decided() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.host.at(Point::Decided, strike);
    let reply = stamp(&fixture, flow).await.unwrap();
    assert_eq!(reply.method, Method::Direct, "the shell died with its decision, and the caller decided anew");
    counts_once(&fixture, flow).await;
    fixture
}

async fn queued() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.host.at(Point::Queued, strike);
    assert!(matches!(stamp(&fixture, flow).await, Err(Fault::Unavailable(_))));
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1], 0), "none of the step is visible");
    counts_once(&fixture, flow).await;
    fixture
}

async fn committed() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.host.at(Point::Committed, strike);
    assert!(matches!(stamp(&fixture, flow).await, Err(Fault::Unavailable(_))));
    assert_eq!(fixture.versions(flow), [1, 2], "durable, and nobody was told");
    counts_once(&fixture, flow).await;
    fixture.host.at(Point::Committed, strike);
    let begin = || fixture.engine.start::<Faulty>(repeating(2, 1), asks_the_world());
    assert!(begin().await.is_err());
    let begun = begin().await.unwrap();
    assert!(begun.repeated);
    fixture.deliver_after(CLAIM).await;
    assert_eq!((fixture.town.notes().len(), fixture.row(begun.flow).version), (1, 2), "no second mail");
    fixture.is_at_rest().await;
    fixture
}

async fn acknowledged() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.host.at(Point::Acknowledged, strike);
    let reply = stamp(&fixture, flow).await.unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Direct));
    let next = fixture.stamp(flow).await.unwrap();
    assert_eq!((next.outcome, next.version), (ticket::Says::Good { stamps: 2 }, 3), "the next shell knows");
    fixture.is_at_rest().await;
    fixture
}

async fn hand_off() -> Fixture {
    let (fixture, _) = at_rest().await;
    fixture.host.at(Point::HandOff, strike);
    let begin = || fixture.engine.start::<Faulty>(repeating(2, 1), asks_the_world());
    assert!(begin().await.is_err());
    let flow = begin().await.unwrap().flow;
    fixture.host.quiet().await;
    assert_eq!(fixture.town.notes().len(), 0, "committed, and nobody knows of it");
    assert_eq!(fixture.deliver_after(CLAIM).await, 1);
    assert_eq!((fixture.town.notes().len(), fixture.row(flow).version), (1, 2));
    fixture.is_at_rest().await;
    fixture
}

async fn delivery_claimed() -> Fixture {
    let (fixture, _) = at_rest().await;
    fixture.town.next("note", cairn_runtime::testing::scenarios::town::Mood::StrikeBefore);
    let flow = fixture.start::<Faulty>(asks_the_world()).await.unwrap().flow;
    fixture.host.quiet().await;
    fixture.clock.advance(CLAIM);
    fixture.host.at(Point::DeliveryClaimed, strike);
    let engine = fixture.engine.clone();
    assert!(crashes(async move { pump::deliver(&engine).await }).await);
    assert_eq!(fixture.delivery(flow).attempts, 2, "the attempt is counted");
    assert_eq!(fixture.deliver().await, 0, "it is still claimed");
    assert_eq!(fixture.deliver_after(CLAIM).await, 1);
    assert_eq!((fixture.town.notes().len(), fixture.town.attempts()[1].number), (1, 3));
    fixture.is_at_rest().await;
    fixture
}

async fn delivery_sent() -> Fixture {
    let (fixture, _) = at_rest().await;
    fixture.host.at(Point::DeliverySent, strike);
    let flow = fixture.start::<Faulty>(asks_the_world()).await.unwrap().flow;
    fixture.host.quiet().await;
    assert_eq!((fixture.town.notes().len(), fixture.row(flow).version), (1, 1), "sent, and nobody wrote it down");
    for _ in 0..3 {
        fixture.deliver_after(CLAIM).await;
    }
    let attempts = fixture.town.attempts();
    assert_eq!(attempts.len(), 2, "one extra");
    assert_eq!((attempts[0].id, &attempts[0].delivery), (attempts[1].id, &attempts[1].delivery), "of the same id");
    assert!(fixture.versions(flow).len() >= 2);
    fixture
}

async fn due_claimed() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.clock.advance(2 * HOUR);
    fixture.host.at(Point::DueClaimed, strike);
    let engine = fixture.engine.clone();
    assert!(crashes(async move { pump::tick(&engine).await }).await);
    assert_eq!((fixture.row(flow).phase.as_str(), fixture.row(flow).attempts), ("open", 1));
    assert_eq!(fixture.tick().await, 0, "it is still claimed");
    fixture.clock.advance(CLAIM);
    assert_eq!(fixture.tick().await, 1, "it is due again");
    assert_eq!((fixture.versions(flow), fixture.sum("expired")), (vec![1, 2], 1));
    fixture.is_at_rest().await;
    fixture
}

async fn passivating() -> Fixture {
    let (fixture, flow) = at_rest().await;
    fixture.stamp(flow).await.unwrap();
    fixture.clock.advance(2 * MINUTE);
    // A command comes between the decision that the shell goes and its going.
    let engine = fixture.engine.clone();
    let (sent, answer) = tokio::sync::oneshot::channel();
    fixture.host.at(Point::Passivating, move || {
        tokio::spawn(async move {
            let reply = engine.call::<Ticket>(flow, engine.asker("test"), ticket::Ask::Stamp).await;
            let _ = sent.send(reply);
        });
    });
    assert_eq!(fixture.engine.passivate_idle(MINUTE), 1);
    let reply = answer.await.unwrap().unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 2 }, Method::Actor));
    assert_eq!(fixture.host.passed(Point::Activated), 2, "served by a new shell, which read the row");
    // And one that is killed on its way out leaves no slot behind.
    fixture.clock.advance(2 * MINUTE);
    let engine = fixture.engine.clone();
    fixture.host.at(Point::Passivating, move || {
        engine.kill_shell(flow);
    });
    fixture.engine.passivate_idle(MINUTE);
    until("it is gone", || fixture.engine.in_flight().slots == 0).await;
    assert_eq!(fixture.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 3 });
    fixture.is_at_rest().await;
    fixture
}

macro_rules! stories {
    ($($test:ident: $point:ident, $story:ident;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let fixture = $story().await;
                assert!(fixture.host.passed(Point::$point) > 0, "the point was not hit");
            }
        )*

        #[test]
        fn every_named_point_has_its_test() {
            let told: BTreeSet<Point> = BTreeSet::from([$(Point::$point),*]);
            let named: BTreeSet<Point> = Point::ALL.iter().map(|(point, _)| *point).collect();
            assert_eq!(told, named);
        }
    };
}

stories! {
    before_routing_nothing_is_durable_and_a_retry_works: BeforeRouting, before_routing;
    after_activation_nothing_is_durable_and_a_retry_works: Activated, activated;
    after_a_decision_nothing_is_durable_and_a_retry_works: Decided, decided;
    what_was_queued_is_not_visible_and_its_caller_sees_an_error: Queued, queued;
    what_was_committed_is_settled_by_its_event: Committed, committed;
    after_an_acknowledgement_the_next_activation_has_the_new_version: Acknowledged, acknowledged;
    what_was_not_handed_over_is_found_by_the_poller: HandOff, hand_off;
    a_delivery_that_was_claimed_is_claimed_again_and_counted: DeliveryClaimed, delivery_claimed;
    a_delivery_that_was_sent_goes_out_once_more_at_most: DeliverySent, delivery_sent;
    a_due_flow_that_was_claimed_is_due_again: DueClaimed, due_claimed;
    what_comes_while_a_shell_goes_is_served_by_the_next: Passivating, passivating;
}
