//! A person's first or last name, as they write it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::visible::{is_meaningless, visible};

/// The longest name in characters.
const LONGEST: usize = 100;

/// A first or last name: 1 to 100 characters, none of them a control character or without a meaning in Unicode, and
/// without what nobody sees in it. Everything else is the person's affair.
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
    #[error("a name has no line breaks or control characters")]
    ControlCharacter,
    /// A character that Unicode has given to nobody, or left to private agreement.
    #[error("a name has no characters without a meaning; write it with the letters of its script")]
    Unassigned,
}

impl PersonNameError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::ControlCharacter => "control_character",
            Self::Unassigned => "unassigned_character",
        }
    }
}

impl PersonName {
    /// Parses what was typed. Nothing is trimmed; characters that do not show are left out: zero-width and ignorable
    /// ones, and those that turn the direction of what follows.
    ///
    /// # Errors
    /// The first rule of [`PersonNameError`] that is broken.
    pub fn parse(typed: &str) -> Result<Self, PersonNameError> {
        if typed.chars().any(breaks) {
            return Err(PersonNameError::ControlCharacter);
        }
        // What does not show may be as long again, and no longer.
        if typed.chars().nth(2 * LONGEST).is_some() {
            return Err(PersonNameError::TooLong);
        }
        let shown = visible(typed);
        if shown.is_empty() {
            return Err(PersonNameError::Empty);
        }
        if shown.chars().any(is_meaningless) {
            return Err(PersonNameError::Unassigned);
        }
        if shown.chars().nth(LONGEST).is_some() {
            return Err(PersonNameError::TooLong);
        }
        Ok(Self(shown))
    }

    /// Takes a name from a state or a column, which an older release may have written by fewer rules, or by a newer edition
    /// of Unicode. What does not show in it is left out all the same.
    ///
    /// # Errors
    /// What no release has accepted.
    pub fn restore(stored: &str) -> Result<Self, PersonNameError> {
        if stored.is_empty() {
            return Err(PersonNameError::Empty);
        }
        if stored.chars().any(char::is_control) {
            return Err(PersonNameError::ControlCharacter);
        }
        if stored.chars().nth(LONGEST).is_some() {
            return Err(PersonNameError::TooLong);
        }
        let shown = visible(stored);
        // Nothing of it shows: a mark in its place, so that the state can be read.
        Ok(Self(if shown.is_empty() { char::REPLACEMENT_CHARACTER.to_string() } else { shown }))
    }

    /// The name as it shows.
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

    fn try_from(stored: String) -> Result<Self, PersonNameError> {
        Self::restore(&stored)
    }
}

/// A control character, or one that breaks lines.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
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
        for typed in ["Ada", "O’Neill-Müller", "王", "Ada Lovelace", "é", "علی\u{200c}رضا"] {
            assert_eq!(PersonName::parse(typed).unwrap().as_str(), typed);
        }
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        assert_eq!(PersonName::parse(""), Err(PersonNameError::Empty));
        assert_eq!(PersonName::parse("Ada\r\nX-Header: 1"), Err(PersonNameError::ControlCharacter));
        assert_eq!(PersonName::parse("Ada\u{9b}"), Err(PersonNameError::ControlCharacter));
        assert_eq!(PersonName::parse("Ada\u{2028}Eve"), Err(PersonNameError::ControlCharacter));
        assert_eq!(PersonName::parse("\u{200b}\u{202e}"), Err(PersonNameError::Empty));
        assert_eq!(PersonName::parse("Ada\u{e000}"), Err(PersonNameError::Unassigned));
        assert_eq!(PersonName::parse("Ada\u{378}"), Err(PersonNameError::Unassigned));
        assert!(PersonName::parse(&"王".repeat(100)).is_ok());
        assert_eq!(PersonName::parse(&"王".repeat(101)), Err(PersonNameError::TooLong));
    }

    #[test]
    fn a_name_turns_no_text_around_and_hides_nothing() {
        for typed in ["\u{202e}Ada", "A\u{ad}d\u{200b}a", "Ada\u{200f}\u{2066}", "\u{feff}Ada\u{e0041}"] {
            assert_eq!(PersonName::parse(typed).unwrap().as_str(), "Ada");
        }
        assert!(PersonName::parse(&"a\u{200b}".repeat(100)).is_ok());
        assert_eq!(PersonName::parse(&"a\u{200b}".repeat(101)), Err(PersonNameError::TooLong));
    }

    #[test]
    fn a_name_from_a_state_is_read_whatever_release_wrote_it() {
        let read = |json: &str| serde_json::from_str::<PersonName>(json).map(|name| name.0);
        assert_eq!(read("\"Ada\"").unwrap(), "Ada");
        assert_eq!(read("\"\u{202e}Ada\u{e000}\"").unwrap(), "Ada\u{e000}");
        assert_eq!(read("\"\u{200b}\"").unwrap(), "\u{fffd}");
        assert!(read("\"\"").is_err());
    }

    proptest! {
        #[test]
        fn exactly_the_names_within_the_rules_are_accepted(typed in "\\PC{0,120}|.{0,20}") {
            let shown = visible(&typed);
            let within = !shown.is_empty()
                && shown.chars().count() <= 100
                && typed.chars().count() <= 200
                && !typed.chars().any(|c| breaks(c) || is_meaningless(c));
            let name = PersonName::parse(&typed);
            prop_assert_eq!(name.is_ok(), within);
            if let Ok(name) = name {
                prop_assert_eq!(PersonName::restore(name.as_str()), Ok(name));
            }
        }
    }
}
