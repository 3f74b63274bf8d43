//! PostgreSQL for tests: the run's server or one of a test's own, and fresh databases on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The two databases that are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, for one process.
    Sqlite,
    /// A server, for several.
    Postgres,
}

/// The URL of the run's server: that of `make test`, else one that is started here and ends with this process. There is no
/// way past it: a test on PostgreSQL runs on PostgreSQL or fails.
pub fn run_server() -> &'static str {
    static STARTED: OnceLock<Server> = OnceLock::new();
    static GIVEN: OnceLock<Option<String>> = OnceLock::new();
    let given = || std::env::var("CAIRN_TEST_POSTGRES").ok().filter(|url| !url.is_empty());
    match GIVEN.get_or_init(given) {
        Some(url) => url,
        None => STARTED.get_or_init(|| Server::start("run")).url(),
    }
}

/// A PostgreSQL server of a test's own, which the test may halt. It is stopped and its files are removed when it is dropped,
/// or when this process ends, by whatever cause: a value in a static is never dropped.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    url: String,
    /// A shell that waits for the end of its input, which is ours.
    watch: Child,
}

impl Server {
    /// Starts a server.
    ///
    /// # Panics
    /// When there is no PostgreSQL on this machine, or it does not start.
    pub fn start(name: &str) -> Self {
        // Another user may own a cluster, and must be able to enter: Cargo's folders may lie in a home.
        let folder = std::env::temp_dir().join(format!("cairn-postgres-{}-{}-{name}", std::process::id(), next()));
        let watch = Command::new("sh")
            .args(["-c", "trap '' INT TERM HUP; cat; exec \"$0\" stop \"$1\""])
            .arg(script_path())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell to clear up");
        // Made before the server is, so that one which does not start leaves nothing behind either.
        let mut server = Self { folder, url: String::new(), watch };
        server.url = script("start", &server.folder);
        server
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The URL of its superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it and keeps its files: an outage.
    ///
    /// # Panics
    /// When it cannot be stopped.
    pub fn halt(&self) {
        script("halt", &self.folder);
    }

    /// Brings it back at the same URL.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        assert_eq!(script("start", &self.folder), self.url, "the server comes back where it was");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// A database of a test's own on a server; it is dropped with this value, unless a test is failing.
#[derive(Debug)]
pub struct Postgres {
    name: String,
    url: String,
    server: String,
    /// The role that owns it, which is dropped after it.
    role: Option<String>,
}

impl Postgres {
    /// An empty database on the run's server.
    ///
    /// # Panics
    /// As [`Postgres::on`].
    pub fn fresh() -> Self {
        Self::on(run_server())
    }

    /// An empty database on the server whose superuser's URL this is.
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn on(server: &str) -> Self {
        Self::made(server, "")
    }

    /// An empty database in an encoding, on the run's server.
    ///
    /// # Panics
    /// As [`Postgres::on`].
    pub fn encoded(encoding: &str) -> Self {
        Self::made(run_server(), &format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"))
    }

    /// An empty database of a role that may have so many connections at once, on the run's server.
    ///
    /// # Panics
    /// As [`Postgres::on`].
    pub fn limited(connections: u32) -> Self {
        let mut database = Self::fresh();
        let role = format!("few_{}", database.name);
        sql(&database.server, &format!("CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT {connections}"));
        sql(&database.server, &format!("ALTER DATABASE {} OWNER TO {role}", database.name));
        let (_, at) = database.url.rsplit_once('@').expect("a URL has an account");
        database.url = format!("postgres://{role}:few@{at}");
        database.role = Some(role);
        database
    }

    fn made(server: &str, how: &str) -> Self {
        let name = format!("cairn_{}_{}", std::process::id(), next());
        // template0: nobody is ever connected to it, so parallel tests do not wait for each other.
        sql(server, &format!("CREATE DATABASE {name} {how} TEMPLATE template0"));
        Self { url: at(server, &name), name, server: server.to_owned(), role: None }
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `DATABASE_URL` says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL by which the server's superuser comes to it, whoever owns it.
    pub fn superuser_url(&self) -> String {
        at(&self.server, &self.name)
    }

    /// The URL of the server's superuser.
    pub fn server(&self) -> &str {
        &self.server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let _ = psql(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        if let Some(role) = &self.role {
            let _ = psql(&self.server, &format!("DROP ROLE {role}"));
        }
    }
}

fn at(server: &str, name: &str) -> String {
    let (front, _) = server.rsplit_once('/').expect("a URL ends in a database's name");
    format!("{front}/{name}")
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh")
}

fn script(verb: &str, folder: &Path) -> String {
    let output = Command::new(script_path()).arg(verb).arg(folder).output().expect("scripts/postgres.sh runs");
    assert!(
        output.status.success(),
        "no PostgreSQL for the tests; `make test` installs and starts what they need.\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs one statement and answers its rows as text.
///
/// # Panics
/// When the server refuses it.
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
