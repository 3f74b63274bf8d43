//! Absolute URIs without a fragment: redirect URIs (RFC 6749 section 3.1.2) and resources (RFC 8707 section 2).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest one, in bytes.
const LONGEST: usize = 2_048;

/// An absolute URI (RFC 3986 section 4.3). Two are the same when their texts are (RFC 9700 section 2.1): nothing is
/// normalised, so nothing can be normalised in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsoluteUri(String);

/// What is no absolute URI without a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute URI without a fragment")]
pub struct NotAbsolute;

impl AbsoluteUri {
    /// Parses a text. Which schemes are wise is not asked here, but where a client is registered.
    ///
    /// # Errors
    /// When it has no scheme, nothing after it, a fragment, a character that no URI has, or more than 2 048 bytes.
    pub fn parse(text: &str) -> Result<Self, NotAbsolute> {
        let (scheme, rest) = text.split_once(':').ok_or(NotAbsolute)?;
        let scheme_is_good = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let is_letter = |byte: u8| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte);
        if scheme_is_good && !rest.is_empty() && rest.bytes().all(is_letter) && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAbsolute)
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AbsoluteUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AbsoluteUri {
    type Error = NotAbsolute;

    fn try_from(text: String) -> Result<Self, NotAbsolute> {
        Self::parse(&text)
    }
}

impl From<AbsoluteUri> for String {
    fn from(uri: AbsoluteUri) -> Self {
        uri.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn absolute_uris_are_kept_as_they_stand() {
        for text in ["https://client.example/cb?x=%20", "http://127.0.0.1:1234/", "com.example.app:/cb", "urn:x"] {
            assert_eq!(AbsoluteUri::parse(text).unwrap().as_str(), text);
        }
        assert_ne!(AbsoluteUri::parse("https://x.example"), AbsoluteUri::parse("https://x.example/"));
    }

    #[test]
    fn relative_ones_fragments_and_odd_characters_are_refused() {
        for bad in ["", "/cb", "//x.example/cb", "https:", "1a:b", ":b", "https://x/#f", "https://x/#", "https://x/ y"]
        {
            assert_eq!(AbsoluteUri::parse(bad), Err(NotAbsolute), "{bad}");
        }
        for bad in ['"', '<', '>', '\\', '^', '`', '{', '|', '}', 'é', '\n'] {
            assert_eq!(AbsoluteUri::parse(&format!("https://x/{bad}")), Err(NotAbsolute), "{bad}");
        }
        for (length, good) in [(LONGEST, true), (LONGEST + 1, false)] {
            assert_eq!(AbsoluteUri::parse(&format!("urn:{}", "x".repeat(length - 4))).is_ok(), good);
        }
    }
}
