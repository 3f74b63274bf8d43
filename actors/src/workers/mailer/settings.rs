//! How mail leaves the house: the meaning of `SMTP_URL`, `MAIL_FROM` and the files that stand beside them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use url::{Host, ParseError, Url};
use zeroize::Zeroizing;

use super::dkim::Signer;
use super::{hello, trust};
use crate::secrets::secret::{Reader, Secret};

/// What the operator says of mail, as it stands in the settings.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `MAIL_FROM`.
    pub from: String,
    /// `SMTP_PASSWORD`.
    pub password: Option<Secret>,
    /// `SMTP_CA_FILE`.
    pub authority_file: Option<PathBuf>,
    /// `SMTP_EHLO_NAME`.
    pub ehlo_name: Option<String>,
    /// How letters are signed, if they are.
    pub dkim: Option<Dkim>,
}

/// With which key letters are signed, and for whom.
#[derive(Clone, Debug)]
pub struct Dkim {
    /// `CAIRN_DKIM_DOMAIN`.
    pub domain: String,
    /// `CAIRN_DKIM_SELECTOR`.
    pub selector: String,
    /// `CAIRN_DKIM_KEY_FILE`.
    pub key_file: PathBuf,
}

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

/// With what to sign in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: Zeroizing<String>,
}

/// How to reach the mail server, and in whose name.
#[derive(Clone)]
pub struct SmtpSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    /// Authorities for the server's certificate besides the public ones, or that certificate itself.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// The name to greet the server with, in the form of a greeting.
    pub(super) ehlo_name: Option<String>,
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) from: Mailbox,
    pub(super) connections: usize,
    pub(super) limit: Duration,
}

impl SmtpSettings {
    /// Connections at a time.
    pub const CONNECTIONS: usize = 8;
    /// How long one letter may take, from connecting to the server's last word.
    pub const LIMIT: Duration = Duration::from_secs(10);

    /// Reads `SMTP_URL` and all that belongs to it, files included.
    ///
    /// # Errors
    /// A sentence for the operator that names the setting and quotes neither user, password nor key.
    pub fn read(url: &str, said: &Said) -> Result<Self, String> {
        let mut settings = Self::with_password(url, said.password.as_ref().map(Secret::expose), &said.from)?;
        if let Some(path) = &said.authority_file {
            let pem = bytes("SMTP_CA_FILE", path)?;
            settings.authorities =
                trust::certificates(&pem).map_err(|why| format!("SMTP_CA_FILE: {} {why}", path.display()))?;
        }
        if let Some(said) = &said.ehlo_name {
            let name = hello::parse(said).ok_or("SMTP_EHLO_NAME is the name of a host or an address")?;
            settings.ehlo_name = Some(name);
        }
        if let Some(dkim) = &said.dkim {
            settings.signer = Some(Arc::new(signer(dkim)?));
        }
        Ok(settings)
    }

    /// Reads `SMTP_URL` and `MAIL_FROM`, where no file belongs to them.
    ///
    /// `smtp://[user:password@]host[:port][?tls=required]` (port 25, with a user 587) or
    /// `smtps://[user:password@]host[:port]` (port 465). User and password are percent-encoded. The sender is
    /// `name@example.org` or `Some Name <name@example.org>`; letters that cannot be delivered come back there.
    ///
    /// # Errors
    /// A sentence for the operator that quotes neither user nor password.
    pub fn parse(url: &str, from: &str) -> Result<Self, String> {
        Self::with_password(url, None, from)
    }

    fn with_password(url: &str, password: Option<&str>, from: &str) -> Result<Self, String> {
        let no_scheme = || "SMTP_URL begins with smtp:// or smtps://".to_owned();
        if url.chars().any(char::is_control) {
            return Err("SMTP_URL has a control character in it".to_owned());
        }
        let url = Url::parse(url).map_err(|why| match why {
            ParseError::RelativeUrlWithoutBase => no_scheme(),
            ParseError::InvalidPort => bad_port(),
            _ => bad_host(),
        })?;
        let secure = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(no_scheme()),
        };
        if url.fragment().is_some() {
            return Err("SMTP_URL has a # in it; within a password it is written %23".to_owned());
        }
        let encryption = match (secure, url.query()) {
            (true, None | Some("" | "tls=required")) => Encryption::FromTheStart,
            (false, None | Some("")) => Encryption::IfOffered,
            (false, Some("tls=required")) => Encryption::Required,
            _ => {
                return Err("SMTP_URL knows nothing but ?tls=required behind the host; within a password a question \
                            mark is written %3F"
                    .to_owned());
            }
        };
        if !matches!(url.path(), "" | "/") {
            return Err("SMTP_URL has a path; within a password a slash is written %2F".to_owned());
        }
        let credentials = credentials(&url, password)?;
        let host = match url.host().ok_or_else(bad_host)? {
            Host::Ipv6(address) => address.to_string(),
            Host::Ipv4(address) => address.to_string(),
            // Escaped for schemes that the URL standard does not know.
            Host::Domain(name) => {
                percent_decode_str(name).decode_utf8().ok().and_then(|name| to_ascii(&name)).ok_or_else(bad_host)?
            }
        };
        let port = url.port();
        if port == Some(0) {
            return Err(bad_port());
        }
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
            authorities: Vec::new(),
            ehlo_name: None,
            signer: None,
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

    /// What the operator may want to know: a signature of a domain that has nothing to do with the sender's is no
    /// reason to trust the letter (RFC 7489 section 3.1.1).
    pub fn remark(&self) -> Option<String> {
        let (from, signed) = (self.from.email.domain().to_ascii_lowercase(), self.signer.as_ref()?.domain());
        let below = |one: &str, other: &str| one == other || one.ends_with(&format!(".{other}"));
        let aligned = below(&from, signed) || below(signed, &from);
        (!aligned)
            .then(|| format!("letters from {from} are signed for {signed}: receivers will not count that (DMARC)"))
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

/// A file that a setting names.
fn bytes(setting: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(Zeroizing::new).map_err(|why| format!("{setting}: {}: {why}", path.display()))
}

/// Text in ASCII, between lines in any encoding that belong to nobody, as `openssl` writes them.
fn pem(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect())
}

fn signer(dkim: &Dkim) -> Result<Signer, String> {
    let domain = to_ascii(&dkim.domain)
        .filter(|domain| is_name(domain) && domain.contains('.'))
        .ok_or("CAIRN_DKIM_DOMAIN is a domain, such as example.org")?;
    let selector = Some(dkim.selector.clone())
        .filter(|selector| is_name(selector))
        .ok_or("CAIRN_DKIM_SELECTOR is what stands before ._domainkey, such as s2026")?;
    let setting = "CAIRN_DKIM_KEY_FILE";
    let bytes = Reader::of_this_process().bytes(&dkim.key_file).map_err(|why| format!("{setting}: {why}"))?;
    let pem = pem(&bytes);
    Signer::new(domain.to_ascii_lowercase(), selector, &pem)
        .map_err(|why| format!("{setting}: {} {why}", dkim.key_file.display()))
}

/// Labels of letters, digits and hyphens (RFC 6376 section 3.1: a selector is as a domain is).
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            inside && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        })
}

fn credentials(url: &Url, from_file: Option<&str>) -> Result<Option<Credentials>, String> {
    let (user, password) = match (url.username(), url.password(), from_file) {
        ("", None, None) => return Ok(None),
        ("", None, Some(_)) => return Err("SMTP_PASSWORD is of no use without a user in SMTP_URL".to_owned()),
        ("", Some(_), _) => return Err("SMTP_URL has a password without a user".to_owned()),
        (_, Some(_), Some(_)) => {
            return Err("SMTP_URL has a password and SMTP_PASSWORD another; one is enough".to_owned());
        }
        (_, None, None) => {
            return Err("SMTP_URL names a user without a password; it is written user:password@host, or stands in \
                        SMTP_PASSWORD or SMTP_PASSWORD_FILE"
                .to_owned());
        }
        (user, Some(password), None) => (decoded(user)?, decoded(password)?),
        (user, None, Some(password)) => (decoded(user)?, password.to_owned()),
    };
    let password = Zeroizing::new(password);
    if user.chars().chain(password.chars()).any(char::is_control) {
        return Err("SMTP_URL has a control character in user or password".to_owned());
    }
    Ok(Some(Credentials { user, password }))
}

/// Undoes percent-encoding (RFC 3986 section 2.1). A lone % is not taken as it is: nobody knows what was meant.
fn decoded(text: &str) -> Result<String, String> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    for (place, _) in text.match_indices('%') {
        let mut behind = text.as_bytes().iter().skip(place + 1);
        if !(is_digit(behind.next()) && is_digit(behind.next())) {
            return Err("SMTP_URL has a % in user or password that two hexadecimal digits do not follow (%25 is a %)"
                .to_owned());
        }
    }
    let decoded = percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    decoded.map_err(|_| "SMTP_URL has a user or password that is not UTF-8".to_owned())
}

// Neither is quoted in errors: where an @ was forgotten, or a slash was not escaped, this is half of a password.
fn bad_port() -> String {
    "SMTP_URL has a port that is not a number from 1 to 65535; within a password a slash is written %2F, a # %23 and a \
     question mark %3F"
        .to_owned()
}

fn bad_host() -> String {
    "SMTP_URL has no host name or address where one should be".to_owned()
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
    use crate::testing::folder::Folder;

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
        let Some(Credentials { user, password }) = &settings.credentials else { panic!("there are some") };
        assert_eq!((user.as_str(), password.as_str()), ("us@er", "p/a:s%s@w"));
        let settings = parse("smtp://b\u{f6}rse:p\u{f6}st w\"`|^\\ord'()*!$&;=@relay.example").unwrap();
        let Some(Credentials { user, password }) = &settings.credentials else { panic!("there are some") };
        assert_eq!((user.as_str(), password.as_str()), ("b\u{f6}rse", "p\u{f6}st w\"`|^\\ord'()*!$&;="));
    }

    fn said() -> Said {
        Said { from: "cairn@example.org".to_owned(), ..Said::default() }
    }

    #[test]
    fn a_password_may_stand_beside_the_url() {
        let said = Said { password: Some(Secret::new("p/a:s%s w\u{f6}rd")), ..said() };
        let settings = SmtpSettings::read("smtp://us%40er@relay.example", &said).unwrap();
        let Some(Credentials { user, password }) = &settings.credentials else { panic!("there are some") };
        assert_eq!((user.as_str(), password.as_str()), ("us@er", "p/a:s%s w\u{f6}rd"));
        assert_eq!(settings.to_string(), "relay.example:587");
        for url in ["smtp://user:other@relay.example", "smtp://relay.example"] {
            let why = SmtpSettings::read(url, &said).unwrap_err();
            assert!(why.contains("SMTP_PASSWORD") && !why.contains("p/a"), "{why}");
        }
        assert!(!format!("{said:?}").contains("p/a"));
    }

    #[test]
    fn a_file_that_does_not_hold_what_it_should_is_named_and_not_quoted() {
        let folder = Folder::new("mail");
        let garbage = folder.file("garbage", "hunter2\nhunter3\n", 0o600);
        let nowhere = PathBuf::from("/nowhere/at/all");
        let dkim = |domain: &str, selector: &str, path: &Path| Said {
            dkim: Some(Dkim { domain: domain.to_owned(), selector: selector.to_owned(), key_file: path.to_owned() }),
            ..said()
        };
        let authority = |path: &Path| Said { authority_file: Some(path.to_owned()), ..said() };
        for (said, start) in [
            (authority(&nowhere), "SMTP_CA_FILE: /nowhere/at/all: "),
            (authority(&garbage), "SMTP_CA_FILE: "),
            (dkim("example.org", "s1", &nowhere), "CAIRN_DKIM_KEY_FILE: there is no file /nowhere/at/all"),
            (dkim("example.org", "s1", &garbage), "CAIRN_DKIM_KEY_FILE: "),
            (dkim("example", "s1", &garbage), "CAIRN_DKIM_DOMAIN "),
            (dkim("a b.example", "s1", &garbage), "CAIRN_DKIM_DOMAIN "),
            (dkim("example.org", "s1;x=y", &garbage), "CAIRN_DKIM_SELECTOR "),
            (dkim("example.org", "", &garbage), "CAIRN_DKIM_SELECTOR "),
        ] {
            let why = SmtpSettings::read("smtps://relay.example", &said).unwrap_err();
            assert!(why.starts_with(start) && !why.contains("hunter"), "{start}: {why}");
        }
    }

    #[test]
    fn lines_around_a_certificate_or_key_may_be_in_any_encoding() {
        let around = |pem: &str| [b"Subject: O = M\xfcller\n".as_slice(), pem.as_bytes(), b"\xff\n"].concat();
        let folder = Folder::new("mail");
        let authority = folder.file("latin-ca", around(include_str!("trust/server.pem")), 0o600);
        let key = folder.file("latin-key", around(include_str!("dkim/ed25519.pem")), 0o600);
        let dkim = Dkim { domain: "example.org".to_owned(), selector: "s1".to_owned(), key_file: key.clone() };
        let said = Said { authority_file: Some(authority.clone()), dkim: Some(dkim), ..said() };
        let settings = SmtpSettings::read("smtps://relay.example", &said).unwrap();
        assert!(settings.authorities.len() == 1 && settings.signer.is_some());
    }

    #[test]
    fn letters_are_signed_for_the_domain_they_come_from_or_that_is_remarked() {
        let folder = Folder::new("mail");
        let key = folder.file("key", include_str!("dkim/ed25519.pem"), 0o600);
        for (from, domain, aligned) in [
            ("cairn@example.org", "example.org", true),
            ("cairn@mail.Example.org", "example.org", true),
            ("cairn@example.org", "mail.example.org", true),
            ("cairn@anexample.org", "example.org", false),
            ("cairn@example.com", "example.org", false),
        ] {
            let dkim = Dkim { domain: domain.to_owned(), selector: "s1".to_owned(), key_file: key.clone() };
            let said = Said { from: from.to_owned(), dkim: Some(dkim), ..Said::default() };
            let settings = SmtpSettings::read("smtp://relay.example", &said).unwrap();
            assert_eq!(settings.remark().is_none(), aligned, "{from} {domain}");
        }
        assert_eq!(parse("smtp://relay.example").unwrap().remark(), None);
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
            "smtp:user:hunter2@relay.example",
            "smtp://user:hun\nter2@relay.example",
            "smtp://user:12/hunter2@relay.example",
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
