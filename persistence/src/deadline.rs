//! A deadline for every answer: a network that swallows packets says nothing, and the driver would wait for minutes.
//!
//! Past it the call is dropped where it stands. What its connection was in the middle of nobody knows, so it must never
//! be used again; and because the driver does not tell one connection from another, nor does the pool ask, none is used
//! again that was open at that moment. SQLite has no network, and there a call is always waited for.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_runtime::store::StoreFault;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_orm_migration::async_trait::async_trait;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

/// Connections opened so shortly after a deadline passed are not used again either: their age is measured a moment
/// before it is judged.
const DOUBT: Duration = Duration::from_secs(1);

/// A connection that somebody keeps for what comes next.
pub(crate) type Kept = PoolConnection<Postgres>;

/// When an answer was last waited for in vain, as all connections of a pool know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silence(Arc<Mutex<Option<Instant>>>);

impl Silence {
    /// An answer was waited for in vain just now.
    pub(crate) fn fell(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age may be used (again).
    pub(crate) fn spares(&self, age: Duration) -> bool {
        let fell = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fell.is_none_or(|fell| age.saturating_add(DOUBT) < fell.elapsed())
    }
}

/// Connections whose every statement has a deadline.
///
/// It is the same connection to whoever runs statements on it. What reaches the pool beneath (by `Deref`: statistics,
/// closing, transactions) is without a deadline; see [`Bounded::in_time`] for transactions.
#[derive(Debug)]
pub struct Bounded {
    pool: DatabaseConnection,
    deadline: Option<Duration>,
    silence: Silence,
}

impl Bounded {
    /// A pool whose calls are waited for as long as they take.
    pub(crate) fn patient(pool: DatabaseConnection) -> Self {
        Self { pool, deadline: None, silence: Silence::default() }
    }

    /// A pool whose calls have a deadline. The pool's own hooks must ask the silence whom it spares.
    pub(crate) fn new(pool: DatabaseConnection, deadline: Duration, silence: Silence) -> Self {
        Self { pool, deadline: Some(deadline), silence }
    }

    /// The same pool with another deadline, where it has one.
    pub(crate) fn with_deadline(&self, deadline: Duration) -> Self {
        let deadline = self.deadline.and(Some(deadline));
        Self { pool: self.pool.clone(), deadline, silence: self.silence.clone() }
    }

    /// Runs what holds a transaction of this pool to its end, or drops it at the deadline (and `grace`, for what it does
    /// besides): COMMIT may have been sent by then or not.
    ///
    /// # Errors
    /// Its own, or [`StoreFault::Ambiguous`].
    pub(crate) async fn in_time<T>(
        &self,
        grace: Duration,
        work: impl Future<Output = Result<T, StoreFault>>,
    ) -> Result<T, StoreFault> {
        let Some(deadline) = self.deadline else { return work.await };
        // The silence is noted before the work is dropped, which gives its connection back.
        let mut work = std::pin::pin!(work);
        match tokio::time::timeout(deadline.saturating_add(grace), &mut work).await {
            Ok(done) => done,
            Err(_) => {
                self.silence.fell();
                Err(StoreFault::Ambiguous(unanswered(deadline)))
            }
        }
    }

    /// Asks a statement whose one parameter is a list, in JSON. On PostgreSQL it goes over the connection that is given,
    /// if one is, and that connection comes back if it can go on: a pool tries every connection that it is given back, a
    /// journey to the server each time.
    pub(crate) async fn query_list(
        &self,
        connection: Option<Kept>,
        text: &Arc<str>,
        list: String,
    ) -> (Result<Vec<QueryResult>, DbErr>, Option<Kept>) {
        if self.pool.get_database_backend() != DbBackend::Postgres {
            let statement = Statement::from_sql_and_values(self.pool.get_database_backend(), &**text, [list.into()]);
            return (self.query_all_raw(statement).await, None);
        }
        let asked = self.answered(async {
            let lost = |error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)));
            let mut connection = match connection {
                Some(connection) => connection,
                None => self.pool.get_postgres_connection_pool().acquire().await.map_err(lost)?,
            };
            let query = sqlx::query(sqlx::AssertSqlSafe(Arc::clone(text))).bind(list);
            let failed = |error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
            let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
            Ok((rows.into_iter().map(QueryResult::from).collect(), connection))
        });
        match asked.await {
            Ok((rows, connection)) => (Ok(rows), Some(connection)),
            Err(error) => (Err(error), None),
        }
    }

    async fn answered<T>(&self, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let Some(deadline) = self.deadline else { return call.await };
        let mut call = std::pin::pin!(call);
        match tokio::time::timeout(deadline, &mut call).await {
            Ok(done) => done,
            Err(_) => {
                self.silence.fell();
                let late = io::Error::new(io::ErrorKind::TimedOut, unanswered(deadline));
                Err(DbErr::Query(RuntimeErr::SqlxError(Arc::new(sqlx::Error::Io(late)))))
            }
        }
    }
}

fn unanswered(deadline: Duration) -> String {
    format!("no answer within {} s", deadline.as_secs_f32())
}

impl Deref for Bounded {
    type Target = DatabaseConnection;

    fn deref(&self) -> &DatabaseConnection {
        &self.pool
    }
}

#[async_trait]
impl ConnectionTrait for Bounded {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.answered(self.pool.execute_raw(stmt)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.answered(self.pool.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.answered(self.pool.query_one_raw(stmt)).await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.answered(self.pool.query_all_raw(stmt)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_spares_only_what_was_opened_well_after_it() {
        let silence = Silence::default();
        assert!(silence.spares(Duration::from_secs(3_600)), "nothing has happened");
        let two_seconds_ago = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        *silence.0.lock().unwrap() = Some(two_seconds_ago);
        assert!(silence.spares(Duration::ZERO));
        assert!(!silence.spares(Duration::from_secs(3)));
        silence.fell();
        assert!(!silence.spares(Duration::ZERO));
        assert!(!silence.clone().spares(Duration::from_secs(3_600)), "all connections know");
    }
}
