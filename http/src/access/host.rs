//! Which `Host` a listener answers to. A page of another site whose name was made to resolve to this machine (DNS
//! rebinding) carries that name, which it cannot change.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::HOST;

/// The hosts that a listener answers to; all others are misdirected (421).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Every one. For what stands behind a proxy that may rewrite the header.
    Any,
    /// These, in lower case, without a port: names, IPv4 addresses, IPv6 addresses without brackets.
    These(Vec<String>),
    /// Every IP address, `localhost`, and these names.
    AddressesAnd(Vec<String>),
}

impl Hosts {
    /// Whether a request with these headers is meant for the listener. A request without `Host`, or with two, is meant for
    /// nobody in particular: only [`Hosts::Any`] answers it.
    #[must_use]
    pub fn include(&self, headers: &HeaderMap) -> bool {
        let listed = |names: &[String]| named(headers).is_some_and(|host| names.contains(&host));
        match self {
            Self::Any => true,
            Self::These(names) => listed(names),
            Self::AddressesAnd(names) => names_this_machine(headers) || listed(names),
        }
    }
}

/// Whether `Host` is an IP address or `localhost`: what no name server can make of another site's name.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> bool {
    named(headers)
        .is_some_and(|host| host == "localhost" || host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok())
}

/// The host of the one `Host` header (RFC 9110, section 7.2), in lower case, without its port, brackets and final dot.
pub(crate) fn named(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all(HOST).iter();
    match (given.next(), given.next()) {
        (Some(host), None) => host_of(host.to_str().ok()?),
        _ => None,
    }
}

/// The host of `host[:port]`, as [`named`] gives it. `None` for what is neither.
#[must_use]
pub fn host_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let host = host.strip_suffix('.').unwrap_or(host);
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            (Some(host).filter(|host| !host.is_empty() && host.bytes().all(fits))?.to_ascii_lowercase(), port)
        }
    };
    let digits = if port.is_empty() { port } else { port.strip_prefix(':')? };
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(hosts: &[&'static str]) -> HeaderMap {
        hosts.iter().map(|host| (HOST, HeaderValue::from_static(host))).collect()
    }

    #[test]
    fn a_listener_answers_to_its_own_hosts_and_to_no_name_that_leads_to_it() {
        let operations = Hosts::AddressesAnd(vec!["cairn".to_owned()]);
        for good in
            ["127.0.0.1", "127.0.0.1:8081", "[::1]:8081", "10.1.2.3:80", "localhost", "LocalHost.:1", "cairn:8081"]
        {
            assert!(operations.include(&headers(&[good])), "{good}");
        }
        for other in [
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.1",
            "0x7f000001",
            "[::1].evil.example",
            "::1",
            "localhost:x",
            "local host",
            "cairn.evil.example",
            "user@localhost",
            ":8081",
            "",
        ] {
            assert!(!operations.include(&headers(&[other])), "{other}");
        }
        assert!(!operations.include(&headers(&[])));
        assert!(!operations.include(&headers(&["localhost", "localhost"])));
    }

    #[test]
    fn a_list_of_hosts_is_the_whole_list() {
        let public = Hosts::These(vec!["id.example.org".to_owned(), "::1".to_owned()]);
        for good in ["id.example.org", "ID.example.org:443", "[::1]:8080", "[0:0::1]"] {
            assert!(public.include(&headers(&[good])), "{good}");
        }
        for other in ["127.0.0.1", "localhost", "example.org", "x.id.example.org"] {
            assert!(!public.include(&headers(&[other])), "{other}");
        }
        assert!(Hosts::Any.include(&headers(&["evil.example"])) && Hosts::Any.include(&headers(&[])));
    }
}
