//! The queues before the hashing pool: one lane goes before the other, and each credential has one turn at a time.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::ring::digest;
use tokio::sync::OwnedMutexGuard;

use super::{HashFault, Lane};

/// How many may hold or await the turn of one credential.
pub(super) const MOST_PER_CREDENTIAL: usize = 128;

/// Nothing that runs under these locks can panic half-way, so a poisoned one is as good as any.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What waits for a core.
pub(super) trait Job {
    /// Whether somebody waits for its result still.
    fn is_wanted(&self) -> bool;
}

/// So many cores, and queues before them, of which one always goes before the next.
pub(super) struct Gate<J>(Mutex<Lanes<J>>);

struct Lanes<J> {
    free: usize,
    longest: usize,
    known_device: VecDeque<(J, Waiting)>,
    sign_in: VecDeque<(J, Waiting)>,
    registration: VecDeque<(J, Waiting)>,
}

impl<J> Lanes<J> {
    fn pop_front(&mut self) -> Option<(J, Waiting)> {
        let Self { known_device, sign_in, registration, .. } = self;
        known_device.pop_front().or_else(|| sign_in.pop_front()).or_else(|| registration.pop_front())
    }
}

/// Counts who waits, also when they stop waiting half-way.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        metrics::gauge!("cairn_password_hash_waiting").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("cairn_password_hash_waiting").decrement(1.0);
    }
}

impl<J: Job> Gate<J> {
    pub(super) fn new(free: usize, longest: usize) -> Self {
        let (known_device, sign_in, registration) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self(Mutex::new(Lanes { free, longest, known_device, sign_in, registration }))
    }

    /// Gives the job back when a core is free for it: run it, and whatever [`Gate::next`] gives until it gives nothing.
    /// Else it waits in its lane for another that does so.
    pub(super) fn enter(&self, lane: Lane, job: J) -> Result<Option<J>, HashFault> {
        let mut lanes = lock(&self.0);
        // A core is free only when nobody waits.
        if let Some(fewer) = lanes.free.checked_sub(1) {
            lanes.free = fewer;
            return Ok(Some(job));
        }
        // Who signs in shares one lane. A quarter of it is kept for browsers that are known: all that strangers do together
        // fills three quarters.
        let (longest, kept) = (lanes.longest, lanes.longest.div_ceil(4));
        let (known, strangers) = (lanes.known_device.len(), lanes.sign_in.len());
        let (queue, longest) = match lane {
            Lane::KnownDevice => (&mut lanes.known_device, longest.saturating_sub(strangers)),
            Lane::SignIn => (&mut lanes.sign_in, longest.saturating_sub(known.max(kept))),
            Lane::Registration => (&mut lanes.registration, longest),
        };
        if queue.len() >= longest {
            // Who hung up while waiting takes no place from the living.
            queue.retain(|(waiter, _)| waiter.is_wanted());
        }
        if queue.len() >= longest {
            return Err(HashFault::Overloaded);
        }
        queue.push_back((job, Waiting::begin()));
        Ok(None)
    }

    /// What is to be run next on a core that has done its job. With nothing left the core is free.
    pub(super) fn next(&self) -> Option<J> {
        let mut lanes = lock(&self.0);
        while let Some((job, _)) = lanes.pop_front() {
            if job.is_wanted() {
                return Some(job);
            }
        }
        lanes.free += 1;
        None
    }
}

/// Whose turn it is, for each credential that is being verified and for no other.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<[u8; 32], Place>>);

#[derive(Default)]
struct Place {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// How many hold or await it. The entry goes with the last of them.
    there: usize,
}

/// The turn of one credential. As long as it is held, nobody else verifies that credential on this node.
#[must_use = "a turn that is dropped is over"]
pub struct Turn {
    turns: Arc<Turns>,
    credential: [u8; 32],
    lock: Arc<tokio::sync::Mutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

impl Turns {
    pub(super) async fn take(turns: &Arc<Self>, credential: &[u8]) -> Result<Turn, HashFault> {
        let mut turn = Self::queue(turns, credential)?;
        let held = Arc::clone(&turn.lock).lock_owned().await;
        turn.held = Some(held);
        Ok(turn)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    fn queue(turns: &Arc<Self>, credential: &[u8]) -> Result<Turn, HashFault> {
        // Hashed for its size alone: somebody chose how long an unknown identifier is.
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, credential).as_ref());
        let mut places = lock(&turns.0);
        let place = places.entry(key).or_default();
        if place.there >= MOST_PER_CREDENTIAL {
            return Err(HashFault::Overloaded);
        }
        place.there += 1;
        Ok(Turn { turns: Arc::clone(turns), credential: key, lock: Arc::clone(&place.lock), held: None })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut places = lock(&self.turns.0);
        if let Some(place) = places.get_mut(&self.credential) {
            place.there -= 1;
            if place.there == 0 {
                places.remove(&self.credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Its number, and whether somebody waits for it.
    type Numbered = (u32, Arc<()>);

    impl Job for Numbered {
        fn is_wanted(&self) -> bool {
            Arc::strong_count(&self.1) > 1
        }
    }

    fn next(gate: &Gate<Numbered>) -> Option<u32> {
        gate.next().map(|(number, _)| number)
    }

    #[test]
    fn a_waiting_sign_in_is_served_before_a_registration_that_came_first() {
        let (gate, asker) = (Gate::new(1, 8), Arc::new(()));
        let enter = |number, lane| gate.enter(lane, (number, Arc::clone(&asker))).unwrap();
        assert!(enter(0, Lane::Registration).is_some(), "the core is free");
        for (number, lane) in [(1, Lane::Registration), (2, Lane::SignIn), (3, Lane::SignIn)] {
            assert!(enter(number, lane).is_none());
        }
        assert_eq!([next(&gate), next(&gate), next(&gate), next(&gate)], [Some(2), Some(3), Some(1), None]);
        assert_eq!(lock(&gate.0).free, 1);
        assert!(enter(4, Lane::Registration).is_some());
    }

    #[test]
    fn however_many_strangers_want_in_a_quarter_of_the_lane_is_for_browsers_that_are_known() {
        let (gate, asker) = (Gate::new(1, 8), Arc::new(()));
        let enter = |number, lane| gate.enter(lane, (number, Arc::clone(&asker)));
        assert!(enter(0, Lane::SignIn).unwrap().is_some(), "the core is free");
        for number in 1..=6 {
            assert!(enter(number, Lane::SignIn).unwrap().is_none());
        }
        assert!(matches!(enter(7, Lane::SignIn), Err(HashFault::Overloaded)));
        for number in [11, 12] {
            assert!(enter(number, Lane::KnownDevice).unwrap().is_none());
        }
        assert!(matches!(enter(13, Lane::KnownDevice), Err(HashFault::Overloaded)), "the lane is full");
        assert_eq!([next(&gate), next(&gate), next(&gate)], [Some(11), Some(12), Some(1)], "those who are known first");
        // Where no stranger waits, the whole lane is theirs.
        for number in 20..23 {
            assert!(enter(number, Lane::KnownDevice).unwrap().is_none());
        }
        assert!(matches!(enter(8, Lane::SignIn), Err(HashFault::Overloaded)), "five strangers and three who are known");
    }

    #[test]
    fn a_full_lane_is_overloaded_and_the_other_is_not() {
        let (gate, asker, hangs_up) = (Gate::new(1, 2), Arc::new(()), Arc::new(()));
        let enter = |lane, asker: &Arc<()>| gate.enter(lane, (0, Arc::clone(asker)));
        assert!(enter(Lane::SignIn, &asker).unwrap().is_some());
        assert!(enter(Lane::Registration, &asker).unwrap().is_none());
        assert!(enter(Lane::Registration, &hangs_up).unwrap().is_none());
        assert!(matches!(enter(Lane::Registration, &asker), Err(HashFault::Overloaded)));
        assert!(enter(Lane::SignIn, &asker).unwrap().is_none());
        drop(hangs_up);
        assert!(enter(Lane::Registration, &asker).unwrap().is_none(), "who hung up has left its place");
    }

    #[test]
    fn nothing_is_done_for_those_who_hung_up_and_no_core_is_lost_to_them() {
        let (gate, asker) = (Gate::new(1, 8), Arc::new(()));
        let (one, other) = (Arc::new(()), Arc::new(()));
        let enter = |number, lane, asker: &Arc<()>| gate.enter(lane, (number, Arc::clone(asker))).unwrap();
        assert!(enter(0, Lane::SignIn, &asker).is_some());
        assert!(enter(1, Lane::SignIn, &one).is_none());
        assert!(enter(2, Lane::Registration, &asker).is_none());
        assert!(enter(3, Lane::Registration, &other).is_none());
        drop((one, other));
        assert_eq!([next(&gate), next(&gate)], [Some(2), None]);
        assert_eq!(lock(&gate.0).free, 1);
    }
}
