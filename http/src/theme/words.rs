//! The words of all pages, one file a language, and how an instant reads in it.
//!
//! A text may have places such as `{address}` in it, which are filled in before it goes into a template, where it is
//! escaped. To add a language, translate `en.json` and choose between the two where [`Words::english`] is used now.

use std::collections::BTreeMap;

use cairn_actors::instant;
pub(crate) use cairn_actors::letters::fill;
use cairn_runtime::Timestamp;
use serde::Deserialize;

/// Texts by their names.
pub(crate) type Texts = BTreeMap<String, String>;

/// One language's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    /// Its tag (BCP 47), for `lang`.
    pub(crate) language: String,
    months: [String; 12],
    /// An instant of today.
    clock: String,
    /// An instant of another day.
    date: String,
    /// What all pages say.
    pub(crate) shared: Texts,
    /// What is wrong with a value, by the word for programs. What is not here is said by the service itself.
    pub(crate) errors: Texts,
    /// Where a letter is.
    pub(crate) mail: Texts,
    /// What happened to an account: `kind.name`, or `kind.name.phase` for one phase only.
    pub(crate) history: Texts,
    /// What a scope lets a client do. A scope that is not here is shown as it is written.
    #[serde(default)]
    pub(crate) scopes: Texts,
    /// What each page says.
    pub(crate) pages: BTreeMap<String, Texts>,
}

impl Words {
    /// English, the only language so far.
    pub(crate) fn english() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../templates/en.json"))
    }

    /// An instant for people, in UTC, to the minute: rounded up, so that nobody is asked back too early.
    pub(crate) fn instant(&self, at: Timestamp, now: Timestamp) -> String {
        let minute = Timestamp(at.0.saturating_add(59_999).div_euclid(60_000).saturating_mul(60_000));
        self.to_the_minute(minute, now)
    }

    /// An instant that is over, in UTC, to the minute.
    pub(crate) fn past(&self, at: Timestamp, now: Timestamp) -> String {
        self.to_the_minute(at, now)
    }

    fn to_the_minute(&self, at: Timestamp, now: Timestamp) -> String {
        let (Some(at), Some(now)) = (instant::text(at), instant::text(now)) else { return String::new() };
        let (Some(day), Some(clock)) = (at.get(..10), at.get(11..16)) else { return at };
        if now.starts_with(day) {
            return fill(&self.clock, &[("clock", clock)]);
        }
        let part = |range: std::ops::Range<usize>| day.get(range).unwrap_or_default();
        let month = part(5..7).parse::<usize>().ok().and_then(|month| self.months.get(month.checked_sub(1)?));
        let month = month.map_or("", String::as_str);
        let number = part(8..10).trim_start_matches('0');
        fill(&self.date, &[("day", number), ("month", month), ("year", part(0..4)), ("clock", clock)])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

    use super::*;

    #[test]
    fn an_instant_of_today_is_a_time_and_of_another_day_a_date() {
        let words = Words::english().unwrap();
        let noon = Timestamp(1_795_262_400_000);
        assert_eq!(words.past(noon, noon), "12:00 UTC");
        assert_eq!(words.instant(Timestamp(noon.0 + 1), noon), "12:01 UTC");
        assert_eq!(words.past(Timestamp(noon.0 + 86_400_000), noon), "22 November 2026, 12:00 UTC");
    }
}
