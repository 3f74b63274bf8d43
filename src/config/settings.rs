//! Every setting, once: its key, its variable, its type, its default and what it means. The reader, the errors and the page
//! of settings (docs/configuration.md) are made from this list.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cairn_actors::identity::disposable::Disposable;
use cairn_actors::identity::reserved::Reserved;
use cairn_actors::secrets::hasher::HashEngine;
use cairn_actors::secrets::secret::Secret;
use cairn_http::access::client_address::Network;
use cairn_http::theme::Accent;
use serde::Deserialize;

use super::duration::{Delay, Lifetime};
use super::limits::Limit;
use super::value::{IsJson, IsOpen, Levels, Name, Number, Seconds, Value, value};
use super::web::{Host, Origin, PublicUrl};

/// So many failures are read of one target at most, so that more could not be counted.
const CODE_FAILURES: u32 = cairn_actors::acts::guesses::MOST;

/// One setting, apart from its type.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key in the file.
    pub(super) key: &'static str,
    /// The variable, where it is not `CAIRN_` and the key in capitals.
    pub(super) bare: Option<&'static str>,
    /// The text that it has when it is not set; none for tables, which are written in the file alone.
    pub(super) default: Option<&'static str>,
    /// Whether it is a secret, and may stand in a file that the setting of the same name and `_file` names.
    pub(super) is_secret: bool,
    #[cfg(test)]
    pub(super) takes: fn() -> std::borrow::Cow<'static, str>,
    /// Markdown, a line each.
    #[cfg(test)]
    pub(super) meaning: &'static [&'static str],
}

impl Setting {
    /// The variable of the environment.
    pub(super) fn variable(&self) -> String {
        self.bare.map_or_else(|| format!("CAIRN_{}", self.key.to_uppercase()), str::to_owned)
    }
}

/// Settings that belong together: a section of the page.
#[derive(Debug)]
pub(super) struct Group {
    /// The section's heading.
    #[cfg(test)]
    pub(super) title: &'static str,
    pub(super) settings: &'static [Setting],
}

/// All settings.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// Makes one struct of all settings, nested by group, and the list of their descriptions.
///
/// A line is `key: Type = "default"`; `key as "VARIABLE": …` has a variable without the prefix. Comments become the page.
macro_rules! settings {
    (@bare) => { None };
    (@bare $variable:literal) => { Some($variable) };
    ($(
        #[doc = $title:literal]
        $group:ident: $Group:ident {
            $( $(#[doc = $meaning:literal])+ $key:ident $(as $variable:literal)?: $type:ty = $default:literal, )+
        }
    )+) => {
        $(
            #[doc = $title]
            #[derive(Debug, Deserialize)]
            pub(super) struct $Group {
                $( $(#[doc = $meaning])+ #[serde(deserialize_with = "value")] pub(super) $key: $type, )+
            }
        )+

        /// All settings, each of its type.
        #[derive(Debug, Deserialize)]
        pub(super) struct Settings {
            $( #[doc = $title] pub(super) $group: $Group, )+
        }

        /// The settings' descriptions in the order of the page.
        pub(super) const GROUPS: &[Group] = &[$(
            Group {
                #[cfg(test)]
                title: $title,
                settings: &[$(
                    Setting {
                        key: stringify!($key),
                        bare: settings!(@bare $($variable)?),
                        default: Some($default),
                        is_secret: <$type as Value>::SECRET,
                        #[cfg(test)]
                        takes: <$type as Value>::takes,
                        #[cfg(test)]
                        meaning: &[$($meaning),+],
                    },
                )+],
            },
        )+];
    };
}

settings! {
    /// Where it listens
    listening: Listening {
        /// Address and port of the public listener, HTTP/1.1 and HTTP/2 without TLS. Port 0 takes a free one; the
        /// ready line names it.
        listen: SocketAddr = "127.0.0.1:8080",

        /// The operations listener. Nothing on it asks who you are: keep it from the public.
        ops_listen: SocketAddr = "127.0.0.1:8081",

        /// Scheme and host, perhaps a port, no path. Links in letters, `iss` and `aud` begin with it. It is taken as
        /// browsers write it: in lower case, international names as A-labels (`https://bücher.example` is
        /// `https://xn--bcher-kva.example`), without a port that is the usual one. Unset, it is `http://` and the
        /// listening address, or loopback where that is every address of the machine (`0.0.0.0`, `[::]`), with a
        /// warning. Several processes of one database need one value: a token of another issuer is refused.
        public_url: Option<PublicUrl> = "",

        /// Addresses and blocks (`10.0.0.0/8`) whose `X-Forwarded-For` or `Forwarded` (RFC 7239) is believed. The
        /// client is the right-most entry that is not one of them. See [Behind a proxy](#behind-a-proxy).
        trusted_proxies: Vec<Network> = "",

        /// Hosts that the public listener answers to besides the public URL's, in lower case and without a port: names
        /// and addresses. All others get 421. Unset, every host is answered to: leave it so behind a proxy that
        /// rewrites `Host`. Without a proxy it keeps pages of other sites out that have their name lead here (DNS
        /// rebinding). Add the addresses by which load balancers probe `/health`.
        hosts: Vec<Host> = "",

        /// Names that the operations listener answers to besides IP addresses and `localhost`: a service name by which
        /// Prometheus comes.
        ops_hosts: Vec<Host> = "",

        /// `on`: with a public URL of `https`, `Strict-Transport-Security` says `includeSubDomains`, so that browsers
        /// demand TLS of every host below ours for a year. Only where all of them have it.
        hsts_subdomains: bool = "off",

        /// How long the server goes on serving after SIGTERM or SIGINT while `/health/ready` says 503, so that load
        /// balancers look away before the port closes; 10 minutes at most. A second signal ends it. See
        /// [operations](operations.md#stopping).
        shutdown_delay: Delay = "500ms",

        /// Origins whose scripts may call `/auth` and `/users` and read `/.well-known`, as browsers write them:
        /// `https://app.example.org`, with a port only where it is not the usual one; anything else, `*` included,
        /// refuses to start. Cookies are never shared with them, and what is for our own pages is closed to them.
        /// `/openapi.json` is open to every origin.
        cors_origins: Vec<Origin> = "",
    }

    /// What it keeps
    storage: Storage {
        /// A folder, made with mode 0700 when it is not there. With PostgreSQL nothing is kept in it, and none is
        /// made.
        data: PathBuf = "data",

        /// `postgres://user:password@host:port/name`, or a SQLite file as path or `sqlite://path`. User, password and
        /// name are percent-encoded: `/` is `%2F`, `#` is `%23`, `?` is `%3F`, `@` is `%40`, `%` is `%25`. Unset:
        /// `cairn.db` in the data folder.
        database_url as "DATABASE_URL": Option<Secret> = "",

        /// Connections to PostgreSQL at most: a third of them (at least one) to write, the others to read.
        /// Where the server gives fewer, the process goes on with what it has. See
        /// [operations](operations.md#connections).
        database_connections: Number<2, 1000> = "24",

        /// 32 bytes in base64 on one line, as `openssl rand -base64 32` writes them, in a file with the owner and mode
        /// of [a secret](#secrets-in-files). Required with PostgreSQL. Unset with SQLite: `master.key` in the data
        /// folder, made at the first start. See [credentials](credentials.md).
        master_key_file: Option<PathBuf> = "",
    }

    /// Letters
    mail: Mail {
        /// `smtp://[user[:password]@]host[:port]` uses STARTTLS if it is offered, with `?tls=required` always;
        /// `smtps://…` is encrypted from the start. User and password are percent-encoded. Ports: 25, with a user 587,
        /// `smtps` 465.
        smtp_url as "SMTP_URL": Option<Secret> = "",

        /// The password of the user in `SMTP_URL`, as it is and not percent-encoded. Instead of one in the URL.
        smtp_password as "SMTP_PASSWORD": Option<Secret> = "",

        /// Certificates in PEM that are believed besides the public authorities: the mail server's authority, or its
        /// own certificate, also one as `openssl req -x509` makes it. With it the server's certificate is always
        /// checked.
        smtp_ca_file as "SMTP_CA_FILE": Option<PathBuf> = "",

        /// The name of a host, or an address, to greet the mail server with. Unset: the host of `CAIRN_PUBLIC_URL`;
        /// where that is on loopback or no full name, the machine's name if it is a full one, else the address of our
        /// end of the connection.
        smtp_ehlo_name as "SMTP_EHLO_NAME": Option<String> = "",

        /// Letters an hour to one address for what strangers can cause (registrations, changes of address), the same
        /// again for password resets, for sign-ins by mail, for notices (the welcome among them), for news of a changed address, and for
        /// news of a deletion: no number of other letters keeps those two away. A letter over it does not go out, and
        /// its waiting page says so.
        mail_budget: Number<1, 1000> = "10",

        /// The sender, as an address or `Some Name <name@example.org>`.
        mail_from as "MAIL_FROM": String = "Cairn <cairn@localhost>",

        /// The domain that letters are signed for, such as `example.org`.
        dkim_domain: Option<String> = "",

        /// What stands before `._domainkey.` in the name of the record, such as `s2026`.
        dkim_selector: Option<String> = "",

        /// The private key in PEM, not encrypted: RSA of 2048 to 4096 bits, or Ed25519.
        dkim_key_file: Option<PathBuf> = "",
    }

    /// How long things last
    lifetimes: Lifetimes {
        /// How long a registration waits for its code or link.
        registration_ttl: Lifetime = "24h",

        /// Between two letters of one registration.
        resend_cooldown: Duration = "60",

        /// How long a session lives after its last refresh.
        session_ttl: Lifetime = "30d",

        /// How long a session lives at most, however much it is used, from when the password was last typed in it: at
        /// the sign-in or at a step-up.
        session_max: Lifetime = "365d",

        /// How long an access token is good.
        access_ttl: Lifetime = "300",

        /// How long an authorization code of the provider is good.
        code_ttl: Lifetime = "60",

        /// How old a signing key becomes before its successor is made, for each algorithm that has one; `0`: as old as it
        /// will. See [operations](operations.md#signing-keys).
        key_rotation: Duration = "90d",

        /// How long the refresh token before the present one gets the same answer; 0 is allowed.
        refresh_grace: Duration = "30",

        /// How long the code and link of a password reset are good.
        reset_ttl: Lifetime = "1h",

        /// How old the last proof of the password may be for what is sensitive: changing password or address,
        /// deleting, exporting. Older: `/problems/step-up`.
        step_up_age: Duration = "10m",

        /// Sessions of one user. A sign-in beyond them ends the one that was idle for longest.
        max_sessions: Number<1, 1000> = "50",
    }

    /// Logs
    logs: Logs {
        /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or by target: `info,cairn_runtime=debug`. `RUST_LOG` is
        /// not read.
        log: Levels = "info,sqlx=warn,sea_orm_migration=warn",

        /// How a line of the log is written.
        log_format: IsJson = "text",
    }

    /// How passwords are hashed
    hashing: Hashing {
        /// `fast` computes argon2id with the crate `argon2-rust`, by vector instructions; `reference` with the crate
        /// `argon2`, at half the speed. The hashes are the same, and either reads what the other has made.
        hash_engine: HashEngine = "fast",
    }

    /// Who may register, and how one signs in
    registering: Registering {
        /// `closed`: nobody may register. `POST /auth/register` answers 403, the page says so, the sign-in page does
        /// not lead there, and `GET /auth/config` tells clients. What waits already may still be proved.
        registration: IsOpen = "open",

        /// Whether one may sign in by a letter, with the code or the link in it, instead of the password. `off`: its routes
        /// answer 404, and the sign-in page does not lead there.
        magic_link: bool = "off",

        /// Usernames that nobody may choose. `default` stands for the names of roles (`admin`, `root`, `support`,
        /// `postmaster`, `security` …; the list is in `actors/src/identity/reserved.rs`): `default,acme` adds one, `acme` alone
        /// replaces them, `none` reserves nothing.
        reserved_usernames: Reserved = "default",

        /// What becomes of an address at a domain that lends mailboxes to everybody, or below one: `allow`; `ask`, so
        /// that it is taken only with `"accept_disposable": true`; `refuse`. The list is built in;
        /// `actors/src/lists/README.md` says where it comes from.
        disposable: Disposable = "allow",
    }

    /// How much is let through
    rates: Rates {
        /// Registrations.
        limit_register: Limit = "10/1m 60/1h",

        /// Sign-ins, step-ups, changes of the password, deletions.
        limit_login: Limit = "30/1m",

        /// Sign-ins by one address or username, whatever client asks; a browser known to the account counts by itself.
        limit_login_identifier: Limit = "10/1m",

        /// Codes entered, links opened.
        limit_code: Limit = "30/1m",

        /// Wrong codes of one mailed address within a day, over all its flows and clients, counted in the
        /// database.
        limit_code_failures: Number<1, CODE_FAILURES> = "20",

        /// Password resets, sign-ins by mail and changes of address asked for.
        limit_reset: Limit = "10/1m 60/1h",

        /// Refreshes.
        limit_refresh: Limit = "120/1m",

        /// Letters asked for once more.
        limit_resend: Limit = "30/1m",

        /// Questions how a registration stands.
        limit_status: Limit = "240/1m",

        /// Waiting pages that ask again.
        limit_events: Limit = "1200/1m",

        /// Pages, and `GET /auth/config`.
        limit_page: Limit = "600/1m",

        /// Reads of what is one's own.
        limit_account: Limit = "600/1m",

        /// Changes of a profile, ends of sessions.
        limit_change: Limit = "120/1m",

        /// Advice about a password that is being chosen.
        limit_advice: Limit = "12/1m",

        /// Pages of one's history.
        limit_history: Limit = "60/1m",

        /// Exports.
        limit_export: Limit = "10/1m 60/1h",

        /// Sending a browser here for an authorization.
        limit_authorize: Limit = "120/1m",

        /// Asking for tokens or about them, as a client; many people may stand behind one that serves them.
        limit_token: Limit = "60000/1m",
    }

    /// How pages look
    theme: Theme {
        /// The name above every page and in every title.
        name: Name = "Cairn",

        /// A file (`.svg`, `.png`, `.webp` or `.jpg`, at most 256 KiB) that stands in the name's place. The name stays
        /// its text for those who do not see it.
        logo: Option<PathBuf> = "",

        /// The colour of links and buttons, as `#0b57d0`; or two, for light and dark: `#0b57d0,#a8c7fa`. Of one, the
        /// dark one is made. A colour with a contrast below 4.5 on its background is refused (WCAG 2.2, 1.4.3).
        accent: Option<Accent> = "",

        /// A folder with templates in the place of ours: see [pages](pages.md#your-own-templates).
        templates: Option<PathBuf> = "",
    }

    /// For tests
    testing: Testing {
        /// `off` lifts rate limits, slow-downs and the daily cap of codes, not the five tries and the resends of a
        /// flow.
        limits: bool = "on",

        /// Seconds by which the process believes it is later; negative is earlier.
        clock_offset: Seconds = "0",
    }
}
