//! The words of all letters, one file a language, and how an instant reads in it.
//!
//! A text may have places such as `{host}` in it, which are filled in before it goes into a template. To add a
//! language, translate `en.json` and choose between the two where [`super::theme`] reads it now.

use std::collections::BTreeMap;

use cairn_runtime::Timestamp;
use serde::Deserialize;
use time::OffsetDateTime;

/// Texts by their names.
pub(super) type Texts = BTreeMap<String, String>;

/// One language's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    /// Its tag (BCP 47), for `lang` in the HTML part.
    pub(super) language: String,
    months: [String; 12],
    instant: String,
    /// What all letters say.
    pub(super) shared: Texts,
    /// What each letter says, by [`crate::letters::Letter::name`].
    pub(super) letters: BTreeMap<String, Texts>,
}

impl Language {
    /// An instant for people: to the minute, rounded down, so that nothing is promised for longer than it holds; in UTC.
    pub(super) fn instant(&self, at: Timestamp) -> Option<String> {
        let at = OffsetDateTime::from_unix_timestamp(at.seconds()).ok()?;
        let month = self.months.get(usize::from(u8::from(at.month())).checked_sub(1)?)?;
        Some(fill(
            &self.instant,
            &[
                ("day", &at.day().to_string()),
                ("month", month),
                ("year", &at.year().to_string()),
                ("time", &format!("{:02}:{:02}", at.hour(), at.minute())),
            ],
        ))
    }
}

/// Puts values into the `{places}` of a text. What a value says is not looked at again.
pub fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let place = after.split_once('}').and_then(|(name, behind)| {
            let (_, value) = places.iter().find(|(known, _)| *known == name)?;
            Some((*value, behind))
        });
        match place {
            Some((value, behind)) => {
                out.push_str(value);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The same for many texts.
pub(super) fn fill_all(texts: &Texts, places: &[(&str, &str)]) -> Texts {
    texts.iter().map(|(name, text)| (name.clone(), fill(text, places))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_place_is_no_place() {
        assert_eq!(fill("{a} and {b} {c}", &[("a", "{b}"), ("b", "x")]), "{b} and x {c}");
        assert_eq!(fill("{", &[]), "{");
    }
}
