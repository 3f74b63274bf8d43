//! The server under test: the built binary with a data folder, a database, ports and settings of its own.
//!
//! What the binary prints when it is ready is part of its contract:
//! `cairn ready public=http://127.0.0.1:PORT operations=http://127.0.0.1:PORT`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::client::{Client, encoded};
use super::database::{Database, Kind};
use super::folder::{self, Folder};
use super::letter::Letter;
use super::{PATIENCE, eventually};

/// The binary: Cargo's, or another build of it that `CAIRN_TEST_BINARY` names.
pub fn binary() -> PathBuf {
    std::env::var_os("CAIRN_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_cairn").into(), PathBuf::from)
}

/// A server to be started: what it will find in its environment.
pub struct Plan {
    name: String,
    database: Arc<Database>,
    master_key: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    descriptors: Option<u32>,
}

/// A server, running or not. Dropping it kills it and removes its folder (not while a test fails).
pub struct App {
    folder: Folder,
    database: Arc<Database>,
    environment: Mutex<BTreeMap<String, String>>,
    descriptors: Option<u32>,
    process: Mutex<Option<Process>>,
    public: SocketAddr,
    operations: SocketAddr,
}

struct Process {
    child: Child,
    state: watch::Receiver<State>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Starting,
    Ready { public: SocketAddr, operations: SocketAddr },
    Ended,
}

/// A free port outside the range from which the system takes the ports of outgoing connections: else, while the
/// server is dead, somebody's connection could sit on the port that it wants back.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 89) * 100;
    for _ in 0..9_000 {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + (start + step) % 9_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 19000");
}

/// Writes a file that its owner alone may read.
pub fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Writes a master key as `openssl rand -base64 32` would, readable by its owner only.
pub fn write_master_key(path: &Path) {
    use base64ct::{Base64, Encoding};
    use std::os::unix::fs::OpenOptionsExt;
    let mut key = [0; 32];
    File::open("/dev/urandom").unwrap().read_exact(&mut key).unwrap();
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    writeln!(file, "{}", Base64::encode_string(&key)).unwrap();
}

impl Plan {
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// A setting by environment (API.md, section 6).
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// Leaves a setting to its default.
    pub fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// A second node: the same database and the same master key as `other`.
    pub fn beside(mut self, other: &App) -> Self {
        self.database = Arc::clone(&other.database);
        self.master_key = Some(other.data().join("test-master.key"));
        self
    }

    /// Starts it with so many descriptors and no more.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    pub fn database(mut self, database: Database) -> Self {
        self.database = Arc::new(database);
        self
    }

    /// Makes the folder and chooses the ports, but starts nothing yet.
    pub fn prepare(self) -> App {
        let folder = Folder::new(&self.name);
        let mut environment = self.environment;
        let public = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let operations = SocketAddr::from(([127, 0, 0, 1], free_port()));
        environment.entry("CAIRN_LISTEN".into()).or_insert_with(|| public.to_string());
        environment.entry("CAIRN_OPS_LISTEN".into()).or_insert_with(|| operations.to_string());
        environment.insert("CAIRN_DATA".into(), folder.path().display().to_string());
        if let Some(url) = self.database.url() {
            environment.insert("DATABASE_URL".into(), url.to_owned());
            // On SQLite the server makes its own key; on PostgreSQL it must be told.
            let key = self.master_key.unwrap_or_else(|| {
                let path = folder.path().join("test-master.key");
                write_master_key(&path);
                path
            });
            environment.entry("CAIRN_MASTER_KEY_FILE".into()).or_insert_with(|| key.display().to_string());
        }
        App {
            folder,
            database: self.database,
            environment: Mutex::new(environment),
            descriptors: self.descriptors,
            process: Mutex::new(None),
            public,
            operations,
        }
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn start(self) -> App {
        let mut app = self.prepare();
        app.launch();
        (app.public, app.operations) = app.ready().await;
        app
    }
}

impl App {
    /// A plan with limits lifted and letters in the development mailbox.
    pub fn plan(kind: Kind) -> Plan {
        let environment = [("CAIRN_LIMITS", "off"), ("RUST_LOG", "info")];
        Plan {
            name: format!("{kind:?}").to_lowercase(),
            database: Arc::new(Database::fresh(kind)),
            master_key: None,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            descriptors: None,
        }
    }

    /// The public listener.
    pub fn client(&self) -> Client {
        Client::new(self.public)
    }

    /// The operations listener.
    pub fn operations(&self) -> Client {
        Client::new(self.operations).of_operations()
    }

    /// What links in letters and the issuer of tokens begin with.
    pub fn public_url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// The name of a cookie, with the port, which is not the usual one.
    pub fn cookie(&self, name: &str) -> String {
        format!("{name}_{}", self.public.port())
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// All that the server wrote to standard output and standard error, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("test-server.log")
    }

    /// `cairn serve` with this server's environment and nothing of the tester's own that could leak in.
    pub fn command(&self) -> Command {
        self.subcommand(&["serve"])
    }

    /// A command of the program with this server's environment.
    pub fn subcommand(&self, arguments: &[&str]) -> Command {
        let mut command = match self.descriptors {
            None => Command::new(binary()),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(binary());
                shell
            }
        };
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let bare = ["DATABASE_URL", "SMTP_", "MAIL_FROM", "RUST_LOG", "CREDENTIALS_DIRECTORY"];
            if name.starts_with("CAIRN_") || bare.iter().any(|bare| name.starts_with(bare)) {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.lock().unwrap().iter());
        command
    }

    /// Starts the process and does not wait for it to be ready.
    pub fn launch(&self) {
        let mut process = self.process.lock().unwrap();
        assert!(process.is_none(), "the server runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(log.try_clone().unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        folder::process_begun(child.id());
        let (tell, state) = watch::channel(State::Starting);
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || listen(output, log, &tell));
        *process = Some(Process { child, state });
    }

    /// Waits for the ready line and answers the public and the operations address.
    pub async fn ready(&self) -> (SocketAddr, SocketAddr) {
        let mut state = self.process.lock().unwrap().as_ref().expect("it was launched").state.clone();
        let waited = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state != State::Starting)).await;
        match waited.map(|state| state.expect("the listener tells before it goes").clone()) {
            Ok(State::Ready { public, operations }) => (public, operations),
            Ok(_) => panic!("the server ended before it was ready:\n{}", self.tail()),
            Err(_) => panic!("the server was not ready in {PATIENCE:?}:\n{}", self.tail()),
        }
    }

    /// SIGKILL, and waits until the process is gone. Nothing in it gets to run once more.
    pub fn kill9(&self) {
        let mut process = self.process.lock().unwrap();
        let mut running = process.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        folder::process_ended(running.child.id());
    }

    /// `kill -9` and a start on the same data and the same ports.
    pub async fn crash_and_restart(&self) {
        self.kill9();
        self.launch();
        self.ready().await;
    }

    /// Changes the environment of the next launch.
    pub fn change(&self, name: &str, value: impl ToString) {
        self.environment.lock().unwrap().insert(name.to_owned(), value.to_string());
    }

    /// Starts it anew with its clock so many seconds from the machine's. Time in tests is driven.
    pub async fn restart_at(&self, seconds_from_now: i64) {
        self.change("CAIRN_CLOCK_OFFSET", seconds_from_now);
        self.crash_and_restart().await;
    }

    /// The number of the process.
    pub fn process_id(&self) -> u32 {
        self.process.lock().unwrap().as_ref().expect("it runs").child.id()
    }

    /// Sends SIGTERM and does not wait.
    pub fn ask_to_end(&self) {
        let id = self.process_id();
        // The standard library sends SIGKILL only; every shell has a kill of its own.
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&self) -> ExitStatus {
        let status = eventually("the end of the server", async || {
            self.process.lock().unwrap().as_mut().expect("it runs").child.try_wait().unwrap()
        });
        let status = status.await;
        let process = self.process.lock().unwrap().take().expect("it ran");
        folder::process_ended(process.child.id());
        status
    }

    /// SIGTERM, then its exit status.
    pub async fn terminate(&self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// The development mailbox: all letters to `address`, oldest first.
    pub async fn mailbox(&self, address: &str) -> Vec<Letter> {
        let target = format!("/dev/mail?to={}", encoded(address));
        let answer = self.client().get(&target).header("accept", "application/json").send().await;
        let mails = answer.expect(200);
        mails["mails"].as_array().unwrap().iter().map(Letter::from_mailbox).collect()
    }

    /// The newest letter of a kind to `address`, once there is one.
    pub async fn letter(&self, address: &str, kind: &str) -> Letter {
        eventually(&format!("a letter {kind} to {address}"), async || {
            self.mailbox(address).await.into_iter().rev().find(|letter| letter.kind == kind)
        })
        .await
    }

    /// The end of the log, and where the rest is.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}\n{}", self.log_path().display(), lines[lines.len().saturating_sub(60)..].join("\n"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(mut running) = process.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            folder::process_ended(running.child.id());
        }
        if std::thread::panicking() {
            eprintln!("-- the server's last words: {}", self.tail());
        }
    }
}

/// Copies the server's standard output into its log and watches for the line that says it is ready.
fn listen(output: impl Read, mut log: File, tell: &watch::Sender<State>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let _ = writeln!(log, "{line}");
        if let Some((public, operations)) = addresses(&line) {
            tell.send_replace(State::Ready { public, operations });
        }
    }
    tell.send_replace(State::Ended);
}

/// The two addresses of the ready line.
pub fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let rest = line.strip_prefix("cairn ready ")?;
    let of = |name: &str| {
        let word = rest.split(' ').find_map(|word| word.strip_prefix(name))?;
        word.strip_prefix("http://")?.trim_end_matches('/').parse().ok()
    };
    Some((of("public=")?, of("operations=")?))
}
