//! The name by which we greet a mail server (RFC 5321 section 4.1.1.1).
//!
//! What must stay true: it is a full name or an address in brackets. Many servers refuse each recipient of a client that
//! says a bare word, and in a container the machine's name is one.

use std::net::IpAddr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The name for the host of the public URL; where that is of this machine alone, the machine's own, if it is a full one.
/// `None`: the address by which the server sees us.
pub(super) fn name(public_host: &str, machine: &str) -> Option<String> {
    let public_host = public_host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = public_host.parse::<IpAddr>() {
        let address = address.to_canonical();
        if !address.is_loopback() && !address.is_unspecified() {
            return Some(literal(address));
        }
        return full(machine);
    }
    full(public_host).or_else(|| full(machine))
}

/// A name of several labels that is not of this machine alone.
fn full(name: &str) -> Option<String> {
    let name = to_ascii(name)?;
    // A name of figures is no name.
    let figures = name.rsplit('.').next().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    let own = name.ends_with(".localhost") || name.ends_with(".localdomain");
    (name.contains('.') && !own && !figures).then_some(name)
}

fn to_ascii(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    name.ok().map(std::borrow::Cow::into_owned)
}

/// An address as it stands in a greeting (RFC 5321 section 4.1.3).
pub(super) fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// What the operator wants it to be: a name, or an address with or without brackets.
pub(super) fn parse(said: &str) -> Option<String> {
    let said = said.trim();
    let bare = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = bare.map(|bare| bare.strip_prefix("IPv6:").unwrap_or(bare));
    if let Some(address) = bare.or(Some(said)).and_then(|bare| bare.parse::<IpAddr>().ok()) {
        return Some(literal(address));
    }
    if bare.is_some() { None } else { to_ascii(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_greeted_by_a_full_name_or_by_an_address() {
        for (public_host, machine, greeting) in [
            ("id.example.org", "afecba3b2e68", Some("id.example.org")),
            ("xn--bcher-kva.example", "mail.example.org", Some("xn--bcher-kva.example")),
            ("192.0.2.7", "mail.example.org", Some("[192.0.2.7]")),
            ("[2001:db8::7]", "mail.example.org", Some("[IPv6:2001:db8::7]")),
            ("localhost", "mail.example.org", Some("mail.example.org")),
            ("127.0.0.1", "Mail.Example.org.", Some("mail.example.org")),
            ("[::1]", "mail.example.org", Some("mail.example.org")),
            ("0.0.0.0", "mail.example.org", Some("mail.example.org")),
            ("cairn", "mail.example.org", Some("mail.example.org")),
            ("cairn.localhost", "mail.example.org", Some("mail.example.org")),
            ("localhost", "afecba3b2e68", None),
            ("127.0.0.1", "localhost.localdomain", None),
            ("127.0.0.1", "", None),
            ("127.0.0.1", "a b.example", None),
            ("127.0.0.1", "a.b\r\nRSET", None),
            ("127.0.0.1", "10.0.0.5", None),
        ] {
            assert_eq!(name(public_host, machine).as_deref(), greeting, "{public_host} {machine}");
        }
    }

    #[test]
    fn an_operator_may_name_a_host_or_an_address() {
        for (said, meant) in [
            ("mail.example.org", Some("mail.example.org")),
            ("B\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("relay", Some("relay")),
            ("192.0.2.7", Some("[192.0.2.7]")),
            ("[192.0.2.7]", Some("[192.0.2.7]")),
            ("2001:db8::7", Some("[IPv6:2001:db8::7]")),
            ("[IPv6:2001:db8::7]", Some("[IPv6:2001:db8::7]")),
            ("[relay]", None),
            ("a b", None),
            ("a_b.example", None),
            ("a\r\nRSET", None),
            ("http://relay", None),
            ("", None),
        ] {
            assert_eq!(parse(said).as_deref(), meant, "{said}");
        }
    }
}
