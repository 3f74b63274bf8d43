//! Dice that fall the same way for the same seed, so that what went wrong once can be asked for again.

use std::hash::{BuildHasher, Hasher};

/// A small generator (SplitMix64): not for secrets, only for choices that a test can repeat.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: `CAIRN_SEED`, else a new one. Print it where it matters.
    pub fn seed() -> u64 {
        match std::env::var("CAIRN_SEED") {
            Ok(text) => text.parse().expect("CAIRN_SEED is a number"),
            Err(_) => std::hash::RandomState::new().build_hasher().finish() >> 16,
        }
    }

    /// Dice of their own for one of many, independent of the order in which the others throw.
    pub fn of(seed: u64, which: u64) -> Self {
        let mut parent = Self(seed ^ which.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Self(parent.throw())
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound.max(1)
    }

    /// As `below`, for places in a sequence.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// True once in `n` throws on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}
