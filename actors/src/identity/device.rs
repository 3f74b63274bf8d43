//! Browsers and programs that a person has signed in with before, known by a proof that they keep: a browser in a cookie
//! (OWASP: device cookies), a program wherever it likes.
//!
//! A device is known while the account's number is the one in the proof (it is raised by a reset and wherever else
//! somebody who is not the user may have signed in) and while the account has a row of it (its user may forget it).
//!
//! The proof signs nobody in. It only says: from here this very account was signed in to, so what strangers fail at
//! elsewhere does not slow this browser down. It has a count of failures of its own, so a stolen one is no free pass.

use base64ct::{Base64UrlUnpadded, Encoding};
use cairn_runtime::{Id, Timestamp};
use subtle::ConstantTimeEq;

use crate::environment::Environment;
use crate::identity::user_id::UserId;
use crate::secrets::digest::Digest;
use crate::secrets::ring::KeyId;

const LABEL: &str = "device";
/// Key id, device, user, the account's number, instant, MAC.
const LENGTH: usize = 4 + 16 + 16 + 8 + 8 + 32;

/// How long a browser is known after its last sign-in, in seconds: a year.
pub const KNOWN_FOR: i64 = 365 * 86_400;

/// How many devices an account knows: with one more, the one that was seen longest ago is forgotten.
pub const MOST: u32 = 100;
/// How many characters of a user agent are kept.
pub const AGENT: usize = 256;

/// A browser, and the one account that it is known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    id: Id,
    user: UserId,
    number: i64,
}

impl Device {
    /// The prefix of the text of its id.
    pub const PREFIX: &'static str = "dev";

    /// A browser that nobody knew, with 32 unforeseeable bytes, under the account's present number.
    pub fn new(user: UserId, number: i64, seed: [u8; 32]) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(seed) {
            *to = from;
        }
        Self { id: Id::from_bytes(id), user, number }
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The number of the account's devices under which it was seen last ([`crate::effects::Key::Devices`]): known only
    /// while it is the present one.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The account that it is known to.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// What its failures are counted by.
    pub fn key(&self, environment: &Environment) -> Digest {
        environment.digest("device", self.id.bytes())
    }

    /// Its proof, good for a year from `now`: the value of the cookie.
    pub fn proof(&self, environment: &Environment, now: Timestamp) -> String {
        let key = environment.ring.current();
        let (number, at) = (self.number.to_be_bytes(), now.0.to_be_bytes());
        let mac =
            environment.ring.mac(key, LABEL, &[self.id.bytes(), self.user.0.bytes(), &number, &at]).unwrap_or_default();
        let parts = [&key.0.to_be_bytes()[..], self.id.bytes(), self.user.0.bytes(), &number, &at, &mac];
        Base64UrlUnpadded::encode_string(&parts.concat())
    }

    /// Reads a proof. `None`: it is none of ours, or older than a year. Whether the account still knows the device is not
    /// asked.
    pub fn parse(environment: &Environment, text: &str, now: Timestamp) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        let read = Base64UrlUnpadded::decode(text, &mut bytes).ok()?;
        let (key, rest) = read.split_first_chunk::<4>()?;
        let (device, rest) = rest.split_first_chunk::<16>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (at, mac) = rest.split_first_chunk::<8>()?;
        let right = environment.ring.mac(KeyId(u32::from_be_bytes(*key)), LABEL, &[device, user, number, at])?;
        if !bool::from(right.as_slice().ct_eq(mac)) {
            return None;
        }
        let age = now.0.saturating_sub(i64::from_be_bytes(*at));
        (age < KNOWN_FOR * 1_000).then(|| Self {
            id: Id::from_bytes(*device),
            user: UserId(Id::from_bytes(*user)),
            number: i64::from_be_bytes(*number),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::testing::environment;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn device(number: u8) -> Device {
        Device::new(UserId(Id::from_bytes([number; 16])), i64::from(number), [number ^ 0xff; 32])
    }

    #[test]
    fn a_proof_names_its_device_and_its_user_for_a_year() {
        let environment = environment(1);
        let cookie = device(7).proof(&environment, NOW);
        assert_eq!(Device::parse(&environment, &cookie, NOW), Some(device(7)));
        let year = KNOWN_FOR * 1_000;
        assert_eq!(Device::parse(&environment, &cookie, Timestamp(NOW.0 + year - 1)), Some(device(7)));
        assert_eq!(Device::parse(&environment, &cookie, Timestamp(NOW.0 + year)), None);
        assert_eq!(
            Device::parse(&environment, &cookie, Timestamp(NOW.0 - 3_600_000)),
            Some(device(7)),
            "a clock went back"
        );
        assert!(cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{cookie}");
    }

    #[test]
    fn no_byte_of_a_cookie_may_be_another() {
        let environment = environment(1);
        let cookie = device(7).proof(&environment, NOW);
        let bytes = Base64UrlUnpadded::decode_vec(&cookie).unwrap();
        for place in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[place] ^= 1;
            assert_eq!(
                Device::parse(&environment, &Base64UrlUnpadded::encode_string(&forged), NOW),
                None,
                "byte {place}"
            );
        }
        assert_eq!(Device::parse(&crate::testing::environment(2), &cookie, NOW), None, "another house's");
    }

    proptest! {
        #[test]
        fn no_text_is_a_cookie_by_accident(text in "\\PC{0,120}|[A-Za-z0-9_-]{108,116}") {
            prop_assert_eq!(Device::parse(&environment(1), &text, NOW), None);
        }
    }
}
