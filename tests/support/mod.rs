//! What the end-to-end tests stand on: the server as a process, people, letters, a sink for mail, dice, patience.

pub mod app;
pub mod audit;
pub mod browser;
pub mod chrome;
pub mod client;
pub mod contract;
pub mod database;
pub mod dice;
pub mod folder;
pub mod golden;
pub mod letter;
pub mod person;
pub mod raw;
pub mod shim;
pub mod smtp;
pub mod token;

use std::time::Duration;

use tokio::sync::OnceCell;

pub use app::App;
pub use client::{Answer, Client};
pub use database::Kind;
pub use dice::Dice;
pub use person::Person;
pub use serde_json::{Value, json};

/// How long a test waits for what must come about before it calls it lost. Not a promise of speed: longer than
/// any claim, back-off or restart takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the long versions were asked for (`make prove`).
pub fn proving() -> bool {
    std::env::var_os("CAIRN_PROVE").is_some_and(|value| value != "0")
}

/// Looks again and again until there is something to see; panics with `what` when patience ends.
#[track_caller]
pub fn eventually<T, L: AsyncFnMut() -> Option<T>>(what: &str, mut look: L) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            tick.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(tokio::time::Instant::now() < end, "{place}: waited {PATIENCE:?} in vain for {what}");
        }
    }
}

/// The time between two looks or two tries. For talking to another process only, never to make an order come true.
pub async fn breath() {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    tick.tick().await;
    tick.tick().await;
}

/// Says something on standard error past the harness, which keeps the words of tests that pass to itself.
pub fn announce(words: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// One server a database for all tests that neither kill it nor need settings of their own. Limits are off.
pub async fn shared(kind: Kind) -> &'static App {
    static SQLITE: OnceCell<App> = OnceCell::const_new();
    static POSTGRES: OnceCell<App> = OnceCell::const_new();
    let cell = match kind {
        Kind::Sqlite => &SQLITE,
        Kind::Postgres => &POSTGRES,
    };
    cell.get_or_init(|| App::plan(kind).named("shared").start()).await
}

/// Makes each named `async fn(&'static App)` two tests over the shared servers: one on SQLite, one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::{Kind, shared};

            #[tokio::test]
            async fn sqlite() {
                super::$name(shared(Kind::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$name(shared(Kind::Postgres).await).await;
            }
        }
    )+ };
}

/// Makes each named `async fn(Kind)` two tests, each with servers of its own.
macro_rules! of_each_kind {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(Kind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(Kind::Postgres).await;
            }
        }
    )+ };
}
