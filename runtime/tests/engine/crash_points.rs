//! The named points, each hit by a test: the worst happens there, and what the list says must hold, holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_runtime::crash::Point;
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::toy::{Faulty, Ticket, faulty, ticket};
use cairn_runtime::{Fault, FlowId, Method, pump};

use crate::support::{HOUR, House, MINUTE, crashes, repeating, until};

const CLAIM: Duration = Duration::from_secs(21);

async fn stamp(house: &House, flow: FlowId) -> crate::support::Told<Ticket> {
    house.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await
}

fn asks_the_world() -> faulty::Begin {
    faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }
}

/// A house with a ticket that no shell has in its hands.
async fn at_rest() -> (House, FlowId) {
    let house = House::new().await;
    let flow = house.ticket("ada").await;
    house.is_at_rest().await;
    (house, flow)
}

/// The stamp counts once, in whatever way it came to it.
async fn counts_once(house: &House, flow: FlowId) {
    let reply = stamp(house, flow).await.unwrap();
    assert_eq!((reply.outcome, reply.version), (ticket::Says::Good { stamps: 1 }, 2));
    assert_eq!((house.versions(flow), house.sum("stamps")), (vec![1, 2], 1));
    house.is_at_rest().await;
}

async fn before_routing() -> House {
    let (house, flow) = at_rest().await;
    house.host.at(Point::BeforeRouting, strike);
    let engine = house.engine.clone();
    assert!(crashes(async move { engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await }).await);
    assert_eq!(house.versions(flow), [1]);
    counts_once(&house, flow).await;
    house
}

async fn activated() -> House {
    let (house, flow) = at_rest().await;
    let killed = Arc::new(AtomicBool::new(false));
    let (engine, seen) = (house.engine.clone(), Arc::clone(&killed));
    // The shell is killed as it is about to read its row: the caller goes on without it.
    house.host.at(Point::Activated, move || seen.store(engine.kill_shell(flow), Ordering::SeqCst));
    let reply = stamp(&house, flow).await.unwrap();
    assert!(killed.load(Ordering::SeqCst));
    assert_eq!(reply.version, 2);
    house.host.at(Point::Activated, strike);
    house.engine.kill_shell(flow);
    until("no shell is left", || house.engine.active() == 0).await;
    let struck = house.call::<Ticket>(flow, ticket::Ask::Look).await.unwrap();
    assert_eq!((struck.method, struck.version), (Method::Direct, 2));
    counts_once(&house, flow).await;
    house
}

async fn decided() -> House {
    let (house, flow) = at_rest().await;
    house.host.at(Point::Decided, strike);
    let reply = stamp(&house, flow).await.unwrap();
    assert_eq!(reply.method, Method::Direct, "the shell died with its decision, and the caller decided anew");
    counts_once(&house, flow).await;
    house
}

async fn queued() -> House {
    let (house, flow) = at_rest().await;
    house.host.at(Point::Queued, strike);
    assert!(matches!(stamp(&house, flow).await, Err(Fault::Unavailable(_))));
    assert_eq!((house.versions(flow), house.sum("stamps")), (vec![1], 0), "none of the step is visible");
    counts_once(&house, flow).await;
    house
}

async fn committed() -> House {
    let (house, flow) = at_rest().await;
    house.host.at(Point::Committed, strike);
    assert!(matches!(stamp(&house, flow).await, Err(Fault::Unavailable(_))));
    assert_eq!(house.versions(flow), [1, 2], "durable, and nobody was told");
    counts_once(&house, flow).await;
    house.host.at(Point::Committed, strike);
    let begin = || house.engine.start::<Faulty>(repeating(2, 1), asks_the_world());
    assert!(begin().await.is_err());
    let begun = begin().await.unwrap();
    assert!(begun.repeated);
    house.deliver_after(CLAIM).await;
    assert_eq!((house.town.notes().len(), house.row(begun.flow).version), (1, 2), "no second mail");
    house.is_at_rest().await;
    house
}

async fn acknowledged() -> House {
    let (house, flow) = at_rest().await;
    house.host.at(Point::Acknowledged, strike);
    let reply = stamp(&house, flow).await.unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 1 }, Method::Direct));
    let next = house.stamp(flow).await.unwrap();
    assert_eq!((next.outcome, next.version), (ticket::Says::Good { stamps: 2 }, 3), "the next shell knows");
    house.is_at_rest().await;
    house
}

async fn hand_off() -> House {
    let (house, _) = at_rest().await;
    house.host.at(Point::HandOff, strike);
    let begin = || house.engine.start::<Faulty>(repeating(2, 1), asks_the_world());
    assert!(begin().await.is_err());
    let flow = begin().await.unwrap().flow;
    house.host.quiet().await;
    assert_eq!(house.town.notes().len(), 0, "committed, and nobody knows of it");
    assert_eq!(house.deliver_after(CLAIM).await, 1);
    assert_eq!((house.town.notes().len(), house.row(flow).version), (1, 2));
    house.is_at_rest().await;
    house
}

async fn delivery_claimed() -> House {
    let (house, _) = at_rest().await;
    house.town.next("note", cairn_runtime::testing::scenarios::town::Mood::StrikeBefore);
    let flow = house.start::<Faulty>(asks_the_world()).await.unwrap().flow;
    house.host.quiet().await;
    house.clock.advance(CLAIM);
    house.host.at(Point::DeliveryClaimed, strike);
    let engine = house.engine.clone();
    assert!(crashes(async move { pump::deliver(&engine).await }).await);
    assert_eq!(house.delivery(flow).attempts, 2, "the attempt is counted");
    assert_eq!(house.deliver().await, 0, "it is still claimed");
    assert_eq!(house.deliver_after(CLAIM).await, 1);
    assert_eq!((house.town.notes().len(), house.town.attempts()[1].number), (1, 3));
    house.is_at_rest().await;
    house
}

async fn delivery_sent() -> House {
    let (house, _) = at_rest().await;
    house.host.at(Point::DeliverySent, strike);
    let flow = house.start::<Faulty>(asks_the_world()).await.unwrap().flow;
    house.host.quiet().await;
    assert_eq!((house.town.notes().len(), house.row(flow).version), (1, 1), "sent, and nobody wrote it down");
    for _ in 0..3 {
        house.deliver_after(CLAIM).await;
    }
    let attempts = house.town.attempts();
    assert_eq!(attempts.len(), 2, "one extra");
    assert_eq!((attempts[0].id, &attempts[0].delivery), (attempts[1].id, &attempts[1].delivery), "of the same id");
    assert!(house.versions(flow).len() >= 2);
    house
}

async fn due_claimed() -> House {
    let (house, flow) = at_rest().await;
    house.clock.advance(2 * HOUR);
    house.host.at(Point::DueClaimed, strike);
    let engine = house.engine.clone();
    assert!(crashes(async move { pump::tick(&engine).await }).await);
    assert_eq!((house.row(flow).phase.as_str(), house.row(flow).attempts), ("open", 1));
    assert_eq!(house.tick().await, 0, "it is still claimed");
    house.clock.advance(CLAIM);
    assert_eq!(house.tick().await, 1, "it is due again");
    assert_eq!((house.versions(flow), house.sum("expired")), (vec![1, 2], 1));
    house.is_at_rest().await;
    house
}

async fn passivating() -> House {
    let (house, flow) = at_rest().await;
    house.stamp(flow).await.unwrap();
    house.clock.advance(2 * MINUTE);
    // A command comes between the decision that the shell goes and its going.
    let engine = house.engine.clone();
    let (sent, answer) = tokio::sync::oneshot::channel();
    house.host.at(Point::Passivating, move || {
        tokio::spawn(async move {
            let reply = engine.call::<Ticket>(flow, engine.asker("test"), ticket::Ask::Stamp).await;
            let _ = sent.send(reply);
        });
    });
    assert_eq!(house.engine.passivate_idle(MINUTE), 1);
    let reply = answer.await.unwrap().unwrap();
    assert_eq!((reply.outcome, reply.method), (ticket::Says::Good { stamps: 2 }, Method::Actor));
    assert_eq!(house.host.passed(Point::Activated), 2, "served by a new shell, which read the row");
    // And one that is killed on its way out leaves no slot behind.
    house.clock.advance(2 * MINUTE);
    let engine = house.engine.clone();
    house.host.at(Point::Passivating, move || {
        engine.kill_shell(flow);
    });
    house.engine.passivate_idle(MINUTE);
    until("it is gone", || house.engine.in_flight().slots == 0).await;
    assert_eq!(house.stamp(flow).await.unwrap().outcome, ticket::Says::Good { stamps: 3 });
    house.is_at_rest().await;
    house
}

macro_rules! stories {
    ($($test:ident: $point:ident, $story:ident;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let house = $story().await;
                assert!(house.host.passed(Point::$point) > 0, "the point was not hit");
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
