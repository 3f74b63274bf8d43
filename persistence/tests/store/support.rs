//! Databases of a test's own: a SQLite file in a folder that goes away, or a database on a PostgreSQL server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cairn_actors::testing::folder::Folder;
pub use cairn_persistence::testing::Kind;
use cairn_persistence::testing::{Postgres, Server};
use cairn_persistence::{Database, Options, Part, SqlStore, Writes};
use cairn_runtime::store::Store;
use cairn_runtime::testing::suite::{Bench, Probe};
use cairn_runtime::testing::toy::{Toy, ToyWrite};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};

/// Each sentence on both databases.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name(Kind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                super::$name(Kind::Postgres).await;
            }
        }
    )+ };
}
pub(crate) use on_both;

/// Where a test's database is. Its files, or its server if it has one of its own, go when this is dropped.
#[derive(Debug)]
pub struct Place {
    pub address: String,
    // Dropped in this order: the database while its server is there.
    _database: Option<Postgres>,
    server: Option<Server>,
    folder: Folder,
}

impl Place {
    /// An empty place.
    pub async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = Folder::new("store");
                let address = folder.path().join("cairn.db").to_str().unwrap().to_owned();
                Self { address, _database: None, server: None, folder }
            }
            Kind::Postgres => Self::of(Postgres::fresh(), None),
        }
    }

    /// A place on a PostgreSQL server that nobody else uses, so that it can be halted.
    pub async fn on_own_server() -> Self {
        let server = Server::start("store");
        Self::of(Postgres::on(server.url()), Some(server))
    }

    /// An empty PostgreSQL database in an encoding.
    pub async fn encoded(encoding: &str) -> Self {
        Self::of(Postgres::encoded(encoding), None)
    }

    /// An empty PostgreSQL database of a role that may have so many connections; and the address of who may have more.
    pub async fn limited(connections: u32) -> (Self, String) {
        let database = Postgres::limited(connections);
        let all = database.superuser_url();
        (Self::of(database, None), all)
    }

    fn of(database: Postgres, server: Option<Server>) -> Self {
        Self { address: database.url().to_owned(), _database: Some(database), server, folder: Folder::new("store") }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a server of its own")
    }

    pub async fn open(&self) -> Database {
        Database::open(&self.address, &Options::default()).await.unwrap()
    }

    /// A store over the place, with its table of counters.
    pub async fn store(&self) -> Counted {
        self.store_with(Counters::AtOnce).await
    }

    /// The same, whose counters are written so.
    pub async fn store_with(&self, counters: Counters) -> Counted {
        let database = self.open().await;
        let table = "CREATE TABLE IF NOT EXISTS toy_counters (name TEXT PRIMARY KEY, sum BIGINT NOT NULL)";
        database.writer().execute_unprepared(table).await.unwrap();
        Counted { store: Arc::new(database.store(counters)), database }
    }
}

/// The toy domain's writes, as a table of sums. A counter that is called `broken` breaks the statement.
#[derive(Clone, Copy, Debug)]
pub enum Counters {
    /// They always take a transaction.
    InTransaction,
    /// They can be a part of the one statement that a batch is.
    AtOnce,
}

fn sums<'a>(writes: impl IntoIterator<Item = &'a ToyWrite>) -> BTreeMap<&'a str, i64> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for ToyWrite::Add { counter, by } in writes {
        *sums.entry(counter).or_default() += by;
    }
    sums
}

impl Writes<Toy> for Counters {
    fn parts(&self, writes: &[&ToyWrite]) -> Result<Option<Vec<Part>>, DbErr> {
        if let Self::InTransaction = self {
            return Ok(None);
        }
        let sum =
            |(name, sum): (&str, i64)| serde_json::json!({ "name": name, "sum": (name != "broken").then_some(sum) });
        let list: Vec<serde_json::Value> = sums(writes.iter().copied()).into_iter().map(sum).collect();
        let text = format!(
            "INSERT INTO toy_counters (name, sum) SELECT name, sum FROM json_to_recordset($1::json) AS n(name text, sum bigint)
             WHERE {} ON CONFLICT (name) DO UPDATE SET sum = toy_counters.sum + excluded.sum RETURNING 1",
            Part::CONDITION
        );
        Ok(Some(vec![Part::new(text, &list)?]))
    }

    fn apply<'a>(
        &'a self,
        txn: &'a DatabaseTransaction,
        writes: Vec<&'a ToyWrite>,
    ) -> BoxFuture<'a, Result<(), DbErr>> {
        Box::pin(async move {
            let sums = sums(writes);
            if sums.contains_key("broken") {
                txn.execute_unprepared("INSERT INTO toy_counters (name, sum) VALUES ('broken', NULL)").await?;
            }
            let (table, name, sum) = (Alias::new("toy_counters"), Alias::new("name"), Alias::new("sum"));
            let more = Expr::col((table.clone(), sum.clone())).add(Expr::col((Alias::new("excluded"), sum.clone())));
            let mut insert = Query::insert().into_table(table).columns([name.clone(), sum.clone()]).to_owned();
            for (counter, by) in sums {
                insert.values_panic([counter.into(), by.into()]);
            }
            insert.on_conflict(OnConflict::column(name).value(sum, more).to_owned());
            txn.execute(&insert).await.map(|_| ())
        })
    }
}

/// A store and the database beneath it.
#[derive(Clone, Debug)]
pub struct Counted {
    pub store: Arc<SqlStore<Toy, Counters>>,
    pub database: Database,
}

impl Counted {
    /// The store on the bench of the contract's sentences.
    pub fn bench(&self) -> Bench {
        Bench { store: Arc::clone(&self.store) as Arc<dyn Store<Toy>>, probe: Arc::new(self.clone()) }
    }

    /// Forgets everything.
    pub async fn empty(&self) {
        for table in ["flows", "events", "guards", "outbox", "toy_counters"] {
            self.database.writer().execute_unprepared(&format!("DELETE FROM {table}")).await.unwrap();
        }
    }

    pub async fn write(&self, sql: &str) {
        self.database.writer().execute_unprepared(sql).await.unwrap();
    }

    async fn number(&self, sql: &str, name: &str) -> Option<i64> {
        let sql = if self.database.file().is_some() { sql.replace("$1", "?1") } else { sql.to_owned() };
        let statement = Statement::from_sql_and_values(self.database.backend(), sql, [name.into()]);
        let row = self.database.readers().query_one_raw(statement).await.unwrap();
        row.map(|row| row.try_get_by_index(0).unwrap())
    }
}

impl Probe for Counted {
    fn counter<'a>(&'a self, name: &'a str) -> BoxFuture<'a, i64> {
        Box::pin(
            async move { self.number("SELECT sum FROM toy_counters WHERE name = $1", name).await.unwrap_or_default() },
        )
    }

    fn guard<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<i64>> {
        Box::pin(self.number(r#"SELECT value FROM guards WHERE "key" = $1"#, key))
    }
}
