//! Places and lanes: how they are shared, and who is sent away at once.

use cairn_runtime::testing::clock::FixedClock;
use futures_util::future::{join, join3, join4};

use super::*;

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(600);

fn lanes(places: usize) -> (Arc<Lanes>, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::default());
    (Arc::new(Lanes::new(places, Arc::clone(&clock) as Arc<dyn Clock>)), clock)
}

async fn held(lanes: &Arc<Lanes>, domain: &str) -> Held {
    lanes.enter(domain, NOW).await.err().expect("no place")
}

#[tokio::test]
async fn a_domain_leaves_as_many_places_as_it_takes() {
    let (lanes, _) = lanes(8);
    let mut places = Vec::new();
    for (domain, share) in [("a", 4), ("b", 2), ("c", 1), ("d", 1), ("e", 0)] {
        for _ in 0..share {
            places.push(lanes.enter(domain, NOW).await.ok().unwrap());
        }
        assert_eq!(held(&lanes, domain).await, Held::Busy, "{domain}");
    }
    places.clear();
    for _ in 0..4 {
        places.push(lanes.enter("e", NOW).await.ok().unwrap());
    }
}

#[tokio::test]
async fn lanes_take_turns_and_none_overtakes_within_one() {
    let (lanes, _) = lanes(1);
    let order = Mutex::new(Vec::new());
    let place = lanes.enter("a", NOW).await.ok().unwrap();
    let one = async |domain: &str, number: u32| {
        let place = lanes.enter(domain, LONG).await.ok().unwrap();
        order.lock().unwrap().push((domain.to_owned(), number));
        place.ended(Shown::Sound);
    };
    let begin = async { place.ended(Shown::Sound) };
    join(join4(one("a", 1), one("a", 2), one("a", 3), one("b", 1)), join(one("b", 2), begin)).await;
    let order: Vec<String> = order.lock().unwrap().iter().map(|(domain, number)| format!("{domain}{number}")).collect();
    assert_eq!(order, ["a1", "b1", "a2", "b2", "a3"]);
}

#[tokio::test]
async fn who_has_gone_takes_no_place_along() {
    let (lanes, _) = lanes(2);
    let place = lanes.enter("a", NOW).await.ok().unwrap();
    for _ in 0..5 {
        assert_eq!(held(&lanes, "a").await, Held::Busy);
    }
    drop(place);
    // Nobody of those who went away stands in the queue in front of the next.
    for _ in 0..5 {
        drop(lanes.enter("a", NOW).await.ok().unwrap());
    }
    let state = lanes.lock();
    assert_eq!((state.free, state.lanes.len()), (2, 0));
}

#[tokio::test]
async fn nobody_queues_up_behind_a_slow_conversation() {
    let (lanes, clock) = lanes(8);
    let place = lanes.enter("a", NOW).await.ok().unwrap();
    clock.advance(SLOW);
    assert!(lanes.enter("a", NOW).await.is_ok());
    clock.advance(Duration::from_millis(1));
    assert_eq!(held(&lanes, "a").await, Held::Destination);
    assert!(lanes.enter("b", NOW).await.is_ok());
    place.ended(Shown::Sound);
    assert!(lanes.enter("a", NOW).await.is_ok());
}

#[tokio::test]
async fn a_lane_in_doubt_takes_one_letter_at_a_time() {
    let (lanes, _) = lanes(8);
    for _ in 0..2 {
        lanes.enter("a", NOW).await.ok().unwrap().ended(Shown::DestinationFailed);
    }
    let place = lanes.enter("a", LONG).await.ok().unwrap();
    assert_eq!(held(&lanes, "a").await, Held::Destination);
    place.ended(Shown::Sound);
    let _both = (lanes.enter("a", NOW).await.ok().unwrap(), lanes.enter("a", NOW).await.ok().unwrap());
}

#[tokio::test]
async fn those_who_wait_for_a_server_are_sent_away_when_it_fails() {
    let (lanes, _) = lanes(1);
    for _ in 0..4 {
        lanes.enter("a", NOW).await.ok().unwrap().ended(Shown::ServerFailed);
    }
    let place = lanes.enter("a", NOW).await.ok().unwrap();
    let fails = async { place.ended(Shown::ServerFailed) };
    let (first, second, ()) = join3(lanes.enter("a", LONG), lanes.enter("b", LONG), fails).await;
    assert_eq!((first.err(), second.err()), (Some(Held::Server), Some(Held::Server)));
}

#[tokio::test]
async fn one_that_went_to_see_and_was_dropped_leaves_it_to_the_next() {
    let (lanes, clock) = lanes(8);
    for _ in 0..5 {
        lanes.enter("a", NOW).await.ok().unwrap().ended(Shown::ServerFailed);
    }
    assert_eq!(held(&lanes, "b").await, Held::Server);
    clock.advance(Breaker::FIRST);
    let probe = lanes.enter("b", NOW).await.ok().unwrap();
    assert_eq!(held(&lanes, "c").await, Held::Server);
    drop(probe);
    lanes.enter("c", NOW).await.ok().unwrap().ended(Shown::Sound);
    assert!(lanes.enter("b", NOW).await.is_ok());
}

#[tokio::test]
async fn lanes_without_anything_to_remember_are_forgotten() {
    let (lanes, clock) = lanes(8);
    for number in 0..100 {
        lanes.enter(&format!("d{number}"), NOW).await.ok().unwrap().ended(Shown::Sound);
        lanes.enter(&format!("e{number}"), NOW).await.ok().unwrap().ended(Shown::DestinationFailed);
    }
    assert_eq!(lanes.lock().lanes.len(), 100);
    clock.advance(Breaker::MEMORY);
    lanes.tidy();
    assert_eq!(lanes.lock().lanes.len(), 0);
}
