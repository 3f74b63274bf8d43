//! The cookies that Cairn sets: what they are called, how they are written, and which of those that came are its own.
//!
//! With TLS every name begins with `__Host-`, so that no other host and no plain connection can have set it
//! (draft-ietf-httpbis-rfc6265bis, section 4.1.3). Without TLS, which is for a developer's own machine, the names go
//! without. Cookies know no ports: where the public URL has one of its own, the names carry it, so that two instances on
//! one host keep out of each other's way.

use std::time::Duration;

use http::{HeaderValue, Uri};

use crate::request::Request;

/// The cookies that Cairn sets.
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
    /// The proof by which the browser is known to somebody who signed in with it.
    Device,
}

impl Cookie {
    const fn word(self) -> &'static str {
        match self {
            Self::Browser => "cairn_browser",
            Self::Flows => "cairn_flows",
            Self::Next => "cairn_next",
            Self::Session => "cairn_session",
            Self::Device => "cairn_device",
        }
    }
}

/// What the cookies of one instance are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// They need TLS.
    secure: bool,
    /// The port of the public URL, where it is not the usual one of its scheme.
    port: Option<u16>,
}

impl Names {
    /// By the public URL.
    pub(crate) fn of(public_url: &str) -> Self {
        let secure = public_url.starts_with("https://");
        let port = public_url.parse::<Uri>().ok().and_then(|url| url.port_u16());
        Self { secure, port: port.filter(|port| *port != if secure { 443 } else { 80 }) }
    }

    /// The name of a cookie.
    pub(crate) fn name(self, cookie: Cookie) -> String {
        match self.port {
            Some(port) => format!("{}_{port}", self.older(cookie)),
            None => self.older(cookie),
        }
    }

    /// Its name from before the port was part of it.
    fn older(self, cookie: Cookie) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}{}", cookie.word())
    }

    /// The value of a cookie, if it came and is not empty.
    pub(crate) fn read(self, cookie: Cookie, request: &Request) -> Option<&str> {
        request.cookie(&self.name(cookie)).filter(|value| !value.is_empty())
    }

    /// The value that came under the name from before, where nothing came under the present one. It may be another
    /// instance's: what it is worth, it must show by itself.
    pub(crate) fn read_older(self, cookie: Cookie, request: &Request) -> Option<&str> {
        if self.port.is_none() || self.read(cookie, request).is_some() {
            return None;
        }
        request.cookie(&self.older(cookie)).filter(|value| !value.is_empty())
    }

    /// The header that sets a cookie: out of scripts' reach, not sent along with what other sites post, for so long, or
    /// until the browser ends. `None` for a value that cannot stand in a cookie.
    pub(crate) fn set(self, cookie: Cookie, value: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
        self.line(&self.name(cookie), value, lasts)
    }

    /// The header that takes a cookie away.
    pub(crate) fn clear(self, cookie: Cookie) -> Option<HeaderValue> {
        self.set(cookie, "", Some(Duration::ZERO))
    }

    /// The header that takes away what came under the name from before.
    pub(crate) fn clear_older(self, cookie: Cookie) -> Option<HeaderValue> {
        self.line(&self.older(cookie), "", Some(Duration::ZERO))
    }

    fn line(self, name: &str, value: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !value.bytes().all(plain) {
            return None;
        }
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if self.secure {
            text.push_str("; Secure");
        }
        if let Some(lasts) = lasts {
            text.push_str(&format!("; Max-Age={}", lasts.as_secs()));
        }
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: Option<HeaderValue>) -> String {
        header.and_then(|value| value.to_str().map(str::to_owned).ok()).unwrap_or_default()
    }

    #[test]
    fn with_tls_a_cookie_is_of_this_host_alone() {
        let tls = Names::of("https://id.example.org");
        let set = text(tls.set(Cookie::Session, "cairn_sc_x.usr_y", Some(Duration::from_secs(60))));
        assert_eq!(set, "__Host-cairn_session=cairn_sc_x.usr_y; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        let plain = text(Names::of("http://localhost").set(Cookie::Device, "x", None));
        assert_eq!(plain, "cairn_device=x; Path=/; HttpOnly; SameSite=Lax");
        assert!(text(tls.clear(Cookie::Flows)).starts_with("__Host-cairn_flows=; Path=/"));
    }

    #[test]
    fn a_name_carries_the_port_where_it_is_not_the_usual_one() {
        for (url, name) in [
            ("https://id.example.org", "__Host-cairn_session"),
            ("https://id.example.org:443", "__Host-cairn_session"),
            ("https://id.example.org:8443", "__Host-cairn_session_8443"),
            ("http://localhost:80", "cairn_session"),
            ("http://127.0.0.1:8080", "cairn_session_8080"),
            ("http://[::1]:8081", "cairn_session_8081"),
            ("http://127.0.0.1:443", "cairn_session_443"),
        ] {
            assert_eq!(Names::of(url).name(Cookie::Session), name, "{url}");
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_cookie() {
        for bad in ["a;b", "a\r\nb", "a b", "a\"b", "ä"] {
            assert_eq!(Names::of("http://localhost").set(Cookie::Browser, bad, None), None, "{bad}");
        }
    }
}
