//! PKCE (RFC 7636), S256 only: who redeems a code shows that it was they who asked for it.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The hash that stands in the authorization request (RFC 7636 section 4.2, method S256). No secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge([u8; 32]);

/// What is not 32 bytes in base64url without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code challenge is 43 characters of base64url")]
pub struct NotAChallenge;

impl Challenge {
    /// Parses the parameter `code_challenge`.
    ///
    /// # Errors
    /// When it cannot be an S256 challenge.
    pub fn parse(text: &str) -> Result<Self, NotAChallenge> {
        let mut hash = [0; 32];
        let length = Base64UrlUnpadded::decode(text, &mut hash).map(<[u8]>::len);
        if length == Ok(32) { Ok(Self(hash)) } else { Err(NotAChallenge) }
    }

    /// Whether it was made from this verifier (RFC 7636 section 4.6), in constant time.
    pub fn is_met_by(&self, verifier: &Verifier) -> bool {
        let hash = digest::digest(&digest::SHA256, verifier.0.as_bytes());
        hash.as_ref().ct_eq(&self.0).into()
    }
}

impl TryFrom<String> for Challenge {
    type Error = NotAChallenge;

    fn try_from(text: String) -> Result<Self, NotAChallenge> {
        Self::parse(&text)
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> Self {
        Base64UrlUnpadded::encode_string(&challenge.0)
    }
}

/// The secret that a challenge was made from (RFC 7636 section 4.1). Printed as dots, wiped when dropped.
pub struct Verifier(Zeroizing<String>);

/// What is not 43 to 128 unreserved characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code verifier is 43 to 128 letters, digits, hyphens, dots, underscores and tildes")]
pub struct NotAVerifier;

impl Verifier {
    /// Parses the parameter `code_verifier`.
    ///
    /// # Errors
    /// When it has another length or other characters.
    pub fn parse(text: String) -> Result<Self, NotAVerifier> {
        let text = Zeroizing::new(text);
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(text))
        } else {
            Err(NotAVerifier)
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn verifier(text: &str) -> Verifier {
        Verifier::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_is_met_and_another_verifier_is_not() {
        let challenge = Challenge::parse(CHALLENGE).unwrap();
        assert!(challenge.is_met_by(&verifier(VERIFIER)));
        assert!(!challenge.is_met_by(&verifier(&VERIFIER.replace('d', "e"))));
        // The method `plain`: a challenge that is its own verifier.
        assert!(!challenge.is_met_by(&verifier(CHALLENGE)));
    }

    #[test]
    fn a_challenge_has_one_text_and_no_other_is_taken() {
        assert_eq!(String::from(Challenge::parse(CHALLENGE).unwrap()), CHALLENGE);
        for bad in
            ["", &CHALLENGE[1..], &format!("{CHALLENGE}="), &format!("{CHALLENGE}A"), &CHALLENGE.replace('-', "+")]
        {
            assert_eq!(Challenge::parse(bad), Err(NotAChallenge), "{bad}");
        }
        assert!(serde_json::from_str::<Challenge>("\"short\"").is_err());
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters_and_prints_as_dots() {
        for (length, good) in [(42, false), (43, true), (128, true), (129, false)] {
            assert_eq!(Verifier::parse("~".repeat(length)).is_ok(), good, "{length}");
        }
        for bad in ["+", "/", "=", " ", "é"] {
            assert!(Verifier::parse(bad.repeat(50)).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", verifier(VERIFIER)), "Verifier(…)");
    }
}
