//! Who computes argon2: a fast implementation with the reference beside it, held to the same answers.
//!
//! The crate `argon2` is the reference: parameters, PHC strings and known answers are its. `argon2-rust` computes the
//! same tags in about half the time, with the vector instructions that it finds when it runs. Which of them ran must never
//! be seen in a verdict. So both are run on the answers of RFC 9106 and on random input when the server starts, and on the
//! first input of each cost that this process meets, the ordinary one and whatever the database holds. A difference, or a panic, ends the use
//! of the fast one until the next start: that run and all later ones are the reference's.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ::ring::rand::{SecureRandom, SystemRandom};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use argon2_rust::params::{Memory as Kibibytes, TagLen};
use zeroize::{Zeroize, Zeroizing};

use super::queue::lock;
use super::{HASH_LEN, HashFault, SALT_LEN};

/// Which implementation of argon2 computes the hashes. The hashes are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashEngine {
    /// `argon2-rust`, as long as it gives the reference's answers.
    #[default]
    Fast,
    /// `argon2`.
    Reference,
}

impl HashEngine {
    /// The crate's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "argon2-rust",
            Self::Reference => "argon2",
        }
    }
}

impl FromStr for HashEngine {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "fast" => Ok(Self::Fast),
            "reference" => Ok(Self::Reference),
            _ => Err(()),
        }
    }
}

/// What a tag is computed of.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) version: Version,
    pub(super) params: &'a Params,
    pub(super) password: &'a [u8],
    pub(super) salt: &'a [u8],
    /// Argon2's K, which only its known answers have.
    secret: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(
        algorithm: Algorithm,
        version: Version,
        params: &'a Params,
        password: &'a [u8],
        salt: &'a [u8],
    ) -> Self {
        Self { algorithm, version, params, password, salt, secret: &[] }
    }

    fn tag_len(&self) -> usize {
        self.params.output_len().unwrap_or(HASH_LEN)
    }

    /// Inputs of one cost take the same way through an implementation, but for their lengths.
    fn cost(&self) -> Cost {
        let Self { algorithm, version, params, .. } = *self;
        (algorithm, version, params.m_cost(), params.t_cost(), params.p_cost(), self.tag_len())
    }
}

/// Why the fast one has no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// There is no memory at the moment.
    NoMemory,
    /// It takes no such input, or it panicked.
    Refused,
}

type Cost = (Algorithm, Version, u32, u32, u32, usize);
pub(super) type Tag = Zeroizing<Vec<u8>>;
/// One function is all that an engine is: the tag of an input, in memory that is kept for the next one.
type Compute = fn(&Input<'_>, &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error>;

/// The memory of one run at a time. Both implementations leave nothing of a password in it.
#[derive(Default)]
pub(super) struct Memory {
    fast: Option<argon2_rust::Hasher>,
    reference: Vec<Block>,
}

impl Memory {
    /// How many KiB there are.
    pub(super) fn blocks(&self) -> usize {
        self.fast.as_ref().map_or(0, argon2_rust::Hasher::reserved_blocks) + self.reference.len()
    }
}

pub(super) struct Engines {
    fast: Compute,
    trusts_fast: AtomicBool,
    held_equal: Mutex<BTreeSet<Cost>>,
    random: SystemRandom,
}

impl Engines {
    pub(super) fn new(engine: HashEngine) -> Self {
        Self {
            fast: compute_fast,
            trusts_fast: AtomicBool::new(engine == HashEngine::Fast),
            held_equal: Mutex::default(),
            random: SystemRandom::new(),
        }
    }

    /// Who computes the next hash.
    pub(super) fn in_use(&self) -> HashEngine {
        if self.trusts_fast.load(Ordering::Relaxed) { HashEngine::Fast } else { HashEngine::Reference }
    }

    /// The tag of an input.
    ///
    /// # Errors
    /// The reference's: [`HashFault::Damaged`] for parameters that argon2 has not, [`HashFault::Interrupted`] without memory.
    pub(super) fn run(&self, input: &Input<'_>, memory: &mut Memory) -> Result<Tag, HashFault> {
        if self.in_use() == HashEngine::Fast {
            if !lock(&self.held_equal).contains(&input.cost()) {
                return self.meet(input, memory);
            }
            if let Ok(tag) = self.try_fast(input, memory) {
                return Ok(tag);
            }
        }
        // What the other one had is given back: there is never twice the memory of a hash for long.
        memory.fast = None;
        reference(input, &mut memory.reference)
    }

    /// Says which implementation computes hashes, having held the fast one to known answers and to the reference on random
    /// input at small costs. The ordinary cost is left to the first password: its memory, twice 19 MiB, would be the
    /// allocator's until somebody comes.
    ///
    /// # Errors
    /// [`HashFault::Interrupted`] without memory or randomness, and nothing is proved.
    pub(super) fn prove(&self) -> Result<(), HashFault> {
        let mut memory = Memory::default();
        if self.in_use() == HashEngine::Fast && self.answers_as_published(&mut memory) {
            for params in small_costs() {
                for length in LENGTHS {
                    self.meet_random(Algorithm::Argon2id, &params, length, &mut memory)?;
                }
            }
        }
        match self.in_use() {
            HashEngine::Fast => tracing::info!(
                engine = HashEngine::Fast.name(),
                instructions = %argon2_rust::detected_backend(),
                "hashes of passwords are computed, and have the reference's answers"
            ),
            HashEngine::Reference => {
                tracing::info!(engine = HashEngine::Reference.name(), "hashes of passwords are computed");
            }
        }
        self.tell();
        Ok(())
    }

    /// Whether the fast one gives the answers of RFC 9106, section 5.
    fn answers_as_published(&self, memory: &mut Memory) -> bool {
        PUBLISHED.iter().all(|(algorithm, tag)| {
            let Ok(params) = published_params() else { return false };
            let (password, salt, secret) = ([1; 32], [2; 16], [3; 8]);
            let input = Input::new(*algorithm, Version::V0x13, &params, &password, &salt);
            let input = Input { secret: &secret, ..input };
            let found = self.try_fast(&input, memory);
            let is_right = found.is_ok_and(|found| found.as_slice() == tag);
            if !is_right {
                self.fall_back("it gives another answer than RFC 9106");
            }
            is_right
        })
    }

    fn meet_random(
        &self,
        algorithm: Algorithm,
        params: &Params,
        length: usize,
        memory: &mut Memory,
    ) -> Result<(), HashFault> {
        let (mut password, mut salt) = (vec![0; length], [0; SALT_LEN]);
        self.random.fill(&mut password).map_err(|_| HashFault::Interrupted)?;
        self.random.fill(&mut salt).map_err(|_| HashFault::Interrupted)?;
        let input = Input::new(algorithm, Version::V0x13, params, &password, &salt);
        if self.in_use() == HashEngine::Fast {
            self.meet(&input, memory)?;
        }
        Ok(())
    }

    /// Has both compute an input, and remembers that they agree at its cost. The answer is the reference's.
    fn meet(&self, input: &Input<'_>, memory: &mut Memory) -> Result<Tag, HashFault> {
        let expected = reference(input, &mut Vec::new())?;
        match self.try_fast(input, memory) {
            Ok(found) if found == expected => {
                lock(&self.held_equal).insert(input.cost());
            }
            Ok(_) => self.fall_back("it gives another answer than the reference"),
            Err(Left::NoMemory) => {} // the cost is met another time
            Err(Left::Refused) => self.fall_back("it refuses what the reference computes"),
        }
        Ok(expected)
    }

    /// The fast one's tag, or why it is left to the reference.
    fn try_fast(&self, input: &Input<'_>, memory: &mut Memory) -> Result<Tag, Left> {
        memory.reference = Vec::new();
        match catch_unwind(AssertUnwindSafe(|| (self.fast)(input, &mut memory.fast))) {
            Ok(Ok(tag)) => Ok(tag),
            Ok(Err(why)) => {
                tracing::warn!(%why, "a hash is left to the reference");
                Err(if why == argon2_rust::Error::MemoryAllocationError { Left::NoMemory } else { Left::Refused })
            }
            Err(_) => {
                self.fall_back("it panicked");
                Err(Left::Refused)
            }
        }
    }

    fn fall_back(&self, why: &'static str) {
        if self.trusts_fast.swap(false, Ordering::Relaxed) {
            tracing::error!(
                engine = HashEngine::Fast.name(),
                instructions = %argon2_rust::detected_backend(),
                why,
                "an implementation of argon2 is not to be trusted on this machine; the reference computes all hashes from now on"
            );
            metrics::counter!("cairn_defects_total").increment(1);
            self.tell();
        }
    }

    fn tell(&self) {
        for engine in [HashEngine::Fast, HashEngine::Reference] {
            let is_in_use = if engine == self.in_use() { 1.0 } else { 0.0 };
            metrics::gauge!("cairn_password_hash_engine", "engine" => engine.name()).set(is_in_use);
        }
    }
}

/// On both sides of BLAKE2b's block of 128 octets, which also holds what stands before the password.
const LENGTHS: [usize; 8] = [0, 1, 63, 64, 95, 96, 97, 257];

/// Costs that take well under a millisecond and every way through an implementation: one lane and several, one pass and
/// several, memory that is no multiple of what a lane takes, more addresses than one block of them holds, and memory on the
/// heap as well as such that is mapped, which begins at 2 MiB.
fn small_costs() -> impl Iterator<Item = Params> {
    [(8, 1, 1), (8, 3, 1), (33, 2, 4), (67, 2, 3), (1_030, 2, 1), (1_030, 1, 2), (2_100, 1, 1)]
        .into_iter()
        .filter_map(|(memory, passes, lanes)| Params::new(memory, passes, lanes, Some(HASH_LEN)).ok())
}

/// The answers of RFC 9106, sections 5.1 to 5.3.
const PUBLISHED: [(Algorithm, [u8; 32]); 3] = [
    (
        Algorithm::Argon2d,
        [
            0x51, 0x2b, 0x39, 0x1b, 0x6f, 0x11, 0x62, 0x97, 0x53, 0x71, 0xd3, 0x09, 0x19, 0x73, 0x42, 0x94, 0xf8, 0x68,
            0xe3, 0xbe, 0x39, 0x84, 0xf3, 0xc1, 0xa1, 0x3a, 0x4d, 0xb9, 0xfa, 0xbe, 0x4a, 0xcb,
        ],
    ),
    (
        Algorithm::Argon2i,
        [
            0xc8, 0x14, 0xd9, 0xd1, 0xdc, 0x7f, 0x37, 0xaa, 0x13, 0xf0, 0xd7, 0x7f, 0x24, 0x94, 0xbd, 0xa1, 0xc8, 0xde,
            0x6b, 0x01, 0x6d, 0xd3, 0x88, 0xd2, 0x99, 0x52, 0xa4, 0xc4, 0x67, 0x2b, 0x6c, 0xe8,
        ],
    ),
    (
        Algorithm::Argon2id,
        [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0, 0x1e,
            0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
        ],
    ),
];

fn published_params() -> argon2::Result<Params> {
    let data = argon2::AssociatedData::new(&[4; 12])?;
    argon2::ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).output_len(32).build()
}

fn reference(input: &Input<'_>, memory: &mut Vec<Block>) -> Result<Tag, HashFault> {
    let Input { algorithm, version, params, password, salt, secret } = *input;
    let missing = params.block_count().saturating_sub(memory.len());
    memory.try_reserve_exact(missing).map_err(|_| HashFault::Interrupted)?;
    memory.resize(memory.len() + missing, Block::new());
    let mut tag = Zeroizing::new(vec![0; input.tag_len()]);
    let done = Argon2::new_with_secret(secret, algorithm, version, params.clone())
        .and_then(|argon2| argon2.hash_password_into_with_memory(password, salt, &mut tag, &mut *memory));
    // The library wipes none but memory of its own.
    memory.iter_mut().for_each(Zeroize::zeroize);
    done.map_err(|_| HashFault::Damaged("argon2 refuses its parameters"))?;
    Ok(tag)
}

fn compute_fast(input: &Input<'_>, kept: &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error> {
    let Input { algorithm, version, params, password, salt, secret } = *input;
    let algorithm = match algorithm {
        Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
        Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
        Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
    };
    let version = match version {
        Version::V0x10 => argon2_rust::Version::V0x10,
        Version::V0x13 => argon2_rust::Version::V0x13,
    };
    let cost = argon2_rust::Params::builder()
        .memory(Kibibytes::kib(params.m_cost().into()))
        .passes(params.t_cost())
        .lanes(params.p_cost())
        .tag_len(TagLen::bytes(input.tag_len() as u64))
        .build()?;
    let argon2 = argon2_rust::Argon2::new(algorithm, version, cost);
    let hasher = kept.get_or_insert_with(|| argon2.hasher());
    hasher.set_argon2(argon2);
    let mut tag = Zeroizing::new(vec![0; input.tag_len()]);
    hasher.hash_into_with_ad(password, salt, secret, params.data(), &mut tag)?;
    Ok(tag)
}

#[cfg(test)]
mod tests;
