//! Where a server under test keeps its rows: a SQLite file of its own, or a fresh database on the run's PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::folder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// One database; a PostgreSQL one is dropped with it.
pub enum Database {
    /// `cairn.db` in the data folder, which is what the server takes when it is told nothing.
    Sqlite,
    Postgres {
        name: String,
        url: String,
        server: String,
        /// A role that owns it and is dropped after it.
        role: Option<String>,
    },
}

impl Database {
    pub fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite,
            Kind::Postgres => Self::on(server()),
        }
    }

    /// A fresh database on the server whose superuser's URL this is.
    pub fn on(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cairn_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // template0: nobody is ever connected to it, so parallel tests do not wait for each other.
        sql(server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        let (front, _) = server.rsplit_once('/').expect("a URL ends in a database's name");
        Self::Postgres { url: format!("{front}/{name}"), name, server: server.to_owned(), role: None }
    }

    /// A fresh database of a role that may have so many connections at once.
    pub fn limited(connections: u32) -> Self {
        let mut database = Self::fresh(Kind::Postgres);
        if let Self::Postgres { name, url, server, role } = &mut database {
            let few = format!("few_{name}");
            sql(server, &format!("CREATE ROLE {few} LOGIN PASSWORD 'few' CONNECTION LIMIT {connections}"));
            sql(server, &format!("ALTER DATABASE {name} OWNER TO {few}"));
            let (_, at) = url.rsplit_once('@').expect("a URL has an account");
            *url = format!("postgres://{few}:few@{at}");
            *role = Some(few);
        }
        database
    }

    /// What `DATABASE_URL` says.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres { url, .. } => Some(url),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { name, server, role, .. } = self
            && !std::thread::panicking()
        {
            let _ = psql(server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            if let Some(role) = role {
                let _ = psql(server, &format!("DROP ROLE {role}"));
            }
        }
    }
}

/// The run's server: that of `make test`, else one that is started here and stopped when these tests end. There is
/// no way past it: a test on PostgreSQL runs on PostgreSQL or fails.
pub fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("CAIRN_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => url,
        _ => start_cluster(&cluster_folder("run")),
    })
}

/// A place for a cluster that another user may own: below the temporary folder, because Cargo's may lie in a home
/// that the unprivileged user cannot enter.
pub fn cluster_folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("cairn-postgres-{}-{name}", std::process::id()))
}

/// Starts (or starts again) the cluster in `folder` and answers the URL of its superuser.
pub fn start_cluster(folder: &Path) -> String {
    folder::cluster_begun(folder);
    script("start", folder)
}

/// Stops the cluster in `folder` and keeps its files: the outage of a database.
pub fn halt_cluster(folder: &Path) {
    script("halt", folder);
}

fn script(verb: &str, folder: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres.sh");
    let output = Command::new(path).arg(verb).arg(folder).output().expect("scripts/postgres.sh runs");
    assert!(
        output.status.success(),
        "no PostgreSQL for the tests; `make test` installs and starts what they need.\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs one statement and answers its rows as text.
pub fn sql(url: &str, statement: &str) -> String {
    psql(url, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
}

fn psql(url: &str, statement: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args([url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .output()
        .map_err(|error| format!("psql: {error}; `make test` installs it"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
