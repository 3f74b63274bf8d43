//! Guesses at a secret that have failed: counted and forgotten, one statement for each in a batch.

use std::sync::LazyLock;

use cairn_actors::effects::FailureWrite;
use sea_orm::{ActiveValue, ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};
use serde_json::json;

use super::{Table, rows};
use crate::entity::failures::{ActiveModel, Column, Entity};
use crate::records::Hex;
use crate::single::{Part, insert};
use crate::sql::{Kind, recordset};

/// What becomes of failures in one batch.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counted: Vec<ActiveModel>,
    cleared: Vec<Cleared>,
}

/// The failures of one network at one thing, up to an instant.
#[derive(Debug)]
struct Cleared {
    of: [u8; 32],
    by: [u8; 32],
    at: i64,
}

static INSERT: LazyLock<String> = LazyLock::new(|| insert::<Entity>("failures", "id"));

static CLEAR: LazyLock<String> = LazyLock::new(|| {
    let list = recordset(&[("of", Kind::Bytes), ("by", Kind::Bytes), ("at", Kind::BigInteger)]);
    let condition = Part::CONDITION;
    format!(
        r#"DELETE FROM "failures" USING {list} AS n WHERE "failures"."of" = n."of" AND "failures"."by" = n."by" AND "failures"."at" <= n."at" AND {condition} RETURNING 1"#
    )
});

impl Table for Failures {
    type Write = FailureWrite;

    fn take(&mut self, write: &FailureWrite) {
        match write {
            FailureWrite::Count { id, of, by, at } => self.counted.push(ActiveModel {
                id: ActiveValue::Set(id.bytes().to_vec()),
                of: ActiveValue::Set(of.0.to_vec()),
                at: ActiveValue::Set(at.0),
                by: ActiveValue::Set(Some(by.0.to_vec())),
            }),
            FailureWrite::Clear { of, by, at } => self.cleared.push(Cleared { of: of.0, by: by.0, at: at.0 }),
        }
    }

    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if !self.counted.is_empty() {
            Entity::insert_many(self.counted).exec_without_returning(transaction).await?;
        }
        if !self.cleared.is_empty() {
            let all = self.cleared.iter().fold(Condition::any(), |all, cleared| {
                let own = Condition::all()
                    .add(Column::Of.eq(cleared.of.to_vec()))
                    .add(Column::By.eq(cleared.by.to_vec()))
                    .add(Column::At.lte(cleared.at));
                all.add(own)
            });
            Entity::delete_many().filter(all).exec(transaction).await?;
        }
        Ok(())
    }

    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        // What is counted in this batch may be what is forgotten in it.
        if !self.counted.is_empty() && !self.cleared.is_empty() {
            return Ok(None);
        }
        let cleared = |cleared: &Cleared| json!({ "of": Hex(&cleared.of), "by": Hex(&cleared.by), "at": cleared.at });
        let cleared: Vec<_> = self.cleared.iter().map(cleared).collect();
        let mut parts = Vec::new();
        rows::add(&mut parts, &INSERT, &rows::inserted(&self.counted)?)?;
        rows::add(&mut parts, &CLEAR, &cleared)?;
        Ok(Some(parts))
    }
}

#[cfg(test)]
mod tests {
    use cairn_actors::secrets::digest::Digest;
    use cairn_runtime::{Id, Timestamp};

    use super::*;

    #[test]
    fn counting_and_forgetting_in_one_batch_takes_a_transaction() {
        let (of, by, at) = (Digest([1; 32]), Digest([2; 32]), Timestamp(3));
        let count = |number: u8| FailureWrite::Count { id: Id::from_bytes([number; 16]), of, by, at };
        let clear = FailureWrite::Clear { of, by, at };
        let parts = |writes: &[FailureWrite]| {
            let mut failures = Failures::default();
            writes.iter().for_each(|write| failures.take(write));
            failures.parts().unwrap().map(|parts| parts.len())
        };
        assert_eq!(parts(&[count(1), count(2)]), Some(1));
        assert_eq!(parts(&[clear.clone(), clear.clone()]), Some(1));
        assert_eq!(parts(&[count(1), clear]), None);
    }
}
