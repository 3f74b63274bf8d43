//! Letters in the outbox: those that lie there, and those that the budget of mails counts.

use cairn_actors::directory::Letters;
use cairn_actors::effects;
use cairn_actors::workers::budget::{Charged, OVER, SentLetters};
use cairn_runtime::store::{OutboxRow, StoreFault};
use cairn_runtime::{DeliveryId, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, Statement,
    Value,
};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{fixed, id, outbox};

/// Letters over a database.
#[derive(Debug)]
pub(super) struct SqlLetters(pub(super) Database);

impl Letters for SqlLetters {
    fn newest(&self, limit: u32) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(async move {
            let newest = outbox::Entity::find()
                .filter(outbox::Column::Kind.is_not_in(["signal", "answer", effects::Delivery::NOBODY]))
                .filter(outbox::Column::Payload.ne(Vec::<u8>::new()))
                .filter(outbox::Column::Dead.eq(false))
                // What waits for room has not been sent: nobody has it in their mailbox.
                .filter(outbox::Column::Settled.is_not_null().or(outbox::Column::Note.ne(OVER)))
                .order_by_desc(outbox::Column::Created)
                .order_by_desc(outbox::Column::Id)
                .limit(u64::from(limit))
                .all(self.0.readers())
                .await
                .map_err(read_fault)?;
            newest.into_iter().rev().map(|row| OutboxRow::try_from(row).map_err(read_fault)).collect()
        })
    }
}

/// A budget, an instant, and a delivery's instant and id → the letters of the budget that were sent after the one, newest
/// first, and those that were committed before the other and are on their way. Each half reads a partial index of its
/// own, whose words these are.
fn charged(most: u32) -> String {
    format!(
        r#"SELECT * FROM (SELECT "id", "asked_by", "settled" FROM "outbox" WHERE "budget" = $1 AND "settled" IS NOT NULL AND NOT "dead" AND "settled" > $2 ORDER BY "settled" DESC LIMIT {most}) AS sent UNION ALL SELECT * FROM (SELECT "id", "asked_by", "settled" FROM "outbox" WHERE "budget" = $1 AND "settled" IS NULL AND "note" <> '{OVER}' AND ("created" < $3 OR ("created" = $3 AND "id" < $4)) LIMIT {most}) AS under_way"#
    )
}

impl SentLetters for SqlLetters {
    fn charged(
        &self,
        budget: [u8; 32],
        since: Timestamp,
        delivery: (Timestamp, DeliveryId),
        most: u32,
    ) -> BoxFuture<'_, Result<Vec<Charged>, StoreFault>> {
        Box::pin(async move {
            let (created, letter) = delivery;
            let values: [Value; 4] =
                [budget.to_vec().into(), since.0.into(), created.0.into(), letter.bytes().to_vec().into()];
            let statement = Statement::from_sql_and_values(self.0.backend(), charged(most), values);
            let rows = self.0.readers().query_all_raw(statement).await.map_err(read_fault)?;
            let read = |row: &QueryResult| -> Result<Charged, DbErr> {
                let asked_by: Option<Vec<u8>> = row.try_get_by_index(1)?;
                Ok(Charged {
                    id: DeliveryId(id(&row.try_get_by_index::<Vec<u8>>(0)?)?),
                    asked_by: asked_by.map(|asker| fixed(&asker)).transpose()?,
                    sent: row.try_get_by_index::<Option<i64>>(2)?.map(Timestamp),
                })
            };
            rows.iter().map(|row| read(row).map_err(read_fault)).collect()
        })
    }
}
