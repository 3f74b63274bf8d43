//! Sixteen-byte names of flows, inputs and deliveries, and their text: a prefix and 26 Crockford characters.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Crockford's base 32, in lower case: no `i`, `l`, `o` or `u`, so that a person can read it aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Sixteen bytes that name one thing for ever. Either time-ordered (UUID version 7, RFC 9562) or derived by a MAC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A time-ordered id (RFC 9562, version 7) of an instant in Unix milliseconds and ten random bytes.
    pub fn v7(millis: i64, random: [u8; 10]) -> Self {
        let time = (u128::from(millis.max(0).unsigned_abs()) & 0xffff_ffff_ffff) << 80;
        let mut noise = [0_u8; 16];
        for (to, from) in noise.iter_mut().skip(6).zip(random) {
            *to = from;
        }
        let noise = u128::from_be_bytes(noise);
        let cleared = noise & !(0xf_u128 << 76) & !(0b11_u128 << 62);
        Self((time | cleared | (7_u128 << 76) | (0b10_u128 << 62)).to_be_bytes())
    }

    /// The bytes, as they stand in the database.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 26 characters without a prefix.
    pub fn crockford(&self) -> String {
        let number = u128::from_be_bytes(self.0);
        (0..26_u32)
            .rev()
            .map(|place| {
                let digit = (number >> (place * 5)) & 31;
                char::from(ALPHABET.get(digit as usize).copied().unwrap_or(b'0'))
            })
            .collect()
    }

    /// The text with a prefix: `reg_01…`.
    pub fn text(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.crockford())
    }

    /// Reads the text of [`Id::text`] back. One id has one text: upper case, a wrong prefix or length give `None`.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        Self::parse_crockford(text.strip_prefix(prefix)?.strip_prefix('_')?)
    }

    /// Reads the 26 characters of [`Id::crockford`] back.
    pub fn parse_crockford(text: &str) -> Option<Self> {
        if text.len() != 26 {
            return None;
        }
        let mut number: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|known| *known == byte)?;
            if place == 0 && digit > 7 {
                return None; // 26 characters hold 130 bits; the first two must be empty
            }
            number = (number << 5) | digit as u128;
        }
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.crockford())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.crockford())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.crockford())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        Self::parse_crockford(&text).ok_or_else(|| serde::de::Error::custom("not an id of 26 Crockford characters"))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Id);

        impl $name {
            /// The one with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Id::from_bytes(bytes))
            }
            /// The bytes, as they stand in the database.
            pub const fn bytes(&self) -> &[u8; 16] {
                self.0.bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

named!(
    /// Names one flow: its row, its shell, the credentials that it issues.
    FlowId
);
named!(
    /// Names one input. What a repeat of the same request carries again, so that it takes effect once.
    InputId
);
named!(
    /// Names one delivery, at every attempt the same.
    DeliveryId
);

impl InputId {
    /// The flow that this input starts: a start's flow id *is* its input id, so a repeated start finds its flow.
    pub const fn starts(self) -> FlowId {
        FlowId(self.0)
    }
}

impl FlowId {
    /// The input that started this flow.
    pub const fn started_by(self) -> InputId {
        InputId(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_and_only_in_its_one_form() {
        let id = Id::v7(1_700_000_000_000, [0xab; 10]);
        let text = id.text("reg");
        assert_eq!(text.len(), 30);
        assert_eq!(Id::parse("reg", &text), Some(id));
        assert_eq!(Id::parse("ses", &text), None);
        assert_eq!(Id::parse("reg", &text.to_uppercase()), None);
        assert_eq!(Id::parse_crockford("zzzzzzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(Id::parse_crockford("é0000000000000000000000000"), None);
    }

    #[test]
    fn a_version_seven_id_sorts_by_its_time_and_says_its_version() {
        let early = Id::v7(1_000, [0xff; 10]);
        let late = Id::v7(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.bytes()[6] >> 4, 7);
        assert_eq!(early.bytes()[8] >> 6, 0b10);
    }
}
