//! Builders for tests of flows: a world whose keys follow from a number, so that what is written down stays true.

pub mod folder;
pub mod mail_server;

use std::sync::Arc;

use ::ring::digest;
use ::ring::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use cairn_runtime::{FlowId, Timestamp};

use crate::effects::AskedBy;
use crate::environment::{Environment, Settings};
use crate::flows::challenge::TypedCode;
use crate::followers::{Follower, Followers};
use crate::identity::address::Address;
use crate::identity::name::PersonName;
use crate::identity::username::Username;
use crate::secrets::credential::{self, OfPurpose, Presented, Purpose, Seal, UserCode};
use crate::secrets::digest::Digest;
use crate::secrets::password::Code;
use crate::secrets::ring::Ring;
use crate::secrets::signing::{SealedSigningKey, SigningKeys};
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// A world with the documented settings, whose ring and signing key follow from a number.
pub fn environment(seed: u8) -> Environment {
    environment_with(seed, Settings::default())
}

/// The same with other settings.
pub fn environment_with(seed: u8, settings: Settings) -> Environment {
    let ring = Ring::pretended(seed);
    let signing = signing_keys(&ring, seed);
    Environment { ring: Arc::new(ring), signing: Arc::new(signing), settings }
}

/// Signing keys that follow from a number.
///
/// # Panics
/// Never: the keys are sealed by the ring that opens them.
pub fn signing_keys(ring: &Ring, seed: u8) -> SigningKeys {
    SigningKeys::unseal(ring, &[signing_key(ring, seed), es256_key(ring, seed)], Timestamp(0))
        .expect("the ring opens what it has sealed")
}

/// A row of the table of signing keys that follows from a number.
fn signing_key(ring: &Ring, seed: u8) -> SealedSigningKey {
    let secret = [seed; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).expect("every 32 bytes are an Ed25519 seed");
    let public = pair.public_key().as_ref();
    // RFC 8410 section 7 and RFC 5958 section 2: version, algorithm, the seed and the public key.
    let mut pkcs8 =
        vec![0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    pkcs8.extend_from_slice(&secret);
    pkcs8.extend_from_slice(&[0x81, 0x21, 0x00]);
    pkcs8.extend_from_slice(public);
    let public = Base64UrlUnpadded::encode_string(public);
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
    let kid = Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref());
    let sealed = Base64UrlUnpadded::encode_string(&ring.seal("signing key", kid.as_bytes(), &pkcs8, [seed; 12]));
    SealedSigningKey { kid, alg: "EdDSA".to_owned(), sealed, public, created_at: 0, retired_at: None }
}

/// A private key for ES256, of tests alone (PKCS#8).
const ES256: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglK8LeXj3RWOaZ1c63YxP21HjzOvipwUhbZ6hweRQS+ShRANCAATK6I1RBSczMny7pZkowwySBJnaUGGaWeydwMKTtYHnF9x5r9aJngB1BDCTEvGMWhBrMzuALlIKj6bXQWz7Zjda";

/// The key for ES256, the same whatever the number is.
fn es256_key(ring: &Ring, seed: u8) -> SealedSigningKey {
    let private = Base64::decode_vec(ES256).expect("base64");
    let sealed = SealedSigningKey::seal(ring, SigningAlgorithm::Es256, &private, [seed; 12], 0);
    sealed.expect("the key of tests is a key")
}

/// An address.
///
/// # Panics
/// When it is none.
pub fn address(text: &str) -> Address {
    Address::parse(text).expect("a test's address parses")
}

/// A stranger in a network, asking for a letter.
pub const STRANGER: AskedBy = AskedBy { network: Digest([9; 32]), known: false };

/// A code of a letter that went out, as it is typed in the network of [`STRANGER`].
pub fn typed_code(code: Code) -> TypedCode {
    TypedCode { code, delivered: true, from: STRANGER.network }
}

/// A username.
///
/// # Panics
/// When it is none.
pub fn username(text: &str) -> Username {
    Username::parse(text).expect("a test's username parses")
}

/// A name.
///
/// # Panics
/// When it is none.
pub fn person_name(text: &str) -> PersonName {
    PersonName::parse(text).expect("a test's name parses")
}

/// The credential of a seal, as somebody presents it.
///
/// # Panics
/// When the ring has not got the seal's key.
pub fn presented<P: OfPurpose>(environment: &Environment, purpose: P, flow: FlowId, seal: &Seal) -> Presented<P> {
    let text = credential::render(&environment.ring, P::PURPOSE, *flow.bytes(), seal).expect("the ring has the key");
    Presented::parse(&environment.ring, purpose, text.expose()).expect("a rendered credential parses")
}

/// The six digits of a seal.
///
/// # Panics
/// When the ring has not got the seal's key.
pub fn code(environment: &Environment, purpose: Purpose, flow: FlowId, seal: &Seal) -> Code {
    credential::code(&environment.ring, purpose, *flow.bytes(), seal).expect("the ring has the key")
}

/// Six digits that are those of none of these seals. `number` chooses among them.
///
/// # Panics
/// When the ring has not got a seal's key.
pub fn wrong_code<'a>(
    environment: &Environment,
    purpose: Purpose,
    flow: FlowId,
    seals: impl IntoIterator<Item = &'a Seal>,
    number: u32,
) -> Code {
    let right: Vec<Code> = seals.into_iter().map(|seal| code(environment, purpose, flow, seal)).collect();
    (0..)
        .map(|more| Code::of(u64::from(number) + more))
        .find(|code| !right.contains(code))
        .expect("there are more codes than letters")
}

/// The user code of a device code's seal.
///
/// # Panics
/// When the ring has not got the seal's key.
pub fn user_code(environment: &Environment, flow: FlowId, seal: &Seal) -> UserCode {
    credential::user_code(&environment.ring, *flow.bytes(), seal).expect("the ring has the key")
}

/// What follows a user's fence, where that is these sessions.
pub fn following(sessions: impl IntoIterator<Item = FlowId>) -> Followers {
    sessions.into_iter().map(Follower::Session).collect()
}
