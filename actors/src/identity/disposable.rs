//! Addresses at domains that lend a mailbox to everybody: allowed, asked about or refused, as the operator says.

use std::str::FromStr;

use crate::hashed_set::HashedSet;
use crate::identity::address::Address;

/// Where the list comes from and how it is made anew: `lists/README.md`.
static LIST: HashedSet = HashedSet::of(include_bytes!("../lists/disposable-domains.bin"));

/// What becomes of a disposable address (`CAIRN_DISPOSABLE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disposable {
    /// It is an address as any other.
    #[default]
    Allow,
    /// It is taken when the person says so twice: the second time with `"accept_disposable": true`.
    Ask,
    /// It is not taken.
    Refuse,
}

/// A text that is none of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allow, ask or refuse")]
pub struct NotAPolicy;

impl FromStr for Disposable {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        match text {
            "allow" => Ok(Self::Allow),
            "ask" => Ok(Self::Ask),
            "refuse" => Ok(Self::Refuse),
            _ => Err(NotAPolicy),
        }
    }
}

/// Why a disposable address is not taken, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisposableError {
    /// Whoever typed it must say once more that they mean it.
    #[error(
        "this looks like a mailbox for a short time: whoever gets it next can get into the account. Use another \
         address, or send it again with accept_disposable"
    )]
    Unconfirmed,
    /// It is refused.
    #[error("a mailbox for a short time cannot have an account: use an address that stays yours")]
    Refused,
}

impl DisposableError {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unconfirmed => "disposable_unconfirmed",
            Self::Refused => "disposable",
        }
    }
}

impl Disposable {
    /// Whether an address may be used. `accepted`: the person knows that it is disposable.
    ///
    /// # Errors
    /// Why not.
    pub fn check(self, address: &Address, accepted: bool) -> Result<(), DisposableError> {
        match self {
            Self::Allow => Ok(()),
            Self::Ask if accepted || !is_disposable(address) => Ok(()),
            Self::Ask => Err(DisposableError::Unconfirmed),
            Self::Refuse if is_disposable(address) => Err(DisposableError::Refused),
            Self::Refuse => Ok(()),
        }
    }
}

/// Whether the address's domain, or one that it lies below, is listed.
pub fn is_disposable(address: &Address) -> bool {
    let canonical = address.canonical();
    let mut domain = canonical.rsplit_once('@').map_or(canonical, |(_, domain)| domain);
    loop {
        if LIST.contains(domain) {
            return true;
        }
        match domain.split_once('.') {
            // A single label is nobody's in particular.
            Some((_, above)) if above.contains('.') => domain = above,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashed_set;
    use crate::testing::address;

    #[test]
    fn a_listed_domain_is_known_and_so_is_what_lies_below_it() {
        for text in ["ada@mailinator.com", "Ada@MAILINATOR.com", "ada@a.b.mailinator.com", "ada@yopmail.com"] {
            assert!(is_disposable(&address(text)), "{text}");
        }
        for text in ["ada@example.org", "ada@my-mailinator.com", "ada@mailinator.com.example.org", "ada@gmail.com"] {
            assert!(!is_disposable(&address(text)), "{text}");
        }
    }

    #[test]
    fn where_many_have_their_mail_is_not_listed() {
        let many = "gmail.com outlook.com hotmail.com yahoo.com icloud.com proton.me protonmail.com gmx.net gmx.de \
                    web.de mail.ru yandex.ru qq.com 163.com 126.com orange.fr libero.it fastmail.com zoho.com aol.com \
                    t-online.de posteo.de riseup.net hey.com tutanota.com googlemail.com live.com me.com";
        for domain in many.split_whitespace() {
            assert!(!is_disposable(&address(&format!("ada@{domain}"))), "{domain}");
        }
    }

    #[test]
    fn the_operator_says_what_becomes_of_it() {
        let (lent, own) = (address("ada@mailinator.com"), address("ada@example.org"));
        for accepted in [false, true] {
            assert_eq!(Disposable::Allow.check(&lent, accepted), Ok(()));
            assert_eq!(Disposable::Refuse.check(&lent, accepted), Err(DisposableError::Refused));
            assert_eq!(Disposable::Refuse.check(&own, accepted), Ok(()));
            assert_eq!(Disposable::Ask.check(&own, accepted), Ok(()));
        }
        assert_eq!(Disposable::Ask.check(&lent, false), Err(DisposableError::Unconfirmed));
        assert_eq!(Disposable::Ask.check(&lent, true), Ok(()));
    }

    #[test]
    fn the_setting_is_one_of_three_words() {
        let parsed = ["allow", "ask", "refuse", "Refuse", ""].map(|text| text.parse().ok());
        assert_eq!(parsed, [Some(Disposable::Allow), Some(Disposable::Ask), Some(Disposable::Refuse), None, None]);
    }

    #[test]
    #[ignore = "writes the list anew from the sources that CAIRN_TEST_LISTS names"]
    fn the_list_is_made() {
        let listed = hashed_set::source("disposable_email_blocklist.conf");
        let pardoned = hashed_set::source("allowlist_historic.txt");
        let pardoned: std::collections::BTreeSet<&str> = pardoned.lines().map(str::trim).collect();
        let lines = listed.lines().map(str::trim).filter(|line| line.contains('.') && !line.starts_with(['#', '/']));
        let domains = lines.filter(|line| !pardoned.contains(line)).map(str::to_ascii_lowercase);
        let domains: Vec<String> = domains.collect();
        hashed_set::write("disposable-domains.bin", &HashedSet::bytes_of(domains.iter().map(String::as_str)));
    }
}
