//! How mail leaves the house: the meaning of `SMTP_URL` and `MAIL_FROM`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;

/// When the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// By STARTTLS if the server offers it (`smtp://`). Against eavesdroppers only (RFC 7435): whoever can change what
    /// passes can also take the offer away, so the certificate is not checked unless a password is to be sent.
    IfOffered,
    /// By STARTTLS, or there is no mail (`smtp://…?tls=required`, RFC 3207).
    Required,
    /// From the first byte (`smtps://`, RFC 8314).
    FromTheStart,
}

/// How to reach the mail server, and in whose name.
#[derive(Clone)]
pub struct SmtpSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    pub(super) from: Mailbox,
    pub(super) connections: usize,
    pub(super) limit: Duration,
}

impl SmtpSettings {
    /// Connections at a time.
    pub const CONNECTIONS: usize = 8;
    /// How long one letter may take, from connecting to the server's last word.
    pub const LIMIT: Duration = Duration::from_secs(10);

    /// Reads `SMTP_URL` and `MAIL_FROM`.
    ///
    /// `smtp://[user:password@]host[:port][?tls=required]` (port 25, with a user 587) or
    /// `smtps://[user:password@]host[:port]` (port 465). User and password are percent-encoded. The sender is
    /// `name@example.org` or `Some Name <name@example.org>`; letters that cannot be delivered come back there.
    ///
    /// # Errors
    /// A sentence for the operator that quotes neither user nor password.
    pub fn parse(url: &str, from: &str) -> Result<Self, String> {
        let (secure, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("smtp") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("smtps") => (true, rest),
            _ => return Err("SMTP_URL begins with smtp:// or smtps://".to_owned()),
        };
        if rest.contains('#') {
            return Err("SMTP_URL has a # in it; within a password it is written %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let encryption = match (secure, query) {
            (true, None | Some("" | "tls=required")) => Encryption::FromTheStart,
            (false, None | Some("")) => Encryption::IfOffered,
            (false, Some("tls=required")) => Encryption::Required,
            _ => {
                return Err("SMTP_URL knows nothing but ?tls=required behind the host; within a password a question \
                            mark is written %3F"
                    .to_owned());
            }
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return Err("SMTP_URL has a path; within a password a slash is written %2F".to_owned());
        }
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let credentials = user.map(credentials).transpose()?;
        let (host, port) = host_and_port(place)?;
        let usual = match (encryption, &credentials) {
            (Encryption::FromTheStart, _) => 465,
            (_, Some(_)) => 587,
            (_, None) => 25,
        };
        Ok(Self {
            host,
            port: port.unwrap_or(usual),
            encryption,
            credentials,
            from: sender(from)?,
            connections: Self::CONNECTIONS,
            limit: Self::LIMIT,
        })
    }

    /// With other bounds than [`SmtpSettings::CONNECTIONS`] and [`SmtpSettings::LIMIT`]. The limit stays well below the
    /// time for which a delivery is claimed, else another node sends the letter as well.
    #[must_use]
    pub fn bounded(self, connections: usize, limit: Duration) -> Self {
        Self { connections, limit, ..self }
    }

    /// The address letters come from and come back to.
    pub fn from(&self) -> String {
        self.from.to_string()
    }

    /// When the connection is encrypted.
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// Whether the server runs on this very machine.
    pub(super) fn is_local(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Host and port, nothing else.
impl fmt::Display for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed_in = if self.credentials.is_some() { ", with a password" } else { "" };
        write!(f, "SmtpSettings({self}, {:?}{signed_in})", self.encryption)
    }
}

fn credentials(user: &str) -> Result<Credentials, String> {
    let (user, password) =
        user.split_once(':').ok_or("SMTP_URL names a user without a password; it is written user:password@host")?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    if user.is_empty() {
        return Err("SMTP_URL has a password without a user".to_owned());
    }
    if user.chars().chain(password.chars()).any(char::is_control) {
        return Err("SMTP_URL has a control character in user or password".to_owned());
    }
    Ok(Credentials::new(user, password))
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "SMTP_URL has a % in user or password that two hexadecimal digits do not follow (%25 is a %)";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).map_err(|_| wrong())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| "SMTP_URL has a user or password that is not UTF-8".to_owned())
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), String> {
    // Neither is quoted in errors: where an @ was forgotten, this is half of a password.
    let bad_port = || "SMTP_URL has a port that is not a number from 1 to 65535".to_owned();
    let bad_host = || "SMTP_URL has no host name or address where one should be".to_owned();
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (literal, rest) = rest.split_once(']').ok_or_else(bad_host)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| bad_host())?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad_port)?) };
        (address.to_string(), port)
    } else {
        let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
        (to_ascii(host).ok_or_else(bad_host)?, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?)
        }
        Some(_) => return Err(bad_port()),
    };
    Ok((host, port))
}

fn to_ascii(host: &str) -> Option<String> {
    // A name in a container network may have underscores, which no certificate has but a plain connection may.
    let plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if plain {
        return Some(host.to_owned());
    }
    Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn sender(from: &str) -> Result<Mailbox, String> {
    let wrong = || "MAIL_FROM is an address, name@example.org or Some Name <name@example.org>".to_owned();
    let from = from.trim();
    if from.is_empty() {
        return Err("MAIL_FROM is missing: the address that letters come from".to_owned());
    }
    if from.chars().any(char::is_control) {
        return Err(wrong());
    }
    let mailbox: Mailbox = from.parse().map_err(|_| wrong())?;
    let domain = to_ascii(mailbox.email.domain()).ok_or_else(wrong)?;
    if !mailbox.email.user().is_ascii() {
        return Err("MAIL_FROM has letters before the @ that not every mail server takes".to_owned());
    }
    let email = Address::new(mailbox.email.user(), domain).map_err(|_| wrong())?;
    Ok(Mailbox::new(mailbox.name, email))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<SmtpSettings, String> {
        SmtpSettings::parse(url, "cairn@example.org")
    }

    #[test]
    fn schemes_say_how_the_connection_is_encrypted_and_which_port_is_usual() {
        for (url, shown, encryption) in [
            ("smtp://relay.example", "relay.example:25", Encryption::IfOffered),
            ("smtp://relay.example/", "relay.example:25", Encryption::IfOffered),
            ("smtp://u:p@relay.example", "relay.example:587", Encryption::IfOffered),
            ("smtp://relay.example?tls=required", "relay.example:25", Encryption::Required),
            ("smtp://u:p@relay.example:2525/?tls=required", "relay.example:2525", Encryption::Required),
            ("SMTPS://relay.example", "relay.example:465", Encryption::FromTheStart),
            ("smtps://u:p@[::1]", "[::1]:465", Encryption::FromTheStart),
            ("smtp://mail_pit:1025", "mail_pit:1025", Encryption::IfOffered),
            ("smtp://m\u{fc}ller.example", "xn--mller-kva.example:25", Encryption::IfOffered),
        ] {
            let settings = parse(url).unwrap();
            assert_eq!((settings.to_string(), settings.encryption()), (shown.to_owned(), encryption), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let settings = parse("smtp://us%40er:p%2Fa%3As%25s@w@relay.example").unwrap();
        assert!(settings.credentials == Some(Credentials::new("us@er".to_owned(), "p/a:s%s@w".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "",
            "relay.example",
            "http://user:hunter2@relay.example",
            "smtp://",
            "smtp://user@relay.example",
            "smtp://:hunter2@relay.example",
            "smtp://user:hunter2@",
            "smtp://user:hunter2@:25",
            "smtp://user:hunter2@relay.example:0",
            "smtp://user:hunter2@relay.example:65536",
            "smtp://user:hunter2@relay.example:+25",
            "smtp://user:hunter2@relay.example:",
            "smtp://user:hunter2@relay example",
            "smtp://user:hunter2@[::1",
            "smtp://user:hunter2@[hunter2]",
            "smtp://user:hunter2@[::1]25",
            "smtp://user:hunter2/3@relay.example",
            "smtp://user:hunter2?3@relay.example",
            "smtp://user:hunter2#3@relay.example",
            "smtp://user:hunter2%3@relay.example",
            "smtp://user:hunter2%zz@relay.example",
            "smtp://user:hunter2%ff@relay.example",
            "smtp://user:hunter2%0d%0a@relay.example",
            "smtp://user:hunter2@relay.example?tls=never",
            "smtps://user:hunter2@relay.example?password=hunter2",
            "smtp://user:hunter2",
        ] {
            let why = parse(url).unwrap_err();
            assert!(
                why.starts_with("SMTP_URL ") && !why.contains("hunter2") && !why.contains("user:h"),
                "{url}: {why}"
            );
        }
        let shown = format!("{:?}", parse("smtp://user:hunter2@relay.example").unwrap());
        assert_eq!(shown, "SmtpSettings(relay.example:587, IfOffered, with a password)");
    }

    #[test]
    fn the_sender_is_an_address_with_or_without_a_name() {
        let from = |from: &str| SmtpSettings::parse("smtp://relay.example", from).map(|settings| settings.from());
        assert_eq!(from("cairn@example.org").unwrap(), "cairn@example.org");
        assert_eq!(from(" Example Ltd <cairn@example.org> ").unwrap(), "Example Ltd <cairn@example.org>");
        assert_eq!(from("cairn@m\u{fc}ller.example").unwrap(), "cairn@xn--mller-kva.example");
        for wrong in ["", "  ", "nobody", "a@", "a@b.example\r\nBcc: c@d.example", "A <a@b.example", "\u{fc}@b.example"]
        {
            let why = from(wrong).unwrap_err();
            assert!(why.starts_with("MAIL_FROM "), "{wrong}: {why}");
        }
    }

    #[test]
    fn only_this_very_machine_is_local() {
        for (url, local) in [
            ("smtp://127.0.0.1:25", true),
            ("smtp://localhost", true),
            ("smtp://[::1]", true),
            ("smtp://10.0.0.1", false),
            ("smtp://localhost.example", false),
        ] {
            assert_eq!(parse(url).unwrap().is_local(), local, "{url}");
        }
    }
}
