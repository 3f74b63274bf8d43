//! `kill -9` with a hundred thousand flows in flight: the first correct reply, and the last due flow woken.
//!
//! The flows are registrations that wait for their code. The server is killed while clients refresh, and started with
//! its clock a day and an hour on, so that all of them are due at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use super::raw::{EVENTS, FLOWS, OUTBOX};
use super::report::{Aim, Report};
use super::server::{Server, Visitor, sessions, visit};
use super::support::{App, Kind, Person, database};

/// Flows in flight.
const MANY: usize = 100_000;
/// Visitors who refresh when the server is killed.
const VISITORS: usize = 16;
/// A registration waits for a day.
const LATER: i64 = 90_000;
const ROUNDS: usize = 3;

/// A database filled once, and put back before each round.
enum Stock {
    Sqlite { file: PathBuf, kept: PathBuf },
    Postgres { kept: database::Database, round: database::Database },
}

pub async fn rows(report: &mut Report, kind: Kind) {
    eprintln!("kill -9 with {MANY} flows in flight, {kind:?}");
    let app = App::plan(kind).named("bench-recovery").set("CAIRN_LOG", "warn").prepare();
    let mut server = Server::launch(&app);
    server.ready();
    let tokens = sessions(&app, VISITORS).await;
    let waiting = Person::new("waiting");
    waiting.registers(&app).await;
    waiting.verification(&app).await;
    server.kill9();
    let mut stock = Stock::fill(&app, kind).await;
    let room = match kind {
        Kind::Sqlite => "bytes of a waiting registration, SQLite, without the log",
        Kind::Postgres => "bytes of a waiting registration, PostgreSQL",
    };
    report.plain(room, &[stock.bytes() / MANY as f64], Aim::AtMost(1_500.0));

    let (mut replies, mut woken) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        stock.restore(&app);
        app.change("CAIRN_CLOCK_OFFSET", 0);
        let mut server = Server::launch(&app);
        let address = server.ready();
        let mut visitors = Vec::new();
        for token in &tokens {
            visitors.push(Visitor::new(address, token.clone()).await.expect("the server accepts"));
        }
        // In the midst of what they ask, not after it: none of their connections is closed before.
        (visitors, _) = visit(visitors, Duration::from_secs(1)).await;
        let last: Vec<String> = visitors.iter().map(|visitor| visitor.refresh.clone()).collect();
        let mut others = visitors.split_off(1);
        let mut asking = tokio::task::JoinSet::new();
        for mut visitor in others.drain(..) {
            asking.spawn(async move { while visitor.refreshes().await.is_ok() {} });
        }
        server.kill9();
        asking.join_all().await;

        app.change("CAIRN_CLOCK_OFFSET", LATER);
        let server = Server::launch(&app);
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        loop {
            tick.tick().await;
            // The first visitor's token is still the present one: nobody used it after it came.
            if let Ok(mut visitor) = Visitor::new(address, last[0].clone()).await
                && visitor.refreshes().await.is_ok()
            {
                break;
            }
        }
        replies.push(server.began.elapsed().as_secs_f64());
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        while stock.has_overdue().await {
            tick.tick().await;
        }
        woken.push(server.began.elapsed().as_secs_f64());
        assert_eq!(stock.expired().await, MANY + 1, "each was woken to its end");
        server.kill9();
    }
    let (reply, all, most) = match kind {
        Kind::Sqlite => (
            "kill -9, 100 000 flows in flight, SQLite: first correct reply (s after exec)",
            "kill -9, 100 000 flows in flight, SQLite: all due ones woken (s after exec)",
            15.0,
        ),
        Kind::Postgres => (
            "kill -9, 100 000 flows in flight, PostgreSQL: first correct reply (s after exec)",
            "kill -9, 100 000 flows in flight, PostgreSQL: all due ones woken (s after exec)",
            30.0,
        ),
    };
    report.plain(reply, &replies, Aim::AtMost(0.5));
    report.plain(all, &woken, Aim::AtMost(most));
}

/// Copies a waiting registration with its event and its letter, each copy under an id of its own. `id` makes the copy's
/// id out of a column and the number `i`.
fn copies(numbers: &str, id: &dyn Fn(&str) -> String) -> Vec<String> {
    let one = "SELECT id FROM flows WHERE kind = 'registration' AND phase = 'awaiting_code' LIMIT 1";
    let copy = |table: &str, columns: &[(&str, super::raw::Kind)], changed: &[&str], of: &str| {
        let names = super::raw::names(columns);
        let values: Vec<String> = columns
            .iter()
            .map(
                |(name, _)| if changed.contains(name) { id(&format!("t.\"{name}\"")) } else { format!("t.\"{name}\"") },
            )
            .collect();
        format!(
            "INSERT INTO {table} ({names}) {numbers} SELECT {} FROM {table} AS t, n WHERE t.{of} = ({one})",
            values.join(", ")
        )
    };
    // Flows last: they are what the others are found by.
    vec![
        copy("events", EVENTS, &["flow", "input"], "flow"),
        copy("outbox", OUTBOX, &["id", "flow"], "flow"),
        copy("flows", FLOWS, &["id"], "id"),
    ]
}

impl Stock {
    async fn fill(app: &App, kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let file = app.data().join("cairn.db");
                let options = SqliteConnectOptions::new().filename(&file);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                let numbers =
                    format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})");
                let id = |column: &str| format!("unhex(substr(hex({column}), 1, 24) || printf('%08x', n.i))");
                for statement in copies(&numbers, &id) {
                    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
                }
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let kept = app.data().join("kept");
                fs::copy(&file, &kept).unwrap();
                Self::Sqlite { file, kept }
            }
            Kind::Postgres => {
                let url = app.database().url().unwrap();
                let numbers = format!("WITH n(i) AS (SELECT generate_series(1, {MANY}))");
                let id = |column: &str| {
                    format!("decode(substr(encode({column}, 'hex'), 1, 24) || lpad(to_hex(n.i), 8, '0'), 'hex')")
                };
                for statement in copies(&numbers, &id) {
                    database::sql(url, &statement);
                }
                let kept = database::Database::fresh(Kind::Postgres);
                let round = database::Database::fresh(Kind::Postgres);
                renew(&kept, url);
                Self::Postgres { kept, round }
            }
        }
    }

    fn restore(&mut self, app: &App) {
        match self {
            Self::Sqlite { file, kept } => {
                for end in ["-wal", "-shm"] {
                    let _ = fs::remove_file(beside(file, end));
                }
                fs::copy(kept, file).unwrap();
            }
            Self::Postgres { kept, round } => {
                renew(round, kept.url().unwrap());
                app.change("DATABASE_URL", round.url().unwrap());
            }
        }
    }

    /// What the flows take with their events, letters and indexes.
    fn bytes(&self) -> f64 {
        match self {
            Self::Sqlite { kept, .. } => fs::metadata(kept).unwrap().len() as f64,
            Self::Postgres { kept, .. } => {
                let tables = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('flows', 'events', 'outbox')";
                database::sql(kept.url().unwrap(), tables).trim().parse().unwrap()
            }
        }
    }

    /// Whether any flow that is due waits for its wake-up.
    async fn has_overdue(&self) -> bool {
        // Two questions, so that each is answered by an index.
        let of = |attempts: &str, now: &str| {
            format!(
                "EXISTS (SELECT 1 FROM flows WHERE wake_at IS NOT NULL AND wake_at <= {now} AND quarantined_at IS NULL \
                 AND attempts {attempts})"
            )
        };
        let any = |now: &str| format!("SELECT CASE WHEN {} OR {} THEN 1 ELSE 0 END", of("= 0", now), of("> 0", now));
        match self {
            Self::Sqlite { .. } => self.number(&any(&format!("(unixepoch() + {LATER}) * 1000"))).await > 0,
            Self::Postgres { .. } => {
                self.number(&any(&format!("(extract(epoch FROM now())::bigint + {LATER}) * 1000"))).await > 0
            }
        }
    }

    async fn expired(&self) -> usize {
        let all = "SELECT count(*) FROM flows WHERE kind = 'registration' AND phase = 'expired' AND wake_at IS NULL";
        usize::try_from(self.number(all).await).unwrap()
    }

    async fn number(&self, statement: &str) -> i64 {
        match self {
            Self::Sqlite { file, .. } => {
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                let number: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned()))
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
                number
            }
            Self::Postgres { round, .. } => database::sql(round.url().unwrap(), statement).trim().parse().unwrap(),
        }
    }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes a database anew as a copy of another, to which nobody is connected.
fn renew(database: &database::Database, of: &str) {
    let database::Database::Postgres(database) = database else { unreachable!("PostgreSQL") };
    let (name, server) = (database.name(), database.server());
    let of = of.rsplit_once('/').unwrap().1;
    database::sql(server, &format!("DROP DATABASE {name} WITH (FORCE)"));
    database::sql(server, &format!("CREATE DATABASE {name} TEMPLATE {of}"));
}
