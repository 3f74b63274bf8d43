//! Behind pgbouncer as Debian has it: sessions that are sessions serve, others are refused by name.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use cairn_persistence::{Database, OpenError, Options};
use cairn_runtime::store::{Store, Verdict};
use cairn_runtime::testing::suite::given::{flow, start};

use crate::support::{Kind, Place};

/// A pooler before the server of an address; it ends when this is dropped.
struct Pooler {
    address: String,
    process: Child,
}

impl Pooler {
    fn before(place: &Place, mode: &str) -> Self {
        let (account, at) = place.address.strip_prefix("postgres://").unwrap().rsplit_once('@').unwrap();
        let (user, password) = account.split_once(':').unwrap();
        let (server, name) = at.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = place.folder().join(format!("pgbouncer-{mode}.ini"));
        let text = format!(
            "[databases]\n* = host={host} port={port} user={user} password={password}\n\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n"
        );
        std::fs::write(&settings, text).unwrap();
        // It will not run as root, which lends it to a user that may do nothing else.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "if [ \"$(id -u)\" = 0 ]; then exec runuser -u nobody -- \"$@\"; else exec \"$@\"; fi",
            "sh",
        ]);
        command
            .arg(program())
            .arg("-q")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer runs; `make test` installs it");
        Self { address: format!("postgres://{user}@127.0.0.1:{own}/{name}"), process }
    }

    /// What opening through it leads to, once it listens.
    async fn open(&mut self) -> Result<Database, OpenError> {
        let (_, at) = self.address.rsplit_once('@').unwrap();
        let (server, _) = at.split_once('/').unwrap();
        while tokio::net::TcpStream::connect(server).await.is_err() {
            assert_eq!(self.process.try_wait().unwrap(), None, "pgbouncer has ended");
            tokio::task::yield_now().await;
        }
        Database::open(&self.address, &Options::default()).await
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> &'static str {
    // Debian keeps it where only root's path leads.
    let there = "/usr/sbin/pgbouncer";
    if std::path::Path::new(there).exists() { there } else { "pgbouncer" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_keeps_sessions_serves() {
    let place = Place::new(Kind::Postgres).await;
    let mut pooler = Pooler::before(&place, "session");
    let database = pooler.open().await.unwrap();
    let counted = crate::support::Counted {
        store: std::sync::Arc::new(database.store(crate::support::Counters::AtOnce)),
        database,
    };
    assert_eq!(counted.store.commit(&[start(1).claim("name:1").item]).await.unwrap(), [Verdict::Done]);
    assert_eq!(counted.store.load(flow(1)).await.unwrap().unwrap().version, 1);
    counted.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_sessions_is_refused_by_name() {
    let place = Place::new(Kind::Postgres).await;
    for mode in ["transaction", "statement"] {
        let refused = Pooler::before(&place, mode).open().await.unwrap_err();
        assert!(matches!(refused, OpenError::Pooler), "{mode}: {refused:?}");
        assert!(refused.to_string().contains("pool_mode = session"), "{refused}");
    }
    let database = place.open().await;
    let tables = sea_orm::Statement::from_string(database.backend(), "SELECT count(*) FROM flows");
    sea_orm::ConnectionTrait::query_one_raw(database.readers(), tables).await.unwrap().unwrap();
}
