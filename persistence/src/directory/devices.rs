//! Devices that accounts know.

use cairn_actors::directory::{Devices, KnownDevice};
use cairn_actors::identity::device;
use cairn_actors::identity::user_id::UserId;
use cairn_runtime::store::StoreFault;
use cairn_runtime::{Id, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{devices, id};

/// Devices over a database.
#[derive(Debug)]
pub(super) struct SqlDevices(pub(super) Database);

impl Devices for SqlDevices {
    fn knows(&self, user: UserId, device: Id) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(async move {
            let found: Option<i64> = devices::Entity::find_by_id(device.bytes().to_vec())
                .select_only()
                .column(devices::Column::LastSeenAt)
                .filter(devices::Column::UserId.eq(user.0.bytes().to_vec()))
                .into_tuple()
                .one(self.0.readers())
                .await
                .map_err(read_fault)?;
            Ok(found.is_some())
        })
    }

    fn of(&self, user: UserId) -> BoxFuture<'_, Result<Vec<KnownDevice>, StoreFault>> {
        Box::pin(async move {
            let found = devices::Entity::find()
                .filter(devices::Column::UserId.eq(user.0.bytes().to_vec()))
                .order_by_desc(devices::Column::LastSeenAt)
                .order_by_desc(devices::Column::Id)
                .limit(u64::from(device::MOST))
                .all(self.0.readers())
                .await
                .map_err(read_fault)?;
            let known = |device: devices::Model| {
                Ok(KnownDevice {
                    id: id(&device.id).map_err(read_fault)?,
                    user_agent: device.user_agent,
                    client_address: device.client_address,
                    first_seen_at: Timestamp(device.first_seen_at),
                    last_seen_at: Timestamp(device.last_seen_at),
                })
            };
            found.into_iter().map(known).collect()
        })
    }
}
