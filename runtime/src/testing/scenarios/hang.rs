//! A receiver that hangs: its lane fills up, the others go on.

use std::time::Duration;

use tokio::sync::oneshot;

use super::stage::Stage;
use super::town::Mood;
use crate::engine::Tuning;
use crate::testing::suite::Bench;
use crate::testing::sweep::Subject;
use crate::testing::toy::{CALLS, Child, Faulty, Parent, Trip, child, faulty, parent, trip};

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}: it never came to that");
}

/// The hotel hangs: two bookings have all the room of their lane, and a third waits. Meanwhile notes arrive, and a child
/// comes home to its parent. When the hotel comes to itself, everything is booked.
pub async fn a_receiver_that_hangs_holds_back_nothing_but_its_own_lane(bench: Bench) {
    let stage = Stage::tuned(bench, None, Tuning { deliveries: 2, ..Tuning::default() }).await;
    let (first, second) = (oneshot::channel(), oneshot::channel());
    stage.town.next("book", Mood::Wait(first.1));
    stage.town.next("book", Mood::Wait(second.1));
    let mut trips = Vec::new();
    for number in 0..3 {
        let plan = trip::Plan { hotel: "Ritz".to_owned(), card: stage.name(&format!("card {number}")), cents: 900 };
        trips.push(stage.start::<Trip>(plan).await.flow);
    }
    until("two are being carried", async || stage.town.attempts().len() == 2).await;
    crate::pump::deliver(&stage.engine).await.expect("a claim");
    assert_eq!(stage.town.attempts().len(), 2, "there is no room for the third");

    let sent = stage.start::<Parent>(parent::SendOut { children: 1, patience: Duration::from_secs(86_400) }).await;
    let parent::Says::Out { out } = sent.outcome else { panic!("one is out") };
    stage.watch(out[0]);
    stage.call::<Child>(out[0], child::Ask::Finish).await;
    let mut noted = 0;
    until("the child is home, and five notes have arrived", async || {
        if noted < 5 {
            noted += 1;
            stage.start::<Faulty>(faulty::Begin { asks_the_world: true, ..faulty::Begin::default() }).await;
        }
        crate::pump::deliver(&stage.engine).await.expect("a claim");
        stage.bench.row(sent.flow).await.phase == "complete" && stage.town.notes().len() == 5
    })
    .await;

    let attempts: Vec<_> = stage.deliveries().await.into_iter().filter(|one| one.lane == CALLS.name).collect();
    let tried: u32 = attempts.iter().map(|one| one.attempts).sum();
    assert!(attempts.iter().all(|one| one.settled.is_none()), "{attempts:?}");
    assert_eq!((attempts.len(), tried, stage.engine.in_flight().deliveries), (3, 2, 2), "{attempts:?}");

    for release in [first.0, second.0] {
        release.send(()).expect("it waits for this");
    }
    stage.settle().await;
    for trip in trips {
        assert_eq!(stage.bench.row(trip).await.phase, "booked");
    }
    stage.close().await;
}
