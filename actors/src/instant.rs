//! Instants as text: RFC 3339 in UTC, always with three digits of a second, so that texts sort as the instants do.

use cairn_runtime::Timestamp;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const FORM: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The text of an instant; `None` beyond the year 9999.
pub fn text(at: Timestamp) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok()?.format(FORM).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_as_their_instants_do() {
        let texts: Vec<String> =
            [0, 40, 400, 999, 1_000, 1_795_277_205_384].into_iter().map(|at| text(Timestamp(at)).unwrap()).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[1], "1970-01-01T00:00:00.040Z");
        assert_eq!(text(Timestamp(i64::MAX)), None);
    }
}
