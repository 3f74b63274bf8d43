//! Credentials that name their flow: links, refresh tokens, cookies and codes, derived from the ring and never stored.
//!
//! In text a credential is a prefix that says what it is for, and 64 characters of base64url without padding:
//!
//! ```text
//! key id 4 | flow id 16 | generation 4 | tag 8 | MAC 16      (bytes, integers big-endian)
//! tag = HMAC-SHA-256(ring key, "tag", prefix, all before it), its first 8 bytes
//! MAC = HMAC-SHA-256(ring key, "MAC", prefix, all before it, salt of the flow's row), its first 16 bytes
//! ```
//!
//! Whoever has the ring can tell garbage by the tag without the database, and whoever has the flow's row as well can
//! tell by the MAC whether it was issued: to forge one, key and database are needed together. What is kept in states
//! and outbox rows is the [`Seal`], from which the same text can be rendered again at any time.

mod purpose;

use std::fmt;
use std::marker::PhantomData;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::purpose::{OfPurpose, Purpose, of};
use crate::secrets::password::Code;
use crate::secrets::ring::{KeyId, Ring};

const FLOW_LEN: usize = 16;
const TAG_LEN: usize = 8;
const MAC_LEN: usize = 16;
const BODY_LEN: usize = 4 + FLOW_LEN + 4;
const LEN: usize = BODY_LEN + TAG_LEN + MAC_LEN;
const TEXT_LEN: usize = LEN / 3 * 4;

const TAG: &str = "credential: tag";
const MAC: &str = "credential: MAC";
const CODE: &str = "credential: six digits";
const USER_CODE: &str = "credential: user code";

/// What a flow keeps of the credentials it issues: the ring key, the generation and the salt.
///
/// The salt belongs to one issue (a registration's letter, a session's chain of refresh tokens) and stays while the
/// generation grows, so an older generation is still recognised as one of ours. A new issue takes a new salt, and
/// nothing of the older one is right any more. It serializes as `{"key": 1, "n": 0, "salt": "22 characters"}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The key of the ring it was issued under.
    pub key: KeyId,
    /// The generation: 0, and one more with each rotation.
    pub n: u32,
    /// 128 random bits.
    #[serde(serialize_with = "salt_to_text", deserialize_with = "salt_from_text")]
    pub salt: [u8; 16],
}

impl Seal {
    /// A new issue, generation 0, under the ring's current key.
    pub fn new(ring: &Ring, salt: [u8; 16]) -> Self {
        Self { key: ring.current(), n: 0, salt }
    }

    /// The next generation of the same issue, under the ring's current key.
    #[must_use]
    pub fn next(&self, ring: &Ring) -> Self {
        // A chain that rotates every second reaches the end after 136 years, and then only ceases to rotate.
        Self { key: ring.current(), n: self.n.saturating_add(1), salt: self.salt }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal(key {}, generation {})", self.key, self.n)
    }
}

fn salt_to_text<S: Serializer>(salt: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Base64UrlUnpadded::encode_string(salt))
}

fn salt_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut salt = [0; 16];
    let length = Base64UrlUnpadded::decode(&text, &mut salt).map(<[u8]>::len);
    if length == Ok(16) { Ok(salt) } else { Err(serde::de::Error::custom("a salt is 16 bytes in base64url")) }
}

/// The text of a credential, ours or somebody's: compared in constant time, printed as dots, wiped when dropped.
///
/// It can be read from a request (`Deserialize`); it is written only where the code says so, by [`Token::expose`] or
/// `#[serde(serialize_with = "Token::exposed")]`.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The text of a credential that somebody sent.
    pub fn of(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the letter, cookie or reply it goes into, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Writes the text into a reply: `#[serde(serialize_with = "Token::exposed")]`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn exposed<S: Serializer>(token: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&token.0)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::of)
    }
}

/// Writes the credential of a seal: the same text every time. `None` when the ring has not got the seal's key (yet).
pub fn render(ring: &Ring, purpose: Purpose, flow: [u8; FLOW_LEN], seal: &Seal) -> Option<Token> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LEN));
    bytes.extend_from_slice(&body(seal.key, flow, seal.n));
    let tag = tag(ring, purpose, seal.key, &bytes)?;
    bytes.extend_from_slice(&tag);
    let mac = mac(ring, purpose, seal.key, &bytes, &seal.salt)?;
    bytes.extend_from_slice(&mac);

    let mut text = Zeroizing::new([0_u8; TEXT_LEN]);
    let encoded = Base64UrlUnpadded::encode(&bytes, text.as_mut_slice()).expect("48 bytes are 64 characters");
    let mut token = Zeroizing::new(String::with_capacity(purpose.prefix().len() + TEXT_LEN));
    token.push_str(purpose.prefix());
    token.push_str(encoded);
    Some(Token(token))
}

/// The six-digit code that is mailed beside the link of the same seal. `None` when the ring has not got the seal's key.
///
/// The code is a 64-bit number's remainder by 10⁶, so no code is likelier than another by more than one in 10¹³.
pub fn code(ring: &Ring, purpose: Purpose, flow: [u8; FLOW_LEN], seal: &Seal) -> Option<Code> {
    derived(ring, CODE, purpose, flow, seal).map(Code::of)
}

/// The code that a person types into another browser for the device code of the same seal (RFC 8628 section 6.1).
/// `None` when the ring has not got the seal's key.
///
/// The code is a 64-bit number's remainder by 20⁸: no code is likelier than another by more than two in 10⁹.
pub fn user_code(ring: &Ring, flow: [u8; FLOW_LEN], seal: &Seal) -> Option<UserCode> {
    derived(ring, USER_CODE, Purpose::DeviceCode, flow, seal).map(UserCode::of)
}

fn derived(ring: &Ring, label: &str, purpose: Purpose, flow: [u8; FLOW_LEN], seal: &Seal) -> Option<u64> {
    let body = body(seal.key, flow, seal.n);
    let mac = Zeroizing::new(ring.mac(seal.key, label, &[purpose.prefix().as_bytes(), &body, &seal.salt])?);
    mac.first_chunk().copied().map(u64::from_be_bytes)
}

fn body(key: KeyId, flow: [u8; FLOW_LEN], n: u32) -> [u8; BODY_LEN] {
    let mut body = [0; BODY_LEN];
    let parts = key.0.to_be_bytes().into_iter().chain(flow).chain(n.to_be_bytes());
    body.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    body
}

fn tag(ring: &Ring, purpose: Purpose, key: KeyId, body: &[u8]) -> Option<[u8; TAG_LEN]> {
    ring.mac(key, TAG, &[purpose.prefix().as_bytes(), body])?.first_chunk().copied()
}

fn mac(ring: &Ring, purpose: Purpose, key: KeyId, tagged: &[u8], salt: &[u8; 16]) -> Option<[u8; MAC_LEN]> {
    ring.mac(key, MAC, &[purpose.prefix().as_bytes(), tagged, salt])?.first_chunk().copied()
}

/// Why a text is no credential of ours. All of it is found without the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// It does not begin with the prefix of its purpose.
    #[error("it has another prefix")]
    Prefix,
    /// It is too short or too long.
    #[error("it has another length")]
    Length,
    /// It is not base64url.
    #[error("it is not base64url")]
    Encoding,
    /// It names a key that the ring has not got: garbage, or of a ring newer than the one this process has read.
    #[error("the ring has no key {0}")]
    UnknownKey(KeyId),
    /// Its tag is wrong: nobody with the ring ever wrote it.
    #[error("its tag is wrong")]
    Tag,
}

/// A credential that somebody presents for one purpose, with the right tag: it names its flow, but only the flow's row
/// can tell whether it was issued.
pub struct Presented<P: OfPurpose> {
    purpose: PhantomData<P>,
    key: KeyId,
    flow: [u8; FLOW_LEN],
    generation: u32,
    tagged: [u8; BODY_LEN + TAG_LEN],
    mac: Zeroizing<[u8; MAC_LEN]>,
}

impl<P: OfPurpose> Presented<P> {
    /// Reads a text as a credential of this purpose. It touches no database.
    ///
    /// # Errors
    /// Which rule of [`Garbage`] it breaks first.
    pub fn parse(ring: &Ring, _purpose: P, text: &str) -> Result<Self, Garbage> {
        let text = text.strip_prefix(P::PURPOSE.prefix()).ok_or(Garbage::Prefix)?;
        if text.len() != TEXT_LEN {
            return Err(Garbage::Length);
        }
        let mut bytes = Zeroizing::new([0_u8; LEN]);
        Base64UrlUnpadded::decode(text, bytes.as_mut_slice()).map_err(|_| Garbage::Encoding)?;
        let (tagged, mac) = bytes.split_first_chunk().ok_or(Garbage::Length)?;
        let mac = mac.first_chunk().ok_or(Garbage::Length)?;
        let (body, shown) = tagged.split_first_chunk::<BODY_LEN>().ok_or(Garbage::Length)?;
        let (key, rest) = body.split_first_chunk().ok_or(Garbage::Length)?;
        let (flow, n) = rest.split_first_chunk().ok_or(Garbage::Length)?;
        let n = n.first_chunk().ok_or(Garbage::Length)?;

        let key = KeyId(u32::from_be_bytes(*key));
        let right = tag(ring, P::PURPOSE, key, body).ok_or(Garbage::UnknownKey(key))?;
        if !bool::from(right.as_slice().ct_eq(shown)) {
            return Err(Garbage::Tag);
        }
        let generation = u32::from_be_bytes(*n);
        let (purpose, mac) = (PhantomData, Zeroizing::new(*mac));
        Ok(Self { purpose, key, flow: *flow, generation, tagged: *tagged, mac })
    }

    /// The flow that it says issued it.
    pub fn flow(&self) -> [u8; FLOW_LEN] {
        self.flow
    }

    /// The generation it says it is of.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether it is the very credential of this seal: key, generation and MAC, in constant time.
    /// The flow of the seal must be [`Presented::flow`].
    pub fn proves(&self, ring: &Ring, seal: &Seal) -> bool {
        // `&`, not `&&`: the MAC is computed whatever the rest says.
        (self.key == seal.key) & (self.generation == seal.n) & self.is_genuine(ring, &seal.salt)
    }

    /// Whether the flow with this salt did issue it, at whatever generation it says: the present one, one that has
    /// been rotated away, or (told by the caller's comparison of numbers) one that has not been issued yet.
    pub fn is_genuine(&self, ring: &Ring, salt: &[u8; 16]) -> bool {
        mac(ring, P::PURPOSE, self.key, &self.tagged, salt)
            .is_some_and(|right| right.as_slice().ct_eq(self.mac.as_slice()).into())
    }
}

impl<P: OfPurpose> fmt::Debug for Presented<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({:?}, generation {})", P::PURPOSE, self.generation)
    }
}

/// Eight consonants that a person types to let a device in: no vowels, so no words; no look-alikes (RFC 8628 section 6.1).
/// Compared in constant time, printed as dots.
#[derive(Clone)]
pub struct UserCode(Zeroizing<[u8; UserCode::LEN]>);

/// What was typed is not eight letters of the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has eight letters, none of them a vowel or a Y")]
pub struct NotAUserCode;

impl UserCode {
    const LEN: usize = 8;
    const LETTERS: &'static [u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

    /// Parses what was typed, in capitals or not; white space and hyphens are dropped wherever they stand.
    ///
    /// # Errors
    /// When what remains is not exactly eight of the letters.
    pub fn parse(typed: &str) -> Result<Self, NotAUserCode> {
        let mut letters = Zeroizing::new([0; Self::LEN]);
        let mut places = letters.iter_mut();
        for character in typed.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2013}')) {
            let letter = u8::try_from(character.to_ascii_uppercase()).map_err(|_| NotAUserCode)?;
            if !Self::LETTERS.contains(&letter) {
                return Err(NotAUserCode);
            }
            *places.next().ok_or(NotAUserCode)? = letter;
        }
        if places.next().is_some() { Err(NotAUserCode) } else { Ok(Self(letters)) }
    }

    fn of(mut number: u64) -> Self {
        let mut letters = Zeroizing::new([0; Self::LEN]);
        for place in letters.iter_mut() {
            let (letter, rest) = (number % 20, number / 20);
            *place = usize::try_from(letter).ok().and_then(|at| Self::LETTERS.get(at)).copied().unwrap_or_default();
            number = rest;
        }
        Self(letters)
    }

    /// Its eight letters: for a guard's key, by [`Ring::digest`].
    pub fn letters(&self) -> &[u8; UserCode::LEN] {
        &self.0
    }

    /// As it is shown to the person: `BCDF-GHJK`.
    pub fn grouped(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(Self::LEN + 1));
        for (at, letter) in self.0.iter().enumerate() {
            if at == Self::LEN / 2 {
                text.push('-');
            }
            text.push(char::from(*letter));
        }
        text
    }
}

impl PartialEq for UserCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for UserCode {}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::any::TypeId;
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::secrets::master_key::MasterKey;
    use crate::secrets::ring::SealedRing;

    const FLOW: [u8; 16] = [0x5a; 16];

    fn ring() -> Ring {
        Ring::pretended(1)
    }

    fn seal() -> Seal {
        Seal { key: KeyId(1), n: 3, salt: [9; 16] }
    }

    fn text(purpose: Purpose, seal: &Seal) -> String {
        render(&ring(), purpose, FLOW, seal).unwrap().expose().to_owned()
    }

    #[test]
    fn a_credential_names_its_flow_and_proves_its_seal() {
        fn check<P: OfPurpose>(purpose: P) {
            let text = text(P::PURPOSE, &seal());
            assert_eq!(text.len(), 73);
            let presented = Presented::parse(&ring(), purpose, &text).unwrap();
            assert_eq!((presented.flow(), presented.generation()), (FLOW, 3));
            assert!(presented.proves(&ring(), &seal()));
        }
        check(of::VerifyEmail);
        check(of::ResetPassword);
        check(of::RefreshToken);
        check(of::AuthorizationCode);
        check(of::DeviceCode);
        check(of::SessionCookie);
        check(of::EmailChange);
        check(of::UndoEmailChange);
        check(of::EndSession);
        check(of::FlowCookie);
    }

    #[test]
    fn a_credential_of_one_purpose_cannot_reach_the_check_of_another() {
        use crate::flows::{authorization, challenge, recovery, registration, session};

        // These do not compile once a command takes a credential of another purpose, or of any.
        let _: fn(Presented<of::VerifyEmail>) -> registration::Command =
            |link| registration::Command::Open { link, password: None };
        let _: fn(Presented<of::RefreshToken>) -> session::Command = session::Command::Refresh;
        let _: fn(Presented<of::RefreshToken>) -> session::Command = session::Command::SignOut;
        let _: fn(&recovery::Recovery, &Presented<of::ResetPassword>, &crate::environment::Environment) -> bool =
            <recovery::Recovery as challenge::LetterProof>::knows_link;
        let _: fn(authorization::Exchange) -> Presented<of::AuthorizationCode> = |asked| asked.code;
        let _: fn(authorization::Command) -> Option<Presented<of::DeviceCode>> = |asked| match asked {
            authorization::Command::Poll { code, .. } => Some(code),
            _ => None,
        };
        let _: fn(authorization::Command) -> Option<Presented<of::RefreshToken>> = |asked| match asked {
            authorization::Command::Refresh { token, .. } | authorization::Command::Revoke { token, .. } => Some(token),
            _ => None,
        };
        let types = [
            TypeId::of::<Presented<of::VerifyEmail>>(),
            TypeId::of::<Presented<of::ResetPassword>>(),
            TypeId::of::<Presented<of::MagicLink>>(),
            TypeId::of::<Presented<of::RefreshToken>>(),
            TypeId::of::<Presented<of::AuthorizationCode>>(),
            TypeId::of::<Presented<of::DeviceCode>>(),
            TypeId::of::<Presented<of::SessionCookie>>(),
            TypeId::of::<Presented<of::EmailChange>>(),
            TypeId::of::<Presented<of::UndoEmailChange>>(),
            TypeId::of::<Presented<of::EndSession>>(),
            TypeId::of::<Presented<of::FlowCookie>>(),
        ];
        assert_eq!(types.iter().collect::<HashSet<_>>().len(), Purpose::ALL.len());
    }

    #[test]
    fn the_text_of_a_seal_is_the_same_for_ever() {
        // What was mailed must work after every release: if this changes, every link in every mailbox is dead.
        assert_eq!(
            text(Purpose::VerifyEmail, &seal()),
            "cairn_ve_AAAAAVpaWlpaWlpaWlpaWlpaWloAAAAD3m8cEIzY7_uQh1x_gVfxNwQE5fe_Garj"
        );
        assert_eq!(*code(&ring(), Purpose::VerifyEmail, FLOW, &seal()).unwrap().expose(), "837838");
        assert_eq!(*user_code(&ring(), FLOW, &seal()).unwrap().grouped(), "GJNK-ZQGM");
    }

    #[test]
    fn every_purpose_has_a_prefix_of_its_own_and_none_passes_for_another() {
        let prefixes: HashSet<_> = Purpose::ALL.iter().map(|purpose| purpose.prefix()).collect();
        assert_eq!(prefixes.len(), Purpose::ALL.len());
        let link = text(Purpose::VerifyEmail, &seal());
        assert_eq!(Presented::parse(&ring(), of::ResetPassword, &link).unwrap_err(), Garbage::Prefix);
        let renamed = link.replace("cairn_ve_", "cairn_rp_");
        assert_eq!(Presented::parse(&ring(), of::ResetPassword, &renamed).unwrap_err(), Garbage::Tag);
    }

    #[test]
    fn a_wrong_tag_is_refused_without_the_database() {
        let good = text(Purpose::RefreshToken, &seal());
        let refused = |text: &str| Presented::parse(&ring(), of::RefreshToken, text).unwrap_err();
        assert_eq!(refused(""), Garbage::Prefix);
        assert_eq!(refused("cairn_rt_"), Garbage::Length);
        assert_eq!(refused(&good[..72]), Garbage::Length);
        assert_eq!(refused(&format!("{good}A")), Garbage::Length);
        assert_eq!(refused(&format!("{}=", &good[..72])), Garbage::Encoding);
        assert_eq!(refused(&format!("{}+", &good[..72])), Garbage::Encoding);
        assert_eq!(refused(&good.replace("cairn_rt_AAAAAV", "cairn_rt_AAAAAl")), Garbage::UnknownKey(KeyId(2)));
        assert_eq!(refused(&good.replace("cairn_rt_AAAAAVpa", "cairn_rt_AAAAAVpb")), Garbage::Tag);
        assert_eq!(Presented::parse(&Ring::pretended(2), of::RefreshToken, &good).unwrap_err(), Garbage::Tag);
    }

    #[test]
    fn another_generation_key_or_salt_does_not_prove() {
        let presented = Presented::parse(&ring(), of::RefreshToken, &text(Purpose::RefreshToken, &seal())).unwrap();
        assert!(!presented.proves(&ring(), &Seal { n: 4, ..seal() }));
        assert!(!presented.proves(&ring(), &Seal { key: KeyId(2), ..seal() }));
        assert!(!presented.proves(&ring(), &Seal { salt: [8; 16], ..seal() }));
        assert!(!presented.proves(&Ring::pretended(2), &seal()));
    }

    #[test]
    fn an_older_generation_is_recognised_as_ours_also_after_the_ring_has_rotated() {
        let master = MasterKey::pretended(1);
        let mut rows = SealedRing::generate(&master, 0).unwrap();
        let before = Ring::unseal(&master, &rows).unwrap();
        let first = Seal::new(&before, [9; 16]);
        let old = render(&before, Purpose::RefreshToken, FLOW, &first).unwrap();

        rows.keys.push(rows.next(&master, 0).unwrap());
        let after = Ring::unseal(&master, &rows).unwrap();
        let second = first.next(&after);
        assert_eq!((second.key, second.n, second.salt), (KeyId(2), 1, [9; 16]));
        let presented = Presented::parse(&after, of::RefreshToken, old.expose()).unwrap();
        assert!(presented.is_genuine(&after, &second.salt));
        assert!(!presented.proves(&after, &second));
        assert!(presented.proves(&after, &first));
        assert!(!presented.is_genuine(&after, &[8; 16]));

        assert_eq!(render(&before, Purpose::RefreshToken, FLOW, &second), None);
        assert_eq!(code(&before, Purpose::RefreshToken, FLOW, &second), None);
        let newer = render(&after, Purpose::RefreshToken, FLOW, &second).unwrap();
        let refused = Presented::parse(&before, of::RefreshToken, newer.expose()).unwrap_err();
        assert_eq!(refused, Garbage::UnknownKey(KeyId(2)));
    }

    #[test]
    fn a_seal_is_kept_in_few_characters_and_prints_no_salt() {
        let json = serde_json::to_string(&seal()).unwrap();
        assert_eq!(json, r#"{"key":1,"n":3,"salt":"CQkJCQkJCQkJCQkJCQkJCQ"}"#);
        assert_eq!(serde_json::from_str::<Seal>(&json).unwrap(), seal());
        assert_eq!(format!("{:?}", seal()), "Seal(key 1, generation 3)");
        for bad in ["CQkJCQ", "CQkJCQkJCQkJCQkJCQkJCR", "CQkJCQkJCQkJCQkJCQkJCQkJ", "", "!"] {
            assert!(serde_json::from_str::<Seal>(&json.replace("CQkJCQkJCQkJCQkJCQkJCQ", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_prints_as_dots_and_is_written_only_on_purpose() {
        #[derive(Serialize)]
        struct Reply {
            #[serde(serialize_with = "Token::exposed")]
            refresh_token: Token,
        }
        let token: Token = serde_json::from_str("\"secret\"").unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(token == Token::of("secret".into()) && token != Token::of("secrets".into()));
        assert_eq!(serde_json::to_string(&Reply { refresh_token: token }).unwrap(), r#"{"refresh_token":"secret"}"#);
        let presented = Presented::parse(&ring(), of::EndSession, &text(Purpose::EndSession, &seal())).unwrap();
        assert_eq!(format!("{presented:?}"), "Presented(EndSession, generation 3)");
    }

    #[test]
    fn codes_differ_by_everything_they_are_made_of() {
        let code = |purpose, flow, seal: &Seal| code(&ring(), purpose, flow, seal).unwrap().expose().to_string();
        let one = code(Purpose::VerifyEmail, FLOW, &seal());
        assert_eq!(one, code(Purpose::VerifyEmail, FLOW, &seal()));
        assert_ne!(one, code(Purpose::ResetPassword, FLOW, &seal()));
        assert_ne!(one, code(Purpose::VerifyEmail, [1; 16], &seal()));
        assert_ne!(one, code(Purpose::VerifyEmail, FLOW, &Seal { n: 4, ..seal() }));
        assert_ne!(one, code(Purpose::VerifyEmail, FLOW, &Seal { salt: [8; 16], ..seal() }));
    }

    #[test]
    fn codes_are_spread_evenly() {
        // 20 000 codes by their first digit: 2 000 each, give or take six standard deviations (of 42).
        let mut counts = [0_u32; 10];
        for n in 0..20_000 {
            let code = code(&ring(), Purpose::VerifyEmail, FLOW, &Seal { n, ..seal() }).unwrap();
            counts[usize::from(code.expose().as_bytes()[0] - b'0')] += 1;
        }
        assert!(counts.iter().all(|count| (1_746..=2_254).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_user_code_is_eight_consonants_however_they_are_typed() {
        let code = user_code(&ring(), FLOW, &seal()).unwrap();
        let shown = code.grouped().to_string();
        assert_eq!(shown.len(), 9);
        for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), format!(" {shown}\n")] {
            assert!(UserCode::parse(&typed).unwrap() == code, "{typed}");
        }
        for typed in ["", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF-GHJ1", "BCDF-GHJÄ", "BCDF_GHJK"] {
            assert_eq!(UserCode::parse(typed), Err(NotAUserCode), "{typed}");
        }
        assert_eq!(format!("{code:?}"), "UserCode(…)");
    }

    proptest! {
        #[test]
        fn a_changed_credential_is_never_accepted(
            flow: [u8; 16], n: u32, salt: [u8; 16], at in 9_usize..73, letter in "[A-Za-z0-9_-]"
        ) {
            let seal = Seal { key: KeyId(1), n, salt };
            let good = render(&ring(), Purpose::RefreshToken, flow, &seal).unwrap();
            let mut changed = good.expose().to_owned();
            changed.replace_range(at..=at, &letter);
            let accepted = Presented::parse(&ring(), of::RefreshToken, &changed)
                .is_ok_and(|presented| presented.flow() == flow && presented.proves(&ring(), &seal));
            prop_assert_eq!(accepted, changed == good.expose());
        }

        #[test]
        fn no_text_makes_the_parsers_panic(any in "\\PC{0,90}", base64 in "cairn_rt_[A-Za-z0-9_-]{64}", ours in "cairn_rt_AAAAAV[A-Za-z0-9_-]{58}") {
            for text in [&any, &base64, &ours] {
                prop_assert!(Presented::parse(&ring(), of::RefreshToken, text).is_err());
                let _ = UserCode::parse(text);
            }
        }

        #[test]
        fn every_number_is_a_user_code_that_parses(number: u64) {
            let code = UserCode::of(number);
            prop_assert!(UserCode::parse(&code.grouped()).is_ok_and(|parsed| parsed == code));
        }
    }
}
