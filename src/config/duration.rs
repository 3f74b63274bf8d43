//! Spans of time as settings write them.

use std::borrow::Cow;
use std::time::Duration;

use super::value::Value;

impl Value for Duration {
    fn takes() -> Cow<'static, str> {
        "a duration such as 90, 10m or 24h".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        duration(text).ok_or_else(String::new)
    }
}

/// How long something lasts, which is more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Duration);

impl Value for Lifetime {
    fn takes() -> Cow<'static, str> {
        "a duration of more than nothing, such as 90, 10m or 24h".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        duration(text).filter(|span| !span.is_zero()).map(Self).ok_or_else(String::new)
    }
}

/// A wait, which may be given in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay(pub(super) Duration);

impl Value for Delay {
    fn takes() -> Cow<'static, str> {
        "a duration of at most 10m, such as 500ms, 5 or 1m".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        delay(text).map(Self).ok_or_else(String::new)
    }
}

/// `90` and `90s` are seconds; `10m`, `24h` and `30d` what they say.
pub(crate) fn duration(text: &str) -> Option<Duration> {
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

/// As [`duration`], and in milliseconds (`500ms`): for a wait, not for how long something lasts. Ten minutes at most.
fn delay(text: &str) -> Option<Duration> {
    let delay = match text.strip_suffix("ms") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Duration::from_millis(digits.parse().ok()?)
        }
        Some(_) => return None,
        None => duration(text)?,
    };
    (delay <= Duration::from_secs(600)).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_may_be_in_milliseconds_and_is_ten_minutes_at_most() {
        for (text, millis) in
            [("500ms", 500), ("0", 0), ("0ms", 0), ("5", 5_000), ("10m", 600_000), ("600000ms", 600_000)]
        {
            assert_eq!(delay(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "ms", "-1ms", "1.5ms", "11m", "600001ms", "5 ms"] {
            assert_eq!(delay(bad), None, "{bad}");
        }
        assert_eq!(duration("500ms"), None, "nothing lasts so short");
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Some(Duration::from_secs(2_592_000)));
        for bad in ["", "m", "1w", "-1", "1.5h", "99999999999999999999"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
