//! Rate limits as settings write them: `30/1m`, or two quotas, `10/1m 60/1h`.

use std::borrow::Cow;

use cairn_http::access::rate::Quotas;

use super::duration::duration;
use super::settings::Rates;
use super::value::Value;

/// A day: what is counted in memory is not kept longer.
const LONGEST: u32 = 86_400;
/// More than any client asks within a day.
const MOST: u32 = 1_000_000;

/// What a bucket holds: requests, and the seconds in which so many are let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit(Vec<(u32, u32)>);

impl Value for Limit {
    const LIST: bool = true;

    fn takes() -> Cow<'static, str> {
        "one or two of requests/span, such as 30/1m or 10/1m 60/1h, with spans up to 1d".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let quotas: Vec<(u32, u32)> = words.map(quota).collect::<Option<_>>().ok_or_else(String::new)?;
        match quotas.as_slice() {
            [(_, one), (_, other)] if one == other => Err(": two quotas have the same span".to_owned()),
            [_] | [_, _] => Ok(Self(quotas)),
            _ => Err(String::new()),
        }
    }
}

impl Rates {
    /// Each bucket and what it holds.
    fn buckets(&self) -> [(&'static str, &Limit); 17] {
        [
            ("register", &self.limit_register),
            ("login", &self.limit_login),
            ("login-identifier", &self.limit_login_identifier),
            ("code", &self.limit_code),
            ("reset", &self.limit_reset),
            ("refresh", &self.limit_refresh),
            ("resend", &self.limit_resend),
            ("status", &self.limit_status),
            ("events", &self.limit_events),
            ("page", &self.limit_page),
            ("account", &self.limit_account),
            ("change", &self.limit_change),
            ("advice", &self.limit_advice),
            ("history", &self.limit_history),
            ("export", &self.limit_export),
            ("authorize", &self.limit_authorize),
            ("token", &self.limit_token),
        ]
    }

    /// What all buckets hold.
    ///
    /// # Errors
    /// A bucket that does not take it.
    pub(super) fn quotas(&self) -> Result<Quotas, String> {
        let mut quotas = Quotas::default();
        for (bucket, limit) in self.buckets() {
            quotas.set(bucket, &limit.0).map_err(|why| format!("the limit of the bucket {bucket}: {why}"))?;
        }
        Ok(quotas)
    }
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
    use super::super::Config;
    use super::super::settings::settings;
    use super::*;

    #[test]
    fn every_bucket_has_a_setting_whose_default_is_what_it_holds() {
        let read = Config::of(None, &[].into()).unwrap();
        assert_eq!(read.quotas, Quotas::default());
        let of_settings: Vec<String> = settings()
            .filter_map(|setting| setting.key.strip_prefix("limit_"))
            .filter(|name| *name != "code_failures")
            .map(|name| name.replace('_', "-"))
            .collect();
        let mut buckets: Vec<&str> = Quotas::names().collect();
        buckets.sort_unstable();
        let mut named: Vec<&str> = of_settings.iter().map(String::as_str).collect();
        named.sort_unstable();
        assert_eq!(named, buckets, "left: settings, right: buckets");
    }

    #[test]
    fn a_limit_is_that_of_its_own_bucket() {
        for bucket in Quotas::names() {
            let name = format!("CAIRN_LIMIT_{}", bucket.replace('-', "_").to_uppercase());
            let read = Config::of(None, &[(name, "7/3s".to_owned())].into()).unwrap();
            let mut expected = Quotas::default();
            expected.set(bucket, &[(7, 3)]).unwrap();
            assert_eq!(read.quotas, expected, "{bucket}");
        }
    }

    #[test]
    fn a_limit_is_requests_in_a_span_and_may_have_a_second() {
        let with = |login: &str| {
            Config::of(None, &[("CAIRN_LIMIT_LOGIN".to_owned(), login.to_owned())].into()).map(|config| config.quotas)
        };
        for good in ["30/1m", "30/60", "100/1h 5/1m", "5/1m,100/1h", " 5/1m  ", "1000000/1d"] {
            assert!(with(good).is_ok(), "{good}");
        }
        assert_eq!(with("30/1m").unwrap(), with("30/60").unwrap());
        assert_eq!(with("100/1h 5/1m").unwrap(), with("5/1m,100/1h").unwrap());
        for bad in [
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
        assert!(Limit::read("").is_err());
    }
}
