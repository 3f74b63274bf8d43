//! Keyed hashes: what is looked up by a value that the database does not hold.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// A keyed hash by which something personal is found again without standing there in clear. Made by
/// [`crate::world::Environment::digest`]; its key never rotates.
///
/// As JSON it is a text of 43 characters. What was written before as a list of numbers, three times as long, is read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Written")]
pub struct Digest(pub [u8; 32]);

/// A digest as it may have been written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Numbers([u8; 32]),
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        BASE64URL_NOPAD.encode(&digest.0)
    }
}

impl TryFrom<Written> for Digest {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let bytes = match written {
            Written::Text(text) => BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()),
            Written::Numbers(bytes) => Some(bytes),
        };
        bytes.map(Self).ok_or("not a digest of 43 characters")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_digest_is_written_as_text_and_read_as_numbers_too() {
        let digest = Digest([7; 32]);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, r#""BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc""#);
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        let numbers = serde_json::to_string(&[7; 32]).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&numbers).unwrap(), digest);
        for other in [r#""BwcH""#, "[7,7]", r#""not base 64""#, "7"] {
            assert!(serde_json::from_str::<Digest>(other).is_err(), "{other}");
        }
    }
}
