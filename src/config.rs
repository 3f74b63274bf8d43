//! The settings: a TOML file, overruled by environment variables. Unknown keys refuse to start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_actors::environment::Settings;
use cairn_actors::secrets::hasher::HashEngine;
use cairn_actors::secrets::secret::Secret;
use cairn_actors::workers::mailer::{Dkim, Said};
use cairn_http::access::client_address::Network;
use cairn_http::access::rate::Quotas;

mod duration;
mod limits;
mod names;
mod sources;
#[cfg(test)]
mod tests;
mod web;

use duration::{delay, duration};
use limits::quotas;
use names::{takes, variable};
use sources::{environment, gather, holds_secret};
pub(crate) use web::is_on_loopback;
use web::{hosts, origins, parse_public_url, proxies};

/// So many failures are read of one target at most, so that more could not be counted.
const CODE_FAILURES: usize = cairn_actors::acts::guesses::MOST as usize;

/// The settings, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) ops_listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) public_url: Option<String>,
    pub(crate) database_url: Option<Secret>,
    pub(crate) database_connections: u32,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) smtp_url: Option<Secret>,
    pub(crate) mail: Said,
    pub(crate) flows: Settings,
    pub(crate) hash_engine: HashEngine,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) ops_hosts: Vec<String>,
    pub(crate) hsts_subdomains: bool,
    pub(crate) shutdown_delay: Duration,
    pub(crate) quotas: Quotas,
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
        let environment = environment(std::env::vars_os())?;
        // An empty variable counts as unset, `CAIRN_CONFIG` too.
        let file = file.filter(|path| !path.as_os_str().is_empty());
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|why| format!("the settings file {} cannot be read: {why}", path.display()))?,
            None => String::new(),
        };
        let mut read = Self::of(&text, &environment).map_err(|why| match file {
            Some(path) => format!("{why} (settings from {} and the environment)", path.display()),
            None => why,
        })?;
        read.remarks.extend(file.and_then(|path| open_to_others(path, &text)));
        Ok(read)
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
        let public_url = optional("public_url").map(|url| parse_public_url(&url, &mut remarks)).transpose()?;
        let secret = |name: &str| optional(name).map(Secret::new);
        let database_url = optional("database_url");
        if let Some(address) = &database_url {
            cairn_persistence::address::check(address).map_err(|why| format!("{} {why}", variable("database_url")))?;
            if cairn_persistence::address::ignored(address) > 0 {
                remarks.push(format!(
                    "{} has a parameter that is not known here and does nothing",
                    variable("database_url")
                ));
            }
        }
        // Both: a proxy may lead strangers to a listener on loopback, and a listener may stand open whatever the URL says.
        let local = listen.ip().to_canonical().is_loopback() && public_url.as_deref().is_none_or(is_on_loopback);
        let clock_offset: i64 =
            text("clock_offset").parse().map_err(|_| takes("clock_offset", "a whole number of seconds"))?;
        if clock_offset != 0 && !local {
            return Err("CAIRN_CLOCK_OFFSET is for tests: it needs public URL and listener on loopback".to_owned());
        }
        let switch = |name: &str| match text(name).as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(takes(name, "on or off")),
        };
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
            registration: match text("registration").as_str() {
                "open" => true,
                "closed" => false,
                _ => return Err(takes("registration", "open or closed")),
            },
            code_failures: match text("limit_code_failures").parse() {
                Ok(failures @ 1..=CODE_FAILURES) => failures,
                _ => return Err(takes("limit_code_failures", &format!("a number from 1 to {CODE_FAILURES}"))),
            },
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
            database_url: database_url.map(Secret::new),
            database_connections: match text("database_connections").parse() {
                Ok(connections @ 2..=1_000) => connections,
                _ => return Err(takes("database_connections", "a number from 2 to 1000")),
            },
            master_key_file: optional("master_key_file").map(PathBuf::from),
            smtp_url: secret("smtp_url"),
            mail: Said {
                from: text("mail_from"),
                password: secret("smtp_password"),
                authority_file: optional("smtp_ca_file").map(PathBuf::from),
                ehlo_name: optional("smtp_ehlo_name"),
                dkim: dkim(optional("dkim_domain"), optional("dkim_selector"), optional("dkim_key_file"))?,
            },
            flows,
            hash_engine: text("hash_engine").parse().map_err(|()| takes("hash_engine", "fast or reference"))?,
            trusted_proxies: proxies(&list("trusted_proxies"))?,
            cors_origins: origins(list("cors_origins"))?,
            hosts: hosts("hosts", list("hosts"))?,
            ops_hosts: hosts("ops_hosts", list("ops_hosts"))?,
            hsts_subdomains: switch("hsts_subdomains")?,
            shutdown_delay: delay(&text("shutdown_delay"))
                .ok_or_else(|| takes("shutdown_delay", "a duration of at most 10m, such as 500ms, 5 or 1m"))?,
            quotas: quotas(text)?,
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

/// What to say of a settings file with a secret in it that everybody may read.
fn open_to_others(path: &Path, text: &str) -> Option<String> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).ok()?.permissions());
    (mode & 0o007 != 0 && holds_secret(text)).then(|| {
        format!(
            "{} has a secret in it and is open to everybody (mode {:04o}): run `chmod 640` on it, or give the secret a file \
             of its own",
            path.display(),
            mode & 0o7777
        )
    })
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
