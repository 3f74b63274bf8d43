//! Rate limits as settings write them: `30/1m`, or two quotas, `10/1m 60/1h`.

use cairn_http::access::rate::Quotas;

use super::duration::duration;
use super::names::takes;

/// A day: what is counted in memory is not kept longer.
const LONGEST: u32 = 86_400;
/// More than any client asks within a day.
const MOST: u32 = 1_000_000;

/// The name of a bucket's setting.
pub(super) fn setting(bucket: &str) -> String {
    format!("limit_{}", bucket.replace('-', "_"))
}

/// Reads the settings of all buckets.
pub(super) fn quotas(text: impl Fn(&str) -> String) -> Result<Quotas, String> {
    let mut quotas = Quotas::default();
    for bucket in Quotas::names() {
        let name = setting(bucket);
        let wrong = || takes(&name, "one or two of requests/span, such as 30/1m or 10/1m 60/1h, with spans up to 1d");
        let read = text(&name);
        let words = read.split([' ', ',']).filter(|word| !word.is_empty());
        let read: Vec<(u32, u32)> = words.map(quota).collect::<Option<_>>().ok_or_else(wrong)?;
        quotas.set(bucket, &read).map_err(|why| format!("{}: {why}", wrong()))?;
    }
    Ok(quotas)
}

fn quota(word: &str) -> Option<(u32, u32)> {
    let (requests, span) = word.split_once('/')?;
    if !requests.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let requests = requests.parse().ok().filter(|requests| (1..=MOST).contains(requests))?;
    let seconds = u32::try_from(duration(span)?.as_secs()).ok().filter(|seconds| (1..=LONGEST).contains(seconds))?;
    Some((requests, seconds))
}

#[cfg(test)]
mod tests {
    use super::super::names::NAMES;
    use super::*;

    #[test]
    fn every_bucket_has_a_setting_whose_default_is_what_it_holds() {
        let default = |name: &str| {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            found.unwrap_or_else(|| panic!("no setting {name}")).1.to_owned()
        };
        assert_eq!(quotas(default).unwrap(), Quotas::default());
        let buckets: Vec<String> = Quotas::names().map(setting).collect();
        for (name, _) in NAMES.iter().filter(|(name, _)| name.starts_with("limit_") && *name != "limit_code_failures") {
            assert!(buckets.contains(&(*name).to_owned()), "{name} is the setting of no bucket");
        }
    }

    #[test]
    fn a_limit_is_requests_in_a_span_and_may_have_a_second() {
        let with = |login: &str| {
            let login = login.to_owned();
            quotas(move |name| if name == "limit_login" { login.clone() } else { "1/1".to_owned() })
        };
        for good in ["30/1m", "30/60", "100/1h 5/1m", "5/1m,100/1h", " 5/1m  ", "1000000/1d"] {
            assert!(with(good).is_ok(), "{good}");
        }
        assert_eq!(with("30/1m").unwrap(), with("30/60").unwrap());
        assert_eq!(with("100/1h 5/1m").unwrap(), with("5/1m,100/1h").unwrap());
        for bad in [
            "",
            "off",
            "30",
            "30/",
            "/1m",
            "0/1m",
            "30/0",
            "+3/1m",
            "-3/1m",
            "3.5/1m",
            "30/2d",
            "1000001/1m",
            "30/1w",
            "1/1m 2/1h 3/1d",
            "1/1m 2/60",
            "30/1m/1h",
        ] {
            let why = with(bad).unwrap_err();
            assert!(why.starts_with("CAIRN_LIMIT_LOGIN takes one or two of requests/span"), "{bad}: {why}");
        }
    }
}
