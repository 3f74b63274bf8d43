//! The public name a person may sign in with: short, ASCII, in lower case.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A username: 3 to 32 of `a-z 0-9 . _ -`, a letter first. Capitals are taken and lowered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// Why a text is not a username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Fewer than 3 characters.
    #[error("a username has at least 3 characters")]
    TooShort,
    /// More than 32 characters.
    #[error("a username has at most 32 characters")]
    TooLong,
    /// It does not begin with a letter.
    #[error("a username begins with a letter from a to z")]
    FirstCharacter,
    /// Something else than `a-z 0-9 . _ -`.
    #[error("a username has letters from a to z, digits, dots, underscores and hyphens")]
    Character,
}

impl UsernameError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::FirstCharacter => "first_character",
            Self::Character => "character",
        }
    }
}

impl Username {
    /// A username in its final form, as a regular expression that programs of every language read.
    pub const PATTERN: &str = "^[a-z][a-z0-9._-]{2,31}$";

    /// Parses what was typed; nothing is trimmed.
    ///
    /// # Errors
    /// The first rule of [`UsernameError`] that is broken.
    pub fn parse(typed: &str) -> Result<Self, UsernameError> {
        // ASCII only: the Unicode rules would lower the Kelvin sign to a `k`, and two names would look the same.
        let lowered = typed.to_ascii_lowercase();
        if !lowered.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)) {
            return Err(UsernameError::Character);
        }
        match lowered.len() {
            0..3 => return Err(UsernameError::TooShort),
            3..=32 => {}
            _ => return Err(UsernameError::TooLong),
        }
        if !lowered.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(UsernameError::FirstCharacter);
        }
        Ok(Self(lowered))
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Username {
    type Error = UsernameError;

    fn try_from(typed: String) -> Result<Self, UsernameError> {
        Self::parse(&typed)
    }
}

impl From<Username> for String {
    fn from(username: Username) -> Self {
        username.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_username_is_kept_in_lower_case() {
        assert_eq!(Username::parse("Ada.L-1_x").unwrap().as_str(), "ada.l-1_x");
        assert_eq!(Username::parse("ADA").unwrap(), Username::parse("ada").unwrap());
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        use UsernameError::*;
        for (typed, error) in [
            ("", TooShort),
            ("ab", TooShort),
            ("1ab", FirstCharacter),
            (".ab", FirstCharacter),
            ("_ab", FirstCharacter),
            (" ada", Character),
            ("ada lovelace", Character),
            ("ada@example.org", Character),
            ("adä", Character),
            ("ada\u{212a}", Character),
            ("ada\n", Character),
        ] {
            assert_eq!(Username::parse(typed), Err(error), "{typed:?}");
        }
        assert!(Username::parse(&"a".repeat(32)).is_ok());
        assert_eq!(Username::parse(&"a".repeat(33)), Err(TooLong));
    }

    #[test]
    fn a_username_from_a_state_is_parsed_again() {
        let name = Username::parse("ada").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"ada\"");
        assert_eq!(serde_json::from_str::<Username>("\"ada\"").unwrap(), name);
        assert!(serde_json::from_str::<Username>("\"a\"").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_keeps_the_rules_and_stays_as_it_is(typed in ".{0,40}|[a-zA-Z0-9._-]{0,36}") {
            if let Ok(name) = Username::parse(&typed) {
                prop_assert!((3..=32).contains(&name.as_str().len()));
                prop_assert!(name.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')));
                prop_assert_eq!(Username::parse(name.as_str()), Ok(name));
            }
        }
    }
}
