//! What goes wrong, when, and how often: one sequence of chance for a whole history, and the count of what it did.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::crash::Point;
use crate::testing::clock::Rng;
use crate::testing::store::FaultRates;

/// How often things go wrong. All zero (the default): never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The database's bad moments.
    pub rates: FaultRates,
    /// Of a thousand commits, how many find the disk full, or are asked to try again by the database.
    pub refused: u32,
    /// Of ten thousand commits, how many cannot be made durable, so that the node ends itself.
    pub unsynced: u32,
    /// Of ten thousand named points passed, how many kill the node right there.
    pub kills: u32,
    /// Of ten thousand named points passed, how many end the task that passes (a shell, a delivery, the committer).
    pub panics: u32,
    /// Of a thousand shells, how many cannot be had, or only after a while.
    pub unhatched: u32,
    /// Something happens to a node, a shell, a clock or the database about this often; never when zero.
    pub trouble: Duration,
    /// Whether clocks go wrong.
    pub clocks: bool,
    /// Of a thousand deliveries, how many take their time, perhaps longer than their claim.
    pub slow: u32,
    /// Of a thousand deliveries, how many are asked to come again, half of them though they had their effect.
    pub later: u32,
    /// Of a thousand deliveries, how many never succeed.
    pub never: u32,
}

impl Faults {
    /// What one history has to bear: of each kind of fault a lot, a little, or nothing.
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut some = |little: u64, lot: u64| {
            let most = match rng.below(4) {
                0 => 0,
                1 | 2 => little,
                _ => lot,
            };
            u32::try_from(rng.between(most / 2, most)).unwrap_or(0)
        };
        let rates = FaultRates {
            lost: some(5, 40),
            ambiguous: some(20, 150),
            late: some(100, 500),
            slowest: Duration::from_millis(u64::from(some(200, 4_000))),
        };
        Self {
            rates,
            refused: some(5, 50),
            unsynced: some(2, 15),
            kills: some(5, 25),
            panics: some(10, 50),
            unhatched: some(20, 300),
            trouble: Duration::from_millis(u64::from(some(8_000, 2_000))),
            clocks: some(2, 4) > 0,
            slow: some(50, 300),
            later: some(50, 300),
            never: some(20, 100),
        }
    }
}

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// What happened, counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Figures {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Figures {
            /// Adds another history's figures.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Figures {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((self.$name, $words)),*];
                for (place, (count, words)) in all.iter().filter(|(count, _)| *count > 0).enumerate() {
                    write!(f, "{}{count} {words}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    };
}

figures! {
    /// Commands and starts that clients came with, each counted once.
    commands: "commands",
    /// Requests sent for them, repeats included.
    requests: "requests",
    /// Commands that were acknowledged with an outcome.
    acknowledged: "acknowledged",
    /// Acknowledged outcomes that were asked for again and compared.
    repeats: "repeats compared",
    /// Requests that got no answer: node gone, or too slow.
    silences: "silences",
    /// Requests that were told to come again.
    postponed: "told to come again",
    /// Requests that went without a shell.
    direct: "went without a shell",
    /// Items committed.
    commits: "commits",
    /// Flows woken.
    woken: "wake-ups",
    /// Deliveries that had their effect, repeats included.
    carried: "deliveries carried",
    /// Of these, repeats.
    carried_again: "of them repeats",
    /// Nodes killed.
    kills: "nodes killed",
    /// Nodes stopped in good order.
    stopped: "nodes stopped in order",
    /// Shells, deliveries and tasks that ended in a panic.
    panics: "tasks struck",
    /// Shells killed.
    shells_killed: "shells killed",
    /// Shells that could not be had.
    unhatched: "shells refused",
    /// Times a clock was moved.
    clocks: "clocks moved",
    /// Times the database was away for everybody.
    outages: "outages",
    /// Calls of the store that failed, whichever way.
    store_faults: "store faults",
    /// Of these, commits whose answer was lost.
    ambiguous: "of them ambiguous",
    /// Deliveries that ended dead.
    dead: "deliveries dead",
    /// Flows set aside.
    quarantined: "flows set aside",
    /// Histories.
    seeds: "seeds",
}

/// How a passer-by ends at a named point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    Node,
    Task,
}

/// How a delivery fares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journey {
    pub(super) before: Option<Duration>,
    pub(super) end: Arrival,
    pub(super) after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Accepted,
    AcceptedUnanswered,
    Later,
    Never,
}

/// How a commit is spoilt before the store's own faults have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoilt {
    Full,
    Conflict,
    UnsyncedUndone,
    UnsyncedDone,
}

/// The one source of chance.
pub(super) struct Fate {
    inner: Mutex<Inner>,
}

struct Inner {
    rng: Rng,
    faults: Faults,
    calm: bool,
    figures: Figures,
    chronicle: Option<VecDeque<String>>,
}

/// Lines of the chronicle that are kept.
const LINES: usize = 400;

impl Fate {
    pub(super) fn new(rng: Rng, faults: Faults, with_chronicle: bool) -> Self {
        let chronicle = with_chronicle.then(VecDeque::new);
        Self { inner: Mutex::new(Inner { rng, faults, calm: false, figures: Figures::default(), chronicle }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm(&self) {
        self.lock().calm = true;
    }

    pub(super) fn is_calm(&self) -> bool {
        self.lock().calm
    }

    pub(super) fn faults(&self) -> Faults {
        self.lock().faults
    }

    /// Rolls dice for whatever is no fault.
    pub(super) fn roll<T>(&self, roll: impl FnOnce(&mut Rng) -> T) -> T {
        roll(&mut self.lock().rng)
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Figures)) {
        count(&mut self.lock().figures);
    }

    pub(super) fn figures(&self) -> Figures {
        self.lock().figures
    }

    /// Writes a line into the chronicle, if one is kept.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let mut inner = self.lock();
        if let Some(chronicle) = &mut inner.chronicle {
            if chronicle.len() == LINES {
                chronicle.pop_front();
            }
            chronicle.push_back(line());
        }
    }

    pub(super) fn chronicle(&self) -> Vec<String> {
        self.lock().chronicle.iter().flatten().cloned().collect()
    }

    /// Somebody passes a named point.
    pub(super) fn at(&self, _point: Point) -> Option<Blow> {
        let mut inner = self.lock();
        let (kills, panics) = (u64::from(inner.faults.kills), u64::from(inner.faults.panics));
        if inner.calm || kills + panics == 0 {
            return None;
        }
        let lot = inner.rng.below(10_000);
        if lot < kills {
            inner.figures.kills += 1;
            Some(Blow::Node)
        } else if lot < kills + panics {
            inner.figures.panics += 1;
            Some(Blow::Task)
        } else {
            None
        }
    }

    /// How long a shell takes to be hatched, and whether it is at all.
    pub(super) fn hatching(&self) -> (Duration, bool) {
        let mut inner = self.lock();
        let unhatched = inner.faults.unhatched;
        if inner.calm || !inner.rng.chance(unhatched) {
            return (Duration::ZERO, true);
        }
        let hatched = inner.rng.chance(500);
        inner.figures.unhatched += u64::from(!hatched);
        (Duration::from_millis(inner.rng.below(3_000)), hatched)
    }

    pub(super) fn commit(&self) -> Option<Spoilt> {
        let mut inner = self.lock();
        let (refused, unsynced) = (inner.faults.refused, inner.faults.unsynced);
        if inner.calm {
            None
        } else if inner.rng.chance(refused) {
            inner.rng.pick(&[Spoilt::Full, Spoilt::Conflict]).copied()
        } else if inner.rng.below(10_000) < u64::from(unsynced) {
            inner.rng.pick(&[Spoilt::UnsyncedUndone, Spoilt::UnsyncedDone]).copied()
        } else {
            None
        }
    }

    pub(super) fn journey(&self) -> Journey {
        let mut inner = self.lock();
        if inner.calm {
            return Journey { before: None, end: Arrival::Accepted, after: None };
        }
        let Faults { slow, later, never, .. } = inner.faults;
        let delay = |inner: &mut Inner| {
            let longest = if inner.rng.chance(100) { 40_000 } else { 2_000 };
            inner.rng.chance(slow).then(|| Duration::from_millis(inner.rng.below(longest)))
        };
        let (before, after) = (delay(&mut inner), delay(&mut inner));
        let end = if inner.rng.chance(never) {
            Arrival::Never
        } else if inner.rng.chance(later) {
            if inner.rng.chance(500) { Arrival::Later } else { Arrival::AcceptedUnanswered }
        } else {
            Arrival::Accepted
        };
        Journey { before, end, after }
    }
}
