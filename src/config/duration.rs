//! Spans of time as settings write them.

use std::time::Duration;

/// `90` and `90s` are seconds; `10m`, `24h` and `30d` what they say.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) => (digits, text.chars().last()?),
        None => (text, 's'),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let factor = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => 1,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    // A hundred years; beyond, an instant could not be written down.
    (seconds <= 100 * 366 * 86_400).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Some(Duration::from_secs(2_592_000)));
        for bad in ["", "m", "1w", "-1", "1.5h", "99999999999999999999"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
