//! A person's first or last name, as they write it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name in characters.
const LONGEST: usize = 100;

/// A first or last name: 1 to 100 characters, none of them a control character. Everything else is the person's affair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonName(String);

/// Why a text is not a name. An absent name and `null` are the same, so "no name" is not an error of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonNameError {
    /// No character at all.
    #[error("a name has at least one character; leave it out instead")]
    Empty,
    /// More than 100 characters.
    #[error("a name has at most 100 characters")]
    TooLong,
    /// A line break, a tab or another control character.
    #[error("a name has no control characters")]
    ControlCharacter,
}

impl PersonNameError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::ControlCharacter => "control_character",
        }
    }
}

impl PersonName {
    /// Parses what was typed; nothing is trimmed or changed.
    ///
    /// # Errors
    /// The first rule of [`PersonNameError`] that is broken.
    pub fn parse(typed: &str) -> Result<Self, PersonNameError> {
        if typed.is_empty() {
            return Err(PersonNameError::Empty);
        }
        if typed.chars().any(char::is_control) {
            return Err(PersonNameError::ControlCharacter);
        }
        if typed.chars().nth(LONGEST).is_some() {
            return Err(PersonNameError::TooLong);
        }
        Ok(Self(typed.to_owned()))
    }

    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PersonName {
    type Error = PersonNameError;

    fn try_from(typed: String) -> Result<Self, PersonNameError> {
        Self::parse(&typed)
    }
}

impl From<PersonName> for String {
    fn from(name: PersonName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_kept_as_typed() {
        for typed in ["Ada", "O’Neill-Müller", "王", "Ada Lovelace", "é"] {
            assert_eq!(PersonName::parse(typed).unwrap().as_str(), typed);
        }
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        assert_eq!(PersonName::parse(""), Err(PersonNameError::Empty));
        assert_eq!(PersonName::parse("Ada\r\nX-Header: 1"), Err(PersonNameError::ControlCharacter));
        assert_eq!(PersonName::parse("Ada\u{9b}"), Err(PersonNameError::ControlCharacter));
        assert!(PersonName::parse(&"王".repeat(100)).is_ok());
        assert_eq!(PersonName::parse(&"王".repeat(101)), Err(PersonNameError::TooLong));
    }

    #[test]
    fn a_name_from_a_state_is_parsed_again() {
        assert_eq!(serde_json::from_str::<PersonName>("\"Ada\"").unwrap().as_str(), "Ada");
        assert!(serde_json::from_str::<PersonName>("\"\"").is_err());
    }

    proptest! {
        #[test]
        fn exactly_the_names_within_the_rules_are_accepted(typed in "\\PC{0,120}|.{0,20}") {
            let within = !typed.is_empty() && typed.chars().count() <= 100 && !typed.chars().any(char::is_control);
            prop_assert_eq!(PersonName::parse(&typed).is_ok(), within);
        }
    }
}
