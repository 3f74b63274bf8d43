//! The names of all settings and what they are when unset.

/// Every name that the file knows in lower case and the environment in upper case, with what it is when unset.
///
/// The variables of the environment carry the prefix `CAIRN_` but for those listed in [`BARE`].
pub(super) const NAMES: &[(&str, &str)] = &[
    ("listen", "127.0.0.1:8080"),
    ("ops_listen", "127.0.0.1:8081"),
    ("data", "data"),
    ("public_url", ""),
    ("database_url", ""),
    ("database_url_file", ""),
    ("database_connections", "24"),
    ("master_key_file", ""),
    ("smtp_url", ""),
    ("smtp_url_file", ""),
    ("smtp_password", ""),
    ("smtp_password_file", ""),
    ("smtp_ca_file", ""),
    ("smtp_ehlo_name", ""),
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
    ("hash_engine", "fast"),
    ("hsts_subdomains", "off"),
    ("shutdown_delay", "500ms"),
    ("limits", "on"),
    ("limit_register", "10/1m 60/1h"),
    ("limit_login", "30/1m"),
    ("limit_login_identifier", "10/1m"),
    ("limit_code", "30/1m"),
    ("limit_code_failures", "20"),
    ("limit_reset", "10/1m 60/1h"),
    ("limit_refresh", "120/1m"),
    ("limit_history", "60/1m"),
    ("limit_export", "10/1m 60/1h"),
    ("limit_advice", "12/1m"),
    ("limit_resend", "30/1m"),
    ("limit_status", "240/1m"),
    ("limit_events", "1200/1m"),
    ("limit_page", "600/1m"),
    ("limit_account", "600/1m"),
    ("limit_change", "120/1m"),
    ("step_up_age", "10m"),
    ("max_sessions", "50"),
    ("mail_budget", "10"),
    ("registration", "open"),
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
pub(super) const BARE: &[&str] = &[
    "database_url",
    "database_url_file",
    "smtp_url",
    "smtp_url_file",
    "smtp_password",
    "smtp_password_file",
    "smtp_ca_file",
    "smtp_ehlo_name",
    "mail_from",
];

/// Settings with a secret in them. Each may stand in a file of its own, named by the setting of the same name and `_file`.
pub(super) const SECRETS: &[&str] = &["database_url", "smtp_url", "smtp_password"];

/// The setting that somebody may have meant who wrote another name.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |known: &str| strsim::jaro_winkler(known, &name.to_lowercase());
    let (near, likeness) =
        NAMES.iter().map(|(known, _)| (*known, likeness(known))).max_by(|one, other| one.1.total_cmp(&other.1))?;
    (likeness > 0.85).then_some(near)
}

pub(super) fn variable(name: &str) -> String {
    let upper = name.to_uppercase();
    if BARE.contains(&name) { upper } else { format!("CAIRN_{upper}") }
}

pub(super) fn takes(name: &str, what: &str) -> String {
    format!("{} takes {what}", variable(name))
}
