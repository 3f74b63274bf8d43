//! Browsers: what came of the cookies that Cairn has set, and what they are set to next.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderValue;

use super::cookie::{Cookie, Names};
use crate::request::Request;

/// How long a browser may go on with a flow that it began. No flow waits for longer.
pub(crate) const FLOWS_LAST: Duration = Duration::from_secs(7 * 86_400);
/// Octets of the cookie of destinations: browsers keep 4 096 with name and attributes. The longest one fits.
const LONGEST_NEXT: usize = 3_500;
/// What stands behind the credential in the cookie of a session that ends with the browser, which does not say so itself.
const ENDS: &str = ".ends";

/// What a browser brought, and the name that it goes by from now on.
#[derive(Debug)]
pub(crate) struct Browser {
    /// Sixteen bytes in base64url.
    pub(crate) id: String,
    /// It had no name, or none of ours: it is given this one with the next page.
    pub(crate) is_new: bool,
    /// The credentials of flows, the newest first.
    pub(crate) flows: Vec<String>,
    /// Flows, and where whoever began them wanted to go: as it came, so it may be anything.
    pub(crate) destinations: Vec<(String, String)>,
    /// The credential of the session's cookie, good or not.
    pub(crate) session: Option<String>,
    /// The session's cookie outlives the browser: the person asked to stay signed in.
    pub(crate) stays: bool,
    /// The session's cookie came under the name from before, and is to be moved to the present one.
    pub(crate) is_renamed: bool,
    /// What its cookies are called.
    pub(crate) names: Names,
}

impl Browser {
    /// Reads the cookies of a request; a browser without a name gets one out of `seed`. `ours` says of the credential of a
    /// session whether it is this instance's: under the name from before, another's may have come.
    pub(crate) fn of(request: &Request, names: Names, seed: [u8; 32], ours: impl Fn(&str) -> bool) -> Self {
        let of = |cookie: Cookie| names.read(cookie, request);
        let known = of(Cookie::Browser).filter(|id| Base64UrlUnpadded::decode_vec(id).is_ok_and(|id| id.len() == 16));
        let fresh =
            || Base64UrlUnpadded::encode_string(seed.first_chunk::<16>().map_or(&[][..], |half| half.as_slice()));
        let bare = |text: &str| text.strip_suffix(ENDS).unwrap_or(text).to_owned();
        let older = || names.read_older(Cookie::Session, request).filter(|text| ours(&bare(text)));
        let (session, is_renamed) = match of(Cookie::Session) {
            Some(session) => (Some(session), false),
            None => older().map_or((None, false), |session| (Some(session), true)),
        };
        Self {
            is_new: known.is_none(),
            id: known.map_or_else(fresh, str::to_owned),
            flows: of(Cookie::Flows)
                .or_else(|| names.read_older(Cookie::Flows, request))
                .map(flows)
                .unwrap_or_default(),
            destinations: of(Cookie::Next).map(destinations).unwrap_or_default(),
            session: session.map(bare),
            stays: session.is_some_and(|text| !text.ends_with(ENDS)),
            is_renamed,
            names,
        }
    }

    /// The cookie of a session: for as long as it lasts where the person wants to stay signed in, else until the browser
    /// ends.
    pub(crate) fn with_session(&self, credential: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
        match lasts {
            Some(lasts) => self.names.set(Cookie::Session, credential, Some(lasts)),
            None => self.names.set(Cookie::Session, &format!("{credential}{ENDS}"), None),
        }
    }

    /// The credentials of flows as they are asked with.
    pub(crate) fn flows(&self) -> Vec<&str> {
        self.flows.iter().map(String::as_str).collect()
    }

    /// The cookie with one more flow, the oldest left out where there are too many.
    pub(crate) fn with_flow(&self, credential: &str, most: usize) -> Option<HeaderValue> {
        let others = self.flows.iter().map(String::as_str).filter(|known| *known != credential);
        let all: Vec<&str> = std::iter::once(credential).chain(others).take(most).collect();
        self.names.set(Cookie::Flows, &all.join("."), Some(FLOWS_LAST))
    }

    /// The cookie with the destination of one more flow. The oldest are left out where there is no room.
    pub(crate) fn with_destination(&self, flow: &str, next: &str) -> Option<HeaderValue> {
        self.destinations(Some((flow, next)), flow)
    }

    /// The cookie without the destination of a flow, if it has one.
    pub(crate) fn without_destination(&self, flow: &str) -> Option<HeaderValue> {
        if !self.destinations.iter().any(|(known, _)| known == flow) {
            return None;
        }
        match self.destinations.len() {
            1 => self.names.clear(Cookie::Next),
            _ => self.destinations(None, flow),
        }
    }

    fn destinations(&self, first: Option<(&str, &str)>, but: &str) -> Option<HeaderValue> {
        let others = self.destinations.iter().filter(|(known, _)| known != but);
        let others = others.map(|(flow, next)| (flow.as_str(), next.as_str()));
        let mut text = String::new();
        for (flow, next) in first.into_iter().chain(others) {
            let one = format!("{flow}.{}", Base64UrlUnpadded::encode_string(next.as_bytes()));
            if text.len() + one.len() >= LONGEST_NEXT {
                break;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&one);
        }
        self.names.set(Cookie::Next, &text, Some(FLOWS_LAST))
    }
}

/// Takes a cookie apart. Longer lists than we ever write are cut.
fn flows(value: &str) -> Vec<String> {
    value.split('.').filter(|one| !one.is_empty() && one.len() <= 128).take(8).map(str::to_owned).collect()
}

/// Takes a cookie of destinations apart. What we never wrote is left out.
fn destinations(value: &str) -> Vec<(String, String)> {
    let mut parts = value.split('.');
    let pairs = std::iter::from_fn(|| Some((parts.next()?, parts.next()?)));
    pairs
        .take(8)
        .filter_map(|(flow, next)| {
            let next = Base64UrlUnpadded::decode_vec(next).ok()?;
            Some((flow.to_owned(), String::from_utf8(next).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: Option<HeaderValue>) -> String {
        header.and_then(|value| value.to_str().map(str::to_owned).ok()).unwrap_or_default()
    }

    #[test]
    fn destinations_are_kept_by_their_flow_and_the_oldest_give_way() {
        let mut browser = Browser {
            id: String::new(),
            is_new: false,
            flows: Vec::new(),
            destinations: Vec::new(),
            session: None,
            stays: false,
            is_renamed: false,
            names: Names::of("https://id.example.org"),
        };
        let long = format!("/authorize?{}", "x".repeat(2_037));
        for (flow, next) in [("reg_1", "/one"), ("reg_2", "/two?a=b&c"), ("reg_1", "/once/more"), ("reg_3", &long)] {
            let set = text(browser.with_destination(flow, next));
            assert!(set.len() < 4_096, "{set}");
            let value = set.split(['=', ';']).nth(1).unwrap_or_default();
            browser.destinations = destinations(value);
            assert_eq!(browser.destinations.first(), Some(&(flow.to_owned(), next.to_owned())), "{set}");
        }
        let flows: Vec<&str> = browser.destinations.iter().map(|(flow, _)| flow.as_str()).collect();
        assert_eq!(flows, ["reg_3", "reg_1", "reg_2"]);
        let set = text(browser.with_destination("reg_4", &long));
        let kept = destinations(set.split(['=', ';']).nth(1).unwrap_or_default());
        assert_eq!(kept.len(), 1, "there is no room for two of the longest");
        for junk in ["", "reg_1", "reg_1.~", "reg_1._w", "....", "a.b.c"] {
            assert!(destinations(junk).iter().all(|(_, next)| next.is_empty()), "{junk}");
        }
    }
}
