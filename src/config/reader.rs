//! Reads structs of settings by serde: a field that is a setting from its layer, any other as a group with settings of its
//! own.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use toml::de::ValueDeserializer;

use super::layers::{Found, Layers};

/// Why a value was not taken, with the setting's variable first.
#[derive(Debug)]
pub(super) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

/// Reads all of it.
///
/// # Errors
/// A sentence that names the setting, its place and what it takes.
pub(super) fn read<T: DeserializeOwned>(layers: &Layers<'_>) -> Result<T, String> {
    T::deserialize(Group(layers)).map_err(|why| why.0)
}

/// A struct whose fields are settings and groups.
struct Group<'a, 'de>(&'a Layers<'de>);

impl<'de> Deserializer<'de> for Group<'_, 'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::custom("a field that is neither a setting nor a group of settings"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(Fields { layers: self.0, fields: fields.iter(), key: "" })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Fields<'a, 'de> {
    layers: &'a Layers<'de>,
    fields: std::slice::Iter<'static, &'static str>,
    /// The field whose value is asked for next.
    key: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let is_there = |key: &str| self.layers.value(key).is_some() || self.layers.setting(key).is_none();
        let Some(key) = self.fields.find(|key| is_there(key)) else { return Ok(None) };
        self.key = key;
        seed.deserialize(IntoDeserializer::<Wrong>::into_deserializer(*key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some(setting) = self.layers.setting(self.key) else { return seed.deserialize(Group(self.layers)) };
        let variable = setting.variable();
        let wrong = |why: &str, place: Option<String>| {
            let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
            // Our own messages say what is taken.
            if why.starts_with("takes ") {
                return Wrong(format!("{variable}{place} {why}"));
            }
            Wrong(format!("{variable}{place}: {}", without_values(why)))
        };
        match self.layers.value(self.key) {
            Some(Found::Text(text)) => {
                seed.deserialize(StrDeserializer::<Wrong>::new(text)).map_err(|why| wrong(&why.0, None))
            }
            Some(Found::Secret(secret)) => {
                seed.deserialize(StrDeserializer::<Wrong>::new(secret.expose())).map_err(|why| wrong(&why.0, None))
            }
            Some(Found::Toml(value)) => seed.deserialize(ValueDeserializer::from(value.clone())).map_err(|why| {
                let start = why.span().map_or(value.span().start, |span| span.start);
                wrong(why.message(), self.layers.place(self.key, start))
            }),
            None => Err(Wrong::custom(format_args!("{variable} has no value"))),
        }
    }
}

/// A message without the texts in double quotes: serde's own say which text stood where it should not, and it may have
/// been a secret.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (message.get(..first), message.get(last + 1..));
            format!("{}\"…\"{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}
