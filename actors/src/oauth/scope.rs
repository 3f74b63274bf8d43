//! Scopes: what access is asked for, as a set of words (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The word that asks for an ID token, and for userinfo (OpenID Connect Core section 3.1.2.1).
pub const OPENID: &str = "openid";
/// The word that lets a grant outlive the session in which it was given (OpenID Connect Core section 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scope words. Their order means nothing; in text they stand sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(BTreeSet<String>);

/// What is not a list of scope words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is words of visible ASCII without quotes and backslashes, one space between two")]
pub struct NotAScope;

/// The words of OpenID Connect (Core, sections 5.4 and 11) that are served here.
pub const USUAL: [&str; 6] = [OPENID, "profile", "email", "address", "phone", OFFLINE_ACCESS];

impl Scope {
    /// What a client may ask for whose registration does not say.
    pub fn usual() -> Self {
        USUAL.into_iter().collect()
    }

    /// Parses the parameter `scope`. The empty text is the empty set.
    ///
    /// # Errors
    /// When it breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, NotAScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let is_letter = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        text.split(' ')
            .map(
                |word| {
                    if !word.is_empty() && word.bytes().all(is_letter) { Ok(word.to_owned()) } else { Err(NotAScope) }
                },
            )
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a word is in it.
    pub fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// Whether every word of it is in the other.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether there is no word in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same without a word.
    #[must_use]
    pub fn without(mut self, word: &str) -> Self {
        self.0.remove(word);
        self
    }

    /// Its words in the order of their letters.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The words that are in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The words that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }
}

impl<'a> FromIterator<&'a str> for Scope {
    fn from_iter<T: IntoIterator<Item = &'a str>>(words: T) -> Self {
        Self(words.into_iter().map(str::to_owned).collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Scope {
    type Error = NotAScope;

    fn try_from(text: String) -> Result<Self, NotAScope> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn order_and_doubles_mean_nothing() {
        let scope = Scope::parse("profile openid profile").unwrap();
        assert_eq!(scope.to_string(), "openid profile");
        assert_eq!(serde_json::to_string(&scope).unwrap(), "\"openid profile\"");
        assert_eq!(serde_json::from_str::<Scope>("\"openid profile\"").unwrap(), scope);
        assert_eq!(Scope::parse("").unwrap(), Scope::default());
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for bad in [" ", "a  b", " a", "a ", "a\tb", "a\"", "a\\", "é", "a\u{7f}"] {
            assert_eq!(Scope::parse(bad), Err(NotAScope), "{bad:?}");
        }
        assert!(Scope::parse("!#[]~ https://x.example/y").is_ok());
    }

    #[test]
    fn within_is_every_word_and_both_is_the_common_ones() {
        let (wide, narrow) = (Scope::parse("a b c").unwrap(), Scope::parse("a c").unwrap());
        assert!(narrow.is_within(&wide) && !wide.is_within(&narrow));
        assert_eq!(wide.and(&Scope::parse("c d a").unwrap()), narrow);
        assert!(narrow.has("c") && !narrow.has("b"));
    }
}
