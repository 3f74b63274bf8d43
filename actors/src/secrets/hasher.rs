//! Hashing, checking and judging passwords on a small pool, so that they never hold up anything else.
//!
//! A hash costs a core 10 to 20 ms and 19 MiB. So there are as many at once as cores, two bounded queues in front
//! (who waits to sign in is always served before who waits to register), and the memory of the argon2 runs is made
//! when first needed, kept, and wiped after each. What comes out is a [`SealedHash`], which only a hasher can open, and what a right
//! password proves is a [`Proved`], which only a hasher can make.

mod engine;
mod queue;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use ::ring::rand::{SecureRandom, SystemRandom};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Params, Version};
use base64ct::{Base64Unpadded, Encoding};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub use self::engine::HashEngine;
use self::engine::{Engines, Input, Memory};
pub use self::queue::Turn;
use self::queue::{Gate, Job, Turns, lock};
use crate::secrets::password::Password;
use crate::secrets::ring::{KeyId, Ring, SealError, SharedRing};
use crate::secrets::strength::{self, OwnWords, Unworthy};

const LABEL: &str = "password";
const HASH_LEN: usize = 32;
const SALT_LEN: usize = 16;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB (argon2's m).
    pub memory_kib: u32,
    /// Passes over the memory (t).
    pub passes: u32,
    /// Lanes (p). They run one after the other here.
    pub lanes: u32,
}

impl Default for Cost {
    /// 19 MiB, two passes, one lane: the first choice of OWASP's password storage cheat sheet.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// The bounds of a hasher.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The cost of new hashes. Older ones are checked at the cost they were made with, and say that they are old.
    pub cost: Cost,
    /// How many run at once.
    pub workers: usize,
    /// How many may wait to sign in, of whom a quarter are from browsers that are known, and how many to register; beyond
    /// that it answers [`HashFault::Overloaded`].
    pub queue: usize,
    /// Which implementation computes them.
    pub engine: HashEngine,
}

impl Default for Settings {
    /// A worker a core, and in each lane as many waiting as are done in about a second and a half.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cost: Cost::default(), workers, queue: 64 * workers, engine: HashEngine::default() }
    }
}

impl Settings {
    /// Hashes that cost next to nothing, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn quick() -> Self {
        Self { cost: Cost { memory_kib: 8, passes: 1, lanes: 1 }, ..Self::default() }
    }
}

/// Who is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Somebody wants in from a browser that their account knows: always first.
    KnownDevice,
    /// Somebody wants in, or proves who they are: always before those who register.
    SignIn,
    /// Somebody is new, or chooses a new password.
    Registration,
}

/// Why there is no answer. The password was neither right nor wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashFault {
    /// Too many wait already, in the lane or for the same credential. Ask again later.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The stored hash does not open or cannot be read. A defect of the row or of the ring, not of the password.
    #[error("the stored hash cannot be read: {0}")]
    Damaged(&'static str),
    /// The stored hash is sealed by a key that this process's ring has not got: read the ring again.
    #[error("the ring has no key {0}, which sealed the stored hash")]
    UnknownKey(KeyId),
    /// The settings ask for a hash that argon2 does not know.
    #[error("the settings of the password hash are out of argon2's bounds")]
    Settings,
    /// The work was cut off: no memory, no randomness, or the process is ending.
    #[error("the password hash was interrupted")]
    Interrupted,
}

/// A password's hash as states and tables keep it: a PHC string sealed by the ring, in base64. Only a hasher opens it,
/// so a stolen database without its key gives nothing to guess at. `Debug` shows dots.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedHash(String);

impl SealedHash {
    /// The text for a column of its own.
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// The hash of a column's text. What is not one shows itself at the next verification, as damaged.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SealedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedHash(…)")
    }
}

/// What became of a verification.
#[derive(Debug)]
#[must_use = "a password that is not judged was never checked"]
pub enum Verdict {
    /// The password is the one that was hashed.
    Right(Proved),
    /// It is not, or there was no hash to compare with.
    Wrong,
}

/// "The password was right", as a value: only a hasher makes it, so a command that carries it needs no further proof.
#[derive(Debug)]
pub struct Proved {
    needs_rehash: bool,
}

impl Proved {
    /// Whether the stored hash has another cost than new ones: hash the same password again and store that.
    pub fn needs_rehash(&self) -> bool {
        self.needs_rehash
    }

    /// A proof that was not earned, for tests of flows.
    #[cfg(any(test, feature = "testing"))]
    pub fn pretended() -> Self {
        Self { needs_rehash: false }
    }
}

/// The pool. Clones are handles to one pool.
#[derive(Clone)]
pub struct Hasher(Arc<Pool>);

struct Pool {
    ring: SharedRing,
    params: Params,
    workers: usize,
    gate: Gate<Box<dyn Hashing>>,
    turns: Arc<Turns>,
    memory: Mutex<Vec<Memory>>,
    engines: Engines,
    random: SystemRandom,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({}, {} workers)", self.0.params, self.0.workers)
    }
}

impl Hasher {
    /// A pool at rest: no thread and no memory until the first hash.
    ///
    /// # Errors
    /// [`HashFault::Settings`] when argon2 does not know such a cost, or there are no workers.
    pub fn new(ring: SharedRing, settings: Settings) -> Result<Self, HashFault> {
        let Cost { memory_kib, passes, lanes } = settings.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(HASH_LEN)).map_err(|_| HashFault::Settings)?;
        if settings.workers == 0 {
            return Err(HashFault::Settings);
        }
        Ok(Self(Arc::new(Pool {
            ring,
            params,
            workers: settings.workers,
            gate: Gate::new(settings.workers, settings.queue),
            turns: Arc::default(),
            memory: Mutex::default(),
            engines: Engines::new(settings.engine),
            random: SystemRandom::new(),
        })))
    }

    /// Begins to hold the implementation that computes the hashes to known answers and to the reference, before the first
    /// password if this is called first, and says in log and metrics which one is in use. Takes about as long as a hash.
    pub fn prove_engine(&self) {
        // A lane that is full has first inputs enough, and each is a proof.
        let _ = self.begin(Lane::KnownDevice, Box::new(Proof));
    }

    /// Hashes a password with a salt of its own and seals the result. Whether it is long enough is not asked here.
    ///
    /// # Errors
    /// [`HashFault::Overloaded`] at once when the lane is full; else [`HashFault::Interrupted`].
    pub async fn hash(&self, password: &Password, lane: Lane) -> Result<SealedHash, HashFault> {
        let password = copy_of(password);
        self.work(lane, move |pool, memory| timed("hash", || pool.hash(&password, memory))).await
    }

    /// Checks a password against the hash of `credential` (a user's id, or an identifier that nobody has), in the
    /// lane of those who sign in from anywhere. Without a hash it takes as long and is always wrong.
    ///
    /// One verification of a credential runs at a time. Who must count failures without a gap takes the turn first
    /// and holds it until the failure is committed: [`Hasher::take_turn`].
    ///
    /// # Errors
    /// [`HashFault::Overloaded`] when too many wait, [`HashFault::Damaged`] when the hash cannot be read.
    pub async fn verify(
        &self,
        password: &Password,
        hash: Option<&SealedHash>,
        credential: impl AsRef<[u8]>,
    ) -> Result<Verdict, HashFault> {
        let turn = self.take_turn(credential).await?;
        self.verify_in_turn(&turn, password, hash, Lane::SignIn).await
    }

    /// Waits until nobody else verifies this credential on this node.
    ///
    /// # Errors
    /// [`HashFault::Overloaded`] when too many wait for it already.
    pub async fn take_turn(&self, credential: impl AsRef<[u8]>) -> Result<Turn, HashFault> {
        Turns::take(&self.0.turns, credential.as_ref()).await
    }

    /// As [`Hasher::verify`], within a turn that the caller took and goes on holding.
    ///
    /// # Errors
    /// As [`Hasher::verify`].
    pub async fn verify_in_turn(
        &self,
        _turn: &Turn,
        password: &Password,
        hash: Option<&SealedHash>,
        lane: Lane,
    ) -> Result<Verdict, HashFault> {
        let (password, hash) = (copy_of(password), hash.cloned());
        self.work(lane, move |pool, memory| {
            timed("verify", || match hash {
                Some(hash) => pool.verify(&password, &hash, memory),
                None => pool.pretend(&password, memory),
            })
        })
        .await
    }

    /// A fingerprint of passwords, the same whenever they come with this salt: for telling a request from its repeat. It
    /// costs as much as a hash and is as hard to guess at.
    ///
    /// # Errors
    /// As [`Hasher::hash`].
    pub async fn fingerprint(
        &self,
        passwords: &[&Password],
        salt: [u8; 16],
        lane: Lane,
    ) -> Result<[u8; HASH_LEN], HashFault> {
        let mut all = Zeroizing::new(Vec::new());
        for password in passwords {
            all.extend_from_slice(password.expose().as_bytes());
            // No text holds such a byte.
            all.push(0xff);
        }
        self.work(lane, move |pool, memory| {
            let output = timed("hash", || pool.engines.run(&pool.new_input(&all, &salt), memory))?;
            output.as_slice().try_into().map_err(|_| HashFault::Settings)
        })
        .await
    }

    /// Whether a password may be chosen, judged on this pool: the estimate costs a core up to as much as a hash, and waits
    /// in the same lanes. Gives the password back.
    ///
    /// # Errors
    /// [`HashFault::Overloaded`] at once when the lane is full; else [`HashFault::Interrupted`].
    pub async fn judge(
        &self,
        password: Password,
        own: OwnWords,
        lane: Lane,
    ) -> Result<(Password, Result<(), Unworthy>), HashFault> {
        self.work(lane, move |_, _| {
            let verdict = timed("judge", || strength::check(&password, &own));
            Ok((password, verdict))
        })
        .await
    }

    /// Hashes a password that may be chosen: [`Hasher::judge`] and [`Hasher::hash`] in one go, which waits once.
    ///
    /// # Errors
    /// As [`Hasher::judge`].
    pub async fn hash_if_worthy(
        &self,
        password: Password,
        own: OwnWords,
        lane: Lane,
    ) -> Result<Result<SealedHash, Unworthy>, HashFault> {
        self.work(lane, move |pool, memory| match timed("judge", || strength::check(&password, &own)) {
            Ok(()) => timed("hash", || pool.hash(password.expose().as_bytes(), memory)).map(Ok),
            Err(why) => Ok(Err(why)),
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Pool, &mut Memory) -> Result<T, HashFault> + Send + 'static,
    ) -> Result<T, HashFault> {
        let (tell, told) = oneshot::channel();
        self.begin(lane, Box::new(Work { work, tell }))?;
        told.await.map_err(|_| HashFault::Interrupted)?
    }

    /// Has a job run as soon as a core is free for it and it is first in its lane.
    fn begin(&self, lane: Lane, job: Box<dyn Hashing>) -> Result<(), HashFault> {
        if let Some(job) = self.0.gate.enter(lane, job)? {
            let pool = Arc::clone(&self.0);
            // A thread for as long as there is work. It goes from one job to the next without a word to anybody, so that
            // the core is never idle between two; whoever gives up while theirs is run keeps it busy until that is done.
            let spawned = thread::Builder::new().name("password-hash".to_owned()).spawn(move || {
                let mut next = Some(job);
                while let Some(job) = next {
                    // Whatever panics in a job, its place at a core is given on.
                    if catch_unwind(AssertUnwindSafe(|| job.run(&pool))).is_err() {
                        tracing::error!("a job of the hasher panicked");
                    }
                    next = pool.gate.next();
                }
            });
            if spawned.is_err() {
                // No thread is to be had. Nobody waits for one that will not come.
                while self.0.gate.next().is_some() {}
            }
        }
        Ok(())
    }
}

/// The proof of the implementation that computes the hashes. Nobody waits for it.
struct Proof;

impl Job for Proof {
    fn is_wanted(&self) -> bool {
        true
    }
}

impl Hashing for Proof {
    fn run(self: Box<Self>, pool: &Pool) {
        if let Err(why) = pool.engines.prove() {
            tracing::warn!(%why, "the implementation of argon2 was not proved; each cost is when it is first met");
        }
    }
}

/// A hash to be made or checked, and who waits for it.
struct Work<W, T> {
    work: W,
    tell: oneshot::Sender<Result<T, HashFault>>,
}

trait Hashing: Job + Send {
    fn run(self: Box<Self>, pool: &Pool);
}

impl<W, T> Job for Work<W, T> {
    fn is_wanted(&self) -> bool {
        !self.tell.is_closed()
    }
}

impl Job for Box<dyn Hashing> {
    fn is_wanted(&self) -> bool {
        (**self).is_wanted()
    }
}

impl<W, T> Hashing for Work<W, T>
where
    W: FnOnce(&Pool, &mut Memory) -> Result<T, HashFault> + Send,
    T: Send,
{
    fn run(self: Box<Self>, pool: &Pool) {
        let Self { work, tell } = *self;
        // A panic is that job's own: its memory is gone, and the core goes on.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut memory = pool.take_memory();
            let result = work(pool, &mut memory);
            pool.keep_memory(memory);
            result
        }));
        let _ = tell.send(done.unwrap_or(Err(HashFault::Interrupted)));
    }
}

/// Does one thing of a job and records how long it took.
fn timed<T>(op: &'static str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    metrics::histogram!("cairn_password_hash_seconds", "op" => op).record(begun.elapsed().as_secs_f64());
    done
}

fn copy_of(password: &Password) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.expose().as_bytes().to_vec())
}

impl Pool {
    fn hash(&self, password: &[u8], memory: &mut Memory) -> Result<SealedHash, HashFault> {
        let (mut salt, mut nonce) = ([0_u8; SALT_LEN], [0_u8; 12]);
        self.random.fill(&mut salt).map_err(|_| HashFault::Interrupted)?;
        self.random.fill(&mut nonce).map_err(|_| HashFault::Interrupted)?;
        let output = self.engines.run(&self.new_input(password, &salt), memory)?;
        let phc = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(|_| HashFault::Settings)?,
            salt: Some(Salt::new(&salt).map_err(|_| HashFault::Settings)?),
            hash: Some(Output::new(&output).map_err(|_| HashFault::Settings)?),
        };
        Ok(seal(&self.ring.get(), &phc.to_string(), nonce))
    }

    fn verify(&self, password: &[u8], hash: &SealedHash, memory: &mut Memory) -> Result<Verdict, HashFault> {
        let phc = open(&self.ring.get(), hash)?;
        let phc = PasswordHash::new(&phc).map_err(|_| HashFault::Damaged("it is no PHC string"))?;
        let algorithm =
            Algorithm::new(phc.algorithm.as_str()).map_err(|_| HashFault::Damaged("it is of another algorithm"))?;
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from);
        let version = version.map_err(|_| HashFault::Damaged("it is of an unknown version"))?;
        let params = Params::try_from(&phc).map_err(|_| HashFault::Damaged("its parameters are out of bounds"))?;
        let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
            return Err(HashFault::Damaged("it has no salt or no hash"));
        };
        let input = Input::new(algorithm, version, &params, password, salt.as_ref());
        let output = self.engines.run(&input, memory)?;
        if !bool::from(output.as_slice().ct_eq(expected.as_bytes())) {
            return Ok(Verdict::Wrong);
        }
        let current = (Algorithm::Argon2id, Version::V0x13, &self.params);
        Ok(Verdict::Right(Proved { needs_rehash: (algorithm, version, &params) != current }))
    }

    /// As much work as a verification, with nothing to compare to: nobody learns from the clock who has an account.
    fn pretend(&self, password: &[u8], memory: &mut Memory) -> Result<Verdict, HashFault> {
        self.engines.run(&self.new_input(password, &[0; SALT_LEN]), memory)?;
        Ok(Verdict::Wrong)
    }

    /// What the tag of a new hash is computed of.
    fn new_input<'a>(&'a self, password: &'a [u8], salt: &'a [u8]) -> Input<'a> {
        Input::new(Algorithm::Argon2id, Version::V0x13, &self.params, password, salt)
    }

    fn take_memory(&self) -> Memory {
        lock(&self.memory).pop().unwrap_or_default()
    }

    /// Keeps the memory for the next run, but not what an old and dearer hash had needed.
    fn keep_memory(&self, memory: Memory) {
        let mut kept = lock(&self.memory);
        if memory.blocks() <= self.params.block_count() && kept.len() < self.workers {
            kept.push(memory);
        }
    }
}

fn seal(ring: &Ring, phc: &str, nonce: [u8; 12]) -> SealedHash {
    SealedHash(Base64Unpadded::encode_string(&ring.seal(LABEL, b"", phc.as_bytes(), nonce)))
}

fn open(ring: &Ring, hash: &SealedHash) -> Result<Zeroizing<String>, HashFault> {
    let sealed = Base64Unpadded::decode_vec(&hash.0).map_err(|_| HashFault::Damaged("it is not base64"))?;
    let phc = ring.open(LABEL, b"", &sealed).map_err(|error| match error {
        SealError::UnknownKey(key) => HashFault::UnknownKey(key),
        SealError::TooShort | SealError::Tampered => HashFault::Damaged("the ring does not open it"),
    })?;
    String::from_utf8(phc).map(Zeroizing::new).map_err(|_| HashFault::Damaged("it is no text"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn shared() -> SharedRing {
        SharedRing::new(Ring::pretended(1))
    }

    fn hasher() -> Hasher {
        Hasher::new(shared(), Settings { workers: 1, queue: 2, ..Settings::quick() }).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::typed(text.to_owned())
    }

    fn is_right(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Right(_))
    }

    #[tokio::test]
    async fn the_right_password_is_proved_and_the_wrong_one_is_not() {
        let hasher = hasher();
        let hash = hasher.hash(&password("correct horse"), Lane::Registration).await.unwrap();
        let right = hasher.verify(&password("correct horse"), Some(&hash), "ada").await.unwrap();
        assert!(matches!(&right, Verdict::Right(proved) if !proved.needs_rehash()));
        for wrong in ["correct hors", "correct horse ", "", "Correct horse"] {
            assert!(!is_right(&hasher.verify(&password(wrong), Some(&hash), "ada").await.unwrap()));
        }
    }

    #[tokio::test]
    async fn the_ordinary_cost_is_the_one_of_the_design_and_its_memory_is_kept() {
        let settings = Settings { workers: 2, ..Settings::default() };
        let hasher = Hasher::new(shared(), settings).unwrap();
        assert_eq!(lock(&hasher.0.memory).len(), 0, "nothing is taken before the first hash");
        let hash = hasher.hash(&password("correct horse"), Lane::Registration).await.unwrap();
        assert!(open(&shared().get(), &hash).unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_right(&hasher.verify(&password("correct horse"), Some(&hash), "ada").await.unwrap()));
        let kept: Vec<usize> = lock(&hasher.0.memory).iter().map(Memory::blocks).collect();
        assert_eq!(kept, [19_456]);
    }

    #[tokio::test]
    async fn without_a_hash_every_password_is_wrong_and_works_as_hard() {
        let hasher = hasher();
        assert!(!is_right(&hasher.verify(&password("correct horse"), None, "nobody").await.unwrap()));
        assert_eq!(lock(&hasher.0.memory).first().map(Memory::blocks), Some(8));
    }

    #[tokio::test]
    async fn one_password_never_has_one_hash_twice() {
        let hasher = hasher();
        let one = hasher.hash(&password("correct horse"), Lane::SignIn).await.unwrap();
        assert_ne!(one, hasher.hash(&password("correct horse"), Lane::SignIn).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_right_and_asks_to_be_made_anew() {
        let cost = Cost { memory_kib: 16, passes: 2, lanes: 2 };
        let older = Hasher::new(shared(), Settings { cost, ..Settings::quick() }).unwrap();
        let hash = older.hash(&password("correct horse"), Lane::SignIn).await.unwrap();
        let hasher = hasher();
        let verdict = hasher.verify(&password("correct horse"), Some(&hash), "ada").await.unwrap();
        assert!(matches!(verdict, Verdict::Right(proved) if proved.needs_rehash()));
        assert!(!is_right(&hasher.verify(&password("wrong"), Some(&hash), "ada").await.unwrap()));
        assert!(lock(&hasher.0.memory).iter().all(|kept| kept.blocks() <= 8), "the dearer memory is given back");
    }

    #[tokio::test]
    async fn a_known_answer_of_argon2id_is_right() {
        // The reference implementation: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -e`.
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash = seal(&shared().get(), phc, [0; 12]);
        assert!(is_right(&hasher().verify(&password("password"), Some(&hash), "ada").await.unwrap()));
        assert!(!is_right(&hasher().verify(&password("passwore"), Some(&hash), "ada").await.unwrap()));
    }

    #[tokio::test]
    async fn a_hash_survives_its_way_through_a_state_and_prints_as_dots() {
        let hasher = hasher();
        let hash = hasher.hash(&password("correct horse"), Lane::SignIn).await.unwrap();
        let json = serde_json::to_string(&hash).unwrap();
        assert!(!json.contains("argon2") && json.starts_with('"'));
        let back: SealedHash = serde_json::from_str(&json).unwrap();
        assert!(is_right(&hasher.verify(&password("correct horse"), Some(&back), "ada").await.unwrap()));
        assert_eq!(SealedHash::from_text(back.as_text().to_owned()), hash);
        assert_eq!(format!("{hash:?}"), "SealedHash(…)");
    }

    #[tokio::test]
    async fn a_hash_that_cannot_be_read_is_a_fault_and_no_verdict() {
        let hasher = hasher();
        let ring = shared().get();
        let hash = hasher.hash(&password("correct horse"), Lane::SignIn).await.unwrap();
        let stranger = Hasher::new(SharedRing::new(Ring::pretended(2)), Settings::quick()).unwrap();
        let fault = stranger.verify(&password("correct horse"), Some(&hash), "ada").await.unwrap_err();
        assert_eq!(fault, HashFault::Damaged("the ring does not open it"));
        let newer = SealedHash(Base64Unpadded::encode_string(&[0, 0, 0, 2, 9, 9]));
        let fault = hasher.verify(&password("correct horse"), Some(&newer), "ada").await.unwrap_err();
        assert_eq!(fault, HashFault::UnknownKey(KeyId(2)));
        for phc in [
            "",
            "password",
            "$argon2id$v=19$m=8,t=1,p=1",
            "$argon2id$v=20$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$scrypt$ln=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ] {
            let fault = hasher.verify(&password("x"), Some(&seal(&ring, phc, [0; 12])), "ada").await.unwrap_err();
            assert!(matches!(fault, HashFault::Damaged(_)), "{phc}: {fault}");
        }
        assert!(hasher.verify(&password("correct horse"), Some(&hash), "ada").await.is_ok(), "the pool goes on");
    }

    #[tokio::test]
    async fn settings_out_of_bounds_are_refused() {
        let cost = Cost { memory_kib: 1, passes: 1, lanes: 1 };
        for settings in [Settings { cost, ..Settings::quick() }, Settings { workers: 0, ..Settings::quick() }] {
            assert_eq!(Hasher::new(shared(), settings).unwrap_err(), HashFault::Settings);
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_is_interrupted_and_the_next_is_not() {
        let hasher = hasher();
        let fails = hasher.work(Lane::SignIn, |_, _| -> Result<(), HashFault> { panic!("a defect") });
        let (typed, waits) = (password("x"), password("y"));
        let (fault, one, other) =
            tokio::join!(fails, hasher.verify(&typed, None, "ada"), hasher.hash(&waits, Lane::Registration));
        assert_eq!(fault, Err(HashFault::Interrupted));
        assert!(one.is_ok() && other.is_ok());
    }

    #[tokio::test]
    async fn one_verification_of_a_credential_at_a_time_and_nothing_is_left_of_it() {
        let hasher = hasher();
        let turn = hasher.take_turn("ada").await.unwrap();
        let (typed, other) = (password("x"), password("y"));
        let mut waiting = Box::pin(hasher.verify(&typed, None, "ada"));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(hasher.verify(&other, None, "grace").await.is_ok(), "another credential need not wait");
        assert!((&mut waiting).now_or_never().is_none());
        let gives_up = Box::pin(hasher.take_turn("ada"));
        drop(gives_up);
        assert!(hasher.verify_in_turn(&turn, &typed, None, Lane::SignIn).await.is_ok());
        drop(turn);
        assert!(waiting.await.is_ok());
        assert!(hasher.0.turns.is_empty());
    }

    #[tokio::test]
    async fn a_crowd_before_one_credential_is_overloaded() {
        let hasher = hasher();
        let mut crowd: Vec<_> = (0..queue::MOST_PER_CREDENTIAL).map(|_| Box::pin(hasher.take_turn("ada"))).collect();
        let first = crowd.iter_mut().map(|turn| turn.now_or_never()).next().unwrap().unwrap().unwrap();
        crowd.iter_mut().skip(1).for_each(|turn| assert!(turn.now_or_never().is_none()));
        assert_eq!(hasher.take_turn("ada").await.unwrap_err(), HashFault::Overloaded);
        assert!(hasher.take_turn("grace").await.is_ok());
        drop(crowd);
        drop(first);
        assert!(hasher.0.turns.is_empty());
        assert!(hasher.take_turn("ada").await.is_ok());
    }

    proptest! {
        #[test]
        fn no_text_in_a_column_makes_opening_panic(text in "\\PC{0,80}|[A-Za-z0-9+/]{0,200}") {
            prop_assert!(open(&Ring::pretended(1), &SealedHash::from_text(text)).is_err());
        }

        #[test]
        fn no_sealed_text_makes_verifying_panic(phc in "\\PC{0,60}|\\$argon2(id|i|d)\\$v=[0-9]{1,2}\\$m=[0-9]{1,3},t=[0-3],p=[0-3]\\$[A-Za-z0-9+/]{0,30}\\$[A-Za-z0-9+/]{0,50}") {
            let hasher = hasher();
            let hash = seal(&Ring::pretended(1), &phc, [0; 12]);
            let verdict = hasher.0.verify(b"password", &hash, &mut Memory::default());
            prop_assert!(!verdict.is_ok_and(|verdict| is_right(&verdict)));
        }
    }
}
