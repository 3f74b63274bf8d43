//! Lanes of the outbox: deliveries of one sort, claimed and carried apart from all others, so that a receiver that hangs
//! or is dead holds back nothing but its own lane.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// One lane, as the domain describes it in [`crate::Domain::LANES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name: in the outbox's column and in metrics. Never changed, for rows that wait are claimed by it.
    pub name: &'static str,
    /// Deliveries in the hands of one node above which it claims no more. [`crate::Tuning::deliveries`] may allow fewer.
    pub room: usize,
    /// How long a delivery that failed waits.
    pub back_off: BackOff,
    /// When the whole lane rests; `None`: never.
    pub breaker: Option<BreakerRule>,
}

/// How long a delivery that failed waits for its next attempt: `first`, doubled after each, at most `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

/// When a lane rests: for lanes that have one receiver, whose failures are all of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// After so many failed attempts in a row, of whichever deliveries.
    pub failures: u32,
    /// For how long. Then one delivery is tried: when that fails, too, the lane rests for twice as long.
    pub rest: Duration,
    /// At most.
    pub longest: Duration,
}

/// The engine's own lane, of signals and answers between flows. It has no breaker: whoever fails in it is one flow.
pub(crate) const SIGNALS: Lane = Lane::named("signal");

impl Lane {
    /// A lane with the usual measures and no breaker.
    pub const fn named(name: &'static str) -> Self {
        let back_off = BackOff { first: Duration::from_secs(2), longest: Duration::from_secs(900) };
        Self { name, room: 1_024, back_off, breaker: None }
    }
}

impl BackOff {
    /// How long to wait after so many attempts.
    pub fn after(&self, attempts: u32) -> Duration {
        doubled(self.first, attempts.saturating_sub(1), self.longest)
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}

/// What this node knows of one of its lanes.
pub(crate) struct LaneState {
    pub(crate) lane: Lane,
    room: usize,
    in_flight: Arc<AtomicUsize>,
    breaker: Mutex<Breaker>,
    /// Something of it may be due.
    hinted: AtomicBool,
}

/// A place among a lane's deliveries in hand; given back when dropped. It holds nothing else: one that lies in the queue
/// of a committer that nobody empties any more must not keep its engine alive.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LaneState {
    /// A lane of which nothing is in hand, with room for at most so many.
    pub(crate) fn new(lane: Lane, most: usize) -> Self {
        let in_flight = Arc::new(AtomicUsize::new(0));
        metrics::gauge!(crate::telemetry::LANE_OPEN, "lane" => lane.name).set(1.0);
        Self { lane, room: lane.room.min(most), in_flight, breaker: Mutex::default(), hinted: AtomicBool::new(false) }
    }

    /// Places taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Places that may be taken now.
    pub(crate) fn free(&self, now: Timestamp) -> usize {
        self.room_at(now).saturating_sub(self.in_flight())
    }

    /// Takes a place, if there is one.
    pub(crate) fn reserve(&self, now: Timestamp) -> Option<Place> {
        let room = self.room_at(now);
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < room).then_some(taken + 1))
            .ok()
            .map(|_| Place(Arc::clone(&self.in_flight)))
    }

    fn room_at(&self, now: Timestamp) -> usize {
        self.lane.breaker.map_or(self.room, |rule| self.breaker().room(&rule, self.room, now))
    }

    /// An attempt met its receiver, or failed.
    pub(crate) fn attempted(&self, succeeded: bool, now: Timestamp) {
        let Some(rule) = self.lane.breaker else { return };
        let mut breaker = self.breaker();
        if succeeded {
            *breaker = Breaker::default();
        } else {
            breaker.failed(&rule, now);
        }
        let open = f64::from(u8::from(breaker.rests_until.is_none()));
        metrics::gauge!(crate::telemetry::LANE_OPEN, "lane" => self.lane.name).set(open);
    }

    /// Notes that something of it may be due.
    pub(crate) fn hint(&self) {
        self.hinted.store(true, Ordering::Relaxed);
    }

    /// Whether something may be due since this was last asked.
    pub(crate) fn take_hint(&self) -> bool {
        self.hinted.swap(false, Ordering::Relaxed)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A breaker: closed until too many attempts in a row have failed, then at rest, then open for one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Rests in a row.
    rests: u32,
    /// Until when it rests; afterwards one attempt is let through.
    rests_until: Option<Timestamp>,
}

impl Breaker {
    fn room(&self, rule: &BreakerRule, room: usize, now: Timestamp) -> usize {
        match self.rests_until {
            None => room,
            Some(until) if self.is_resting(rule, until, now) => 0,
            Some(_) => room.min(1),
        }
    }

    /// A rest that would last longer than any does was begun under a clock that has been set back since.
    fn is_resting(&self, rule: &BreakerRule, until: Timestamp, now: Timestamp) -> bool {
        until > now && until <= now.after(rule.longest)
    }

    fn failed(&mut self, rule: &BreakerRule, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        // Those that were under way as it began to rest say nothing new.
        let rests = self.rests_until.is_some_and(|until| self.is_resting(rule, until, now));
        if self.failures >= rule.failures && !rests {
            self.rests_until = Some(now.after(doubled(rule.rest, self.rests, rule.longest)));
            self.rests = self.rests.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule =
        BreakerRule { failures: 3, rest: Duration::from_secs(10), longest: Duration::from_secs(25) };

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000)
    }

    fn state(room: usize) -> LaneState {
        LaneState::new(Lane { room, breaker: Some(RULE), ..Lane::named("one") }, 100)
    }

    #[test]
    fn what_failed_waits_twice_as_long_each_time_up_to_the_longest() {
        let back_off = Lane::named("one").back_off;
        let waits: Vec<u64> = (0..=11).map(|attempts| back_off.after(attempts).as_secs()).collect();
        assert_eq!(waits, [2, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(back_off.after(u32::MAX).as_secs(), 900);
    }

    #[test]
    fn a_lane_has_its_room_and_a_place_is_given_back_when_dropped() {
        let lane = state(2);
        for _ in 0..3 {
            assert!(lane.reserve(at(0)).is_some(), "and dropped at once");
        }
        let held = [lane.reserve(at(0)), lane.reserve(at(0))];
        assert!(lane.reserve(at(0)).is_none());
        assert_eq!((lane.in_flight(), lane.free(at(0))), (2, 0));
        drop(held);
        assert_eq!((lane.in_flight(), lane.free(at(0))), (0, 2));
        assert_eq!(LaneState::new(Lane::named("one"), 7).free(at(0)), 7, "tuning may allow fewer");
    }

    #[test]
    fn a_lane_rests_after_failures_in_a_row_and_then_tries_one() {
        let lane = state(5);
        for succeeded in [false, false, true, false, false] {
            lane.attempted(succeeded, at(0));
        }
        assert_eq!(lane.free(at(0)), 5, "a success between them begins the count anew");
        lane.attempted(false, at(0));
        assert_eq!((lane.free(at(0)), lane.free(at(9))), (0, 0));
        lane.attempted(false, at(5)); // was under way
        assert_eq!(lane.free(at(10)), 1);
        let trial = lane.reserve(at(10));
        assert!(trial.is_some() && lane.reserve(at(10)).is_none(), "one at a time");
        drop(trial);
        lane.attempted(false, at(10));
        assert_eq!((lane.free(at(29)), lane.free(at(30))), (0, 1), "twice as long");
        lane.attempted(false, at(30));
        assert_eq!((lane.free(at(54)), lane.free(at(55))), (0, 1), "and at most so long");
        lane.attempted(true, at(55));
        assert_eq!(lane.free(at(55)), 5);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_a_rest() {
        let lane = state(5);
        for _ in 0..3 {
            lane.attempted(false, at(10_000));
        }
        assert_eq!(lane.free(at(10_001)), 0);
        assert_eq!(lane.free(at(1)), 1);
    }
}
