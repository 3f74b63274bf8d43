//! Where a server under test keeps its rows: a SQLite file of its own, or a fresh database on the run's PostgreSQL.

use cairn_persistence::testing::Postgres;

pub use cairn_persistence::testing::{Kind, sql};

/// One database; a PostgreSQL one is dropped with it.
pub enum Database {
    /// `cairn.db` in the data folder, which is what the server takes when it is told nothing.
    Sqlite,
    Postgres(Postgres),
}

impl Database {
    pub fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite,
            Kind::Postgres => Self::Postgres(Postgres::fresh()),
        }
    }

    /// A fresh database of a role that may have so many connections at once.
    pub fn limited(connections: u32) -> Self {
        Self::Postgres(Postgres::limited(connections))
    }

    /// What `DATABASE_URL` says.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(database) => Some(database.url()),
        }
    }
}
