//! The settings: a TOML file, overruled by environment variables. Unknown keys refuse to start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_actors::hasher::HashEngine;
use cairn_actors::workers::mailer::{Dkim, Said};
use cairn_actors::world::Settings;

mod duration;
mod names;
mod sources;
#[cfg(test)]
mod tests;
mod web;

use duration::duration;
use names::{takes, variable};
use sources::gather;
pub(crate) use web::is_on_loopback;
use web::{hosts, origins, parse_public_url};

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
    pub(crate) hash_engine: HashEngine,
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
                ehlo_name: optional("smtp_ehlo_name"),
                dkim: dkim(optional("dkim_domain"), optional("dkim_selector"), optional("dkim_key_file"))?,
            },
            flows,
            hash_engine: text("hash_engine").parse().map_err(|()| takes("hash_engine", "fast or reference"))?,
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
