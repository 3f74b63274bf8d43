//! Where PostgreSQL is and how it is reached: what an address says, and what the first connection finds out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, Row};

use crate::connect::{OpenError, Options};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;
/// Between two tries to reach a server that is about to start, or has no connection left.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is looked whether a session stays the same while another is busy.
const ROUNDS: u32 = 3;

/// What an address says, read as `libpq` reads it.
///
/// # Errors
/// [`OpenError::File`] when a certificate or key that it names cannot be read.
pub(crate) fn server(address: &str, options: &Options) -> Result<PgConnectOptions, OpenError> {
    let parsed = address.parse::<PgConnectOptions>().map_err(|error| OpenError::Database(connecting(error)))?;
    let files = Files::of(address);
    for path in [&files.root, &files.certificate, &files.key].into_iter().flatten() {
        std::fs::File::open(path).map_err(|error| OpenError::File { path: path.clone(), error })?;
    }
    let host = parsed.get_host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    let mut server = parsed
        .application_name(&options.application_name)
        .statement_cache_capacity(STATEMENTS)
        // It is about floating-point numbers, of which there are none here, and poolers refuse it.
        .extra_float_digits(None)
        .disable_statement_logging();
    if let Some(bare) = bare {
        server = server.host(&bare);
    }
    // A root certificate is given to be checked.
    if files.root.is_some() && matches!(server.get_ssl_mode(), PgSslMode::Require) {
        server = server.ssl_mode(PgSslMode::VerifyCa);
    }
    Ok(server)
}

/// The files that an address names, or the environment that `libpq` has as well.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Files {
    fn of(address: &str) -> Self {
        let url = url::Url::parse(address).ok();
        let named = |names: [&str; 2], variable: &str| {
            let pairs = url.iter().flat_map(url::Url::query_pairs);
            let named = pairs.filter(|(name, _)| names.contains(&&**name)).last().map(|(_, value)| value.into_owned());
            // What begins like this is the certificate itself.
            let named = named.or_else(|| std::env::var(variable).ok());
            named.filter(|named| !named.trim_start().starts_with("-----BEGIN")).map(PathBuf::from)
        };
        Self {
            root: named(["sslrootcert", "ssl-root-cert"], "PGSSLROOTCERT"),
            certificate: named(["sslcert", "ssl-cert"], "PGSSLCERT"),
            key: named(["sslkey", "ssl-key"], "PGSSLKEY"),
        }
    }
}

/// Makes sure that the server is there, that it can hold every name, and that a session is a session.
///
/// # Errors
/// See [`OpenError`].
pub(crate) async fn greet(server: &PgConnectOptions, patience: Duration) -> Result<(), OpenError> {
    let (mut one, mut two) = (reach(server, patience).await?, reach(server, patience).await?);
    let asked = tokio::time::timeout(patience, ask(&mut one, &mut two)).await;
    let answer = asked.unwrap_or_else(|_| Err(late())).map_err(|error| OpenError::Database(connecting(error)));
    for connection in [one, two] {
        // Their answers are had; whether the server hears the good-bye matters to nobody.
        drop(tokio::time::timeout(patience, connection.close()).await);
    }
    match answer? {
        Found { encoding, .. } if encoding != "UTF8" => Err(OpenError::Encoding(encoding)),
        Found { shared: true, .. } => Err(OpenError::Pooler),
        Found { .. } => Ok(()),
    }
}

struct Found {
    encoding: String,
    /// Whether one session's transactions go to several of the server's.
    shared: bool,
}

async fn ask(one: &mut PgConnection, two: &mut PgConnection) -> Result<Found, sqlx::Error> {
    let encoding = one.fetch_one("SHOW server_encoding").await?.try_get(0)?;
    let mut shared = false;
    for _ in 0..ROUNDS {
        let before = session(one).await?;
        // A pooler of transactions gives this one the session that the other has just had.
        if let Err(error) = two.execute("BEGIN").await {
            let statements = error.as_database_error().is_some_and(|refusal| refusal.message().contains("pooling"));
            return if statements { Ok(Found { encoding, shared: true }) } else { Err(error) };
        }
        session(two).await?;
        let after = session(one).await?;
        two.execute("ROLLBACK").await?;
        shared |= before != after;
    }
    Ok(Found { encoding, shared })
}

/// The number of the server's own process for this session.
async fn session(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}

/// The server's first answer. One that is starting or has no connection left is asked again until the patience is over,
/// and is then told by what it said.
async fn reach(server: &PgConnectOptions, patience: Duration) -> Result<PgConnection, OpenError> {
    let end = tokio::time::Instant::now() + patience;
    loop {
        let error = match tokio::time::timeout_at(end, server.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => late(),
        };
        if !may_pass(&error) || tokio::time::Instant::now() + AGAIN >= end {
            return Err(refusal(error));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether the same again may go well: nobody listens yet, the server is starting, or has no connection left.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| code == "53300" || code == "57P03"),
        _ => false,
    }
}

/// An error as the operator is told of it.
fn refusal(error: sqlx::Error) -> OpenError {
    // The driver has no other way to say it.
    let words = error.to_string();
    if words.contains("CaUsedAsEndEntity") { OpenError::Authority } else { OpenError::Database(connecting(error)) }
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer"))
}

fn connecting(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(address: &str) -> Result<PgConnectOptions, OpenError> {
        server(address, &Options::default())
    }

    #[test]
    fn an_address_of_ip_version_six_is_reached_without_its_brackets() {
        let server = read("postgres://u@[::1]:5432/d").unwrap();
        assert_eq!((server.get_host(), server.get_port()), ("::1", 5432));
        assert_eq!(read("postgres://u@db.example.org/d").unwrap().get_host(), "db.example.org");
        assert_eq!(read("postgres:///d?host=/run/postgresql").unwrap().get_socket(), Some(&"/run/postgresql".into()));
    }

    #[test]
    fn a_root_certificate_is_checked_and_one_that_is_not_there_is_named() {
        let mode = |query: &str| read(&format!("postgres://u@h/d?{query}")).unwrap().get_ssl_mode();
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(matches!(mode("sslmode=require"), PgSslMode::Require));
        assert!(matches!(mode(&format!("sslmode=require&sslrootcert={there}")), PgSslMode::VerifyCa));
        assert!(matches!(mode(&format!("sslmode=verify-full&sslrootcert={there}")), PgSslMode::VerifyFull));
        assert!(matches!(mode(&format!("sslmode=prefer&sslrootcert={there}")), PgSslMode::Prefer));
        for name in ["sslrootcert", "sslcert", "sslkey"] {
            let refused =
                read(&format!("postgres://u:s3cret@h/d?sslmode=verify-full&{name}=/no/where.pem")).unwrap_err();
            assert!(
                matches!(&refused, OpenError::File { path, .. } if path == Path::new("/no/where.pem")),
                "{refused:?}"
            );
            assert!(refused.to_string().starts_with("/no/where.pem: "), "{refused}");
        }
    }
}
