//! A deadline for every answer: a network that swallows packets says nothing, and the driver would wait for minutes.
//!
//! Past it the call is dropped where it stands. What its connection was in the middle of nobody knows, so it must never
//! be used again; and because the driver does not tell one connection from another, nor does the pool ask, none is used
//! again that was open at that moment. SQLite has no network, and there a call is always waited for.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_runtime::store::StoreFault;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement,
};
use sea_orm_migration::async_trait::async_trait;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::pools::{Call, Calls, Figures};
use crate::readers::{Readers, Taken};

/// Connections opened so shortly after a deadline passed are not used again either: their age is measured a moment
/// before it is judged.
const DOUBT: Duration = Duration::from_secs(1);

/// A connection that somebody keeps for what comes next.
#[derive(Debug)]
pub(crate) struct Kept {
    connection: PoolConnection<Postgres>,
    /// Given back after the connection is.
    taken: Option<Taken>,
    _call: Call,
}

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

/// Connections whose every statement has a deadline. It is the same connection to whoever runs statements on it.
#[derive(Debug)]
pub struct Bounded {
    beneath: Beneath,
    deadline: Option<Duration>,
    silence: Silence,
    calls: Calls,
}

#[derive(Clone, Debug)]
enum Beneath {
    Pool(DatabaseConnection),
    Readers(Readers),
}

/// What one statement runs on.
enum Used<'a> {
    Pool(&'a DatabaseConnection, Call),
    Reader(Taken, Call),
}

impl Bounded {
    /// A pool whose calls are waited for as long as they take.
    pub(crate) fn patient(pool: DatabaseConnection) -> Self {
        Self { beneath: Beneath::Pool(pool), deadline: None, silence: Silence::default(), calls: Calls::default() }
    }

    /// A pool whose calls have a deadline. The pool's own hooks must ask the silence whom it spares.
    pub(crate) fn new(pool: DatabaseConnection, deadline: Duration, silence: Silence) -> Self {
        Self { beneath: Beneath::Pool(pool), deadline: Some(deadline), silence, calls: Calls::default() }
    }

    /// The same of connections that read.
    pub(crate) fn reading(readers: Readers, deadline: Duration, silence: Silence) -> Self {
        Self { beneath: Beneath::Readers(readers), deadline: Some(deadline), silence, calls: Calls::default() }
    }

    /// The same connections with another deadline, where they have one.
    pub(crate) fn with_deadline(&self, deadline: Duration) -> Self {
        let deadline = self.deadline.and(Some(deadline));
        Self { beneath: self.beneath.clone(), deadline, silence: self.silence.clone(), calls: self.calls.clone() }
    }

    /// The driver's pool beneath, without deadlines: statistics and transactions. Connections that read from PostgreSQL are
    /// in none.
    pub fn pool(&self) -> Option<&DatabaseConnection> {
        match &self.beneath {
            Beneath::Pool(pool) => Some(pool),
            Beneath::Readers(_) => None,
        }
    }

    /// The connections that read from PostgreSQL.
    pub(crate) fn readers(&self) -> Option<&Readers> {
        match &self.beneath {
            Beneath::Pool(_) => None,
            Beneath::Readers(readers) => Some(readers),
        }
    }

    /// How many connections rest at the moment.
    pub fn resting(&self) -> usize {
        match &self.beneath {
            Beneath::Pool(pool) if pool.get_database_backend() == DbBackend::Postgres => {
                pool.get_postgres_connection_pool().num_idle()
            }
            Beneath::Pool(pool) => pool.get_sqlite_connection_pool().num_idle(),
            Beneath::Readers(readers) => readers.resting(),
        }
    }

    /// Closes them.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        match &self.beneath {
            Beneath::Pool(pool) => pool.close_by_ref().await,
            Beneath::Readers(readers) => {
                readers.close().await;
                Ok(())
            }
        }
    }

    async fn used(&self) -> Result<Used<'_>, DbErr> {
        let call = self.call();
        match &self.beneath {
            Beneath::Pool(pool) => Ok(Used::Pool(pool, call)),
            Beneath::Readers(readers) => readers.take().await.map(|taken| Used::Reader(taken, call)),
        }
    }

    /// Counts a caller that wants a connection, for as long as it wants or has one.
    pub(crate) fn call(&self) -> Call {
        self.calls.one_more()
    }

    /// How busy they are.
    pub(crate) fn figures(&self) -> Figures {
        let (open, idle, most) = match &self.beneath {
            Beneath::Pool(pool) if pool.get_database_backend() == DbBackend::Postgres => {
                let pool = pool.get_postgres_connection_pool();
                (pool.size() as usize, pool.num_idle(), pool.options().get_max_connections() as usize)
            }
            Beneath::Pool(pool) => {
                let pool = pool.get_sqlite_connection_pool();
                (pool.size() as usize, pool.num_idle(), pool.options().get_max_connections() as usize)
            }
            Beneath::Readers(readers) => readers.figures(),
        };
        let in_use = open.saturating_sub(idle);
        Figures { open, in_use, waiting: self.calls.count().saturating_sub(in_use), most }
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
        let backend = self.get_database_backend();
        if backend != DbBackend::Postgres {
            let statement = Statement::from_sql_and_values(backend, &**text, [list.into()]);
            return (self.query_all_raw(statement).await, None);
        }
        let kept = match connection {
            Some(kept) => Ok(kept),
            None => self.keep().await,
        };
        let mut kept = match kept {
            Ok(kept) => kept,
            Err(error) => return (Err(error), None),
        };
        let asked = self.answered(async {
            let query = sqlx::query(sqlx::AssertSqlSafe(Arc::clone(text))).bind(list);
            let failed = |error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
            let rows = query.fetch_all(&mut *kept.connection).await.map_err(failed)?;
            Ok(rows.into_iter().map(QueryResult::from).collect())
        });
        match asked.await {
            // Where all are in use it is not kept: somebody may wait for it.
            Ok(rows) => (Ok(rows), Some(kept).filter(|kept| kept.taken.as_ref().is_none_or(Taken::may_be_kept))),
            Err(error) => (Err(error), None),
        }
    }

    async fn keep(&self) -> Result<Kept, DbErr> {
        let used = self.used().await?;
        let pool = used.connection().get_postgres_connection_pool().clone();
        let lost = |error| match error {
            sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
            error => DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))),
        };
        match (self.answered(async { pool.acquire().await.map_err(lost) }).await, used) {
            (Ok(connection), Used::Pool(_, call)) => Ok(Kept { connection, taken: None, _call: call }),
            (Ok(connection), Used::Reader(taken, call)) => Ok(Kept { connection, taken: Some(taken), _call: call }),
            (Err(error), used) => used.done(Err(error)).await,
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

impl Used<'_> {
    fn connection(&self) -> &DatabaseConnection {
        match self {
            Self::Pool(pool, _) => pool,
            Self::Reader(taken, _) => taken,
        }
    }

    /// Looks whether what it was used for could run at all.
    async fn done<T>(self, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if let (Self::Reader(taken, _), Err(DbErr::ConnectionAcquire(_))) = (self, &done) {
            taken.lose().await;
        }
        done
    }
}

#[async_trait]
impl ConnectionTrait for Bounded {
    fn get_database_backend(&self) -> DbBackend {
        match &self.beneath {
            Beneath::Pool(pool) => pool.get_database_backend(),
            Beneath::Readers(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        let used = self.used().await?;
        let done = self.answered(used.connection().execute_raw(stmt)).await;
        used.done(done).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let used = self.used().await?;
        let done = self.answered(used.connection().execute_unprepared(sql)).await;
        used.done(done).await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        let used = self.used().await?;
        let done = self.answered(used.connection().query_one_raw(stmt)).await;
        used.done(done).await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let used = self.used().await?;
        let done = self.answered(used.connection().query_all_raw(stmt)).await;
        used.done(done).await
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
