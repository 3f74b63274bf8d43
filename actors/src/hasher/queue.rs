//! The two queues before the hashing pool: one lane goes first, and each credential has one turn at a time.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::ring::digest;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{HashFault, Lane};

/// How many may hold or await the turn of one credential.
pub(super) const MOST_PER_CREDENTIAL: usize = 128;

/// Nothing that runs under these locks can panic half-way, so a poisoned one is as good as any.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A semaphore with two queues, of which one always goes first.
pub(super) struct Gate(Mutex<Lanes>);

struct Lanes {
    free: usize,
    longest: usize,
    sign_in: VecDeque<oneshot::Sender<Permit>>,
    registration: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to keep one core busy. Dropping it hands it to whoever is next.
pub(super) struct Permit(Option<Arc<Gate>>);

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

impl Gate {
    pub(super) fn new(free: usize, longest: usize) -> Arc<Self> {
        let lanes = Lanes { free, longest, sign_in: VecDeque::new(), registration: VecDeque::new() };
        Arc::new(Self(Mutex::new(lanes)))
    }

    pub(super) async fn enter(self: &Arc<Self>, lane: Lane) -> Result<Permit, HashFault> {
        let waiting = {
            let mut lanes = lock(&self.0);
            // A permit is free only when nobody waits: see `release`.
            if let Some(fewer) = lanes.free.checked_sub(1) {
                lanes.free = fewer;
                return Ok(Permit(Some(Arc::clone(self))));
            }
            let longest = lanes.longest;
            let queue = match lane {
                Lane::SignIn => &mut lanes.sign_in,
                Lane::Registration => &mut lanes.registration,
            };
            if queue.len() >= longest {
                // Who hung up while waiting takes no place from the living.
                queue.retain(|waiter| !waiter.is_closed());
            }
            if queue.len() >= longest {
                return Err(HashFault::Overloaded);
            }
            let (next, waiting) = oneshot::channel();
            queue.push_back(next);
            waiting
        };
        let _waiting = Waiting::begin();
        waiting.await.map_err(|_| HashFault::Interrupted)
    }

    fn release(self: Arc<Self>) {
        let mut lanes = lock(&self.0);
        while let Some(waiter) = lanes.sign_in.pop_front().or_else(|| lanes.registration.pop_front()) {
            match waiter.send(Permit(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // It hung up; the permit must not come back here, where the lock is held.
                Err(mut unsent) => unsent.0 = None,
            }
        }
        lanes.free += 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.release();
        }
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

    use std::pin::Pin;

    use futures_util::FutureExt;

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Permit, HashFault>> + 'a>>;

    /// Asks to enter, as far as it goes without waiting.
    fn ask(gate: &Arc<Gate>, lane: Lane) -> (Entering<'_>, Option<Result<Permit, HashFault>>) {
        let mut entering: Entering<'_> = Box::pin(gate.enter(lane));
        let answer = (&mut entering).now_or_never();
        (entering, answer)
    }

    #[test]
    fn a_waiting_sign_in_is_served_before_a_registration_that_came_first() {
        let gate = Gate::new(1, 8);
        let held = ask(&gate, Lane::Registration).1.unwrap().unwrap();
        let (mut registering, none) = ask(&gate, Lane::Registration);
        assert!(none.is_none());
        let (mut first, _) = ask(&gate, Lane::SignIn);
        let (mut second, _) = ask(&gate, Lane::SignIn);

        drop(held);
        let held = (&mut first).now_or_never().unwrap().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        let held = (&mut second).now_or_never().unwrap().unwrap();
        assert!((&mut registering).now_or_never().is_none());
        drop(held);
        let held = (&mut registering).now_or_never().unwrap().unwrap();
        drop(held);
        assert_eq!(lock(&gate.0).free, 1);
    }

    #[test]
    fn a_full_lane_is_overloaded_and_the_other_is_not() {
        let gate = Gate::new(1, 2);
        let _held = ask(&gate, Lane::SignIn).1.unwrap().unwrap();
        let (_one, _) = ask(&gate, Lane::Registration);
        let (two, _) = ask(&gate, Lane::Registration);
        assert!(matches!(ask(&gate, Lane::Registration).1, Some(Err(HashFault::Overloaded))));
        assert!(ask(&gate, Lane::SignIn).1.is_none());
        drop(two);
        assert!(ask(&gate, Lane::Registration).1.is_none(), "who hung up has left its place");
    }

    #[test]
    fn no_permit_is_lost_to_those_who_hang_up() {
        let gate = Gate::new(1, 8);
        let held = ask(&gate, Lane::SignIn).1.unwrap().unwrap();
        let (gone, _) = ask(&gate, Lane::SignIn);
        let (served_and_gone, _) = ask(&gate, Lane::SignIn);
        let (mut last, _) = ask(&gate, Lane::Registration);
        drop(gone);
        drop(held); // handed to `served_and_gone`, which never looks
        assert!((&mut last).now_or_never().is_none());
        drop(served_and_gone);
        drop((&mut last).now_or_never().unwrap().unwrap());
        assert_eq!(lock(&gate.0).free, 1);
    }
}
