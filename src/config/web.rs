//! The settings that name places on the web: the public URL, origins and hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cairn_http::access::client_address::Network;
use cairn_http::access::host::host_of;
use url::Url;

use super::names::{takes, variable};

/// A public URL is scheme and host, perhaps a port; without a final slash it is what links, `iss` and `aud` begin with.
///
/// It is taken as browsers write an origin (RFC 6454, section 6.2), because that is what they send us and what clients
/// compare: scheme and host in lower case, an international name as A-labels, no port that is the scheme's own.
pub(super) fn parse_public_url(typed: &str, remarks: &mut Vec<String>) -> Result<String, String> {
    let wrong = || takes("public_url", "a URL such as https://id.example.org, without a user and without a path");
    let bare = typed.strip_suffix('/').unwrap_or(typed);
    let lower = bare.to_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).ok_or_else(wrong)?;
    // The parser would mend these, and take a backslash for a slash.
    if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\@?#".contains(c)) {
        return Err(wrong());
    }
    let parsed = Url::parse(bare).map_err(|_| wrong())?;
    let no_host = |host: &str| host.is_empty() || host.starts_with('.') || host.contains("..");
    if parsed.host_str().is_none_or(no_host) || parsed.port() == Some(0) {
        return Err(wrong());
    }
    let url = parsed.origin().ascii_serialization();
    if url != bare {
        remarks.push(format!("{} is taken as {url}", variable("public_url")));
    }
    Ok(url)
}

/// Addresses and blocks of addresses.
pub(super) fn proxies(listed: &[String]) -> Result<Vec<Network>, String> {
    let read = |proxy: &String| {
        let what = format!("addresses and blocks such as 10.0.0.0/8, and not {proxy}");
        proxy.parse().map_err(|_| takes("trusted_proxies", &what))
    };
    listed.iter().map(read).collect()
}

/// Hosts are compared in lower case and without a port.
pub(super) fn hosts(name: &str, listed: Vec<String>) -> Result<Vec<String>, String> {
    let read = |host: &String| {
        let bare = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.clone() };
        let known = host_of(&bare).filter(|known| *host == known.as_str() || bare == format!("[{known}]"));
        known.ok_or_else(|| {
            takes(name, &format!("hosts in lower case without a port, such as id.example.org, and not {host}"))
        })
    };
    listed.iter().map(read).collect()
}

/// Origins are compared with the header that browsers send, octet by octet: what no browser writes would never match.
pub(super) fn origins(listed: Vec<String>) -> Result<Vec<String>, String> {
    match listed.iter().find(|origin| !is_origin(origin)) {
        None => Ok(listed),
        Some(odd) => {
            let what = format!("origins as browsers write them, such as https://app.example.org, and not {odd}");
            Err(takes("cors_origins", &what))
        }
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
