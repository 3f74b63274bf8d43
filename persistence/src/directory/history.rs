//! What happened to users.

use cairn_actors::directory::{History, HistoryEntry, HistoryPlace};
use cairn_actors::flows::session;
use cairn_actors::identity::user_id::UserId;
use cairn_runtime::store::StoreFault;
use cairn_runtime::{FlowId, InputId, Phase as _, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{events, id};

/// Histories over a database.
#[derive(Debug)]
pub(super) struct SqlHistory(pub(super) Database);

impl History for SqlHistory {
    fn of(
        &self,
        user: UserId,
        before: Option<HistoryPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, StoreFault>> {
        Box::pin(async move {
            let found = own_history(user, before, limit).all(self.0.readers()).await.map_err(read_fault)?;
            let happened = |event: events::Model| {
                let events::Model { input, kind, flow, name, to, public, at, .. } = event;
                let (input, flow) = (InputId(id(&input).map_err(read_fault)?), FlowId(id(&flow).map_err(read_fault)?));
                Ok(HistoryEntry { input, kind, flow, name, to, public, at: Timestamp(at) })
            };
            found.into_iter().map(happened).collect()
        })
    }
}

/// What carries a session on, in the words of the partial index of histories.
fn is_routine() -> Expr {
    let is = |column: events::Column, word: &'static str| Expr::col(column).eq(Expr::Constant(word.into()));
    let routine = is(events::Column::Name, "refresh").or(is(events::Column::Name, "seen"));
    is(events::Column::To, session::Phase::Active.word()).and(routine)
}

/// The events of a user that are no routine, newest first, older than a place.
fn own_history(user: UserId, before: Option<HistoryPlace>, limit: u32) -> Select<events::Entity> {
    let (at, input) = (events::Column::At, events::Column::Input);
    let mut own = events::Entity::find()
        .filter(events::Column::UserId.eq(user.0.bytes().to_vec()))
        .filter(events::Column::UserId.is_not_null())
        .filter(is_routine().not());
    if let Some(HistoryPlace { at: instant, input: last }) = before {
        own = own.filter(at.lte(instant.0)).filter(at.lt(instant.0).or(input.lt(last.bytes().to_vec())));
    }
    own.order_by_desc(at).order_by_desc(input).limit(u64::from(limit))
}

#[cfg(test)]
mod tests {
    use cairn_runtime::Id;
    use sea_orm::{DbBackend, QueryTrait};

    use super::*;

    #[test]
    fn a_history_is_asked_for_in_the_words_of_its_index() {
        let place = HistoryPlace { at: Timestamp(1), input: InputId(Id::from_bytes([2; 16])) };
        for backend in [DbBackend::Sqlite, DbBackend::Postgres] {
            let asked = own_history(UserId(Id::from_bytes([1; 16])), Some(place), 51).build(backend).sql;
            let words = r#"NOT ("to" = 'active' AND ("name" = 'refresh' OR "name" = 'seen'))"#;
            assert!(asked.contains(words) && asked.contains(r#""user_id" IS NOT NULL"#), "{asked}");
        }
    }
}
