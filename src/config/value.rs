//! How a value is read: the same from text, which the environment has, and from the settings file's numbers, booleans and
//! lists. Every type of a setting says here what it takes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;

use cairn_actors::identity::disposable::Disposable;
use cairn_actors::identity::reserved::Reserved;
use cairn_actors::secrets::hasher::HashEngine;
use cairn_actors::secrets::secret::Secret;
use cairn_http::theme::Accent;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A type that a setting may have.
pub(super) trait Value: Sized {
    /// Whether the value is a secret, which may stand in a file of its own.
    const SECRET: bool = false;
    /// Whether commas separate the parts of the text, so that it may be a list in the file.
    const LIST: bool = false;

    /// What the setting takes, as errors and the page of settings say it.
    fn takes() -> Cow<'static, str>;

    /// Reads a text.
    ///
    /// # Errors
    /// What is to be said behind [`Value::takes`]: nothing, or what exactly is wrong. Never the value of a secret.
    fn read(text: &str) -> Result<Self, String>;

    /// What a boolean of the file means.
    fn switched(_on: bool) -> Option<Self> {
        None
    }
}

/// Reads a setting, for `#[serde(deserialize_with)]`.
pub(super) fn value<'de, T: Value, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Reading(PhantomData))
}

struct Reading<T>(PhantomData<T>);

impl<T: Value> Reading<T> {
    fn text<E: Error>(text: &str) -> Result<T, E> {
        T::read(text).map_err(|more| E::custom(format_args!("takes {}{more}", T::takes())))
    }

    /// Serde's own messages quote the value, which may be a secret.
    fn wrong<E: Error>() -> E {
        E::custom(format_args!("takes {}", T::takes()))
    }
}

impl<'de, T: Value> Visitor<'de> for Reading<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::takes())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Self::text(text)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Self::text(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Self::text(&number.to_string())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<T, E> {
        Self::text(&number.to_string())
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<T, E> {
        Self::text(&number.to_string())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(Self::wrong())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<T, E> {
        T::switched(on).ok_or_else(Self::wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        if !T::LIST {
            return Err(Self::wrong());
        }
        let mut texts: Vec<String> = Vec::new();
        while let Some(text) = items.next_element().map_err(|_: A::Error| Self::wrong::<A::Error>())? {
            texts.push(text);
        }
        Self::text(&texts.join(","))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(Self::wrong())
    }
}

/// A setting that may be left out: an empty text is as good as none.
impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;
    const LIST: bool = T::LIST;

    fn takes() -> Cow<'static, str> {
        T::takes()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }

    fn switched(on: bool) -> Option<Self> {
        T::switched(on).map(Some)
    }
}

/// A list, whose items say in the plural what they take.
impl<T: Value> Value for Vec<T> {
    const LIST: bool = true;

    fn takes() -> Cow<'static, str> {
        T::takes()
    }

    fn read(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| T::read(item).map_err(|_| format!(", and not {item}"))).collect()
    }
}

impl Value for String {
    fn takes() -> Cow<'static, str> {
        "a text".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn takes() -> Cow<'static, str> {
        "a text".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::new(text))
    }
}

impl Value for PathBuf {
    fn takes() -> Cow<'static, str> {
        "a path".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }
}

impl Value for SocketAddr {
    fn takes() -> Cow<'static, str> {
        "an address and a port".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }
}

impl Value for bool {
    fn takes() -> Cow<'static, str> {
        "on or off".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        one_of(text, [("on", true), ("off", false)])
    }

    fn switched(on: bool) -> Option<Self> {
        Some(on)
    }
}

/// A whole number of seconds, which may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) i64);

impl Value for Seconds {
    fn takes() -> Cow<'static, str> {
        "a whole number of seconds".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| String::new())
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<const LEAST: u32, const MOST: u32>(pub(super) u32);

impl<const LEAST: u32, const MOST: u32> Value for Number<LEAST, MOST> {
    fn takes() -> Cow<'static, str> {
        format!("a number from {LEAST} to {MOST}").into()
    }

    fn read(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
        number.map(Self).ok_or_else(String::new)
    }
}

/// Whether anybody may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsOpen(pub(super) bool);

impl Value for IsOpen {
    fn takes() -> Cow<'static, str> {
        "open or closed".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        one_of(text, [("open", Self(true)), ("closed", Self(false))])
    }
}

/// Whether logs are JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsJson(pub(super) bool);

impl Value for IsJson {
    fn takes() -> Cow<'static, str> {
        "text or json".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        one_of(text, [("text", Self(false)), ("json", Self(true))])
    }
}

/// Levels of what is logged, in all or by target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels(pub(super) String);

impl Value for Levels {
    const LIST: bool = true;

    fn takes() -> Cow<'static, str> {
        "levels, such as info or info,cairn_runtime=debug".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

/// The name above every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl Value for Name {
    fn takes() -> Cow<'static, str> {
        "a name of 1 to 60 characters".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        let wrong = text.trim().is_empty() || text.chars().count() > 60 || text.chars().any(char::is_control);
        if wrong { Err(String::new()) } else { Ok(Self(text.to_owned())) }
    }
}

impl Value for Accent {
    const LIST: bool = true;

    fn takes() -> Cow<'static, str> {
        "one colour or two, such as #0b57d0 or #0b57d0,#a8c7fa".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|why| format!(": {why}"))
    }
}

impl Value for Reserved {
    const LIST: bool = true;

    fn takes() -> Cow<'static, str> {
        "a list of usernames".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|why| format!(": {why}"))
    }
}

impl Value for Disposable {
    fn takes() -> Cow<'static, str> {
        "allow, ask or refuse".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }
}

impl Value for HashEngine {
    fn takes() -> Cow<'static, str> {
        "fast or reference".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|()| String::new())
    }
}

fn one_of<T, const WORDS: usize>(text: &str, words: [(&str, T); WORDS]) -> Result<T, String> {
    words.into_iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning).ok_or_else(String::new)
}
