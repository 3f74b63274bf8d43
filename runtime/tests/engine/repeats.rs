//! A command takes effect at most once, and its repeat gets the same answer, whenever and wherever it comes.

use cairn_runtime::crash::Point;
use cairn_runtime::testing::scenarios::host::strike;
use cairn_runtime::testing::store::Mode;
use cairn_runtime::testing::toy::{Ticket, Toy, ToyWrite, ticket};
use cairn_runtime::{ActStep, Asker, Effects, Engine, Fault, Method, Reply};

use crate::support::{Fixture, HOUR, Plan, nth, repeating, until};

fn issue(name: &str) -> ticket::Issue {
    ticket::Issue { name: name.to_owned(), fence: None, lasts: HOUR }
}

/// What a repeat must have in common with the first answer.
fn same<O: PartialEq + std::fmt::Debug>(first: &Reply<O>, again: &Reply<O>) {
    assert_eq!((first.flow, &first.outcome, first.version), (again.flow, &again.outcome, again.version));
    assert_eq!(first.phase, again.phase);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_the_answer_of_then_though_the_flow_has_moved() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let stamp = || fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp);
    let first = stamp().await.unwrap();
    fixture.stamp(flow).await.unwrap();
    let again = stamp().await.unwrap();
    same(&first, &again);
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(fixture.versions(flow), [1, 2, 3]);
    fixture.engine.kill_shell(flow);
    same(&first, &stamp().await.unwrap());
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_while_the_first_is_under_way_gets_its_answer() {
    let (plan, store) = Plan::new().faulty();
    let fixture = plan.build().await;
    let flow = fixture.ticket("ada").await;
    store.aim(nth(1, "commit", Mode::Hang));
    let first = fixture.calling::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp);
    until("the commit hangs", || store.hit().is_some()).await;
    let again = fixture.calling::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp);
    until("both wait", || fixture.engine.in_flight().commands == 2).await;
    store.release();
    let (first, again) = (first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    same(&first, &again);
    assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn another_body_under_the_same_key_is_refused_with_a_shell_and_without() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await.unwrap();
    for barren in [false, true] {
        fixture.engine.kill_shell(flow);
        fixture.host.set_barren(barren);
        let other = fixture.engine.call::<Ticket>(flow, repeating(1, 2), ticket::Ask::Close).await;
        assert_eq!(other.unwrap_err(), Fault::Mismatch);
        let same = fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await.unwrap();
        assert_eq!(same.method, if barren { Method::Direct } else { Method::Actor });
        assert!(same.repeated);
    }
    assert_eq!(fixture.versions(flow), [1, 2]);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_used_for_another_flow_is_refused() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.ticket("ada").await, fixture.ticket("eve").await);
    fixture.engine.call::<Ticket>(one, repeating(1, 1), ticket::Ask::Stamp).await.unwrap();
    let elsewhere = fixture.engine.call::<Ticket>(other, repeating(1, 1), ticket::Ask::Stamp).await;
    assert_eq!(elsewhere.unwrap_err(), Fault::Mismatch);
    assert_eq!(fixture.versions(other), [1]);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_changed_nothing_is_not_remembered() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let look = || fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Look);
    assert_eq!(look().await.unwrap().outcome, ticket::Says::Good { stamps: 0 });
    fixture.stamp(flow).await.unwrap();
    let again = look().await.unwrap();
    assert_eq!((again.outcome, again.repeated), (ticket::Says::Good { stamps: 1 }, false));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn one_asker_starts_one_flow() {
    let fixture = Fixture::new().await;
    let once = Asker { repeatable: false, ..repeating(2, 1) };
    for asker in [repeating(1, 1), once] {
        let name = format!("ada {}", asker.repeatable);
        let first = fixture.engine.start::<Ticket>(asker.clone(), issue(&name)).await.unwrap();
        let again = fixture.engine.start::<Ticket>(asker.clone(), issue(&name)).await.unwrap();
        same(&first, &again);
        assert!(again.repeated);
        let other = Asker { fingerprint: Some([9; 16]), ..asker };
        assert_eq!(fixture.engine.start::<Ticket>(other, issue("eve")).await.unwrap_err(), Fault::Mismatch);
    }
    assert_eq!((fixture.sum("issued"), fixture.sim.rows().len()), (2, 2));
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_are_asked_the_same_at_once_do_it_once() {
    let fixture = Fixture::new().await;
    let other = fixture.neighbour("other").await;
    let begin = |engine: &Engine<Toy>| {
        let engine = engine.clone();
        async move { engine.start::<Ticket>(repeating(1, 1), issue("ada")).await.unwrap() }
    };
    let (one, two) = tokio::join!(begin(&fixture.engine), begin(&other.engine));
    same(&one, &two);
    let stamp = |fixture: &Fixture| fixture.calling::<Ticket>(one.flow, repeating(2, 1), ticket::Ask::Stamp);
    let (here, there) = (stamp(&fixture), stamp(&other));
    let (here, there) = (here.await.unwrap().unwrap(), there.await.unwrap().unwrap());
    same(&here, &there);
    assert_eq!((fixture.versions(one.flow), fixture.sum("stamps"), fixture.sum("issued")), (vec![1, 2], 1, 1));
    fixture.is_at_rest().await;
    other.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_after_an_error_finds_out_what_became_of_the_first() {
    for (point, durable) in [(Point::Queued, false), (Point::Committed, true)] {
        let fixture = Fixture::new().await;
        let flow = fixture.ticket("ada").await;
        fixture.host.at(point, strike);
        let stamp = || fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp);
        assert!(matches!(stamp().await, Err(Fault::Unavailable(_))));
        assert_eq!(fixture.versions(flow).len(), if durable { 2 } else { 1 });
        let again = stamp().await.unwrap();
        assert_eq!((again.outcome, again.version), (ticket::Says::Good { stamps: 1 }, 2));
        assert_eq!(again.repeated, durable);
        assert_eq!((fixture.versions(flow), fixture.sum("stamps")), (vec![1, 2], 1));
        fixture.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_remembers_what_this_one_did() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    let first = fixture.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await.unwrap();
    let other = fixture.neighbour("other").await;
    let again = other.engine.call::<Ticket>(flow, repeating(1, 1), ticket::Ask::Stamp).await.unwrap();
    same(&first, &again);
    let recalled = other.engine.recall::<ticket::Says>(&repeating(1, 1)).await.unwrap().unwrap();
    same(&first, &recalled);
    assert!(other.engine.recall::<ticket::Says>(&repeating(2, 1)).await.unwrap().is_none());
    assert_eq!(other.engine.recall::<ticket::Says>(&repeating(1, 2)).await.unwrap_err(), Fault::Mismatch);
}

/// An act that adds one; without `adds`, one that does nothing.
async fn act(engine: &Engine<Toy>, asker: Asker, adds: bool) -> Result<Reply<String>, Fault> {
    let decide = |_lost: Option<&_>, _cx: &cairn_runtime::Cx<'_, Toy>| {
        let effects = if adds { Effects::none().write(ToyWrite::add("acts", 1)) } else { Effects::none() };
        ActStep { says: "done".to_owned(), effects, user: None, public: serde_json::json!({"masked": true}) }
    };
    engine.act("adding", asker, decide).await
}

#[tokio::test(start_paused = true)]
async fn an_act_happens_once_however_often_it_is_brought() {
    let fixture = Fixture::new().await;
    let (one, two) = tokio::join!(
        act(&fixture.engine, repeating(1, 1), true),
        act(&fixture.engine, Asker { repeatable: false, ..repeating(1, 1) }, true)
    );
    same(&one.unwrap(), &two.unwrap());
    assert!(act(&fixture.engine, repeating(1, 1), true).await.unwrap().repeated);
    assert_eq!(act(&fixture.engine, repeating(1, 2), true).await.unwrap_err(), Fault::Mismatch);
    assert_eq!(fixture.sum("acts"), 1);
    assert_eq!(act(&fixture.engine, repeating(2, 1), false).await.unwrap().version, 0);
    let [event] = fixture.sim.events().try_into().unwrap();
    let expected = ("adding", r#"{"masked":true}"#);
    assert_eq!((event.kind.as_str(), event.public.as_str()), expected, "what did nothing is not in history");
    fixture.is_at_rest().await;
}
