//! The settings: a TOML file, overruled by environment variables. A key of the file that is unknown refuses to start.
//!
//! `settings` has every setting once, with its type and meaning; `layers` finds the values and where they came from; `reader`
//! makes the types of them; here they are checked against each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_actors::secrets::hasher::HashEngine;
use cairn_actors::secrets::secret::Secret;
use cairn_actors::workers::mailer::{Dkim, Said};
use cairn_http::access::client_address::Network;
use cairn_http::access::rate::Quotas;
use cairn_http::theme::Accent;

mod duration;
mod layers;
mod limits;
#[cfg(test)]
mod page;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod value;
mod web;

pub(crate) use layers::Places;
use layers::{File, Layers, environment, holds_secret};
use settings::Settings;
pub(crate) use web::is_on_loopback;

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
    pub(crate) flows: cairn_actors::environment::Settings,
    pub(crate) hash_engine: HashEngine,
    /// How old signing keys become; `None`: as old as they will.
    pub(crate) key_rotation: Option<Duration>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) ops_hosts: Vec<String>,
    pub(crate) hsts_subdomains: bool,
    pub(crate) shutdown_delay: Duration,
    pub(crate) quotas: Quotas,
    pub(crate) name: String,
    pub(crate) logo: Option<PathBuf>,
    pub(crate) accent: Option<Accent>,
    pub(crate) templates: Option<PathBuf>,
    pub(crate) clock_offset: i64,
    pub(crate) log: String,
    pub(crate) log_json: bool,
    /// What to say once the log is there.
    pub(crate) remarks: Vec<String>,
    /// Where the values came from, for messages.
    pub(crate) places: Places,
}

impl Config {
    /// Reads file and environment.
    ///
    /// # Errors
    /// A sentence that names the setting, where its value came from and what it takes.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, String> {
        let known: Vec<_> = settings::settings().collect();
        let environment = environment(std::env::vars_os(), &known)?;
        // An empty variable counts as unset, `CAIRN_CONFIG` too.
        let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else { return Self::of(None, &environment) };
        let text = std::fs::read_to_string(path)
            .map_err(|why| format!("the settings file {} cannot be read: {why}", path.display()))?;
        let mut read = Self::of(Some(File { path, text: &text }), &environment)?;
        read.remarks.extend(open_to_others(path, &text));
        Ok(read)
    }

    fn of(file: Option<File<'_>>, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let layers = Layers::gather(settings::settings().collect(), file, environment)?;
        let places = layers.places();
        let mut read = Self::checked(reader::read(&layers)?, places.clone()).map_err(|why| places.located(why))?;
        read.remarks.extend(layers.remarks.iter().cloned());
        Ok(read)
    }

    /// Checks settings against each other.
    fn checked(settings: Settings, places: Places) -> Result<Self, String> {
        let Settings { listening, storage, mail, lifetimes, logs, hashing, registering, rates, theme, testing } =
            settings;
        let mut remarks = Vec::new();
        if let Some(public) = listening.public_url.as_ref().filter(|public| public.is_changed) {
            remarks.push(format!("CAIRN_PUBLIC_URL is taken as {}", public.url));
        }
        let public_url = listening.public_url.map(|public| public.url);
        if let Some(address) = &storage.database_url {
            cairn_persistence::address::check(address.expose()).map_err(|why| format!("DATABASE_URL {why}"))?;
            if cairn_persistence::address::ignored(address.expose()) > 0 {
                remarks.push("DATABASE_URL has a parameter that is not known here and does nothing".to_owned());
            }
        }
        // Both: a proxy may lead strangers to a listener on loopback, and a listener may stand open whatever the URL says.
        let is_local =
            listening.listen.ip().to_canonical().is_loopback() && public_url.as_deref().is_none_or(is_on_loopback);
        for (variable, is_set) in
            [("CAIRN_CLOCK_OFFSET", testing.clock_offset.0 != 0), ("CAIRN_LIMITS", !testing.limits)]
        {
            if is_set && !is_local {
                return Err(format!("{variable} is for tests: it needs public URL and listener on loopback"));
            }
        }
        let flows = cairn_actors::environment::Settings {
            refresh_grace: lifetimes.refresh_grace,
            access_ttl: lifetimes.access_ttl.0,
            code_ttl: lifetimes.code_ttl.0,
            session_ttl: lifetimes.session_ttl.0,
            session_max: lifetimes.session_max.0,
            registration_ttl: lifetimes.registration_ttl.0,
            reset_ttl: lifetimes.reset_ttl.0,
            resend_cooldown: lifetimes.resend_cooldown,
            public_url: public_url.clone().unwrap_or_default(),
            disposable: registering.disposable,
            step_up_age: lifetimes.step_up_age,
            max_sessions: lifetimes.max_sessions.0,
            mail_budget: mail.mail_budget.0,
            mail_from: mail.mail_from.clone(),
            reserved_usernames: registering.reserved_usernames,
            registration: registering.registration.0,
            magic_link: registering.magic_link,
            code_failures: rates.limit_code_failures.0 as usize,
            limits: testing.limits,
        };
        Ok(Self {
            listen: listening.listen,
            ops_listen: listening.ops_listen,
            data: storage.data,
            public_url,
            database_url: storage.database_url,
            database_connections: storage.database_connections.0,
            master_key_file: storage.master_key_file,
            smtp_url: mail.smtp_url,
            mail: Said {
                from: mail.mail_from,
                password: mail.smtp_password,
                authority_file: mail.smtp_ca_file,
                ehlo_name: mail.smtp_ehlo_name,
                dkim: dkim(mail.dkim_domain, mail.dkim_selector, mail.dkim_key_file)?,
            },
            flows,
            hash_engine: hashing.hash_engine,
            key_rotation: Some(lifetimes.key_rotation).filter(|most| !most.is_zero()),
            trusted_proxies: listening.trusted_proxies,
            cors_origins: listening.cors_origins.into_iter().map(|origin| origin.0).collect(),
            hosts: listening.hosts.into_iter().map(|host| host.0).collect(),
            ops_hosts: listening.ops_hosts.into_iter().map(|host| host.0).collect(),
            hsts_subdomains: listening.hsts_subdomains,
            shutdown_delay: listening.shutdown_delay.0,
            quotas: rates.quotas()?,
            name: theme.name.0,
            logo: theme.logo,
            accent: theme.accent,
            templates: theme.templates,
            clock_offset: testing.clock_offset.0,
            log: logs.log.0,
            log_json: logs.log_format.0,
            remarks,
            places,
        })
    }
}

/// What to say of a settings file with a secret in it that everybody may read.
fn open_to_others(path: &Path, text: &str) -> Option<String> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).ok()?.permissions());
    (mode & 0o007 != 0 && holds_secret(text, settings::settings())).then(|| {
        format!(
            "{} has a secret in it and is open to everybody (mode {:04o}): run `chmod 640` on it, or give the secret a file \
             of its own",
            path.display(),
            mode & 0o7777
        )
    })
}

/// Letters are signed when all three are said, and not when none is.
fn dkim(domain: Option<String>, selector: Option<String>, key_file: Option<PathBuf>) -> Result<Option<Dkim>, String> {
    let missing = match (domain, selector, key_file) {
        (None, None, None) => return Ok(None),
        (Some(domain), Some(selector), Some(key_file)) => return Ok(Some(Dkim { domain, selector, key_file })),
        (None, _, _) => "CAIRN_DKIM_DOMAIN",
        (_, None, _) => "CAIRN_DKIM_SELECTOR",
        (_, _, None) => "CAIRN_DKIM_KEY_FILE",
    };
    let all = "CAIRN_DKIM_DOMAIN, CAIRN_DKIM_SELECTOR, CAIRN_DKIM_KEY_FILE";
    Err(format!("{missing} is missing: letters are signed when all of {all} are set"))
}
