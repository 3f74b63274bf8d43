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
    ("master_key_file", ""),
    ("smtp_url", ""),
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
pub(super) const BARE: &[&str] =
    &["database_url", "smtp_url", "smtp_password_file", "smtp_ca_file", "smtp_ehlo_name", "mail_from"];

pub(super) fn variable(name: &str) -> String {
    let upper = name.to_uppercase();
    if BARE.contains(&name) { upper } else { format!("CAIRN_{upper}") }
}

pub(super) fn takes(name: &str, what: &str) -> String {
    format!("{} takes {what}", variable(name))
}
