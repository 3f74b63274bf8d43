//! The key ring: the keys that every credential, sealed row and search hash of this house is made with.
//!
//! A ring is a handful of 32-byte keys in the database, each sealed under the [`MasterKey`]. The newest signs and
//! seals, all of them verify and open, and ids are never used twice. One key beside them, the *index key*, never
//! changes: it hashes what must be found again in ten years (claimed addresses, searched subjects).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use ::ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ::ring::rand::{SecureRandom, SystemRandom};
use ::ring::{hkdf, hmac};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secrets::master_key::MasterKey;

const SALT_LEN: usize = 16;
const KEY_ID_LEN: usize = 4;

/// The number of a key in the ring: 1 and up, in the order in which they were made. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The row of the index key. It seals and signs nothing, so no credential bears this id.
    const INDEX: Self = Self(0);
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sub-keys of one 32-byte key, one for each thing that is done with it (HKDF, RFC 5869). The key itself is not kept.
#[derive(Clone)]
pub(crate) struct Derived {
    mac: hmac::Key,
    salt: hmac::Key,
    message: hmac::Key,
}

impl Derived {
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"cairn key ring, version 1").extract(key);
        let derive = |purpose: &[u8]| -> hmac::Key {
            root.expand(&[purpose], hmac::HMAC_SHA256).expect("a digest's length is within HKDF's bound").into()
        };
        Self { mac: derive(b"mac"), salt: derive(b"salt of a message"), message: derive(b"key of a message") }
    }

    /// HMAC-SHA-256 over the label and the parts, each with its length in front, so that no two lists of parts collide.
    pub(crate) fn mac(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        keyed(&self.mac, label, parts)
    }

    /// Salt, ciphertext and tag. The salt is a keyed hash of everything that goes in and each message has a key of its
    /// own, made from its salt: a nonce that comes twice (a clock set back, a seed replayed) shows at most that the
    /// same text was sealed twice, and never opens anything.
    pub(crate) fn seal(&self, label: &str, aad: &[u8], plaintext: &[u8], nonce: [u8; 12]) -> Vec<u8> {
        let full = keyed(&self.salt, label, &[aad, &nonce, plaintext]);
        let salt = full.first_chunk::<SALT_LEN>().expect("a SHA-256 has 32 bytes");
        let mut text = plaintext.to_vec();
        self.message_key(label, salt)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::from(aad), &mut text)
            .expect("only texts of hundreds of gigabytes are too long");
        let mut sealed = Vec::with_capacity(SALT_LEN + text.len());
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(&text);
        sealed
    }

    pub(crate) fn open(&self, label: &str, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (salt, text) = sealed.split_first_chunk::<SALT_LEN>().ok_or(SealError::TooShort)?;
        let mut text = text.to_vec();
        let opened = self
            .message_key(label, salt)
            .open_in_place(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::from(aad), &mut text)
            .map_err(|_| SealError::Tampered)?
            .len();
        text.truncate(opened);
        Ok(text)
    }

    fn message_key(&self, label: &str, salt: &[u8; SALT_LEN]) -> LessSafeKey {
        let key = Zeroizing::new(keyed(&self.message, label, &[salt]));
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).expect("the key has 32 bytes"))
    }
}

fn keyed(key: &hmac::Key, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

/// Why a sealed text cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is shorter than anything that was ever sealed.
    #[error("the sealed text is too short")]
    TooShort,
    /// No such key: the text comes from another house, or from a newer ring that this process has not read yet.
    #[error("the ring has no key {0}")]
    UnknownKey(KeyId),
    /// Text, label or additional data are not those that were sealed.
    #[error("the sealed text was changed or belongs elsewhere")]
    Tampered,
}

/// The opened ring. A value that never changes: after a rotation, a new one is unsealed and put into [`SharedRing`].
pub struct Ring {
    keys: BTreeMap<KeyId, Derived>,
    current: KeyId,
    index: Derived,
}

impl Ring {
    /// The key that new credentials and seals are made with.
    pub fn current(&self) -> KeyId {
        self.current
    }

    /// Whether a key is (still) in the ring.
    pub fn knows(&self, key: KeyId) -> bool {
        self.keys.contains_key(&key)
    }

    /// HMAC-SHA-256 under a key of the ring, over the label and the parts in an unambiguous encoding.
    /// `None` when the ring has no such key.
    pub fn mac(&self, key: KeyId, label: &str, parts: &[&[u8]]) -> Option<[u8; 32]> {
        Some(self.keys.get(&key)?.mac(label, parts))
    }

    /// Seals a text under the current key (ChaCha20-Poly1305, RFC 8439). `label` says what for, `aad` where it belongs;
    /// both must be given again to open it. `nonce` should differ each time; when it does not, an observer can tell
    /// that the same text was sealed twice, and nothing more.
    ///
    /// The result is the key's id in 4 bytes, a salt of 16, the ciphertext and a tag of 16.
    pub fn seal(&self, label: &str, aad: &[u8], plaintext: &[u8], nonce: [u8; 12]) -> Vec<u8> {
        let key = self.keys.get(&self.current).expect("the current key is in the ring");
        let mut sealed = self.current.0.to_be_bytes().to_vec();
        sealed.extend_from_slice(&key.seal(label, aad, plaintext, nonce));
        sealed
    }

    /// Opens what [`Ring::seal`] made under whatever key of the ring.
    ///
    /// # Errors
    /// Which of the ways of [`SealError`] it is not one of ours.
    pub fn open(&self, label: &str, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_LEN>().ok_or(SealError::TooShort)?;
        let id = KeyId(u32::from_be_bytes(*id));
        self.keys.get(&id).ok_or(SealError::UnknownKey(id))?.open(label, aad, rest)
    }

    /// A keyed hash that stays the same through every rotation: for guard keys and search columns.
    pub fn digest(&self, label: &str, bytes: &[u8]) -> [u8; 32] {
        self.index.mac(label, &[bytes])
    }

    /// Opens the rows of the database.
    ///
    /// # Errors
    /// See [`RingError`]; a wrong master key is told apart from damaged rows.
    pub fn unseal(master: &MasterKey, sealed: &SealedRing) -> Result<Self, RingError> {
        let mut keys = BTreeMap::new();
        for row in &sealed.keys {
            if keys.insert(row.id, row.open(master)?).is_some() {
                return Err(RingError::Doubled(row.id));
            }
        }
        let index = keys.remove(&KeyId::INDEX).ok_or(RingError::Incomplete)?;
        let current = *keys.last_key_value().ok_or(RingError::Incomplete)?.0;
        Ok(Self { keys, current, index })
    }

    /// A ring whose keys follow from `seed`, for tests whose results are written down.
    #[cfg(any(test, feature = "testing"))]
    pub fn pretended(seed: u8) -> Self {
        let keys = BTreeMap::from([(KeyId(1), Derived::of(&[seed; 32]))]);
        Self { keys, current: KeyId(1), index: Derived::of(&[!seed; 32]) }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring(current {}, {} keys)", self.current, self.keys.len())
    }
}

/// The place where a process keeps its ring, so that a rotation reaches everybody who holds a clone of this.
#[derive(Clone, Debug)]
pub struct SharedRing(Arc<RwLock<Arc<Ring>>>);

impl SharedRing {
    /// Begins with this ring.
    pub fn new(ring: Ring) -> Self {
        Self::shared(Arc::new(ring))
    }

    /// Begins with a ring that others hold as well.
    pub fn shared(ring: Arc<Ring>) -> Self {
        Self(Arc::new(RwLock::new(ring)))
    }

    /// The ring of this moment. Take it once for one piece of work.
    pub fn get(&self) -> Arc<Ring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a newer ring in place, after a rotation here or on another node.
    pub fn replace(&self, ring: Ring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

/// One row of the table `ring`: a key sealed under the master key.
///
/// The id is the table's primary key: two processes that begin or rotate at once insert the same id, one of them
/// loses, and it reads the winner's rows instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// Its id; 0 is the index key.
    pub id: KeyId,
    /// A value that follows from the master key alone (base64url). It tells a wrong master key from a damaged row.
    pub check: String,
    /// The sealed key (base64url).
    pub sealed: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
}

/// All rows of the table `ring`, in whatever order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedRing {
    /// The rows.
    pub keys: Vec<SealedKey>,
}

/// Why the ring cannot be opened or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The master key is not the one that sealed these rows.
    #[error(
        "the master key is not the one this database was sealed with: give every process of one database the same key file"
    )]
    WrongMasterKey,
    /// A row does not open though the master key is right.
    #[error("key {0} of the ring is damaged")]
    Damaged(KeyId),
    /// Two rows with one id.
    #[error("the ring has two keys {0}")]
    Doubled(KeyId),
    /// No index key, or no key beside it.
    #[error("the ring is incomplete")]
    Incomplete,
    /// There have been four thousand million rotations.
    #[error("the ring has no id left")]
    NoIdLeft,
    /// The operating system gives no random bytes.
    #[error("no random bytes can be had from the operating system")]
    NoRandomness,
}

impl SealedRing {
    /// Makes the rows of a new ring: the index key and key 1. Store both in one transaction, then unseal what is stored.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate(master: &MasterKey, now: i64) -> Result<Self, RingError> {
        let keys = vec![SealedKey::generate(master, KeyId::INDEX, now)?, SealedKey::generate(master, KeyId(1), now)?];
        Ok(Self { keys })
    }

    /// Makes the row of the next key, which becomes the current one once it is stored and unsealed with the others.
    ///
    /// # Errors
    /// When the operating system gives no random bytes or the ids are used up.
    pub fn next(&self, master: &MasterKey, now: i64) -> Result<SealedKey, RingError> {
        let last = self.keys.iter().map(|key| key.id.0).max().ok_or(RingError::Incomplete)?;
        let id = KeyId(last.checked_add(1).ok_or(RingError::NoIdLeft)?);
        SealedKey::generate(master, id, now)
    }
}

impl SealedKey {
    fn generate(master: &MasterKey, id: KeyId, now: i64) -> Result<Self, RingError> {
        let random = SystemRandom::new();
        let mut key = Zeroizing::new([0_u8; 32]);
        let mut nonce = [0_u8; 12];
        random.fill(key.as_mut_slice()).map_err(|_| RingError::NoRandomness)?;
        random.fill(&mut nonce).map_err(|_| RingError::NoRandomness)?;
        let under = master.derived();
        let sealed = under.seal("key of the ring", &id.0.to_be_bytes(), key.as_slice(), nonce);
        Ok(Self { id, check: check_of(&under), sealed: Base64UrlUnpadded::encode_string(&sealed), created_at: now })
    }

    fn open(&self, master: &MasterKey) -> Result<Derived, RingError> {
        let under = master.derived();
        if !bool::from(check_of(&under).as_bytes().ct_eq(self.check.as_bytes())) {
            return Err(RingError::WrongMasterKey);
        }
        let damaged = RingError::Damaged(self.id);
        let sealed = Base64UrlUnpadded::decode_vec(&self.sealed).map_err(|_| damaged.clone())?;
        let opened = under.open("key of the ring", &self.id.0.to_be_bytes(), &sealed).map_err(|_| damaged.clone())?;
        let key = Zeroizing::new(opened);
        Ok(Derived::of(key.as_slice().try_into().map_err(|_| damaged)?))
    }
}

fn check_of(master: &Derived) -> String {
    let full = master.mac("check value of the master key", &[]);
    Base64UrlUnpadded::encode_string(full.first_chunk::<16>().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; 12] = [7; 12];

    #[test]
    fn a_ring_comes_back_from_its_rows() {
        let master = MasterKey::pretended(1);
        let rows = SealedRing::generate(&master, 1_000).unwrap();
        let stored: SealedRing = serde_json::from_str(&serde_json::to_string(&rows).unwrap()).unwrap();
        let (one, two) = (Ring::unseal(&master, &rows).unwrap(), Ring::unseal(&master, &stored).unwrap());
        assert_eq!(one.current(), KeyId(1));
        assert_eq!(one.mac(KeyId(1), "x", &[b"y"]), two.mac(KeyId(1), "x", &[b"y"]));
        assert_eq!(one.digest("x", b"y"), two.digest("x", b"y"));
    }

    #[test]
    fn two_new_rings_share_nothing() {
        let master = MasterKey::pretended(1);
        let ring = || Ring::unseal(&master, &SealedRing::generate(&master, 0).unwrap()).unwrap();
        let (one, two) = (ring(), ring());
        assert_ne!(one.mac(KeyId(1), "x", &[]), two.mac(KeyId(1), "x", &[]));
        assert_ne!(one.digest("x", b""), two.digest("x", b""));
    }

    #[test]
    fn after_a_rotation_the_new_key_signs_and_the_old_ones_still_open_and_verify() {
        let master = MasterKey::pretended(1);
        let mut rows = SealedRing::generate(&master, 0).unwrap();
        let before = Ring::unseal(&master, &rows).unwrap();
        let sealed = before.seal("mail", b"row 1", b"hello", NONCE);

        rows.keys.insert(0, rows.next(&master, 5).unwrap());
        let after = Ring::unseal(&master, &rows).unwrap();
        assert_eq!(after.current(), KeyId(2));
        assert_eq!(after.open("mail", b"row 1", &sealed).unwrap(), b"hello");
        assert_eq!(after.mac(KeyId(1), "x", &[]), before.mac(KeyId(1), "x", &[]));
        assert_ne!(after.mac(KeyId(2), "x", &[]), after.mac(KeyId(1), "x", &[]));
        assert_eq!(after.digest("address", b"a@b"), before.digest("address", b"a@b"));

        let newer = after.seal("mail", b"row 1", b"hello", NONCE);
        assert_eq!(before.open("mail", b"row 1", &newer), Err(SealError::UnknownKey(KeyId(2))));
        assert_eq!(before.mac(KeyId(2), "x", &[]), None);
        assert_eq!(rows.next(&master, 6).unwrap().id, KeyId(3));
    }

    #[test]
    fn the_index_key_is_no_key_of_the_ring() {
        let ring = Ring::pretended(1);
        assert_eq!(ring.mac(KeyId(0), "x", &[]), None);
        assert!(!ring.knows(KeyId(0)));
        let mut sealed = ring.seal("mail", b"", b"hello", NONCE);
        sealed[..4].fill(0);
        assert_eq!(ring.open("mail", b"", &sealed), Err(SealError::UnknownKey(KeyId(0))));
    }

    #[test]
    fn a_wrong_master_key_is_told_apart_from_a_damaged_row() {
        let master = MasterKey::pretended(1);
        let rows = SealedRing::generate(&master, 0).unwrap();
        assert_eq!(Ring::unseal(&MasterKey::pretended(2), &rows).unwrap_err(), RingError::WrongMasterKey);

        let mut damaged = rows.clone();
        damaged.keys[1].sealed = damaged.keys[0].sealed.clone();
        assert_eq!(Ring::unseal(&master, &damaged).unwrap_err(), RingError::Damaged(KeyId(1)));
        damaged.keys[1].sealed = "not base64!".into();
        assert_eq!(Ring::unseal(&master, &damaged).unwrap_err(), RingError::Damaged(KeyId(1)));

        let mut doubled = rows.clone();
        doubled.keys.push(rows.keys[1].clone());
        assert_eq!(Ring::unseal(&master, &doubled).unwrap_err(), RingError::Doubled(KeyId(1)));
        for row in rows.keys {
            let lonely = SealedRing { keys: vec![row] };
            assert_eq!(Ring::unseal(&master, &lonely).unwrap_err(), RingError::Incomplete);
        }
        assert_eq!(SealedRing::default().next(&master, 0), Err(RingError::Incomplete));
    }

    #[test]
    fn parts_are_not_run_together() {
        let ring = Ring::pretended(1);
        let mac = |label, parts: &[&[u8]]| ring.mac(KeyId(1), label, parts).unwrap();
        assert_ne!(mac("x", &[b"ab", b"c"]), mac("x", &[b"a", b"bc"]));
        assert_ne!(mac("x", &[b"abc"]), mac("x", &[b"abc", b""]));
        assert_ne!(mac("xa", &[b"b"]), mac("x", &[b"ab"]));
        assert_ne!(mac("x", &[b"b"]), ring.digest("x", b"b"));
    }

    #[test]
    fn a_nonce_that_comes_twice_gives_nothing_away() {
        let ring = Ring::pretended(1);
        let (one, two) = (ring.seal("m", b"", b"attack at dawn", NONCE), ring.seal("m", b"", b"attack at dusk", NONCE));
        assert_ne!(one[4..20], two[4..20]);
        assert_ne!(one[20..27], two[20..27]);
        assert_eq!(one, ring.seal("m", b"", b"attack at dawn", NONCE));
        assert_ne!(one, ring.seal("m", b"", b"attack at dawn", [8; 12]));
    }

    #[test]
    fn a_shared_ring_hands_its_successor_to_everybody() {
        let shared = SharedRing::new(Ring::pretended(1));
        let held = shared.clone();
        shared.replace(Ring::pretended(2));
        assert_eq!(held.get().digest("x", b""), Ring::pretended(2).digest("x", b""));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_only_where_it_belongs(
            text: Vec<u8>, aad: Vec<u8>, nonce: [u8; 12], other in "[a-z]{1,4}", flip: prop::sample::Index, bit in 0_u8..8
        ) {
            let ring = Ring::pretended(1);
            let sealed = ring.seal("mail!", &aad, &text, nonce);
            prop_assert_eq!(sealed.len(), text.len() + 36);
            prop_assert_eq!(ring.open("mail!", &aad, &sealed), Ok(text));
            prop_assert_eq!(ring.open(&other, &aad, &sealed), Err(SealError::Tampered));
            prop_assert_eq!(ring.open("mail!", &[&aad[..], b"x"].concat(), &sealed), Err(SealError::Tampered));
            let mut changed = sealed;
            let at = flip.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(ring.open("mail!", &aad, &changed).is_err());
        }

        #[test]
        fn no_bytes_make_opening_panic(mut bytes: Vec<u8>, ours: bool) {
            let ring = Ring::pretended(1);
            if let (true, Some(id)) = (ours, bytes.first_chunk_mut::<4>()) {
                *id = [0, 0, 0, 1];
            }
            prop_assert!(ring.open("mail", b"", &bytes).is_err());
        }
    }
}
