//! A breaker: after failures in a row nothing is tried for a while, then one is let through to see.

use std::time::Duration;

use cairn_runtime::Timestamp;

/// Counts failures in a row, and says whether the next may be tried.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    state: State,
    last: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open(Timestamp),
    Probing,
}

/// Whether something may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All is well.
    Closed,
    /// It was open long enough: one may go and see.
    Due,
    /// Nothing is tried for now, or one has gone to see.
    Open,
}

impl Breaker {
    /// So many failures in a row open it.
    pub(super) const FAILURES: u32 = 5;
    /// How long it is open at first; doubled by each failure that follows.
    pub(super) const FIRST: Duration = Duration::from_secs(5);
    /// The longest it is open at a time.
    pub(super) const LONGEST: Duration = Duration::from_secs(60);
    /// A failure that nothing followed for so long says nothing any more.
    pub(super) const MEMORY: Duration = Duration::from_secs(900);

    /// Whether something may be tried now.
    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open(until) if until <= now => Standing::Due,
            State::Open(_) | State::Probing => Standing::Open,
        }
    }

    /// Something is tried that [`Breaker::standing`] did not forbid; gives whether it is the one that goes to see.
    pub(super) fn try_one(&mut self, now: Timestamp) -> bool {
        let probe = self.standing(now) == Standing::Due;
        if probe {
            self.state = State::Probing;
        }
        probe
    }

    /// It went well; gives whether this closed the breaker.
    pub(super) fn succeeded(&mut self) -> bool {
        let closed = self.state != State::Closed;
        *self = Self::default();
        closed
    }

    /// It failed; gives for how long the breaker is open from now on, if this opened it. What began before it was
    /// opened and fails afterwards says nothing new.
    pub(super) fn failed(&mut self, now: Timestamp, probe: bool) -> Option<Duration> {
        if self.state != State::Closed && !probe {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
        let beyond = self.failures.checked_sub(Self::FAILURES)?;
        let span = Self::FIRST.saturating_mul(1 << beyond.min(8)).min(Self::LONGEST);
        self.state = State::Open(now.after(span));
        Some(span)
    }

    /// The one that went to see came back without having seen anything: the next may go.
    pub(super) fn abandoned(&mut self, now: Timestamp) {
        if self.state == State::Probing {
            self.state = State::Open(now);
        }
    }

    /// Failures in a row so far.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it has nothing to remember.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.state != State::Probing && self.last.is_none_or(|last| now.since(last) >= Self::MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..Breaker::FAILURES {
            assert_eq!(breaker.failed(at(0), false), None);
            assert_eq!(breaker.standing(at(0)), Standing::Closed);
        }
        assert_eq!(breaker.failed(at(0), false), Some(Breaker::FIRST));
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..Breaker::FAILURES {
                assert_eq!(breaker.failed(at(0), false), None);
            }
            assert!(!breaker.succeeded());
        }
        assert_eq!(opened().standing(at(4)), Standing::Open);
    }

    #[test]
    fn when_its_time_is_over_one_goes_to_see_and_nobody_else() {
        let mut breaker = opened();
        assert_eq!(breaker.standing(at(5)), Standing::Due);
        assert!(breaker.try_one(at(5)));
        assert_eq!(breaker.standing(at(500)), Standing::Open);
        assert!(breaker.succeeded());
        assert_eq!((breaker.standing(at(500)), breaker.failures()), (Standing::Closed, 0));
        assert!(!breaker.try_one(at(500)));
    }

    #[test]
    fn each_failure_of_those_who_go_to_see_doubles_the_time_up_to_a_bound() {
        let mut breaker = opened();
        let mut now = 5;
        for seconds in [10, 20, 40, 60, 60, 60, 60, 60, 60] {
            assert!(breaker.try_one(at(now)));
            assert_eq!(breaker.failed(at(now), true), Some(Duration::from_secs(seconds)));
            assert_eq!(breaker.standing(at(now + i64::try_from(seconds).unwrap() - 1)), Standing::Open);
            now += i64::try_from(seconds).unwrap();
        }
    }

    #[test]
    fn what_began_before_it_opened_does_not_keep_it_open_but_may_close_it() {
        let mut breaker = opened();
        assert_eq!(breaker.failed(at(4), false), None);
        assert_eq!(breaker.standing(at(5)), Standing::Due);
        assert!(breaker.succeeded());
        assert_eq!(breaker.standing(at(4)), Standing::Closed);
    }

    #[test]
    fn one_that_went_and_saw_nothing_leaves_it_to_the_next() {
        let mut breaker = opened();
        assert!(breaker.try_one(at(6)));
        breaker.abandoned(at(7));
        assert_eq!(breaker.standing(at(7)), Standing::Due);
        assert!(!breaker.is_forgotten(at(7)));
        assert!(breaker.is_forgotten(at(900)));
    }
}
