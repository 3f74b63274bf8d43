//! Steps on SQLite, many clients and one, beside the same statements in raw SQL.

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_actors::effects::Auth;
use cairn_persistence::{Database, Options};
use cairn_runtime::store::Item;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, SqlitePool};
use tokio::task::JoinSet;

use super::raw::{Batch, Mill, Texts};
use super::report::{Aim, Report, Rounds, median};
use super::rig::{Ask, Rig, Walk};
use super::rounds;
use super::support::folder::Folder;

pub const CLIENTS: usize = 64;
/// How long clients walk in one round.
pub const SPAN: Duration = Duration::from_secs(2);

/// A database of its own, opened as the server opens it, with nobody but the floor in it.
pub struct Floor {
    texts: Texts,
    mill: Mill,
    pool: SqlitePool,
    _database: Database,
}

impl Floor {
    pub async fn open(path: &Path, sample: Item<Auth>) -> Self {
        let database = Database::open(path.to_str().unwrap(), &Options::default()).await.unwrap();
        let pool = database.writer().pool().expect("SQLite has one").get_sqlite_connection_pool().clone();
        let texts = Texts::sqlite();
        let mut mill = Mill::new(sample, CLIENTS);
        let begin = mill.begin();
        sqlx::query(texts.insert_flows).bind(begin).fetch_all(&pool).await.unwrap();
        Self { texts, mill, pool, _database: database }
    }

    /// Steps a second, in transactions of so many steps that settle so many deliveries. Rows and parameters are made
    /// beforehand: what is timed is SQL and nothing else.
    pub async fn pace(&mut self, transactions: usize, steps: usize, settles: usize) -> f64 {
        let batches: Vec<Batch> = (0..transactions).map(|_| self.mill.batch(steps, settles)).collect();
        let before = self.count().await;
        let began = Instant::now();
        let mut connection = self.pool.acquire().await.unwrap();
        for batch in &batches {
            self.transact(&mut connection, batch).await;
        }
        let elapsed = began.elapsed();
        drop(connection);
        let written = self.count().await - before;
        assert_eq!(written, i64::try_from(transactions * steps).unwrap(), "the floor wrote all of it");
        written as f64 / elapsed.as_secs_f64()
    }

    async fn count(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&self.pool).await.unwrap()
    }

    /// What the engine's store does with a batch, in its order.
    async fn transact(&self, connection: &mut PoolConnection<Sqlite>, batch: &Batch) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let reads = [(self.texts.lock_flows, &batch.ids), (self.texts.lock_outbox, &batch.ended)];
        for (text, json) in reads.into_iter().filter(|(_, json)| !json.is_empty()) {
            sqlx::query(text).bind(json).fetch_all(&mut *transaction).await.unwrap();
        }
        if batch.steps > 0 {
            sqlx::query(self.texts.insert_events).bind(&batch.events).fetch_all(&mut *transaction).await.unwrap();
        }
        let writes = [
            (self.texts.update_flows, &batch.rows),
            (self.texts.insert_outbox, &batch.outbox),
            (self.texts.settle_outbox, &batch.ends),
        ];
        for (text, json) in writes.into_iter().filter(|(_, json)| !json.is_empty()) {
            sqlx::query(text).bind(json).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }

    /// Milliseconds of each of so many steps in a transaction of its own. Its settlement, in another, is not timed.
    async fn latencies(&mut self, steps: usize) -> Vec<f64> {
        let mut spans = Vec::with_capacity(steps);
        for _ in 0..steps {
            let (step, settlement) = (self.mill.batch(1, 0), self.mill.batch(0, 1));
            let began = Instant::now();
            let mut connection = self.pool.acquire().await.unwrap();
            self.transact(&mut connection, &step).await;
            spans.push(began.elapsed().as_secs_f64() * 1e3);
            self.transact(&mut connection, &settlement).await;
        }
        spans
    }

    /// Steps a second of one client that settles each step before the next.
    async fn one_by_one(&mut self, steps: usize) -> f64 {
        let batches: Vec<Batch> = (0..steps).flat_map(|_| [self.mill.batch(1, 0), self.mill.batch(0, 1)]).collect();
        let began = Instant::now();
        let mut connection = self.pool.acquire().await.unwrap();
        for batch in &batches {
            self.transact(&mut connection, batch).await;
        }
        steps as f64 / began.elapsed().as_secs_f64()
    }
}

/// Runs something of a floor as a task, where the engine's clients are tasks too.
async fn on_a_worker<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let mut task = JoinSet::new();
    task.spawn(work);
    task.join_next().await.unwrap().unwrap()
}

/// Steps a second through shells and committer, 64 clients.
pub async fn steps(report: &mut Report) {
    eprintln!("steps on SQLite, {CLIENTS} clients");
    let folder = Folder::new("bench-steps");
    let rig = Rig::open(folder.path().join("cairn.db").to_str().unwrap(), folder.path()).await;
    let walks = rig.walks(CLIENTS).await;
    rig.pace(&walks, SPAN / 2).await;
    let mut floor = Floor::open(&folder.path().join("floor.db"), rig.tally.sample()).await;
    let mut measured = Rounds::default();
    let (mut sizes, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let pace = rig.pace(&walks, SPAN).await;
        let steps = (pace.store.steps / pace.store.commits).round().max(1.0);
        let settles = (pace.store.settled / pace.store.commits).round().max(1.0);
        let transactions = (pace.store.steps / steps).round();
        sizes.push(pace.store.steps / pace.store.commits);
        shares.push(pace.store.busy / (pace.store.steps / pace.steps_per_second));
        let raw;
        (floor, raw) = on_a_worker(async move {
            let raw = floor.pace(transactions as usize, steps as usize, settles as usize).await;
            (floor, raw)
        })
        .await;
        measured.add(pace.steps_per_second, raw);
    }
    report.ratio("steps/s through shells and committer, SQLite FULL, 64 clients", &measured, Aim::AtLeast(0.75));
    report.note(format!(
        "a transaction had {:.1} steps and as many settlements; the store was at work {:.0} % of the time",
        median(sizes),
        median(shares) * 100.0
    ));
}

/// One step of one client.
pub async fn latency(report: &mut Report) {
    const STEPS: usize = 400;
    eprintln!("one client on SQLite");
    let folder = Folder::new("bench-latency");
    let rig = Rig::open(folder.path().join("cairn.db").to_str().unwrap(), folder.path()).await;
    let walk = rig.walks(1).await[0];
    rig.pace(&[walk], SPAN / 2).await;
    let mut floor = Floor::open(&folder.path().join("floor.db"), rig.tally.sample()).await;
    let (mut measured, mut hurried) = (Rounds::default(), Rounds::default());
    for _ in 0..rounds() {
        let (engine, tally) = (rig.engine.clone(), std::sync::Arc::clone(&rig.tally));
        // A permit may be left of the round before.
        let _ = tokio::time::timeout(Duration::from_millis(20), tally.settling.notified()).await;
        let spans = on_a_worker(async move {
            let mut spans = Vec::with_capacity(STEPS);
            for _ in 0..STEPS {
                let began = Instant::now();
                engine.call::<Walk>(walk, engine.asker("bench"), Ask::Go).await.unwrap();
                spans.push(began.elapsed().as_secs_f64() * 1e3);
                tally.settling.notified().await;
            }
            spans
        })
        .await;
        let hurry = rig.pace(&[walk], SPAN / 4).await.steps_per_second;
        let (raw, raw_hurry);
        (floor, raw, raw_hurry) = on_a_worker(async move {
            let raw = floor.latencies(STEPS).await;
            let hurry = floor.one_by_one(STEPS).await;
            (floor, raw, hurry)
        })
        .await;
        measured.add(median(spans), median(raw));
        hurried.add(hurry, raw_hurry);
    }
    report.ratio("latency of one step, one client, SQLite FULL (ms)", &measured, Aim::AtMost(1.3));
    report.aside("one client that asks again at once, its letters settled in between: steps/s", &hurried);
}
