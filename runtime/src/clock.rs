//! Time and chance as parameters: whoever decides is given both, so that a test can drive them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

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

/// The machine's clock, moved by a fixed offset in seconds (0 but in tests).
#[derive(Debug, Default)]
pub struct SystemClock {
    offset: AtomicI64,
}

impl SystemClock {
    /// A clock that runs this many seconds ahead of the machine's.
    pub const fn ahead(seconds: i64) -> Self {
        Self { offset: AtomicI64::new(seconds) }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one room that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp(millis.saturating_add(self.offset.load(Ordering::Relaxed).saturating_mul(1000)))
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
