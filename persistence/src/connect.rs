//! Opens the database that an address names: one writer and some readers on SQLite, and on PostgreSQL a pool of
//! connections that write beside those that read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::Domain;
use cairn_runtime::store::StoreFault;
use sea_orm::{ConnAcquireErr, ConnectOptions, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};
use sea_orm::{SqliteTransactionMode, TransactionOptions, TransactionTrait};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection};

use crate::deadline::{Bounded, Silence};
use crate::migration::migrate;
use crate::pools::{Figures, Transaction};
use crate::readers::{Readers, is_refused};
use crate::server;
use crate::store::{SqlStore, Writes};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;
/// A connection that rested this long is tried before it is used: no server restarts in less, so one that was restarted
/// costs nobody an error. Under load none rests so long, and none is tried.
const RESTED: Duration = Duration::from_millis(100);
/// How long its answer is waited for then.
const TRIED: Duration = Duration::from_secs(1);
/// Readers of a SQLite file.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL at most, unless the options say otherwise.
pub const POSTGRES_CONNECTIONS: u32 = 24;
/// One connection in so many to PostgreSQL writes: the committer's one lane, and some to take its place. One that the
/// network swallows just as it is given back keeps its place in the pool until the operating system gives it up, which
/// takes a quarter of an hour.
const WRITES: u32 = 3;

/// How long PostgreSQL lets a statement run (`statement_timeout`), and a little longer.
const SLOW: Duration = Duration::from_secs(32);

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// What PostgreSQL shows of us in its list of connections.
    pub application_name: String,
    /// How long to wait for a connection before the database counts as not available. On SQLite also how long to wait
    /// for another program that holds the file's write lock, unless that is less than five seconds.
    pub patience: Duration,
    /// How long to wait for PostgreSQL's answer to a statement, or to a transaction with all that is in it. Then its
    /// connection counts as dead, and is given up: a network that swallows packets does not say so. The server itself
    /// gives up waiting for a lock before that, unless this is less than five seconds.
    pub answer_within: Duration,
    /// How many connections PostgreSQL is asked for, at least two: a third of them to write, the others to read. When it
    /// gives fewer, those that read are fewer.
    pub connections: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            application_name: "cairn".to_owned(),
            patience: Duration::from_secs(3),
            answer_within: Duration::from_secs(6),
            connections: POSTGRES_CONNECTIONS,
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another cairn process", .0.display())]
    InUse(PathBuf),
    /// The address names no database that is known here.
    #[error("{0} is not the address of a database: a path, sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/NAME")]
    Address(String),
    /// The file or its lock could not be made ready.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// It cannot hold every name.
    #[error(
        "the database's encoding is {0}, and names are in UTF8: make the database anew with CREATE DATABASE … \
         ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// It presents a certificate that may sign others, which TLS does not take for a server's.
    #[error(
        "the database presents the certificate of an authority (CA:TRUE) as its own, as openssl req -x509 makes it when it \
         is told nothing: make it again with -addext basicConstraints=critical,CA:FALSE, or have an authority sign another"
    )]
    Authority,
    /// Each of its transactions may get another session.
    #[error(
        "the database is behind a pooler that gives each transaction another session (pgbouncer's pool_mode = transaction \
         or statement), and what Cairn sets and prepares in a session would be lost: set pool_mode = session for it, or \
         name the server itself"
    )]
    Pooler,
    /// A later release has migrated it: what its tables mean is not known here.
    #[error(
        "the database is of a later release: it has the migration {unknown}, and this release knows none after {known}. \
         Start that release or a later one, or put back a copy of the database from before"
    )]
    Later {
        /// A migration that this release does not know.
        unknown: String,
        /// The newest that it knows.
        known: String,
    },
    /// The database could not be reached, or refused its schema.
    #[error("the database could not be opened: {0}")]
    Database(#[from] DbErr),
}

/// An open database whose schema is that of this release. Clones share it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Open>);

#[derive(Debug)]
struct Open {
    readers: Bounded,
    slow_readers: Bounded,
    writer: Bounded,
    /// Where PostgreSQL is.
    server: Option<PgConnectOptions>,
    patience: Duration,
    file: Option<PathBuf>,
    /// Held as long as the database is open; the operating system gives it back however the process ends.
    _lock: Option<File>,
}

impl Database {
    /// Opens the database at an address and brings its schema up to this release.
    ///
    /// The address is `postgres://…` or `postgresql://…`, or the path of a SQLite file, bare or as `sqlite://PATH`. A
    /// SQLite file is made when it is not there, for its owner's eyes only, and belongs to one process at a time.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is retried: an absent server is told after the options' patience.
    pub async fn open(address: &str, options: &Options) -> Result<Self, OpenError> {
        if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            return Self::open_postgres(address, options).await;
        }
        let path = match address.split_once(':') {
            None => address,
            Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, _)) if scheme.contains('/') => address,
            Some(_) => return Err(OpenError::Address(without_secret(address))),
        };
        if path.is_empty() || path == ":memory:" || path.contains('?') {
            return Err(OpenError::Address(address.to_owned()));
        }
        Self::open_sqlite(Path::new(path), options).await
    }

    async fn open_sqlite(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = |error| OpenError::File { path: path.to_owned(), error };
        make_private(path).map_err(file)?;
        // The lock goes by the file's one true name, so that a link to it does not make a second door.
        let path = path.canonicalize().map_err(file)?;
        let lock = lock(&path)?;

        let busy = options.patience.max(Duration::from_secs(5));
        let base = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(busy)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS)
            .pragma("temp_store", "memory");
        // FULL: an acknowledged step survives a power cut, not only a crash.
        let writing = base
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // The log is carried over into the file every 32 MB instead of every 4: a sixth of the work less.
            .pragma("wal_autocheckpoint", "8000")
            .pragma("journal_size_limit", "67108864");
        let reading = base.read_only(true);

        let writer = sea_orm::Database::connect(sqlite_pool(writing, 1, busy)).await?;
        migrate(&writer).await?;
        let readers = sea_orm::Database::connect(sqlite_pool(reading, SQLITE_READERS, options.patience)).await?;
        let (readers, writer) = (Bounded::patient(readers), Bounded::patient(writer));
        Ok(Self::of(readers, writer, options, None, Some((path, lock))))
    }

    async fn open_postgres(address: &str, options: &Options) -> Result<Self, OpenError> {
        // Every statement of a writer finds its rows by an index. A plan that was made while the tables were small must
        // not read them whole once they are large, so such plans are not on offer.
        let writing: &[&str] = &[
            "SET enable_seqscan = off",
            "SET enable_hashjoin = off",
            "SET enable_mergejoin = off",
            "SET jit = off",
            // There is one good plan for each statement, whatever its lists hold: planning anew takes longer than running.
            "SET plan_cache_mode = force_generic_plan",
            "SET statement_timeout = '30s'",
            "SET lock_timeout = '5s'",
            // Of a client that went silent in the middle, whose locks others wait for.
            "SET idle_in_transaction_session_timeout = '10s'",
        ];
        let reading: &[&str] =
            &["SET default_transaction_read_only = on", "SET jit = off", "SET statement_timeout = '30s'"];
        let server = server::server(address, options)?;
        server::greet(&server, options.patience).await?;
        let (silence, deadline, most) = (Silence::default(), options.answer_within, options.connections.max(2));
        let patience = options.patience;
        let writers = (most / WRITES).max(1);
        // One that writes is kept even when nothing is written: there might be none to be had when it is needed.
        let mut pool = postgres_pool(&server, writers, patience, writing, &silence);
        let writer = sea_orm::Database::connect(pool.min_connections(1).to_owned()).await?;
        migrate(&writer).await?;
        let writer = Bounded::new(writer, deadline, silence);
        let silence = Silence::default();
        let pool = postgres_pool(&server, 1, patience, reading, &silence);
        let readers = Readers::open(server.clone(), pool, most - writers, patience).await?;
        let readers = Bounded::reading(readers, deadline, silence);
        Ok(Self::of(readers, writer, options, Some(server), None))
    }

    fn of(
        readers: Bounded,
        writer: Bounded,
        options: &Options,
        server: Option<PgConnectOptions>,
        file: Option<(PathBuf, File)>,
    ) -> Self {
        let slow_readers = readers.with_deadline(options.answer_within.max(SLOW));
        let (file, lock) = file.unzip();
        Self(Arc::new(Open { readers, slow_readers, writer, server, patience: options.patience, file, _lock: lock }))
    }

    /// Connections that only read.
    pub fn readers(&self) -> &Bounded {
        &self.0.readers
    }

    /// The same for statements that look at whole tables: they are waited for as long as the server lets them run.
    pub fn slow_readers(&self) -> &Bounded {
        &self.0.slow_readers
    }

    /// Connections that write. On SQLite there is one, so a transaction that is left open here stops all writing.
    pub fn writer(&self) -> &Bounded {
        &self.0.writer
    }

    /// How busy the connections that read are, and those that write.
    pub fn figures(&self) -> (Figures, Figures) {
        (self.0.readers.figures(), self.0.writer.figures())
    }

    /// Whether the server gives fewer connections than were asked for: what was asked for last was refused.
    pub fn is_short_of_connections(&self) -> bool {
        self.0.readers.readers().is_some_and(Readers::are_fewer)
    }

    /// Which of the two it is.
    pub fn backend(&self) -> DbBackend {
        self.0.writer.get_database_backend()
    }

    /// Whether no other process can have this database: the lock of a SQLite file proves it. Nothing proves it of
    /// PostgreSQL, where a process of the same name may live, and one that lost its connections may still send a letter.
    pub fn has_one_process(&self) -> bool {
        self.0.file.is_some()
    }

    /// The SQLite file by its full name; `None` on PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Begins a transaction that writes. It must be awaited to its end: dropping the future in its middle spoils the
    /// connection. Only [`Database::in_time`] may do that, because it sees to it that the connection is not used again.
    ///
    /// # Errors
    /// What the database says; nothing has been done then.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        let call = self.0.writer.call();
        let begun = match self.begin_now().await {
            Err(DbErr::ConnectionAcquire(_)) if self.makes_room().await => self.begin_now().await,
            begun => begun,
        };
        begun.map(|begun| Transaction::new(begun, call))
    }

    async fn begin_now(&self) -> Result<DatabaseTransaction, DbErr> {
        // IMMEDIATE takes SQLite's write lock now, where waiting for it is safe, and not in the middle.
        let mode = Some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() };
        match self.0.writer.pool() {
            Some(pool) => pool.begin_with_options(options).await,
            None => Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
        }
    }

    /// A connection that writes could not be had. When that is for want of connections, one that reads gives way.
    pub(crate) async fn makes_room(&self) -> bool {
        let (Some(server), Some(readers)) = (&self.0.server, self.0.readers.readers()) else { return false };
        match tokio::time::timeout(self.0.patience, server.connect()).await {
            Ok(Err(error)) if is_refused(&error) => readers.give_up_one().await,
            Ok(Ok(room)) => drop(room.close().await),
            _ => return false,
        }
        true
    }

    /// Runs what begins a transaction here and ends it, or drops it once it has taken as long as it may.
    ///
    /// # Errors
    /// Its own; [`StoreFault::Ambiguous`] when it was dropped.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
        // Besides the answers there is a connection to be waited for.
        self.0.writer.in_time(self.0.patience, work).await
    }

    /// The engine's store over this database, with the domain's side of its commits.
    pub fn store<D: Domain, W: Writes<D>>(&self, writes: W) -> SqlStore<D, W> {
        SqlStore::new(self.clone(), writes)
    }

    /// Closes all connections. What is still asked of it afterwards is answered as if it were not available.
    ///
    /// # Errors
    /// What the database says.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.0.readers.close().await?;
        self.0.writer.close().await
    }
}

fn sqlite_pool(options: SqliteConnectOptions, connections: u32, patience: Duration) -> ConnectOptions {
    let mut pool = quiet("sqlite://cairn");
    pool.max_connections(connections)
        .min_connections(connections)
        .acquire_timeout(patience)
        // A file does not hang up: connections are for ever, and are not tried before they are used.
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(move |parsed| {
            let _ = parsed; // the address says nothing that the options do not
            sqlx::ConnectOptions::disable_statement_logging(options.clone())
        })
        // After a full disk SQLite may have rolled back by itself; the driver then still counts a transaction as open,
        // and would take the next BEGIN for a savepoint.
        .map_sqlx_sqlite_before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
    pool
}

fn postgres_pool(
    server: &PgConnectOptions,
    connections: u32,
    patience: Duration,
    settings: &'static [&'static str],
    silence: &Silence,
) -> ConnectOptions {
    let (taken, given_back) = (silence.clone(), silence.clone());
    let server = server.clone();
    let mut pool = quiet("postgres://cairn");
    pool.max_connections(connections)
        .min_connections(0)
        .acquire_timeout(patience)
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(Duration::from_secs(1800))
        .test_before_acquire(false) // is_usable does that, and does not wait for ever
        .map_sqlx_postgres_opts(move |parsed| {
            let _ = parsed; // the address says nothing that the server's options do not
            server.clone()
        })
        .map_sqlx_postgres_before_acquire(move |connection, meta| {
            let taken = taken.clone();
            Box::pin(async move { Ok(is_usable(connection, meta.age, meta.idle_for, &taken).await) })
        })
        .map_sqlx_postgres_pool_opts(move |pool| {
            let given_back = given_back.clone();
            pool.after_connect(move |connection, _| Box::pin(set(connection, settings))).after_release(
                move |_, meta| {
                    let usable = given_back.spares(meta.age);
                    Box::pin(async move { Ok(usable) })
                },
            )
        });
    pool
}

/// Whether a connection that rested may be given to somebody. One that may not is replaced at once by a new one.
async fn is_usable(connection: &mut PgConnection, age: Duration, rested: Duration, silence: &Silence) -> bool {
    if connection.is_in_transaction() || !silence.spares(age) {
        return false;
    }
    if rested < RESTED {
        return true;
    }
    match tokio::time::timeout(TRIED, connection.ping()).await {
        Ok(answer) => answer.is_ok(),
        Err(_) => {
            silence.fell();
            false
        }
    }
}

/// Settings that an engine of PostgreSQL's protocol may not know; it then does without.
async fn set(connection: &mut PgConnection, settings: &[&'static str]) -> Result<(), sqlx::Error> {
    for setting in settings {
        match sqlx::Executor::execute(&mut *connection, *setting).await {
            Err(sqlx::Error::Database(unknown)) => tracing::debug!(%unknown, setting, "a setting was refused"),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Options that put no statement into logs or spans: statements carry what must not be read there.
fn quiet(address: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(address);
    options.sqlx_logging(false).record_stmt_in_spans(false);
    options
}

/// Makes the file if it is not there, and sees to it that only its owner can read it.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = std::fs::metadata(path)?.permissions().mode();
            if mode & 0o077 == 0 {
                return Ok(());
            }
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode & !0o077))
        }
        Err(error) => Err(error),
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error| OpenError::File { path: name.clone(), error };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// An address as it may be shown: nothing of what stands before the host.
fn without_secret(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(without_secret("mysql://cairn:s3cret@db/cairn"), "mysql://…@db/cairn");
        assert_eq!(without_secret("mysql:cairn"), "mysql:cairn");
    }
}
