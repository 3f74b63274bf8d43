//! Devices that accounts know: added, seen again and forgotten, one statement for each of these in a batch.

use std::collections::BTreeSet;

use cairn_actors::device::MOST;
use cairn_actors::effects::Write;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, WindowStatement};
use sea_orm::{
    ActiveValue, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, Order, QueryFilter,
    Value,
};

use super::changes::{Change, update};
use crate::entity::devices::{ActiveModel, Column, Entity};

/// What becomes of devices in one batch.
#[derive(Debug, Default)]
pub(super) struct Seen {
    added: Vec<ActiveModel>,
    /// Whose devices may be too many now.
    crowded: BTreeSet<Vec<u8>>,
    again: Vec<Change>,
    /// Devices, and whose they are.
    forgotten: Vec<(Vec<u8>, Vec<u8>)>,
    /// Users of whom all devices are forgotten.
    without: Vec<Vec<u8>>,
}

const SEEN: [Column; 3] = [Column::UserAgent, Column::ClientAddress, Column::LastSeenAt];

impl Seen {
    /// Takes a write, if it is about devices.
    pub(super) fn take(&mut self, write: &Write) {
        match write {
            Write::AddDevice { id, user, user_agent, client_address, at } => {
                let user = user.0.bytes().to_vec();
                self.crowded.insert(user.clone());
                self.added.push(ActiveModel {
                    id: ActiveValue::Set(id.bytes().to_vec()),
                    user_id: ActiveValue::Set(user),
                    user_agent: ActiveValue::Set(user_agent.clone()),
                    client_address: ActiveValue::Set(client_address.clone()),
                    first_seen_at: ActiveValue::Set(at.0),
                    last_seen_at: ActiveValue::Set(at.0),
                });
            }
            Write::SeeDevice { id, user: _, user_agent, client_address, at } => {
                let cells = [Value::from(user_agent.clone()), Value::from(client_address.clone()), at.0.into()];
                self.again.push(Change::new(*id, cells));
            }
            Write::ForgetDevice { id, user } => {
                self.forgotten.push((id.bytes().to_vec(), user.0.bytes().to_vec()));
            }
            Write::ForgetDevices { user } | Write::DeleteUser { user } => self.without.push(user.0.bytes().to_vec()),
            _ => {}
        }
    }

    /// Writes them all. What is forgotten in this batch is gone after it, whatever else the batch says of it.
    pub(super) async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if !self.added.is_empty() {
            Entity::insert_many(self.added).exec_without_returning(transaction).await?;
        }
        update::<Entity>(transaction, Column::Id, &SEEN, &self.again).await?;
        if !self.forgotten.is_empty() || !self.without.is_empty() {
            let all = Condition::any().add(Column::UserId.is_in(self.without));
            let all = self.forgotten.into_iter().fold(all, |all, (id, user)| {
                all.add(Condition::all().add(Column::Id.eq(id)).add(Column::UserId.eq(user)))
            });
            Entity::delete_many().filter(all).exec(transaction).await?;
        }
        make_room(transaction, self.crowded).await
    }
}

/// Forgets what goes beyond the number of devices that an account knows, those first that were seen longest ago.
async fn make_room(transaction: &DatabaseTransaction, users: BTreeSet<Vec<u8>>) -> Result<(), DbErr> {
    if users.is_empty() {
        return Ok(());
    }
    let (place, ranked) = (Alias::new("place"), Alias::new("ranked"));
    let newest_first = WindowStatement::partition_by(Column::UserId)
        .order_by(Column::LastSeenAt, Order::Desc)
        .order_by(Column::Id, Order::Desc)
        .take();
    let numbered = Query::select()
        .column(Column::Id)
        .expr_window_as(Expr::cust("ROW_NUMBER()"), newest_first, place.clone())
        .from(Entity)
        .and_where(Column::UserId.is_in(users))
        .to_owned();
    let beyond = Query::select()
        .column(Column::Id)
        .from_subquery(numbered, ranked)
        .and_where(Expr::col(place).gt(i64::from(MOST)))
        .to_owned();
    let delete = Query::delete().from_table(Entity).and_where(Column::Id.in_subquery(beyond)).to_owned();
    transaction.execute(&delete).await.map(|_| ())
}
