//! The header `Forwarded` (RFC 7239), read strictly: what is malformed names nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that one line of `Forwarded` names by `for=`, nearest proxy last; `None` stands for an element that
/// names no address: `unknown`, an obfuscated identifier (`_hidden`), or none at all (RFC 7239 sections 4 and 6).
///
/// A line that breaks the grammar anywhere gives `None` as a whole. Its quotes then cannot be paired for sure, so
/// nobody can tell which comma ends an element: a client could swallow what a proxy wrote behind its own text.
pub(super) fn named(line: &[u8]) -> Option<Vec<Option<IpAddr>>> {
    let mut rest = line;
    let mut elements = Vec::new();
    loop {
        rest = after_space(rest);
        // Empty elements of a list are to be ignored (RFC 9110 section 5.6.1.2).
        if let Some(behind) = rest.strip_prefix(b",") {
            rest = behind;
            continue;
        }
        if rest.is_empty() {
            return Some(elements);
        }
        let (named, behind) = element(rest)?;
        elements.push(named);
        match behind.split_first() {
            None => return Some(elements),
            Some((b',', behind)) => rest = behind,
            Some(_) => return None,
        }
    }
}

/// One element: pairs with semicolons between them, up to a comma or the end. No parameter may stand twice
/// (RFC 7239 section 4); of a doubled `for` nobody knows who wrote which.
fn element(mut rest: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut named = None;
    loop {
        rest = after_space(rest);
        let (name, behind) = token(rest)?;
        let name = name.to_ascii_lowercase();
        let (value, behind) = value(behind.strip_prefix(b"=")?)?;
        if name == b"for" {
            named = node(&value);
        }
        if names.contains(&name) {
            return None;
        }
        names.push(name);
        rest = after_space(behind);
        match rest.strip_prefix(b";") {
            Some(behind) => rest = behind,
            None => return Some((named, rest)),
        }
    }
}

/// A token or a quoted string (RFC 9110 sections 5.6.2 and 5.6.4).
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        return token(text).map(|(token, behind)| (token.to_vec(), behind));
    };
    let mut value = Vec::new();
    loop {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'"' => return Some((value, rest)),
            b'\\' => {
                let (escaped, behind) = rest.split_first()?;
                value.push(*escaped);
                rest = behind;
            }
            other => value.push(*other),
        }
    }
}

fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (length > 0).then(|| text.split_at(length))
}

fn after_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = text {
        text = behind;
    }
    text
}

/// The address of a node (RFC 7239 section 6): IPv6 in brackets, behind either a port, which may be obfuscated.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address)
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What a line names, `-` where an element names no address.
    fn read(line: &str) -> Option<String> {
        let named = named(line.as_bytes())?;
        let words = named.iter().map(|address| address.map_or("-".to_owned(), |address| address.to_string()));
        Some(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 7239 sections 4, 6.1 and 7.1.
        assert_eq!(read("for=\"_gazonk\"").unwrap(), "-");
        assert_eq!(read("For=\"[2001:db8:cafe::17]:4711\"").unwrap(), "2001:db8:cafe::17");
        assert_eq!(read("for=192.0.2.60;proto=http;by=203.0.113.43").unwrap(), "192.0.2.60");
        assert_eq!(read("for=192.0.2.43, for=198.51.100.17").unwrap(), "192.0.2.43 198.51.100.17");
        assert_eq!(read("for=_hidden, for=_SEVKISEK, for=unknown").unwrap(), "- - -");
        assert_eq!(read("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"").unwrap(), "192.0.2.43 2001:db8:cafe::17");
        assert_eq!(read("for=\"192.0.2.43:47011\"").unwrap(), "192.0.2.43");
    }

    #[test]
    fn what_is_allowed_but_rare_is_read_too() {
        assert_eq!(read("FOR=\"192.0.2.1:_port-1\" ; by=_me").unwrap(), "192.0.2.1");
        assert_eq!(read("for=\"192.0\\.2.1\"").unwrap(), "192.0.2.1");
        assert_eq!(read(" , for=192.0.2.1 ,\t, proto=https ,").unwrap(), "192.0.2.1 -");
        assert_eq!(read("host=\"a,b;for=192.0.2.9\";for=192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(read("").unwrap(), "");
    }

    #[test]
    fn an_element_that_names_no_address_names_nobody() {
        for node in [
            "\"2001:db8::1\"",
            "\"[192.0.2.1]\"",
            "\"[2001:db8::1\"",
            "\"[2001:db8::1]443\"",
            "\"192.0.2.1:\"",
            "\"192.0.2.1:123456\"",
            "\"192.0.2.1:-1\"",
            "\"192.0.2.1:_\"",
            "\" 192.0.2.1\"",
            "\"\"",
            "192.0.2.256",
            "localhost",
            "\"\u{fc}\"",
        ] {
            assert_eq!(read(&format!("for={node}")).as_deref(), Some("-"), "{node}");
        }
    }

    #[test]
    fn a_malformed_line_says_nothing_at_all() {
        for line in [
            "for",
            "for=",
            "=192.0.2.1",
            "for=192.0.2.1;",
            "for=192.0.2.1 for=192.0.2.2",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;proto=http;PROTO=https",
            "for = 192.0.2.1",
            "for=2001:db8::1",
            "for=[2001:db8::1]",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\\"",
            "for=\"192.0.2.1\"x",
            "x=\", for=192.0.2.1",
            "x=\"\\, for=192.0.2.1",
            "x=\", for=192.0.2.2, for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
