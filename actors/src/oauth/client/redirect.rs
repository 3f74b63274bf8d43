//! Which redirect URIs are a client's: exactly those that are registered, but for the port of a loopback address
//! (RFC 9700 section 2.1, RFC 8252 section 7.3).

use crate::oauth::uri::AbsoluteUri;

/// Hosts that are the machine itself.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Whether a redirect URI is among those that are registered. `native`: the client is public, so that the port of a
/// registered `http` URI of the machine itself is free: an application there takes whatever port it is given.
pub fn is_registered(uri: &AbsoluteUri, registered: &[AbsoluteUri], native: bool) -> bool {
    registered.contains(uri)
        || native
            && without_port(uri.as_str()).is_some_and(|bare| {
                registered.iter().any(|known| without_port(known.as_str()).is_some_and(|known| known == bare))
            })
}

/// Host and what follows the port of an `http` URI of the machine itself; `None` for any other.
fn without_port(uri: &str) -> Option<(&'static str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    LOOPBACK.into_iter().find_map(|host| {
        let rest = rest.strip_prefix(host)?;
        let after = match rest.strip_prefix(':') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (port, after) = rest.split_at_checked(digits)?;
                port.parse::<u16>().ok()?;
                after
            }
            None => rest,
        };
        (after.is_empty() || after.starts_with(['/', '?'])).then_some((host, after))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn registered(uri: &str, known: &str, native: bool) -> bool {
        is_registered(&AbsoluteUri::parse(uri).unwrap(), &[AbsoluteUri::parse(known).unwrap()], native)
    }

    #[test]
    fn a_redirect_uri_is_compared_as_it_stands() {
        assert!(registered("https://a.example/cb?x=1", "https://a.example/cb?x=1", false));
        for (uri, known) in [
            ("https://a.example/cb/", "https://a.example/cb"),
            ("https://a.example/cb?x=2", "https://a.example/cb"),
            ("https://A.example/cb", "https://a.example/cb"),
            ("https://a.example:443/cb", "https://a.example/cb"),
            ("https://a.example/cb/../evil", "https://a.example/cb"),
            ("https://127.0.0.1:1/cb", "https://127.0.0.1:2/cb"),
        ] {
            assert!(!registered(uri, known, true), "{uri}");
        }
    }

    #[test]
    fn the_port_of_the_machine_itself_is_free_for_public_clients_only() {
        for host in LOOPBACK {
            let known = format!("http://{host}/cb");
            for uri in [format!("http://{host}:5123/cb"), format!("http://{host}:1/cb"), known.clone()] {
                assert!(registered(&uri, &known, true), "{uri}");
                assert_eq!(registered(&uri, &known, false), uri == known, "{uri}");
            }
            assert!(registered(&known, &format!("http://{host}:8080/cb"), true));
            for uri in [
                format!("http://{host}:5123/other"),
                format!("http://{host}:99999/cb"),
                format!("http://{host}:/cb@evil.example"),
                format!("http://{host}:1@evil.example/cb"),
                format!("http://{host}.evil.example/cb"),
                format!("http://{host}evil.example/cb"),
                format!("https://{host}:5123/cb"),
            ] {
                assert!(!registered(&uri, &known, true), "{uri}");
            }
        }
        assert!(!registered("http://127.0.0.1:1/cb", "http://localhost/cb", true));
    }
}
