//! Time and chance in the hands of a test: a clock that stands still until it is moved, and dice that repeat themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Dice, Timestamp};

/// The instant at which tests begin: 14 November 2023, 22:13:20 UTC.
pub const BEGINNING: Timestamp = Timestamp(1_700_000_000_000);

/// A clock that stands still until somebody moves it, in either direction.
#[derive(Debug)]
pub struct FixedClock {
    millis: AtomicI64,
}

impl FixedClock {
    /// A clock that shows this instant.
    pub const fn at(instant: Timestamp) -> Self {
        Self { millis: AtomicI64::new(instant.0) }
    }

    /// Moves it forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
    }

    /// Moves it back, as an operator or a time server may.
    pub fn set_back(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.set(Timestamp(self.now().0.saturating_sub(millis)));
    }

    /// Has it show this instant.
    pub fn set(&self, instant: Timestamp) {
        self.millis.store(instant.0, Ordering::SeqCst);
    }
}

impl Default for FixedClock {
    /// A clock that shows [`BEGINNING`].
    fn default() -> Self {
        Self::at(BEGINNING)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.millis.load(Ordering::SeqCst))
    }
}

/// One machine's idea of a common time: it goes with another clock, and is wrong by a span that may change.
#[derive(Debug)]
pub struct SkewedClock {
    common: Arc<FixedClock>,
    wrong_by: AtomicI64,
}

impl SkewedClock {
    /// A clock that is right.
    pub const fn on(common: Arc<FixedClock>) -> Self {
        Self { common, wrong_by: AtomicI64::new(0) }
    }

    /// From now on it is ahead by this many milliseconds; behind, when negative.
    pub fn skew(&self, millis: i64) {
        self.wrong_by.store(millis, Ordering::SeqCst);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.common.now().0.saturating_add(self.wrong_by.load(Ordering::SeqCst)))
    }
}

/// Numbers that look random and are the same for the same seed (Steele, Lea, Flood 2014: SplitMix64).
///
/// Good enough to choose orders and faults; never for anything secret.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, without `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The upper half of a wide product: the tiny bias of `end / 2^64` is of no account here.
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A place in a list of this length; 0 when it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// `true` in this many of a thousand cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of these; `None` when there are none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let place = self.place(among.len());
        among.get(place)
    }

    /// Puts these in another order.
    pub fn shuffle<T>(&mut self, these: &mut [T]) {
        for end in (1..these.len()).rev() {
            these.swap(end, self.place(end + 1));
        }
    }

    /// Sixteen bytes, for ids and salts.
    pub fn bytes16(&mut self) -> [u8; 16] {
        let wide = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        wide.to_be_bytes()
    }

    /// A sequence of its own, so that one part of a test may roll more dice without changing another's.
    pub const fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

/// Dice that fall the same way for the same seed.
#[derive(Debug)]
pub struct SeededDice {
    rng: Mutex<Rng>,
}

impl SeededDice {
    /// The dice of this seed.
    pub const fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(Rng::new(seed)) }
    }
}

impl Dice for SeededDice {
    fn seed(&self) -> [u8; 32] {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(rng.bytes16().into_iter().chain(rng.bytes16())) {
            *to = from;
        }
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_clock_moves_only_when_it_is_moved() {
        let clock = FixedClock::default();
        assert_eq!(clock.now(), BEGINNING);
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now(), Timestamp(BEGINNING.0 + 90_000));
        clock.set_back(Duration::from_secs(3_690));
        assert_eq!(clock.now(), Timestamp(BEGINNING.0 - 3_600_000));
    }

    #[test]
    fn a_skewed_clock_goes_with_the_common_one() {
        let common = Arc::new(FixedClock::default());
        let skewed = SkewedClock::on(common.clone());
        skewed.skew(-250);
        common.advance(Duration::from_secs(1));
        assert_eq!(skewed.now(), Timestamp(BEGINNING.0 + 750));
    }

    #[test]
    fn one_seed_gives_one_sequence_and_two_seeds_give_two() {
        let sequence = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert_eq!(Rng::new(0).next_u64(), 0xe220_a839_7b1d_cdaf, "the published first number of seed 0");
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_both() {
        let mut rng = Rng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.between(3, 6)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&6)));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.pick::<u8>(&[]), None);
        let hits = (0..10_000).filter(|_| rng.chance(250)).count();
        assert!((2_200..2_800).contains(&hits), "a quarter of ten thousand, more or less: {hits}");
    }

    #[test]
    fn a_shuffle_keeps_every_card() {
        let mut cards: Vec<u32> = (0..52).collect();
        Rng::new(3).shuffle(&mut cards);
        assert_ne!(cards, (0..52).collect::<Vec<_>>());
        cards.sort_unstable();
        assert_eq!(cards, (0..52).collect::<Vec<_>>());
    }

    #[test]
    fn dice_of_one_seed_fall_the_same_way_and_never_twice_alike() {
        let (one, other) = (SeededDice::new(5), SeededDice::new(5));
        let first = one.seed();
        assert_eq!(first, other.seed());
        assert_ne!(first, one.seed());
    }
}
