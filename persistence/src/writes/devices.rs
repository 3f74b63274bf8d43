//! Devices that accounts know: added, seen again and forgotten, one statement for each of these in a batch.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cairn_actors::effects::DeviceWrite;
use cairn_actors::identity::device::MOST;
use cairn_actors::identity::user_id::UserId;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, WindowStatement};
use sea_orm::{
    ActiveValue, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, Order, QueryFilter,
    Value,
};
use serde_json::json;

use super::Table;
use super::rows::{self, Change};
use crate::entity::devices::{ActiveModel, Column, Entity};
use crate::records::Hex;
use crate::single::{Part, insert};
use crate::sql::{Kind, recordset};

/// What becomes of devices in one batch.
#[derive(Debug, Default)]
pub(super) struct Devices {
    added: Vec<ActiveModel>,
    /// Whose devices may be too many now.
    crowded: BTreeSet<Vec<u8>>,
    again: Vec<Change>,
    /// Devices, and whose they are.
    forgotten: Vec<(Vec<u8>, Vec<u8>)>,
    /// Users of whom all devices are forgotten.
    without: Vec<Vec<u8>>,
    /// Users whose devices a write is about.
    owners: BTreeSet<UserId>,
    /// Two writes are about one user's devices.
    meet: bool,
}

const SEEN: [Column; 3] = [Column::UserAgent, Column::ClientAddress, Column::LastSeenAt];

static INSERT: LazyLock<String> = LazyLock::new(|| insert::<Entity>("devices", "id"));
static SEE: LazyLock<String> = LazyLock::new(|| rows::update_text::<Entity>(Column::Id, &SEEN));

/// Those that are there make room for the one that comes.
static MAKE_ROOM: LazyLock<String> = LazyLock::new(|| {
    let (list, condition) = (recordset(&[("user_id", Kind::Bytes)]), Part::CONDITION);
    format!(
        r#"DELETE FROM "devices" WHERE {condition} AND "id" IN (SELECT "id" FROM (SELECT d."id", row_number() OVER (PARTITION BY d."user_id" ORDER BY d."last_seen_at" DESC, d."id" DESC) AS "place" FROM {list} AS n JOIN "devices" AS d ON d."user_id" = n."user_id") AS ranked WHERE "place" >= {MOST}) RETURNING 1"#
    )
});

impl Table for Devices {
    type Write = DeviceWrite;

    fn take(&mut self, write: &DeviceWrite) {
        let user = match write {
            DeviceWrite::Add { id, user, user_agent, client_address, at } => {
                let owner = user.0.bytes().to_vec();
                self.crowded.insert(owner.clone());
                self.added.push(ActiveModel {
                    id: ActiveValue::Set(id.bytes().to_vec()),
                    user_id: ActiveValue::Set(owner),
                    user_agent: ActiveValue::Set(user_agent.clone()),
                    client_address: ActiveValue::Set(client_address.clone()),
                    first_seen_at: ActiveValue::Set(at.0),
                    last_seen_at: ActiveValue::Set(at.0),
                });
                user
            }
            DeviceWrite::See { id, user, user_agent, client_address, at } => {
                let cells = [Value::from(user_agent.clone()), Value::from(client_address.clone()), at.0.into()];
                self.again.push(Change::new(*id, cells));
                user
            }
            DeviceWrite::Forget { id, user } => {
                self.forgotten.push((id.bytes().to_vec(), user.0.bytes().to_vec()));
                user
            }
            DeviceWrite::ForgetAll { user } => {
                self.without.push(user.0.bytes().to_vec());
                user
            }
        };
        self.meet |= !self.owners.insert(*user);
    }

    fn take_deletion(&mut self, user: UserId) {
        self.without.push(user.0.bytes().to_vec());
    }

    /// What is forgotten in this batch is gone after it, whatever else the batch says of it.
    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if !self.added.is_empty() {
            Entity::insert_many(self.added).exec_without_returning(transaction).await?;
        }
        rows::update::<Entity>(transaction, Column::Id, &SEEN, &self.again).await?;
        if !self.forgotten.is_empty() || !self.without.is_empty() {
            let all = Condition::any().add(Column::UserId.is_in(self.without));
            let all = self.forgotten.into_iter().fold(all, |all, (id, user)| {
                all.add(Condition::all().add(Column::Id.eq(id)).add(Column::UserId.eq(user)))
            });
            Entity::delete_many().filter(all).exec(transaction).await?;
        }
        make_room(transaction, self.crowded).await
    }

    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        // Forgetting is rare.
        if self.meet || !self.forgotten.is_empty() || !self.without.is_empty() {
            return Ok(None);
        }
        let crowded: Vec<_> = self.crowded.iter().map(|user| json!({ "user_id": Hex(user) })).collect();
        let mut parts = Vec::new();
        rows::add(&mut parts, &INSERT, &rows::inserted(&self.added)?)?;
        rows::add(&mut parts, &MAKE_ROOM, &crowded)?;
        rows::add(&mut parts, &SEE, &rows::changed::<Entity>(Column::Id, &SEEN, self.again)?)?;
        Ok(Some(parts))
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

#[cfg(test)]
mod tests {
    use cairn_runtime::{Id, Timestamp};

    use super::*;

    fn user(number: u8) -> UserId {
        UserId(Id::from_bytes([number; 16]))
    }

    fn parts(writes: &[DeviceWrite]) -> Option<usize> {
        let mut devices = Devices::default();
        writes.iter().for_each(|write| devices.take(write));
        devices.parts().unwrap().map(|parts| parts.len())
    }

    #[test]
    fn writes_about_one_users_devices_and_forgetting_take_a_transaction() {
        let (user_agent, client_address, at) = (None, None, Timestamp(2));
        let id = |number: u8| Id::from_bytes([number; 16]);
        let sees = |device: u8, number: u8| DeviceWrite::See {
            id: id(device),
            user: user(number),
            user_agent: user_agent.clone(),
            client_address: client_address.clone(),
            at,
        };
        let adds = |device: u8, number: u8| DeviceWrite::Add {
            id: id(device),
            user: user(number),
            user_agent: user_agent.clone(),
            client_address: client_address.clone(),
            at,
        };
        assert_eq!(parts(&[sees(1, 1), sees(2, 2)]), Some(1));
        assert_eq!(parts(&[adds(1, 1), sees(2, 2)]), Some(3), "whoever adds one makes room for it");
        assert_eq!(parts(&[adds(1, 1), sees(2, 1)]), None);
        assert_eq!(parts(&[DeviceWrite::Forget { id: id(1), user: user(1) }]), None);
        assert_eq!(parts(&[DeviceWrite::ForgetAll { user: user(1) }]), None);
    }

    #[test]
    fn a_user_who_is_deleted_leaves_no_devices_behind() {
        let mut devices = Devices::default();
        devices.take_deletion(user(1));
        assert_eq!(devices.without, [vec![1; 16]]);
        assert!(devices.parts().unwrap().is_none());
    }
}
