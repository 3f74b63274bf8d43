//! What people type to prove themselves, as types that cannot leak: a password and a six-digit code.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The shortest password in characters, after NFKC.
pub const SHORTEST_PASSWORD: usize = 10;
/// The longest password in bytes of UTF-8, after NFKC.
pub const LONGEST_PASSWORD: usize = 256;

/// A typed password. It can be deserialized, measured and hashed, nothing else: it is not `Serialize`, `Clone` or
/// `Display`, `Debug` shows dots, and its bytes are wiped when it is dropped.
///
/// It is kept in NFKC (Unicode annex 15), so that two keyboards that compose an `é` differently type one password.
pub struct Password(Zeroizing<String>);

/// Why a password cannot be chosen. (Whether it is breached or easily guessed is asked elsewhere.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than 10 characters.
    #[error("a password has at least 10 characters")]
    TooShort,
    /// More than 256 bytes.
    #[error("a password has at most 256 bytes")]
    TooLong,
}

impl PasswordError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
        }
    }
}

impl Password {
    /// Takes a password as typed, of whatever length: signing in must not tell which lengths are possible.
    pub fn typed(text: String) -> Self {
        Self::normalised(&Zeroizing::new(text))
    }

    fn normalised(typed: &str) -> Self {
        // Never grows, because a String that moves leaves its old bytes behind. What is cut off is a password that
        // nobody can have chosen: one byte over the limit is kept, so it stays too long and equals no other.
        let mut kept = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD + 4));
        for character in typed.nfkc() {
            kept.push(character);
            if kept.len() > LONGEST_PASSWORD {
                break;
            }
        }
        Self(kept)
    }

    /// Whether this may become somebody's password, as far as its length goes. Spaces count.
    ///
    /// # Errors
    /// Which bound is broken.
    pub fn check_length(&self) -> Result<(), PasswordError> {
        if self.0.len() > LONGEST_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        if self.0.chars().count() < SHORTEST_PASSWORD {
            return Err(PasswordError::TooShort);
        }
        Ok(())
    }

    /// For the hasher and the checks of this crate; nobody outside sees it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Typed;
        impl Visitor<'_> for Typed {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Password, E> {
                Ok(Password::normalised(text))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Password, E> {
                Ok(Password::typed(text))
            }

            // The standard errors quote what was not expected, and a number may be somebody's PIN.
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Password, E> {
                Err(E::custom("Send the password as a string, in quotation marks."))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Password, E> {
                Err(E::custom("Send the password as a string, in quotation marks."))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Password, E> {
                Err(E::custom("Send the password as a string, in quotation marks."))
            }
        }
        // Asked for a string, serde_json would quote a number by itself; asked for anything, it leaves that to `Typed`.
        deserializer.deserialize_any(Typed)
    }
}

/// A six-digit code from a letter. Compared in constant time; `Debug` shows dots; wiped when dropped.
pub struct Code(Zeroizing<u32>);

/// What was typed is not six digits. It is no try at the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has six digits")]
pub struct NotSixDigits;

impl NotSixDigits {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        "not_six_digits"
    }
}

impl Code {
    /// How many codes there are.
    pub(crate) const COUNT: u64 = 1_000_000;

    /// Parses what was typed. White space and hyphens, also the typographic ones, are dropped wherever they stand.
    ///
    /// # Errors
    /// When what remains is not exactly six ASCII digits.
    pub fn parse(typed: &str) -> Result<Self, NotSixDigits> {
        let mut number = Zeroizing::new(0_u32);
        let mut digits = 0_u8;
        for character in typed.chars() {
            if character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2013}') {
                continue;
            }
            let digit = character.to_digit(10).ok_or(NotSixDigits)?;
            digits += 1;
            if digits > 6 {
                return Err(NotSixDigits);
            }
            *number = *number * 10 + digit;
        }
        if digits == 6 { Ok(Self(number)) } else { Err(NotSixDigits) }
    }

    /// The code of a number; only its remainder by [`Code::COUNT`] counts.
    pub(crate) fn of(number: u64) -> Self {
        Self(Zeroizing::new(u32::try_from(number % Self::COUNT).unwrap_or_default()))
    }

    /// Its six digits, for the letter it is mailed in.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{:06}", *self.0))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn password(text: &str) -> Password {
        Password::typed(text.to_owned())
    }

    #[test]
    fn two_ways_to_compose_a_letter_are_one_password() {
        assert_eq!(password("cafe\u{301} au lait").expose(), password("café au lait").expose());
        assert_eq!(password("ｃａｆé au lait").expose(), "café au lait");
        assert_eq!(password(" spaces stay ").expose(), " spaces stay ");
    }

    #[test]
    fn length_is_characters_below_and_bytes_above() {
        assert_eq!(password("123456789").check_length(), Err(PasswordError::TooShort));
        assert_eq!(password("1234567890").check_length(), Ok(()));
        assert_eq!(password("ééééé ééé").check_length(), Err(PasswordError::TooShort));
        assert_eq!(password("éééé éééé ").check_length(), Ok(()));
        assert_eq!(password(&"x".repeat(256)).check_length(), Ok(()));
        assert_eq!(password(&"x".repeat(257)).check_length(), Err(PasswordError::TooLong));
        assert_eq!(password(&"é".repeat(128)).check_length(), Ok(()));
        assert_eq!(password(&"é".repeat(129)).check_length(), Err(PasswordError::TooLong));
        // Five characters are typed, and each becomes eighteen.
        assert_eq!(password(&"\u{fdfa}".repeat(5)).check_length(), Ok(()));
    }

    #[test]
    fn a_password_prints_as_dots_and_no_error_quotes_it() {
        assert_eq!(format!("{:?}", password("correct horse battery")), "Password(…)");
        for json in ["12345678901", "-12345678901", "1234567.8901"] {
            let error = serde_json::from_str::<Password>(json).unwrap_err().to_string();
            assert!(!error.contains("12345"), "{error}");
        }
        for json in ["null", "[]", "{}", "true"] {
            assert!(serde_json::from_str::<Password>(json).is_err());
        }
        assert_eq!(serde_json::from_str::<Password>("\"pass\\u0077ord\"").unwrap().expose(), "password");
    }

    #[test]
    fn a_code_is_six_digits_however_they_are_grouped() {
        for typed in ["012345", "012 345", "012-345", " 0 1 2-3‑4–5\u{a0}\n"] {
            assert_eq!(*Code::parse(typed).unwrap().expose(), "012345");
        }
        for typed in ["", "12345", "1234567", "12345a", "+12345", "１２３４５６", "12.345", "0x1234", "123456 7"]
        {
            assert_eq!(Code::parse(typed), Err(NotSixDigits), "{typed:?}");
        }
    }

    #[test]
    fn a_code_prints_as_dots() {
        assert_eq!(format!("{:?}", Code::parse("123456").unwrap()), "Code(…)");
    }

    proptest! {
        #[test]
        fn a_kept_password_is_bounded_and_never_moves(text in "\\PC{0,400}|[\u{fdfa}e\u{301}]{0,400}") {
            let kept = password(&text);
            prop_assert!(kept.0.len() <= LONGEST_PASSWORD + 4);
            prop_assert_eq!(kept.0.capacity(), LONGEST_PASSWORD + 4);
            let full: String = text.nfkc().collect();
            prop_assert_eq!(kept.check_length() == Err(PasswordError::TooLong), full.len() > LONGEST_PASSWORD);
            prop_assert!(full.starts_with(kept.expose()));
        }

        #[test]
        fn codes_are_equal_when_their_digits_are(a in 0_u64..1_000_000, b in 0_u64..1_000_000) {
            prop_assert_eq!(Code::of(a) == Code::of(b), a == b);
            prop_assert!(Code::of(a) == Code::parse(&Code::of(a).expose()).unwrap());
        }

        #[test]
        fn no_text_makes_the_code_parser_panic(typed in ".{0,40}|[0-9 -]{0,12}") {
            let digits: Vec<char> = typed.chars().filter(char::is_ascii_digit).collect();
            if Code::parse(&typed).is_ok() {
                prop_assert_eq!(digits.len(), 6);
            }
        }
    }
}
