//! Time and chance as parameters: whoever decides is given both, so that a test can drive them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// An instant in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant and a span later, never past the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant less a span, never before the beginning of time.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The span from an earlier instant to this one; nothing if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// Unix seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Where the present instant comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant. It may jump back: what is decided from it is held against the row (see [`crate::Cx`]).
    fn now(&self) -> Timestamp;
}

/// How far the clock may have gone back since the last event for [`SystemClock::bridge`] to bridge it.
pub const BRIDGED: Duration = Duration::from_secs(90 * 60);

/// The machine's clock, moved by a fixed offset in seconds (0 but in tests), that never goes back: when the machine's
/// does, this one goes on at the pace at which time passes, until the machine's has caught up.
#[derive(Debug)]
pub struct SystemClock {
    offset: i64,
    began: Instant,
    base: AtomicI64,
}

impl SystemClock {
    /// A clock that runs this many seconds ahead of the machine's.
    #[must_use]
    pub fn ahead(seconds: i64) -> Self {
        let clock =
            Self { offset: seconds.saturating_mul(1000), began: Instant::now(), base: AtomicI64::new(i64::MIN) };
        clock.base.store(clock.machine().0, Ordering::Relaxed);
        clock
    }

    /// Goes on from the last event that is on record, when that lies ahead by at most [`BRIDGED`]: the machine's clock
    /// was set back between two runs, and what was due then is due now. Gives by how much it lies ahead.
    pub fn bridge(&self, latest: Timestamp) -> Duration {
        let ahead = latest.since(self.now());
        if ahead <= BRIDGED {
            let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.base.fetch_max(latest.0.saturating_sub(passed), Ordering::Relaxed);
        }
        ahead
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one room that reads the machine's clock")]
    fn machine(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp(millis.saturating_add(self.offset))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let machine = self.machine();
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        // When the machine's clock is set forward, what it said once is not taken back later.
        let ours = machine.0.saturating_sub(elapsed);
        let base = self.base.fetch_max(ours, Ordering::Relaxed).max(ours);
        Timestamp(base.saturating_add(elapsed))
    }
}

/// Where chance comes from: thirty-two bytes at a time, from which a step derives all that it needs.
pub trait Dice: Send + Sync + 'static {
    /// Thirty-two bytes that nobody can foresee.
    fn seed(&self) -> [u8; 32];
}

/// The operating system's randomness.
#[derive(Debug)]
pub struct SystemDice(SystemRandom);

impl SystemDice {
    /// The operating system's randomness.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemDice {
    fn default() -> Self {
        Self::new()
    }
}

impl Dice for SystemDice {
    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill(&mut seed).expect("the operating system gives random bytes, or nothing here is safe");
        seed
    }
}

/// Bytes derived from a seed and a label: the same for the same two, unrelated for any other (HMAC-SHA-256, RFC 2104).
pub fn derive(seed: &[u8; 32], label: &str, number: u64) -> [u8; 32] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, seed);
    let mut context = ring::hmac::Context::with_key(&key);
    context.update(label.as_bytes());
    context.update(&[0]);
    context.update(&number.to_be_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// The first `N` bytes (at most 32) of what [`derive`] gives.
pub fn derive_bytes<const N: usize>(seed: &[u8; 32], label: &str, number: u64) -> [u8; N] {
    const { assert!(N <= 32) };
    let all = derive(seed, label, number);
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(all) {
        *to = from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_by_an_hour_goes_on_from_the_last_event() {
        let clock = SystemClock::ahead(-3_600);
        let latest = clock.now().after(Duration::from_secs(3_600));
        assert!(clock.bridge(latest) > Duration::ZERO);
        assert!(clock.now() >= latest);
    }

    #[test]
    fn a_last_event_in_a_far_future_is_not_believed() {
        let clock = SystemClock::ahead(0);
        let before = clock.now();
        let absurd = before.after(Duration::from_secs(86_400));
        assert!(clock.bridge(absurd) > BRIDGED);
        assert!(clock.now() < absurd);
    }

    #[test]
    fn an_event_in_the_past_changes_nothing() {
        let clock = SystemClock::ahead(0);
        assert_eq!(clock.bridge(Timestamp(0)), Duration::ZERO);
        assert!(clock.now() > Timestamp(1_700_000_000_000));
    }
}
