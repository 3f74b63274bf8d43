//! The settings: a TOML file, overruled by environment variables. Unknown keys refuse to start.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_actors::workers::mailer::{Dkim, Said};
use cairn_actors::world::Settings;
use cairn_http::door::host::host_of;

/// Every name that the file knows in lower case and the environment in upper case, with what it is when unset.
///
/// The variables of the environment carry the prefix `CAIRN_` but for those listed in [`BARE`].
const NAMES: &[(&str, &str)] = &[
    ("listen", "127.0.0.1:8080"),
    ("ops_listen", "127.0.0.1:8081"),
    ("data", "data"),
    ("public_url", ""),
    ("database_url", ""),
    ("master_key_file", ""),
    ("smtp_url", ""),
    ("smtp_password_file", ""),
    ("smtp_ca_file", ""),
    ("mail_from", "Cairn <cairn@localhost>"),
    ("dkim_domain", ""),
    ("dkim_selector", ""),
    ("dkim_key_file", ""),
    ("refresh_grace", "30"),
    ("access_ttl", "300"),
    ("session_ttl", "30d"),
    ("session_max", "365d"),
    ("registration_ttl", "24h"),
    ("reset_ttl", "1h"),
    ("resend_cooldown", "60"),
    ("trusted_proxies", ""),
    ("cors_origins", ""),
    ("hosts", ""),
    ("ops_hosts", ""),
    ("limits", "on"),
    ("step_up_age", "10m"),
    ("max_sessions", "50"),
    ("mail_budget", "10"),
    ("disposable", "allow"),
    ("reserved_usernames", "default"),
    ("name", "Cairn"),
    ("logo", ""),
    ("accent", ""),
    ("templates", ""),
    ("clock_offset", "0"),
    ("log", "info,sqlx=warn,sea_orm_migration=warn"),
    ("log_format", "text"),
];

/// Variables without the prefix.
const BARE: &[&str] = &["database_url", "smtp_url", "smtp_password_file", "smtp_ca_file", "mail_from"];

/// The settings, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) ops_listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) public_url: Option<String>,
    pub(crate) database_url: Option<String>,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) smtp_url: Option<String>,
    pub(crate) mail: Said,
    pub(crate) flows: Settings,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) ops_hosts: Vec<String>,
    pub(crate) name: String,
    pub(crate) logo: Option<PathBuf>,
    pub(crate) accent: Option<String>,
    pub(crate) templates: Option<PathBuf>,
    pub(crate) clock_offset: i64,
    pub(crate) log: String,
    pub(crate) log_json: bool,
    /// What to say once the log is there.
    pub(crate) remarks: Vec<String>,
}

impl Config {
    /// Reads file and environment.
    ///
    /// # Errors
    /// A sentence that names the setting and what it takes.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, String> {
        let environment: BTreeMap<String, String> = std::env::vars().collect();
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?,
            None => String::new(),
        };
        Self::of(&text, &environment).map_err(|why| match file {
            Some(path) => format!("{why} (settings from {} and the environment)", path.display()),
            None => why,
        })
    }

    fn of(file: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut remarks = Vec::new();
        let values = gather(file, environment, &mut remarks)?;
        let text = |name: &str| values.get(name).cloned().unwrap_or_default();
        let optional = |name: &str| Some(text(name)).filter(|value| !value.is_empty());
        let span = |name: &str| duration(&text(name)).ok_or_else(|| takes(name, "a duration such as 90, 10m or 24h"));
        let lifetime = |name: &str| match span(name)? {
            Duration::ZERO => Err(format!("{} takes more than nothing", variable(name))),
            span => Ok(span),
        };
        let listen: SocketAddr = text("listen").parse().map_err(|_| takes("listen", "an address and a port"))?;
        let ops_listen = text("ops_listen").parse().map_err(|_| takes("ops_listen", "an address and a port"))?;
        let public_url = optional("public_url").map(|url| parse_public_url(&url)).transpose()?;
        // Both: a proxy may lead strangers to a listener on loopback, and a listener may stand open whatever the URL says.
        let local = listen.ip().to_canonical().is_loopback() && public_url.as_deref().is_none_or(is_on_loopback);
        let clock_offset: i64 =
            text("clock_offset").parse().map_err(|_| takes("clock_offset", "a whole number of seconds"))?;
        if clock_offset != 0 && !local {
            return Err("CAIRN_CLOCK_OFFSET is for tests: it needs public URL and listener on loopback".to_owned());
        }
        let limits = match text("limits").as_str() {
            "on" => true,
            "off" if local => false,
            "off" => {
                return Err("CAIRN_LIMITS=off is for tests: it needs public URL and listener on loopback".to_owned());
            }
            _ => return Err(takes("limits", "on or off")),
        };
        let log_json = match text("log_format").as_str() {
            "text" => false,
            "json" => true,
            _ => return Err(takes("log_format", "text or json")),
        };
        let flows = Settings {
            refresh_grace: span("refresh_grace")?,
            access_ttl: lifetime("access_ttl")?,
            session_ttl: lifetime("session_ttl")?,
            session_max: lifetime("session_max")?,
            registration_ttl: lifetime("registration_ttl")?,
            reset_ttl: lifetime("reset_ttl")?,
            resend_cooldown: span("resend_cooldown")?,
            public_url: public_url.clone().unwrap_or_default(),
            disposable: text("disposable").parse().map_err(|_| takes("disposable", "allow, ask or refuse"))?,
            step_up_age: span("step_up_age")?,
            max_sessions: match text("max_sessions").parse() {
                Ok(sessions @ 1..=1_000) => sessions,
                _ => return Err(takes("max_sessions", "a number from 1 to 1000")),
            },
            mail_budget: match text("mail_budget").parse() {
                Ok(letters @ 1..=1_000) => letters,
                _ => return Err(takes("mail_budget", "a number from 1 to 1000")),
            },
            mail_from: text("mail_from"),
            reserved_usernames: text("reserved_usernames")
                .parse()
                .map_err(|why| format!("{}: {why}", takes("reserved_usernames", "a list of usernames")))?,
            limits,
        };
        let list = |name: &str| -> Vec<String> {
            text(name).split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
        };
        Ok(Self {
            listen,
            ops_listen,
            data: PathBuf::from(text("data")),
            public_url,
            database_url: optional("database_url"),
            master_key_file: optional("master_key_file").map(PathBuf::from),
            smtp_url: optional("smtp_url"),
            mail: Said {
                from: text("mail_from"),
                password_file: optional("smtp_password_file").map(PathBuf::from),
                authority_file: optional("smtp_ca_file").map(PathBuf::from),
                dkim: dkim(optional("dkim_domain"), optional("dkim_selector"), optional("dkim_key_file"))?,
            },
            flows,
            trusted_proxies: list("trusted_proxies"),
            cors_origins: origins(list("cors_origins"))?,
            hosts: hosts("hosts", list("hosts"))?,
            ops_hosts: hosts("ops_hosts", list("ops_hosts"))?,
            name: match text("name") {
                name if name.trim().is_empty() || name.chars().count() > 60 || name.chars().any(char::is_control) => {
                    return Err(takes("name", "a name of 1 to 60 characters"));
                }
                name => name,
            },
            logo: optional("logo").map(PathBuf::from),
            accent: optional("accent"),
            templates: optional("templates").map(PathBuf::from),
            clock_offset,
            log: text("log"),
            log_json,
            remarks,
        })
    }
}

/// Letters are signed when all three are said, and not when none is.
fn dkim(domain: Option<String>, selector: Option<String>, key_file: Option<String>) -> Result<Option<Dkim>, String> {
    match (domain, selector, key_file) {
        (None, None, None) => Ok(None),
        (Some(domain), Some(selector), Some(file)) => Ok(Some(Dkim { domain, selector, key_file: file.into() })),
        (domain, selector, _) => {
            let missing = match (domain, selector) {
                (None, _) => "dkim_domain",
                (_, None) => "dkim_selector",
                _ => "dkim_key_file",
            };
            let all = ["dkim_domain", "dkim_selector", "dkim_key_file"].map(variable).join(", ");
            Err(format!("{} is missing: letters are signed when all of {all} are set", variable(missing)))
        }
    }
}

fn variable(name: &str) -> String {
    let upper = name.to_uppercase();
    if BARE.contains(&name) { upper } else { format!("CAIRN_{upper}") }
}

fn takes(name: &str, what: &str) -> String {
    format!("{} takes {what}", variable(name))
}

/// Defaults, then the file, then the environment.
fn gather(
    file: &str,
    environment: &BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut values: BTreeMap<String, String> =
        NAMES.iter().map(|(name, default)| ((*name).to_owned(), (*default).to_owned())).collect();
    let known = |name: &str| NAMES.iter().any(|(known, _)| *known == name);
    let table: toml::Table = file.parse().map_err(|why: toml::de::Error| why.to_string())?;
    for (name, value) in table {
        if !known(&name) {
            return Err(format!("there is no setting {name}"));
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("{name} takes a list of texts")))
                .collect::<Result<Vec<_>, _>>()?
                .join(","),
            _ => return Err(format!("{name} takes a text or a number")),
        };
        values.insert(name, value);
    }
    for (variable_name, value) in environment {
        let name = match variable_name.strip_prefix("CAIRN_") {
            Some(rest) => rest.to_lowercase(),
            None => variable_name.to_lowercase(),
        };
        if variable(&name) != *variable_name {
            continue;
        }
        if known(&name) {
            if !value.is_empty() {
                values.insert(name, value.clone());
            }
        } else if !matches!(name.as_str(), "config" | "prove") && !name.starts_with("test_") {
            remarks.push(format!("{variable_name} is not a setting of this release"));
        }
    }
    Ok(values)
}

/// `90` and `90s` are seconds; `10m`, `24h` and `30d` what they say.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) => (digits, text.chars().last()?),
        None => (text, 's'),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let factor = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => 1,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    // A hundred years; beyond, an instant could not be written down.
    (seconds <= 100 * 366 * 86_400).then(|| Duration::from_secs(seconds))
}

/// A public URL is scheme and host, perhaps a port; without a final slash it is what links, `iss` and `aud` begin with.
fn parse_public_url(url: &str) -> Result<String, String> {
    let bare = url.strip_suffix('/').unwrap_or(url);
    let parsed: http::Uri = bare.parse().map_err(|_| takes("public_url", "a URL such as https://id.example.org"))?;
    let good = matches!(parsed.scheme_str(), Some("http" | "https"))
        && parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && parsed.query().is_none()
        && matches!(parsed.path(), "" | "/");
    if good {
        Ok(bare.to_owned())
    } else {
        Err(takes("public_url", "a URL such as https://id.example.org, without a path"))
    }
}

/// Hosts are compared in lower case and without a port.
fn hosts(name: &str, listed: Vec<String>) -> Result<Vec<String>, String> {
    let read = |host: &String| {
        let bare = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.clone() };
        let known = host_of(&bare).filter(|known| *host == known.as_str() || bare == format!("[{known}]"));
        known.ok_or_else(|| {
            takes(name, &format!("hosts in lower case without a port, such as id.example.org, and not {host}"))
        })
    };
    listed.iter().map(read).collect()
}

/// Origins are compared with the header that browsers send, octet by octet: what no browser writes would never match.
fn origins(listed: Vec<String>) -> Result<Vec<String>, String> {
    match listed.iter().find(|origin| !is_origin(origin)) {
        None => Ok(listed),
        Some(odd) => {
            let what = format!("origins as browsers write them, such as https://app.example.org, and not {odd}");
            Err(takes("cors_origins", &what))
        }
    }
}

/// Scheme, host and a port that is not the scheme's own, in lower case (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let own_port = match scheme {
        "https" => 443,
        "http" => 80,
        // Of an application that brings its own browser.
        _ => 0,
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(fits) {
        return false;
    }
    if let Some(literal) = rest.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(host, port)| {
            host.parse::<Ipv6Addr>().is_ok_and(|known| known.to_string() == host) && is_port(port, own_port)
        });
    }
    let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let named = host.split('.').all(|label| !label.is_empty() && label.bytes().all(plain));
    // What ends in a number is an address to browsers, and written as one.
    let numbered = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    named && (!numbered || host.parse::<Ipv4Addr>().is_ok()) && is_port(port, own_port)
}

/// Nothing, or a colon and a number that says something.
fn is_port(text: &str, own: u16) -> bool {
    let Some(number) = text.strip_prefix(':') else { return text.is_empty() };
    number.parse::<u16>().is_ok_and(|port| port != own && port.to_string() == number)
}

/// Whether a URL's host is this machine.
pub(crate) fn is_on_loopback(url: &str) -> bool {
    let Ok(parsed) = url.parse::<http::Uri>() else { return false };
    let host = parsed.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::of(file, &environment)
    }

    #[test]
    fn the_environment_overrules_the_file_and_the_file_the_defaults() {
        let config = config("access_ttl = 90\nlisten = '127.0.0.1:1'", &[("CAIRN_ACCESS_TTL", "10m")]).unwrap();
        assert_eq!(config.flows.access_ttl, Duration::from_secs(600));
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.flows.session_ttl, Duration::from_secs(30 * 86_400));
    }

    #[test]
    fn what_is_not_a_setting_refuses_to_start_and_names_itself() {
        assert!(config("colour = 'red'", &[]).unwrap_err().contains("colour"));
        assert!(config("", &[("CAIRN_ACCESS_TTL", "soon")]).unwrap_err().contains("CAIRN_ACCESS_TTL"));
        assert!(config("", &[("CAIRN_RESET_TTL", "0")]).unwrap_err().contains("CAIRN_RESET_TTL"));
        assert!(config("", &[("CAIRN_REFRESH_GRACE", "0")]).is_ok());
        assert!(config("", &[("CAIRN_PUBLIC_URL", "id.example.org")]).unwrap_err().contains("CAIRN_PUBLIC_URL"));
    }

    #[test]
    fn letters_are_signed_when_all_that_it_takes_is_said() {
        let all =
            [("CAIRN_DKIM_DOMAIN", "example.org"), ("CAIRN_DKIM_SELECTOR", "s1"), ("CAIRN_DKIM_KEY_FILE", "k.pem")];
        assert!(config("", &all).unwrap().mail.dkim.is_some());
        assert!(config("", &[]).unwrap().mail.dkim.is_none());
        for missing in 0..3 {
            let mut some = all.to_vec();
            let (name, _) = some.remove(missing);
            assert!(config("", &some).unwrap_err().starts_with(&format!("{name} is missing")));
        }
    }

    #[test]
    fn what_is_for_tests_is_refused_where_strangers_may_come() {
        let public = ("CAIRN_PUBLIC_URL", "https://id.example.org");
        assert!(config("", &[public, ("CAIRN_LIMITS", "off")]).is_err());
        assert!(config("", &[public, ("CAIRN_CLOCK_OFFSET", "5")]).is_err());
        // A listener that stands open, whatever the URL says; and one on loopback to which a proxy leads strangers.
        let home = ("CAIRN_PUBLIC_URL", "http://localhost:8080");
        for test in [("CAIRN_LIMITS", "off"), ("CAIRN_CLOCK_OFFSET", "5")] {
            for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
                assert!(config("", &[("CAIRN_LISTEN", listen), test]).is_err());
                let why = config("", &[("CAIRN_LISTEN", listen), home, test]).unwrap_err();
                assert!(why.starts_with(test.0) && why.ends_with("public URL and listener on loopback"), "{why}");
            }
            assert!(config("", &[("CAIRN_LISTEN", "[::1]:80"), home, test]).is_ok());
        }
        assert!(config("", &[("CAIRN_LIMITS", "off"), ("CAIRN_CLOCK_OFFSET", "-5")]).is_ok());
    }

    #[test]
    fn an_origin_that_no_browser_writes_is_refused_by_name() {
        let said = |list: &str| config("", &[("CAIRN_CORS_ORIGINS", list)]).map(|config| config.cors_origins);
        let good = [
            "https://app.example.org",
            "http://localhost:3000",
            "https://app.example.org:80",
            "http://127.0.0.1:5173",
            "https://[::1]:8443",
            "https://xn--bcher-kva.example",
            "capacitor://localhost",
        ];
        assert_eq!(said(&good.join(", ")).unwrap(), good);
        assert_eq!(said("").unwrap(), [""; 0]);
        for odd in [
            "*",
            "null",
            "b.example",
            "https://",
            "https://b.example/",
            "https://b.example/app",
            "https://b.example?",
            "https://*.b.example",
            "https://B.example",
            "HTTPS://b.example",
            "https://me@b.example",
            "https://b.example:443",
            "http://b.example:80",
            "https://b.example:",
            "https://b.example:08443",
            "https://b.example:65536",
            "https://b..example",
            "https://bücher.example",
            "https://[::1",
            "https://[::G]",
            "https://[0:0:0:0:0:0:0:1]",
            "https://127.1",
            "://b.example",
        ] {
            let why = said(&format!("https://a.example,{odd}")).unwrap_err();
            assert!(
                why.starts_with("CAIRN_CORS_ORIGINS takes origins") && why.ends_with(&format!("not {odd}")),
                "{why}"
            );
        }
        assert!(config("cors_origins = ['*']", &[]).is_err());
    }

    #[test]
    fn a_host_is_a_name_or_an_address_without_a_port() {
        let good = "id.example.org, 192.0.2.1, 2001:db8::1, [::1], localhost";
        let config_of = |list: &str| config("", &[("CAIRN_HOSTS", list), ("CAIRN_OPS_HOSTS", list)]);
        let read = config_of(good).unwrap();
        assert_eq!(read.hosts, ["id.example.org", "192.0.2.1", "2001:db8::1", "::1", "localhost"]);
        assert_eq!(read.ops_hosts, read.hosts);
        assert!(config_of("").unwrap().hosts.is_empty());
        for odd in
            ["*", "*.example.org", "ID.example.org", "id.example.org:443", "https://id.example.org", "a b", "[::1"]
        {
            let why = config_of(odd).unwrap_err();
            assert!(why.starts_with("CAIRN_HOSTS takes hosts") && why.ends_with(&format!("not {odd}")), "{why}");
        }
    }

    #[test]
    fn reserved_usernames_are_a_list_that_replaces_the_common_ones_or_adds_to_them() {
        let free = |list: &str, name: &str| {
            let reserved = config("", &[("CAIRN_RESERVED_USERNAMES", list)]).unwrap().flows.reserved_usernames;
            reserved.check(&name.to_owned().try_into().unwrap(), None).is_ok()
        };
        assert_eq!([free("", "admin"), free("acme", "admin"), free("default, acme", "admin")], [false, true, false]);
        assert_eq!([free("", "acme"), free("acme", "acme"), free("none", "admin")], [true, false, true]);
        let why = config("reserved_usernames = ['acme', '1']", &[]).unwrap_err();
        assert!(why.starts_with("CAIRN_RESERVED_USERNAMES takes a list of usernames"), "{why}");
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Some(Duration::from_secs(2_592_000)));
        for bad in ["", "m", "1w", "-1", "1.5h", "99999999999999999999"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
