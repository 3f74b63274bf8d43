//! An e-mail address, which exists only parsed: shown as typed, compared in one canonical form, mailed in ASCII.
//!
//! What is accepted is deliberately less than RFC 5321 allows: no quoted local parts, no comments, no IP literals.
//! Hardly anybody has such an address, and each of those forms has been a way to smuggle something into a header.

use std::fmt;
use std::hash::{Hash, Hasher};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::identity::visible::visible_domain;

/// The longest address in octets, typed or mailed (RFC 5321 section 4.5.3.1.3, less the angle brackets).
pub const LONGEST_ADDRESS: usize = 254;
/// The longest local part in octets (RFC 5321 section 4.5.3.1.1).
const LONGEST_LOCAL_PART: usize = 64;
/// The longest domain and the longest label of one (RFC 1035 section 2.3.4).
const LONGEST_DOMAIN: usize = 253;
const LONGEST_LABEL: usize = 63;

/// An address somebody typed, in its three forms.
///
/// Two addresses are equal when their canonical forms are. Nothing formats an address by accident: `Debug` shows
/// the masked form, and there is no `Display`; say [`Address::typed`], [`Address::canonical`] or [`Address::mailed`].
///
/// As JSON it is `{"typed": …, "mailed": …}`, the form of states and outbox rows; without `mailed` where that is the same,
/// as it nearly always is. Reading it back never runs the
/// Unicode tables again, so that a newer version of them cannot move an address that is already claimed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Address {
    typed: String,
    mailed: String,
    canonical: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    typed: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mailed: Option<String>,
}

/// Why a text is not an address that Cairn accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was typed.
    #[error("an e-mail address is needed")]
    Empty,
    /// More than 254 octets as typed or as mailed, or a local part of more than 64.
    #[error("this e-mail address is too long")]
    TooLong,
    /// A space or a control character, wherever it stands.
    #[error("an e-mail address has no spaces or control characters")]
    Blank,
    /// No `@`.
    #[error("an e-mail address has an @ between name and domain")]
    NoAt,
    /// What stands before the `@` is quoted, commented, not ASCII, or has its dots in the wrong places.
    #[error("the part before the @ may have letters a to z, digits, single dots inside, and !#$%&'*+-/=?^_`{{|}}~")]
    LocalPart,
    /// What stands behind the `@` is no domain name, also after its letters were converted (IDNA, UTS 46).
    #[error("the part behind the @ is not a domain name")]
    Domain,
    /// A domain of a single label, such as `localhost`.
    #[error("the domain behind the @ needs a dot")]
    DomainWithoutDot,
    /// An IP address in place of a domain, bracketed or bare.
    #[error("an IP address cannot stand in for the domain")]
    IpAddress,
}

impl AddressError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Blank => "blank",
            Self::NoAt => "no_at_sign",
            Self::LocalPart => "local_part",
            Self::Domain => "domain",
            Self::DomainWithoutDot => "domain_without_dot",
            Self::IpAddress => "ip_address",
        }
    }
}

impl Address {
    /// Parses what a program sent. Nothing is trimmed: a space before or behind is an error.
    ///
    /// # Errors
    /// The first rule of [`AddressError`] that is broken.
    pub fn parse(typed: &str) -> Result<Self, AddressError> {
        if typed.is_empty() {
            return Err(AddressError::Empty);
        }
        if typed.len() > LONGEST_ADDRESS {
            return Err(AddressError::TooLong);
        }
        if typed.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AddressError::Blank);
        }
        let (local, domain) = typed.rsplit_once('@').ok_or(AddressError::NoAt)?;
        check_local(local)?;
        if domain.starts_with('[') {
            return Err(AddressError::IpAddress);
        }
        let ascii = to_ascii(domain)?;
        let shown = shown(domain);
        if to_ascii(&shown)? != ascii {
            return Err(AddressError::Domain);
        }
        Self::of(format!("{local}@{shown}"), format!("{local}@{ascii}"))
    }

    /// Parses what a person typed into a page: as [`Address::parse`], but white space around it is dropped.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse_forgiving(typed: &str) -> Result<Self, AddressError> {
        Self::parse(typed.trim())
    }

    /// Puts an address together again from two stored columns, [`Address::typed`] and [`Address::mailed`].
    ///
    /// # Errors
    /// When `mailed` is nothing that [`Address::parse`] could have made, or `typed` has control characters.
    pub fn restore(typed: String, mailed: String) -> Result<Self, AddressError> {
        if typed.len() > LONGEST_ADDRESS {
            return Err(AddressError::TooLong);
        }
        if typed.chars().any(char::is_control) {
            return Err(AddressError::Blank);
        }
        let typed = match typed.rsplit_once('@') {
            Some((local, domain)) if !domain.is_ascii() => format!("{local}@{}", shown(domain)),
            _ => typed,
        };
        Self::of(typed, mailed)
    }

    /// The mailbox that letters to it end up in, as far as its text tells: [`Address::canonical`] without what stands
    /// behind a plus in the local part (sub-addressing, RFC 5233). For budgets; accounts are told apart by more.
    pub fn mailbox(&self) -> String {
        let (local, domain) = self.canonical.rsplit_once('@').unwrap_or((&self.canonical, ""));
        let local = local.split('+').next().filter(|name| !name.is_empty()).unwrap_or(local);
        format!("{local}@{domain}")
    }

    fn of(typed: String, mailed: String) -> Result<Self, AddressError> {
        if mailed.len() > LONGEST_ADDRESS {
            return Err(AddressError::TooLong);
        }
        let (local, domain) = mailed.rsplit_once('@').ok_or(AddressError::NoAt)?;
        check_local(local)?;
        check_ascii_domain(domain)?;
        let canonical = mailed.to_ascii_lowercase();
        Ok(Self { typed, mailed, canonical })
    }

    /// As it was typed, but for what nobody sees in a domain: for showing it to its owner, as text that the page escapes.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// For comparing, claiming and searching: local part in lower case, dots and plus kept; domain as lower-case A-labels.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// For the envelope and the `To` header: the local part as typed, the domain as A-labels. ASCII without spaces,
    /// quotes, angle brackets, commas or control characters, so it can be put into a header as it is.
    pub fn mailed(&self) -> &str {
        &self.mailed
    }

    /// For histories and inspectors: `a***@e***.com`. It shows the first characters and the last label, never a length.
    pub fn masked(&self) -> String {
        let local = self.canonical.chars().next().unwrap_or('*');
        let (_, ascii) = self.canonical.rsplit_once('@').unwrap_or_default();
        let (_, typed) = self.typed.rsplit_once('@').unwrap_or_default();
        let shown = if typed.is_ascii() { ascii } else { typed };
        let domain = shown.chars().next().unwrap_or('*');
        let last = ascii.rsplit('.').next().unwrap_or_default();
        format!("{local}***@{domain}***.{last}")
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.masked())
    }
}

impl TryFrom<Stored> for Address {
    type Error = AddressError;

    fn try_from(stored: Stored) -> Result<Self, AddressError> {
        let mailed = stored.mailed.unwrap_or_else(|| stored.typed.clone());
        Self::restore(stored.typed, mailed)
    }
}

impl From<Address> for Stored {
    fn from(address: Address) -> Self {
        let mailed = (address.mailed != address.typed).then_some(address.mailed);
        Self { typed: address.typed, mailed }
    }
}

/// A domain as A-labels (UTS 46).
fn to_ascii(domain: &str) -> Result<String, AddressError> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| AddressError::Domain)
}

/// A domain as it is shown: without the characters that domains ignore, and composed, so that two texts that look the
/// same are the same.
fn shown(domain: &str) -> String {
    if domain.is_ascii() { domain.to_owned() } else { visible_domain(domain).nfc().collect() }
}

/// RFC 5322 section 3.2.3: atoms of `atext` with single dots between them, and nothing else.
fn check_local(local: &str) -> Result<(), AddressError> {
    if local.len() > LONGEST_LOCAL_PART {
        return Err(AddressError::TooLong);
    }
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
    if local.split('.').all(is_atom) { Ok(()) } else { Err(AddressError::LocalPart) }
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// A name that DNS can hold (RFC 1035, RFC 1123), in lower case, of two labels or more, and not an IP address.
fn check_ascii_domain(domain: &str) -> Result<(), AddressError> {
    if domain.len() > LONGEST_DOMAIN {
        return Err(AddressError::Domain);
    }
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !domain.split('.').all(is_label) {
        return Err(AddressError::Domain);
    }
    let Some((_, last)) = domain.rsplit_once('.') else { return Err(AddressError::DomainWithoutDot) };
    // Resolvers read `1.2.3.4` and `1.2.3.0x4` as IPv4, and no top-level domain is a number.
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_number { Err(AddressError::IpAddress) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mailed_form_is_written_where_it_is_another() {
        for (typed, written) in [
            ("ada@example.org", r#"{"typed":"ada@example.org"}"#),
            ("Ada@Example.ORG", r#"{"typed":"Ada@Example.ORG","mailed":"Ada@example.org"}"#),
        ] {
            let address = Address::parse(typed).unwrap();
            assert_eq!(serde_json::to_string(&address).unwrap(), written);
            let read: Address = serde_json::from_str(written).unwrap();
            assert_eq!((read.typed(), read.mailed()), (address.typed(), address.mailed()));
        }
        let twice = r#"{"typed":"ada@example.org","mailed":"ada@example.org"}"#;
        assert_eq!(serde_json::from_str::<Address>(twice).unwrap().mailed(), "ada@example.org");
    }

    #[test]
    fn an_address_is_shown_as_typed_compared_in_lower_case_and_mailed_in_ascii() {
        let address = Address::parse("Jo.Doe+List@Bücher.Example").unwrap();
        assert_eq!(address.typed(), "Jo.Doe+List@Bücher.Example");
        assert_eq!(address.canonical(), "jo.doe+list@xn--bcher-kva.example");
        assert_eq!(address.mailed(), "Jo.Doe+List@xn--bcher-kva.example");
    }

    #[test]
    fn one_mailbox_written_two_ways_is_one_address() {
        for (one, other) in [
            ("ada@example.org", "ADA@EXAMPLE.ORG"),
            ("ada@bücher.example", "ada@BÜCHER.example"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@bücher.example", "ada@bu\u{308}cher.example"),
            ("ada@ｅｘａｍｐｌｅ.org", "ada@example.org"),
            ("ada@example。org", "ada@example.org"),
        ] {
            assert_eq!(Address::parse(one).unwrap(), Address::parse(other).unwrap(), "{one} and {other}");
        }
        assert_ne!(Address::parse("a.da@example.org").unwrap(), Address::parse("ada@example.org").unwrap());
        assert_ne!(Address::parse("ada+x@example.org").unwrap(), Address::parse("ada@example.org").unwrap());
    }

    #[test]
    fn what_nobody_sees_in_a_domain_is_not_shown_either() {
        let plain = Address::parse("ada@bücher.example").unwrap();
        for typed in [
            "ada@bü\u{ad}cher.example",
            "ada@bü\u{200b}cher.exam\u{2060}ple",
            "ada@\u{feff}bücher.example",
            "ada@bu\u{308}cher.example",
            "ada@bücher\u{fe0f}.example",
        ] {
            let address = Address::parse(typed).unwrap();
            assert_eq!((address.typed(), &address), (plain.typed(), &plain), "{typed:?}");
            let stored = Address::restore(typed.to_owned(), plain.mailed().to_owned()).unwrap();
            assert_eq!(stored.typed(), plain.typed(), "an older release kept {typed:?}");
        }
        assert_eq!(Address::parse("ada@exam\u{ad}ple.org").unwrap().typed(), "ada@example.org");
        // It is part of this domain's name, and another without it.
        let persian = Address::parse("ada@نامه\u{200c}ای.example").unwrap();
        assert_eq!(persian.typed(), "ada@نامه\u{200c}ای.example");
        assert_ne!(persian, Address::parse("ada@نامهای.example").unwrap());
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        use AddressError::*;
        for (typed, error) in [
            ("", Empty),
            ("ada", NoAt),
            ("@example.org", LocalPart),
            ("ada@", Domain),
            (" ada@example.org", Blank),
            ("ada@example.org ", Blank),
            ("ada @example.org", Blank),
            ("ada@exam\u{3000}ple.org", Blank),
            ("ada@example.org\r\nBcc:eve@example.org", Blank),
            ("ada\0@example.org", Blank),
            ("\"ada\"@example.org", LocalPart),
            ("ada(comment)@example.org", LocalPart),
            ("<ada@example.org>", LocalPart),
            ("ada@eve@example.org", LocalPart),
            ("ada,eve@example.org", LocalPart),
            (".ada@example.org", LocalPart),
            ("ada.@example.org", LocalPart),
            ("a..da@example.org", LocalPart),
            ("adä@example.org", LocalPart),
            ("ada@localhost", DomainWithoutDot),
            ("ada@example.org.", Domain),
            ("ada@example..org", Domain),
            ("ada@-example.org", Domain),
            ("ada@example-.org", Domain),
            ("ada@exam_ple.org", Domain),
            ("ada@example.org>", Domain),
            ("ada@xn--a.org", Domain),
            ("ada@exam\u{202e}ple.org", Domain),
            ("ada@[127.0.0.1]", IpAddress),
            ("ada@[IPv6:::1]", IpAddress),
            ("ada@127.0.0.1", IpAddress),
            ("ada@127.0.0.0x1", IpAddress),
        ] {
            assert_eq!(Address::parse(typed).map(|a| a.mailed), Err(error), "{typed:?}");
        }
    }

    #[test]
    fn length_is_counted_in_octets_both_typed_and_mailed() {
        let local = "a".repeat(64);
        assert!(Address::parse(&format!("{local}@example.org")).is_ok());
        assert_eq!(Address::parse(&format!("a{local}@example.org")), Err(AddressError::TooLong));

        let label = "b".repeat(61);
        let full = format!("{local}@{label}.{label}.{label}.org"); // 64 + 1 + 3 * 62 + 3
        assert_eq!(full.len(), 254);
        assert!(Address::parse(&full).is_ok());
        assert_eq!(Address::parse(&full.replace("@b", "@bb")), Err(AddressError::TooLong));

        // Short as typed, long as A-labels: each label grows when it is converted.
        let grows = format!("{}@{}org", "a".repeat(40), "ü1.".repeat(50));
        assert!(grows.len() <= 254);
        assert_eq!(Address::parse(&grows), Err(AddressError::TooLong));
    }

    #[test]
    fn a_page_forgives_space_around_an_address_and_nothing_else() {
        assert_eq!(Address::parse_forgiving("\t ada@example.org\u{a0}\n").unwrap().typed(), "ada@example.org");
        assert_eq!(Address::parse_forgiving("ada @example.org"), Err(AddressError::Blank));
        assert_eq!(Address::parse_forgiving("  "), Err(AddressError::Empty));
    }

    #[test]
    fn the_masked_form_shows_first_characters_and_no_length() {
        assert_eq!(Address::parse("Ada.Lovelace@Mail.Example.com").unwrap().masked(), "a***@m***.com");
        assert_eq!(Address::parse("a@e.com").unwrap().masked(), "a***@e***.com");
        assert_eq!(Address::parse("ada@übung.de").unwrap().masked(), "a***@ü***.de");
        assert_eq!(format!("{:?}", Address::parse("ada@example.org").unwrap()), "Address(a***@e***.org)");
    }

    #[test]
    fn an_address_comes_back_from_a_state_as_it_went() {
        let address = Address::parse("Ada@Bücher.example").unwrap();
        let text = serde_json::to_string(&address).unwrap();
        assert_eq!(text, r#"{"typed":"Ada@Bücher.example","mailed":"Ada@xn--bcher-kva.example"}"#);
        let back: Address = serde_json::from_str(&text).unwrap();
        assert_eq!((back.typed(), back.mailed()), (address.typed(), address.mailed()));
        assert_eq!(back, address);
        for bad in [
            r#"{"typed":"a@b.example","mailed":"a@b.example\r\nBcc: x@y.example"}"#,
            r#"{"typed":"a@b.example\n","mailed":"a@b.example"}"#,
            r#"{"typed":"a@b.example","mailed":"a@bücher.example"}"#,
            r#"{"typed":"a@b.example","mailed":"nobody"}"#,
        ] {
            assert!(serde_json::from_str::<Address>(bad).is_err(), "{bad}");
        }
    }

    /// Whatever is accepted can be mailed, is safe in a header, and stays the same address when it is parsed again.
    fn holds_if_accepted(typed: &str) -> Result<(), TestCaseError> {
        let Ok(address) = Address::parse(typed) else { return Ok(()) };
        prop_assert!(address.mailed().parse::<lettre::Address>().is_ok(), "lettre refuses {:?}", address.mailed());
        prop_assert!(address.mailed().bytes().all(|b| b.is_ascii_graphic() && !b"\"<>(),:;[]\\".contains(&b)));
        prop_assert!(address.mailed().len() <= LONGEST_ADDRESS && address.typed().len() <= LONGEST_ADDRESS);
        prop_assert!(!address.typed().chars().any(char::is_control));
        let shown = Address::parse(address.typed());
        prop_assert_eq!(shown.as_ref().map(Address::typed), Ok(address.typed()));
        prop_assert_eq!(shown.as_ref(), Ok(&address));
        let again = Address::parse(address.mailed());
        prop_assert_eq!(again.as_ref().map(Address::canonical), Ok(address.canonical()));
        prop_assert!(address.masked().len() < 80);
        Ok(())
    }

    proptest! {
        #[test]
        fn every_plausible_address_that_is_accepted_can_be_mailed(
            typed in "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~\"-]{1,66}@[a-zA-Z0-9äöüßéñ例え。．\u{ad}\u{200d}.-]{1,40}\\.[a-zA-Z0-9ü-]{1,8}"
        ) {
            holds_if_accepted(&typed)?;
        }

        #[test]
        fn every_ordinary_address_is_accepted(typed in "[a-z0-9]{1,10}([.+_-][a-z0-9]{1,10}){0,3}@[a-z0-9]{1,20}(-[a-z0-9]{1,9})?\\.[a-z]{2,12}") {
            prop_assume!(!typed.contains("@xn--"));
            prop_assert!(Address::parse(&typed).is_ok(), "{}", typed);
            holds_if_accepted(&typed)?;
        }

        #[test]
        fn no_text_makes_the_parser_panic(typed in "\\PC{0,300}", any in ".{0,40}@.{0,40}") {
            holds_if_accepted(&typed)?;
            holds_if_accepted(&any)?;
            let _ = Address::parse_forgiving(&any);
        }

        #[test]
        fn a_line_break_anywhere_is_refused(before in "[a-z]{0,5}", after in "[a-z]{0,5}@example.org", b in prop::sample::select(vec!['\r', '\n', '\0', '\u{85}', '\u{2028}'])) {
            let typed = format!("{before}{b}{after}");
            prop_assert_eq!(Address::parse(&typed), Err(AddressError::Blank));
        }
    }
}
