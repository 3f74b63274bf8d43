//! Rows of a user's flows.

use cairn_actors::directory::Flows;
use cairn_actors::flows::authorization::Authorization;
use cairn_actors::flows::email_change::{self, EmailChange};
use cairn_actors::flows::session::{self, Session};
use cairn_actors::followers::{Follower, Followers};
use cairn_actors::identity::user_id::UserId;
use cairn_runtime::store::{Row, StoreFault};
use cairn_runtime::{Flow, FlowId, Phase as _};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{flows, id};

/// Flows over a database.
#[derive(Debug)]
pub(super) struct SqlFlows(pub(super) Database);

/// A user's flows that are not in quarantine.
pub(super) fn of_user(user: UserId) -> Select<flows::Entity> {
    flows::Entity::find()
        .filter(flows::Column::UserId.eq(user.0.bytes().to_vec()))
        .filter(flows::Column::QuarantinedAt.is_null())
}

/// The rows that a query finds, last touched first, at most this many.
pub(super) async fn last_touched(
    database: &Database,
    select: Select<flows::Entity>,
    limit: u32,
) -> Result<Vec<Row>, StoreFault> {
    let found = select
        .order_by_desc(flows::Column::TouchedAt)
        .order_by_desc(flows::Column::Id)
        .limit(u64::from(limit))
        .all(database.readers())
        .await
        .map_err(read_fault)?;
    found.into_iter().map(|row| Row::try_from(row).map_err(read_fault)).collect()
}

impl Flows for SqlFlows {
    fn of<'a>(
        &'a self,
        user: UserId,
        kind: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move {
            let mut select = of_user(user);
            if let Some(kind) = kind {
                select = select.filter(flows::Column::Kind.eq(kind));
            }
            last_touched(&self.0, select, limit).await
        })
    }

    fn changes(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        // Done, and not at its end: whatever else its user asks for does not crowd it out.
        let living = of_user(user)
            .filter(flows::Column::Kind.eq(EmailChange::NAME))
            .filter(flows::Column::Phase.eq(email_change::Phase::Changed.word()))
            .filter(flows::Column::WakeAt.is_not_null());
        Box::pin(last_touched(&self.0, living, limit))
    }

    fn followers(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Followers, StoreFault>> {
        Box::pin(async move {
            let found: Vec<(Vec<u8>, String)> = of_user(user)
                .filter(flows::Column::Kind.is_in([Session::NAME, Authorization::NAME]))
                // A session that can be disputed has ended; it only remembers by whom it was begun.
                .filter(
                    flows::Column::Phase.eq(session::Phase::Active.word()).or(flows::Column::Kind.ne(Session::NAME)),
                )
                .filter(flows::Column::WakeAt.is_not_null())
                .select_only()
                .columns([flows::Column::Id, flows::Column::Kind])
                .order_by_desc(flows::Column::TouchedAt)
                .order_by_desc(flows::Column::Id)
                .limit(u64::from(limit))
                .into_tuple()
                .all(self.0.readers())
                .await
                .map_err(read_fault)?;
            let follower = |(flow, kind): (Vec<u8>, String)| {
                let flow = FlowId(id(&flow).map_err(read_fault)?);
                Ok(if kind == Session::NAME { Follower::Session(flow) } else { Follower::Authorization(flow) })
            };
            found.into_iter().map(follower).collect()
        })
    }
}
