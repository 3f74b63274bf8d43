//! Usernames that nobody may choose: names of roles, by which people would take their owner for the operator
//! (`CAIRN_RESERVED_USERNAMES`).

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::identity::username::Username;

/// The word that stands for [`COMMON`] in a list.
const DEFAULT: &str = "default";

/// Mailboxes that mean the operator (RFC 2142, and those to which certificates are confirmed), roles, words that pages and
/// programs use, and "nobody".
const COMMON: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "admins",
    "anonymous",
    "api",
    "auth",
    "billing",
    "bot",
    "cairn",
    "contact",
    "everyone",
    "guest",
    "help",
    "helpdesk",
    "host",
    "hostmaster",
    "info",
    "legal",
    "localhost",
    "login",
    "logout",
    "mailer-daemon",
    "moderator",
    "moderators",
    "news",
    "nobody",
    "no-reply",
    "null",
    "oauth",
    "official",
    "operator",
    "owner",
    "postmaster",
    "privacy",
    "register",
    "root",
    "sales",
    "security",
    "settings",
    "ssladmin",
    "ssladministrator",
    "sslwebmaster",
    "staff",
    "status",
    "support",
    "sysadmin",
    "system",
    "team",
    "undefined",
    "user",
    "users",
    "webmaster",
    "www",
];

/// A list of reserved usernames. `post.master` and `post-master` are reserved where `postmaster` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved(BTreeSet<String>);

/// A word of the list that no username can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a username that anybody could choose")]
pub struct NoUsername(String);

/// Why a username cannot be chosen although it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this username is kept for the operator of this service; choose another one")]
pub struct IsReserved;

impl IsReserved {
    /// The word that programs read in `errors[].code`.
    pub const fn code(self) -> &'static str {
        "reserved"
    }
}

impl Default for Reserved {
    fn default() -> Self {
        Self(COMMON.iter().map(|name| bare(name)).collect())
    }
}

impl FromStr for Reserved {
    type Err = NoUsername;

    /// Reads a list with commas. It replaces the common names unless `default` is among its words; `none` alone reserves
    /// nothing.
    fn from_str(list: &str) -> Result<Self, NoUsername> {
        let mut names = BTreeSet::new();
        let words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if words == ["none"] {
            return Ok(Self(names));
        }
        for word in words {
            if word == DEFAULT {
                names.extend(Self::default().0);
            } else {
                let name = Username::parse(word).map_err(|_| NoUsername(word.to_owned()))?;
                names.insert(bare(name.as_str()));
            }
        }
        Ok(Self(names))
    }
}

impl Reserved {
    /// Refuses a username of the list, unless it is the one that whoever asks has already.
    ///
    /// # Errors
    /// It is reserved.
    pub fn check(&self, username: &Username, own: Option<&Username>) -> Result<(), IsReserved> {
        if own != Some(username) && self.0.contains(&bare(username.as_str())) { Err(IsReserved) } else { Ok(()) }
    }
}

/// A name without what separates its parts.
fn bare(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '.' | '_' | '-')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_free(list: &Reserved, name: &str) -> bool {
        list.check(&Username::parse(name).unwrap(), None).is_ok()
    }

    #[test]
    fn the_names_of_roles_are_kept_and_names_of_people_are_not() {
        let common = Reserved::default();
        for name in ["admin", "Root", "post.master", "no-reply", "noreply", "SUPPORT", "mailer_daemon", "security"] {
            assert!(!is_free(&common, name), "{name}");
        }
        for name in ["ada", "adminah", "rooty", "owner-12", "cairns", "support7"] {
            assert!(is_free(&common, name), "{name}");
        }
        assert!(COMMON.iter().all(|name| Username::parse(name).is_ok()), "each could be chosen else");
    }

    #[test]
    fn a_list_replaces_the_common_names_or_adds_to_them() {
        let read = |list: &str| list.parse::<Reserved>();
        let replaced = read("acme, Sales.Desk").unwrap();
        assert!(is_free(&replaced, "admin") && !is_free(&replaced, "acme") && !is_free(&replaced, "salesdesk"));
        let added = read("default,acme").unwrap();
        assert!(!is_free(&added, "admin") && !is_free(&added, "acme"));
        assert_eq!(read("default").unwrap(), Reserved::default());
        assert!(is_free(&read("none").unwrap(), "admin"));
        assert_eq!(read("acme,a b").unwrap_err(), NoUsername("a b".to_owned()));
    }

    #[test]
    fn who_has_one_keeps_it() {
        let (admin, root) = (Username::parse("admin").unwrap(), Username::parse("root").unwrap());
        assert_eq!(Reserved::default().check(&admin, Some(&admin)), Ok(()));
        assert_eq!(Reserved::default().check(&root, Some(&admin)), Err(IsReserved));
    }
}
