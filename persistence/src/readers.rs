//! Connections that read from PostgreSQL: as many as were asked for, or as many as the server gives.
//!
//! Each is a pool of one. The driver's own pool, when it is refused one more connection, goes on asking for it until the
//! caller's patience is over, although others come free beside it. Here a caller only ever waits for connections that are
//! there, and whether there may be one more is asked beside the callers.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnAcquireErr, ConnectOptions, DatabaseConnection, DbErr};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection};
use tokio::sync::Semaphore;

/// How long no more connections are asked for after the server said that there are no more.
const REFUSED: Duration = Duration::from_secs(60);
/// The same after any other failure.
const FAILED: Duration = Duration::from_secs(1);

/// The connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Shared>);

struct Shared {
    /// Where a connection leads, to ask for one.
    server: PgConnectOptions,
    /// A pool of one.
    pool: ConnectOptions,
    most: usize,
    patience: Duration,
    /// As many permits as there are connections in `free`.
    ready: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: VecDeque<DatabaseConnection>,
    /// Connections there are, free or taken.
    open: usize,
    /// Whether one more is being asked for. One at a time, so that what is asked for is never in the way of itself.
    asking: bool,
    /// No more are asked for before this.
    not_before: Option<Instant>,
    /// Whether the log has been told that the server gives fewer than were asked for.
    told: bool,
    closed: bool,
}

/// A connection in use, given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    connection: DatabaseConnection,
    readers: Readers,
    gone: bool,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Readers").field("open", &state.open).field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl Readers {
    /// Opens the first of `most` connections.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn open(
        server: PgConnectOptions,
        pool: ConnectOptions,
        most: u32,
        patience: Duration,
    ) -> Result<Self, DbErr> {
        let first = sea_orm::Database::connect(pool.clone()).await?;
        let state = State { free: VecDeque::from([first]), open: 1, ..State::default() };
        Ok(Self(Arc::new(Shared {
            server,
            pool,
            most: usize::try_from(most).unwrap_or(1),
            patience,
            ready: Semaphore::new(1),
            state: Mutex::new(state),
        })))
    }

    /// How many there are, how many of them are free, and how many were asked for.
    pub(crate) fn figures(&self) -> (usize, usize, usize) {
        let state = self.state();
        (state.open, state.free.len(), self.0.most)
    }

    /// Whether the server gave fewer than were asked for, the last time that one more was wanted.
    pub(crate) fn are_fewer(&self) -> bool {
        self.state().told
    }

    /// How many rest with a connection that is open.
    pub(crate) fn resting(&self) -> usize {
        self.state().free.iter().filter(|free| free.get_postgres_connection_pool().num_idle() > 0).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, once there is one.
    ///
    /// # Errors
    /// That there was none within the patience.
    pub(crate) async fn take(&self) -> Result<Taken, DbErr> {
        let deadline = tokio::time::Instant::now() + self.0.patience;
        loop {
            let permit = match self.0.ready.try_acquire() {
                Ok(permit) => permit,
                Err(_) => {
                    self.ask_for_more();
                    match tokio::time::timeout_at(deadline, self.0.ready.acquire()).await {
                        Ok(Ok(permit)) => permit,
                        Ok(Err(_)) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
                        Err(_) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
                    }
                }
            };
            permit.forget();
            let Some(connection) = self.next() else { continue };
            return Ok(Taken { connection, readers: self.clone(), gone: false });
        }
    }

    /// The connection that has rested longest; one that is still being given back only when there is no other.
    fn next(&self) -> Option<DatabaseConnection> {
        let mut state = self.state();
        let rests = |free: &DatabaseConnection| free.get_postgres_connection_pool().num_idle() > 0;
        let place = state.free.iter().position(rests).unwrap_or_default();
        let connection = state.free.remove(place)?;
        // One that was closed meanwhile (it rested for long, was old, or fell silent) is not given again, or its caller
        // would wait for it: another is asked for beside the callers, unless it is the only one.
        if state.open > 1 && connection.get_postgres_connection_pool().size() == 0 {
            state.open -= 1;
            state.not_before = None;
            drop(state);
            self.ask_for_more();
            return None;
        }
        Some(connection)
    }

    /// Asks the server for one more connection, if there may be one.
    #[allow(clippy::disallowed_methods, reason = "it ends by itself, within the patience, and owns nothing")]
    fn ask_for_more(&self) {
        let mut state = self.state();
        let too_soon = state.not_before.is_some_and(|instant| Instant::now() < instant);
        if state.closed || too_soon || state.asking || state.open >= self.0.most {
            return;
        }
        state.asking = true;
        drop(state);
        let readers = self.clone();
        tokio::spawn(async move {
            let more = readers.one_more().await;
            readers.has_asked(more);
            // Somebody waited for it, and others may wait still.
            if readers.0.ready.available_permits() == 0 {
                readers.ask_for_more();
            }
        });
    }

    /// A connection of its own says at once what the driver's pool would keep to itself.
    async fn one_more(&self) -> Result<DatabaseConnection, (bool, String)> {
        let said = |error: &dyn fmt::Display, refused| (refused, error.to_string());
        match tokio::time::timeout(self.0.patience, self.0.server.connect()).await {
            Ok(Ok(probe)) => drop(probe.close().await),
            Ok(Err(error)) => return Err(said(&error, is_refused(&error))),
            Err(late) => return Err(said(&late, false)),
        }
        sea_orm::Database::connect(self.0.pool.clone()).await.map_err(|error| said(&error, false))
    }

    fn has_asked(&self, more: Result<DatabaseConnection, (bool, String)>) {
        let mut state = self.state();
        state.asking = false;
        match more {
            Ok(connection) => {
                state.open += 1;
                state.not_before = None;
                if state.open == self.0.most && std::mem::take(&mut state.told) {
                    tracing::info!(
                        connections = state.open,
                        "the database gives as many connections as were asked for"
                    );
                }
                state.free.push_back(connection);
                drop(state);
                self.0.ready.add_permits(1);
            }
            Err((refused, why)) => {
                state.not_before = Instant::now().checked_add(if refused { REFUSED } else { FAILED });
                if refused && !std::mem::replace(&mut state.told, true) {
                    tracing::warn!(
                        connections = state.open,
                        wanted = self.0.most,
                        why,
                        "the database gives fewer connections for reading than CAIRN_DATABASE_CONNECTIONS asks for; \
                         it goes on with these"
                    );
                }
            }
        }
    }

    /// Gives one connection back to the server, if there is another: somebody needs it more.
    pub(crate) async fn give_up_one(&self) {
        let Ok(mut taken) = self.take().await else { return };
        if !taken.leaves() {
            return;
        }
        self.state().not_before = Instant::now().checked_add(REFUSED);
        if let Err(error) = taken.connection.close_by_ref().await {
            tracing::debug!(%error, "a connection could not be closed well");
        }
    }

    /// Closes them; who has one in use may finish.
    pub(crate) async fn close(&self) {
        self.0.ready.close();
        let free = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.free)
        };
        for connection in free {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "a connection could not be closed well");
            }
        }
    }
}

/// Whether the server said that it has no more connections for us: its own limit, the role's or the database's.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|refusal| refusal.code()).is_some_and(|code| code == "53300")
}

impl Taken {
    /// It could not be had when it was wanted: it is given to nobody else.
    pub(crate) async fn lose(mut self) {
        if self.leaves() {
            return;
        }
        // There must be one, so another takes its place, which is opened by whoever wants it next.
        let mut again = self.readers.0.pool.clone();
        again.connect_lazy(true);
        match sea_orm::Database::connect(again).await {
            Ok(again) => self.connection = again,
            Err(error) => tracing::debug!(%error, "a connection could not be replaced"),
        }
    }

    /// Whether there are others for whoever comes next.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.readers.0.ready.available_permits() > 0
    }

    /// Whether it is one fewer now, because there are others.
    fn leaves(&mut self) -> bool {
        let mut state = self.readers.state();
        self.gone = state.open > 1;
        state.open -= usize::from(self.gone);
        self.gone
    }
}

impl Deref for Taken {
    type Target = DatabaseConnection;

    fn deref(&self) -> &DatabaseConnection {
        &self.connection
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.readers.state();
        if self.gone || state.closed {
            return;
        }
        state.free.push_back(std::mem::take(&mut self.connection));
        drop(state);
        self.readers.0.ready.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_for_want_of_connections_is_one() {
        let config = sqlx::Error::Configuration("no such thing".into());
        assert!(!is_refused(&config) && !is_refused(&sqlx::Error::PoolTimedOut));
    }
}
