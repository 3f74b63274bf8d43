//! Guesses at a secret that have failed.

use cairn_actors::directory::Failures;
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, Statement};

use super::read_fault;
use crate::connect::Database;

/// Failures over a database.
#[derive(Debug)]
pub(super) struct SqlFailures(pub(super) Database);

impl Failures for SqlFailures {
    fn of(&self, guessed: Digest, after: Timestamp, limit: u32) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreFault>> {
        Box::pin(async move {
            let values = [guessed.0.to_vec().into(), after.0.into()];
            let statement = Statement::from_sql_and_values(self.0.backend(), failures(limit), values);
            let rows = self.0.readers().query_all_raw(statement).await.map_err(read_fault)?;
            rows.iter().map(|row| row.try_get_by_index(0).map(Timestamp).map_err(read_fault)).collect()
        })
    }
}

/// What is guessed at and an instant → when guesses after that failed, newest first. The limit stands in the
/// text and is not bound: SQLite prepares a statement anew whenever a limit is bound.
fn failures(limit: u32) -> String {
    format!(r#"SELECT "at" FROM "failures" WHERE "of" = $1 AND "at" > $2 ORDER BY "at" DESC LIMIT {limit}"#)
}
