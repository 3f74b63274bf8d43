//! Browsers: the cookies that Cairn sets, their names, and what came back of them.
//!
//! With TLS every name begins with `__Host-`, so that no other host and no plain connection can have set it
//! (draft-ietf-httpbis-rfc6265bis, section 4.1.3). Without TLS, which is for a developer's own machine, the names go
//! without.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderValue;

use crate::request::Request;

/// The cookies of this house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Names the browser to the forms that it was given: 16 random bytes.
    Browser,
    /// The credentials of the flows that the browser began, the newest first.
    Flows,
    /// Where whoever began a flow wanted to go, by the flow.
    Next,
    /// The session that the browser signed in to.
    Session,
}

/// How long a browser may go on with a flow that it began. No flow waits for longer.
pub(crate) const FLOWS_LAST: Duration = Duration::from_secs(7 * 86_400);
/// Octets of the cookie of destinations: browsers keep 4 096 with name and attributes. The longest one fits.
const LONGEST_NEXT: usize = 3_500;
/// What stands behind the credential in the cookie of a session that ends with the browser, which does not say so itself.
const ENDS: &str = ".ends";

impl Cookie {
    /// Its name, with TLS or without.
    pub(crate) fn name(self, secure: bool) -> &'static str {
        let name = match self {
            Self::Browser => "__Host-cairn_browser",
            Self::Flows => "__Host-cairn_flows",
            Self::Next => "__Host-cairn_next",
            Self::Session => "__Host-cairn_session",
        };
        if secure { name } else { name.trim_start_matches("__Host-") }
    }

    /// The header that sets it: out of scripts' reach, not sent along with what other sites post, for so long, or until
    /// the browser ends. `None` for a value that cannot stand in a cookie.
    pub(crate) fn set(self, secure: bool, value: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !value.bytes().all(plain) {
            return None;
        }
        let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", self.name(secure));
        if secure {
            text.push_str("; Secure");
        }
        if let Some(lasts) = lasts {
            text.push_str(&format!("; Max-Age={}", lasts.as_secs()));
        }
        HeaderValue::try_from(text).ok()
    }

    /// The header that takes it away.
    pub(crate) fn clear(self, secure: bool) -> Option<HeaderValue> {
        self.set(secure, "", Some(Duration::ZERO))
    }
}

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
    /// Whether cookies need TLS.
    pub(crate) secure: bool,
}

impl Browser {
    /// Reads the cookies of a request; a browser without a name gets one out of `seed`.
    pub(crate) fn of(request: &Request, secure: bool, seed: [u8; 32]) -> Self {
        let of = |cookie: Cookie| request.cookie(cookie.name(secure)).filter(|value| !value.is_empty());
        let known = of(Cookie::Browser).filter(|id| Base64UrlUnpadded::decode_vec(id).is_ok_and(|id| id.len() == 16));
        let fresh =
            || Base64UrlUnpadded::encode_string(seed.first_chunk::<16>().map_or(&[][..], |half| half.as_slice()));
        let session = of(Cookie::Session);
        let ends = session.and_then(|text| text.strip_suffix(ENDS));
        Self {
            is_new: known.is_none(),
            id: known.map_or_else(fresh, str::to_owned),
            flows: of(Cookie::Flows).map(flows).unwrap_or_default(),
            destinations: of(Cookie::Next).map(destinations).unwrap_or_default(),
            session: ends.or(session).map(str::to_owned),
            stays: session.is_some() && ends.is_none(),
            secure,
        }
    }

    /// The cookie of a session: for as long as it lasts where the person wants to stay signed in, else until the browser
    /// ends.
    pub(crate) fn with_session(&self, credential: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
        match lasts {
            Some(lasts) => Cookie::Session.set(self.secure, credential, Some(lasts)),
            None => Cookie::Session.set(self.secure, &format!("{credential}{ENDS}"), None),
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
        Cookie::Flows.set(self.secure, &all.join("."), Some(FLOWS_LAST))
    }

    /// The cookie with the destination of one more flow. The oldest are left out where there is no room.
    pub(crate) fn with_destination(&self, flow: &str, next: &str) -> Option<HeaderValue> {
        let others = self.destinations.iter().filter(|(known, _)| known != flow);
        let others = others.map(|(flow, next)| (flow.as_str(), next.as_str()));
        let mut text = String::new();
        for (flow, next) in std::iter::once((flow, next)).chain(others) {
            let one = format!("{flow}.{}", Base64UrlUnpadded::encode_string(next.as_bytes()));
            if text.len() + one.len() >= LONGEST_NEXT {
                break;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&one);
        }
        Cookie::Next.set(self.secure, &text, Some(FLOWS_LAST))
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
    fn with_tls_a_cookie_is_of_this_host_alone() {
        let set = text(Cookie::Session.set(true, "cairn_sc_x.usr_y", Some(Duration::from_secs(60))));
        assert_eq!(set, "__Host-cairn_session=cairn_sc_x.usr_y; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        let plain = text(Cookie::Session.set(false, "x", None));
        assert_eq!(plain, "cairn_session=x; Path=/; HttpOnly; SameSite=Lax");
        assert!(text(Cookie::Flows.clear(true)).contains("__Host-cairn_flows=; Path=/"));
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
            secure: true,
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

    #[test]
    fn nothing_can_be_smuggled_into_a_cookie() {
        for bad in ["a;b", "a\r\nb", "a b", "a\"b", "ä"] {
            assert_eq!(Cookie::Browser.set(true, bad, None), None, "{bad}");
        }
    }
}
