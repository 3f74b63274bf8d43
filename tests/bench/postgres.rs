//! Steps on PostgreSQL beside the same rows written without a batch: each step one statement, or one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_actors::effects::Auth;
use cairn_runtime::store::{Item, OutboxRow};
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{Connection, Postgres};
use tokio::task::JoinSet;

use super::raw::{EVENTS, FLOWS, Mill, OUTBOX, Rows, names};
use super::report::{Aim, Report, Rounds, median};
use super::rig::Rig;
use super::rounds;
use super::sqlite::{CLIENTS, SPAN};
use super::support::database::Database;
use super::support::folder::Folder;
use super::support::{Kind, database};

/// Connections of the unbatched run.
const POOL: u32 = 16;

/// How a step is written without a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// One statement that commits by itself.
    Statement,
    /// One transaction of a statement a table.
    Transaction,
}

/// The texts of the unbatched run.
struct Texts {
    /// Row, event and delivery in one.
    all: &'static str,
    flow: &'static str,
    event: &'static str,
    delivery: &'static str,
    settle: &'static str,
}

fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

impl Texts {
    fn new() -> Self {
        let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let (events, outbox) = (names(EVENTS), names(OUTBOX));
        // What a step changes in a row; what it never changes is not sent.
        let update = |condition: &str| {
            format!(
                r#"UPDATE "flows" SET "version" = $2, "phase" = $3, "state" = $4, "wake_at" = $5, "attempts" = 0, "claimed_until" = NULL, "claimed_by" = NULL, "touched_at" = $6 WHERE "id" = $1 AND "version" = $2 - 1{condition}"#
            )
        };
        Self {
            all: keep(format!(
                r#"WITH "moved" AS ({update} RETURNING 1), "told" AS (INSERT INTO "events" ({events}) SELECT {event_places} FROM "moved") INSERT INTO "outbox" ({outbox}) SELECT {outbox_places} FROM "moved""#,
                update = update(""),
                event_places = typed(7, EVENTS),
                outbox_places = typed(7 + EVENTS.len(), OUTBOX),
            )),
            flow: keep(update("")),
            event: keep(format!(r#"INSERT INTO "events" ({events}) VALUES ({})"#, places(1, EVENTS.len()))),
            delivery: keep(format!(r#"INSERT INTO "outbox" ({outbox}) VALUES ({})"#, places(1, OUTBOX.len()))),
            settle: r#"UPDATE "outbox" SET "settled" = $2, "note" = '', "dead" = false, "claimed_until" = NULL, "claimed_by" = NULL WHERE "id" = $1 AND "settled" IS NULL"#,
        }
    }
}

/// Places with their types: in a list of SELECT the server cannot tell them from the columns.
fn typed(first: usize, columns: &[(&str, super::raw::Kind)]) -> String {
    use super::raw::Kind as K;
    let of = |kind: &K| match kind {
        K::Bytes => "bytea",
        K::Text => "text",
        K::Integer => "integer",
        K::Big => "bigint",
        K::Boolean => "boolean",
    };
    let typed = columns.iter().enumerate().map(|(number, (_, kind))| format!("${}::{}", first + number, of(kind)));
    typed.collect::<Vec<_>>().join(", ")
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

fn bind_flow<'q>(query: Bound<'q>, rows: &'q Rows) -> Bound<'q> {
    let row = &rows.row;
    query
        .bind(row.id.bytes().as_slice())
        .bind(i64::try_from(row.version).unwrap())
        .bind(&row.phase)
        .bind(&row.state)
        .bind(row.wake_at.map(|at| at.0))
        .bind(row.touched_at.0)
}

fn bind_event<'q>(query: Bound<'q>, rows: &'q Rows) -> Bound<'q> {
    let event = &rows.event;
    query
        .bind(event.flow.bytes().as_slice())
        .bind(i64::try_from(event.version).unwrap())
        .bind(event.input.bytes().as_slice())
        .bind(&event.kind)
        .bind(&event.name)
        .bind(&event.from)
        .bind(&event.to)
        .bind(&event.public)
        .bind(&event.outcome)
        .bind(None::<Vec<u8>>)
        .bind(&event.node)
        .bind(&event.trace)
        .bind(event.at.0)
        .bind(None::<Vec<u8>>)
}

fn bind_delivery<'q>(query: Bound<'q>, delivery: &'q OutboxRow) -> Bound<'q> {
    query
        .bind(delivery.id.bytes().as_slice())
        .bind(delivery.flow.bytes().as_slice())
        .bind(&delivery.flow_kind)
        .bind(&delivery.tag)
        .bind(&delivery.kind)
        .bind(&delivery.payload)
        .bind(delivery.due.0)
        .bind(delivery.expires.map(|at| at.0))
        .bind(delivery.once)
        .bind(i32::try_from(delivery.attempts).unwrap())
        .bind(delivery.claimed_until.map(|at| at.0))
        .bind(delivery.claimed_by.as_deref())
        .bind(None::<i64>)
        .bind(&delivery.note)
        .bind(delivery.dead)
        .bind(delivery.created.0)
        .bind(None::<Vec<u8>>)
        .bind(delivery.budget.as_ref().map(<[u8; 32]>::as_slice))
        .bind(delivery.asked_by.as_ref().map(<[u8; 32]>::as_slice))
        .bind(delivery.lane.as_str())
}

impl Texts {
    async fn step(&self, connection: &mut PgConnection, way: Way, rows: &Rows) {
        let moved = match way {
            Way::Statement => {
                let query = bind_delivery(bind_event(bind_flow(sqlx::query(self.all), rows), rows), &rows.delivery);
                query.execute(&mut *connection).await.unwrap().rows_affected()
            }
            Way::Transaction => {
                let mut transaction = connection.begin().await.unwrap();
                let flow = bind_flow(sqlx::query(self.flow), rows);
                let moved = flow.execute(&mut *transaction).await.unwrap().rows_affected();
                bind_event(sqlx::query(self.event), rows).execute(&mut *transaction).await.unwrap();
                let delivery = bind_delivery(sqlx::query(self.delivery), &rows.delivery);
                delivery.execute(&mut *transaction).await.unwrap();
                transaction.commit().await.unwrap();
                moved
            }
        };
        assert_eq!(moved, 1, "the floor wrote it");
        let settle = sqlx::query(self.settle).bind(rows.delivery.id.bytes().as_slice()).bind(rows.event.at.0);
        settle.execute(&mut *connection).await.unwrap();
    }
}

/// The unbatched run: sixteen connections, each with flows of its own, so that nobody waits for anybody's row.
struct Floor {
    texts: Arc<Texts>,
    pool: PgPool,
    mills: Vec<Mill>,
    _database: Database,
}

impl Floor {
    async fn open(sample: &Item<Auth>) -> Self {
        let database = Database::fresh(Kind::Postgres);
        let url = database.url().unwrap().to_owned();
        let migrated = cairn_persistence::Database::open(&url, &cairn_persistence::Options::default()).await.unwrap();
        migrated.close().await.unwrap();
        let pool = PgPoolOptions::new().min_connections(POOL).max_connections(POOL).connect(&url).await.unwrap();
        let mut mills = Vec::new();
        for number in 0..POOL {
            let mut sample = sample.clone();
            // Ids of different mills lie in different seconds.
            sample.change.as_mut().unwrap().row.touched_at.0 += i64::from(number) * 86_400_000;
            let mut mill = Mill::new(sample, CLIENTS / POOL as usize);
            let columns = "\"id\", \"kind\", \"schema\", \"version\", \"phase\", \"state\", \"salt\", \"wake_at\", \"attempts\", \"touched_at\"";
            let rows: serde_json::Value = serde_json::from_str(&mill.begin()).unwrap();
            for row in rows.as_array().unwrap() {
                database::sql(
                    &url,
                    &format!(
                        "INSERT INTO flows ({columns}) VALUES (decode('{}', 'hex'), '{}', {}, {}, '{}', '{}', decode('{}', 'hex'), {}, 0, {})",
                        row["id"].as_str().unwrap(),
                        row["kind"].as_str().unwrap(),
                        row["schema"],
                        row["version"],
                        row["phase"].as_str().unwrap(),
                        row["state"].as_str().unwrap(),
                        row["salt"].as_str().unwrap(),
                        row["wake_at"],
                        row["touched_at"],
                    ),
                );
            }
            mills.push(mill);
        }
        assert!(!FLOWS.is_empty());
        Self { texts: Arc::new(Texts::new()), pool, mills, _database: database }
    }

    async fn pace(&mut self, way: Way, span: Duration) -> f64 {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut mill in self.mills.drain(..) {
            let (texts, pool) = (Arc::clone(&self.texts), self.pool.clone());
            tasks.spawn(async move {
                let mut connection = pool.acquire().await.unwrap();
                let mut steps = 0_u64;
                while began.elapsed() < span {
                    let rows = mill.step();
                    mill.open.clear();
                    texts.step(&mut connection, way, &rows).await;
                    steps += 1;
                }
                (mill, steps)
            });
        }
        let mut all = 0;
        for (mill, steps) in tasks.join_all().await {
            self.mills.push(mill);
            all += steps;
        }
        all as f64 / began.elapsed().as_secs_f64()
    }
}

pub async fn steps(report: &mut Report) {
    eprintln!("steps on PostgreSQL, {CLIENTS} clients");
    let folder = Folder::new("bench-postgres");
    let database = Database::fresh(Kind::Postgres);
    let rig = Rig::open(database.url().unwrap(), folder.path()).await;
    let walks = rig.walks(CLIENTS).await;
    rig.pace(&walks, SPAN / 2).await;
    let mut floor = Floor::open(&rig.tally.sample()).await;
    for way in [Way::Statement, Way::Transaction] {
        floor.pace(way, SPAN / 4).await;
    }
    let mut measured = Rounds::default();
    let (mut statements, mut transactions, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let pace = rig.pace(&walks, SPAN).await;
        sizes.push(pace.store.steps / pace.store.commits);
        let statement = floor.pace(Way::Statement, SPAN).await;
        let transaction = floor.pace(Way::Transaction, SPAN / 2).await;
        measured.add(pace.steps_per_second, statement.max(transaction));
        statements.push(statement);
        transactions.push(transaction);
    }
    report.ratio("steps/s through shells and committer, PostgreSQL, 64 clients", &measured, Aim::AtLeast(1.1));
    report.note(format!(
        "unbatched, pool of {POOL}: {:.0} steps/s as one statement each, {:.0} as a transaction each; \
         a batch had {:.1} steps",
        median(statements),
        median(transactions),
        median(sizes)
    ));
    drop(rig);
}
