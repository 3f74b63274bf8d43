//! What the address of a database may be, and which part of one cannot be read.
//!
//! An address has a password in it. What is wrong is said by the part's name, and nothing of the address is quoted: not
//! even a host or port, which may be half of a password in which a slash was not encoded.

use url::Url;

/// Why an address names no database: a sentence without its subject, such as "has a # in it".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressFault(&'static str);

/// Whether an address is one of PostgreSQL.
pub fn is_postgres(address: &str) -> bool {
    after_scheme(address).is_some()
}

fn after_scheme(address: &str) -> Option<&str> {
    address.strip_prefix("postgres://").or_else(|| address.strip_prefix("postgresql://"))
}

/// Checks an address: `postgres://[user[:password]@][host][:port][/name][?parameters]`, or the path of a SQLite file, bare
/// or as `sqlite://PATH`.
///
/// # Errors
/// Which part cannot be read, and how it is written.
pub fn check(address: &str) -> Result<(), AddressFault> {
    if address.chars().any(char::is_control) {
        return Err(AddressFault("has a control character in it, such as a line break"));
    }
    if let Some(rest) = after_scheme(address) {
        return check_postgres(address, rest);
    }
    let path = match address.split_once(':') {
        None => address,
        Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, _)) if scheme.contains('/') => address,
        Some(_) => {
            return Err(AddressFault(
                "is not the address of a database: a path, sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/NAME",
            ));
        }
    };
    if path.is_empty() || path == ":memory:" {
        return Err(AddressFault("names no file"));
    }
    if path.contains('?') {
        return Err(AddressFault("has a ? in the path of its file; parameters are for PostgreSQL only"));
    }
    Ok(())
}

fn check_postgres(address: &str, rest: &str) -> Result<(), AddressFault> {
    if rest.contains('#') {
        return Err(AddressFault("has a # in it; within a user or password it is written %23"));
    }
    let (before_query, query) = rest.split_once('?').map_or((rest, ""), |(before, query)| (before, query));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    if path.contains('@') {
        return Err(AddressFault(
            "has a / before an @; within a user or password a slash is written %2F, within a name an @ is written %40",
        ));
    }
    let (user, place) = authority.rsplit_once('@').map_or(("", authority), |(user, place)| (user, place));
    let port = port_of(place)?;
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    // An @ in a value that may have one is no sign of that; in any other it is.
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let strays =
        pairs.filter(|(name, value)| name.contains('@') || value.contains('@') && !KNOWN.contains(name)).count();
    if query.contains('@') && (!is_port || strays > 0) {
        return Err(AddressFault("has a ? before an @; within a user or password a question mark is written %3F"));
    }
    if !is_port && !authority.contains('@') {
        return Err(AddressFault(
            "has a port that is not a number from 1 to 65535; user and password stand before an @, as in \
             postgres://USER:PASSWORD@HOST:PORT/NAME",
        ));
    }
    if !is_port {
        return Err(AddressFault("has a port that is not a number from 1 to 65535"));
    }
    if !is_encoded(user) {
        return Err(AddressFault(
            "has a % in user or password that two hexadecimal digits do not follow, or that makes no UTF-8; a % is written \
             %25",
        ));
    }
    if !is_encoded(path) || !is_encoded(place) {
        return Err(AddressFault(
            "has a % in host or name that two hexadecimal digits do not follow; a % is written %25",
        ));
    }
    let Ok(url) = Url::parse(address) else {
        return Err(AddressFault("has no host name or address where one should be"));
    };
    for (name, value) in url.query_pairs() {
        check_parameter(&name, &value)?;
    }
    Ok(())
}

/// Parameters that the driver knows.
const KNOWN: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// How many parameters of an address are ones that the driver does not know and passes over. Neither their names nor
/// their values are told: a password with an `&` in it makes such parameters.
pub fn ignored(address: &str) -> usize {
    let query = after_scheme(address).and_then(|rest| rest.split_once('?')).map_or("", |(_, query)| query);
    let names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or_default());
    names.filter(|name| !KNOWN.contains(name) && !name.starts_with("options[")).count()
}

/// The port of `host:port`, `[::1]:port` or a host alone.
fn port_of(place: &str) -> Result<Option<&str>, AddressFault> {
    let behind = match place.strip_prefix('[') {
        Some(rest) => {
            let literal = rest.split_once(']').filter(|(literal, _)| literal.parse::<std::net::Ipv6Addr>().is_ok());
            literal.ok_or(AddressFault("has brackets that hold no IPv6 address, such as [::1]"))?.1
        }
        None if place.matches(':').count() > 1 => {
            return Err(AddressFault(
                "has more than one colon behind the @; an IPv6 address stands in brackets, as [::1]",
            ));
        }
        None if place.contains(',') => return Err(AddressFault("has several hosts; it takes one")),
        None => place.find(':').and_then(|colon| place.get(colon..)).unwrap_or_default(),
    };
    match (behind, behind.strip_prefix(':')) {
        ("", _) => Ok(None),
        (_, Some(port)) => Ok(Some(port)),
        (_, None) => Err(AddressFault("has something other than a port behind the brackets of its host")),
    }
}

/// Whether each % is followed by two hexadecimal digits, and what they say is UTF-8.
fn is_encoded(text: &str) -> bool {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.extend(u8::try_from(high * 16 + low)),
            _ => return false,
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Parameters whose values the driver would refuse, with the value in its words.
fn check_parameter(name: &str, value: &str) -> Result<(), AddressFault> {
    let modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    match name {
        "sslmode" | "ssl-mode" if !modes.contains(&value.to_ascii_lowercase().as_str()) => Err(AddressFault(
            "has an sslmode that is none of disable, allow, prefer, require, verify-ca and verify-full",
        )),
        "port" if !value.parse::<u16>().is_ok_and(|port| port != 0) => {
            Err(AddressFault("has a parameter port that is not a number from 1 to 65535"))
        }
        "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => {
            Err(AddressFault("has a parameter hostaddr that is no IP address"))
        }
        "statement-cache-capacity" if value.parse::<usize>().is_err() => {
            Err(AddressFault("has a parameter statement-cache-capacity that is not a number"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_taken() {
        for good in [
            "postgres://cairn:hunter2@db.example.org/cairn",
            "postgresql://cairn@db.example.org:5433/cairn?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://db/cairn",
            "postgres://u:p%2Fw%23%3F%40%25%c3%bc@[::1]:5432/d",
            "postgres://u:p@w@h/d",
            "postgres:///cairn?host=/var/run/postgresql&user=a@b",
            "postgres://db/cairn?sslmode=require&channel_binding=require",
            "postgres://%2Fvar%2Frun%2Fpostgresql/cairn",
            "postgres://u:p!$&'()*+,;=~._-@db_1/d",
            "cairn.db",
            "/var/lib/cairn/cairn.db",
            "sqlite://data/cairn.db",
            "sqlite:data/cairn.db",
            "./a:b.db",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_by_the_part_with_the_way_out_and_without_the_value() {
        for (bad, says) in [
            ("postgres://cairn:pa/S3cret@h/d", "a slash is written %2F"),
            ("postgres://cairn:pa#S3cret@h/d", "written %23"),
            ("postgres://cairn:pa?S3cret@h/d", "a question mark is written %3F"),
            ("postgres://cairn:1?S3cret@h/d", "a question mark is written %3F"),
            ("postgres://cairn:1?S3cret=x@h/d", "a question mark is written %3F"),
            ("postgres://cairn:p@S3cret/x@h/d", "a slash is written %2F"),
            ("postgres://cairn:S3cret%@h/d", "a % is written %25"),
            ("postgres://cairn:S3cret%zz@h/d", "a % is written %25"),
            ("postgres://cairn:S3cret%ff@h/d", "no UTF-8"),
            ("postgres://cairn:S3cret/d", "stand before an @"),
            ("postgres://cairn:p@h:S3cret/d", "has a port"),
            ("postgres://cairn:p@h:0/d", "has a port"),
            ("postgres://cairn:p@h:65536/d", "has a port"),
            ("postgres://cairn:p@h:+1/d", "has a port"),
            ("postgres://cairn:p@h:/d", "has a port"),
            ("postgres://cairn:p@S3cret::1/d", "stands in brackets"),
            ("postgres://cairn:p@[S3cret]/d", "IPv6 address"),
            ("postgres://cairn:p@[::1]S3cret/d", "other than a port"),
            ("postgres://cairn:p@a,S3cret/d", "several hosts"),
            ("postgres://cairn:p@S3 cret/d", "no host name"),
            ("postgres://cairn:p@h/S3cret%", "host or name"),
            ("postgres://cairn:p@h/d?sslmode=S3cret", "has an sslmode that is none of disable"),
            ("postgres://cairn:p@h/d?port=S3cret", "parameter port"),
            ("postgres://cairn:p@h/d?hostaddr=S3cret", "parameter hostaddr"),
            ("postgres://cairn:p@h/d?statement-cache-capacity=S3cret", "statement-cache-capacity"),
            ("postgres://cairn:S3cret\n@h/d", "control character"),
            ("mysql://cairn:S3cret@h/d", "postgres://USER:PASSWORD@HOST:PORT/NAME"),
            ("cairn:S3cret@h/d", "postgres://USER:PASSWORD@HOST:PORT/NAME"),
            ("sqlite://", "names no file"),
            (":memory:", "is not the address"),
            ("cairn.db?mode=S3cret", "has a ?"),
        ] {
            let why = check(bad).unwrap_err().to_string();
            assert!(why.contains(says) && !why.contains("S3cret"), "{bad}: {why}");
        }
    }

    #[test]
    fn parameters_that_do_nothing_are_counted() {
        assert_eq!(ignored("postgres://h/d?sslmode=require&channel_binding=require&x&options[a]=b&host=c"), 2);
        assert_eq!([ignored("postgres://h/d"), ignored("cairn.db?x=y")], [0, 0]);
    }

    #[test]
    fn a_scheme_says_which_database_it_is() {
        assert!(is_postgres("postgres://h/d") && is_postgres("postgresql://h/d"));
        assert!(!is_postgres("postgres.db") && !is_postgres("sqlite://postgres"));
    }
}
