//! The settings that name places on the web: the public URL, origins and hosts.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cairn_http::access::client_address::Network;
use cairn_http::access::host::host_of;
use url::Url;

use super::value::Value;

/// Scheme and host, perhaps a port, without a final slash: what links, `iss` and `aud` begin with.
///
/// It is taken as browsers write an origin (RFC 6454, section 6.2), because that is what they send us and what clients
/// compare: scheme and host in lower case, an international name as A-labels, no port that is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicUrl {
    pub(super) url: String,
    /// Whether it was written otherwise, but for a final slash.
    pub(super) is_changed: bool,
}

impl Value for PublicUrl {
    fn takes() -> Cow<'static, str> {
        "a URL such as https://id.example.org, without a user and without a path".into()
    }

    fn read(typed: &str) -> Result<Self, String> {
        let bare = typed.strip_suffix('/').unwrap_or(typed);
        let url = origin_of(bare).ok_or_else(String::new)?;
        Ok(Self { is_changed: url != bare, url })
    }
}

fn origin_of(bare: &str) -> Option<String> {
    let lower = bare.to_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"))?;
    // The parser would mend these, and take a backslash for a slash.
    if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\@?#".contains(c)) {
        return None;
    }
    let parsed = Url::parse(bare).ok()?;
    let no_host = |host: &str| host.is_empty() || host.starts_with('.') || host.contains("..");
    if parsed.host_str().is_none_or(no_host) || parsed.port() == Some(0) {
        return None;
    }
    Some(parsed.origin().ascii_serialization())
}

impl Value for Network {
    fn takes() -> Cow<'static, str> {
        "addresses and blocks such as 10.0.0.0/8".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }
}

/// A name or an address, in lower case and without a port, as hosts are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(pub(super) String);

impl Value for Host {
    fn takes() -> Cow<'static, str> {
        "hosts in lower case without a port, such as id.example.org".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        let bare = if text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
        let known = host_of(&bare).filter(|known| text == known.as_str() || bare == format!("[{known}]"));
        known.map(Self).ok_or_else(String::new)
    }
}

/// An origin as browsers write it: it is compared with their header, octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin(pub(super) String);

impl Value for Origin {
    fn takes() -> Cow<'static, str> {
        "origins as browsers write them, such as https://app.example.org".into()
    }

    fn read(text: &str) -> Result<Self, String> {
        if is_origin(text) { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }
}

/// Scheme, host and a port that is not the scheme's own, in lower case (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let own_port = match scheme {
        "https" => 443,
        "http" => 80,
        // Of an application that brings its own browser.
        _ => 0,
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(fits) {
        return false;
    }
    if let Some(literal) = rest.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(host, port)| {
            host.parse::<Ipv6Addr>().is_ok_and(|known| known.to_string() == host) && is_port(port, own_port)
        });
    }
    let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let named = host.split('.').all(|label| !label.is_empty() && label.bytes().all(plain));
    // What ends in a number is an address to browsers, and written as one.
    let numbered = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    named && (!numbered || host.parse::<Ipv4Addr>().is_ok()) && is_port(port, own_port)
}

/// Nothing, or a colon and a number that says something.
fn is_port(text: &str, own: u16) -> bool {
    let Some(number) = text.strip_prefix(':') else { return text.is_empty() };
    number.parse::<u16>().is_ok_and(|port| port != own && port.to_string() == number)
}

/// Whether a URL's host is this machine.
pub(crate) fn is_on_loopback(url: &str) -> bool {
    let Ok(parsed) = url.parse::<http::Uri>() else { return false };
    let host = parsed.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}
