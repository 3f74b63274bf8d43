//! OAuth clients, each read with the number of its fence.

use cairn_actors::directory::Clients;
use cairn_actors::oauth::client::{Client, ClientId};
use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::read_fault;
use crate::connect::Database;
use crate::entity::{clients, guards, id};

/// Clients over a database.
#[derive(Debug)]
pub(super) struct SqlClients(pub(super) Database);

impl Clients for SqlClients {
    fn by_id(&self, client: ClientId) -> BoxFuture<'_, Result<Option<Client>, StoreFault>> {
        Box::pin(async move {
            let mut select = select(self.0.backend());
            select.and_where(Expr::col((clients::Entity, clients::Column::Id)).eq(client.0.bytes().to_vec()));
            let found = self.0.readers().query_one(&select).await.map_err(read_fault)?;
            found.map(|row| read(&row)).transpose().map_err(read_fault)
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>, limit: u32) -> BoxFuture<'a, Result<Vec<Client>, StoreFault>> {
        Box::pin(async move {
            let mut select = select(self.0.backend());
            let name = || Expr::col((clients::Entity, clients::Column::ClientId));
            if let Some(after) = after {
                select.and_where(name().gt(after));
            }
            select.order_by((clients::Entity, clients::Column::ClientId), Order::Asc).limit(u64::from(limit));
            let found = self.0.readers().query_all(&select).await.map_err(read_fault)?;
            found.iter().map(read).collect::<Result<_, _>>().map_err(read_fault)
        })
    }
}

/// Clients with the numbers of their fences.
fn select(backend: DbBackend) -> SelectStatement {
    // The key is made of the client's id in hexadecimal; the builder has no word for that.
    let fence = match backend {
        DbBackend::Postgres => "'client/' || encode(clients.id, 'hex')",
        _ => "'client/' || lower(hex(clients.id))",
    };
    let mut select = Query::select();
    for column in [
        clients::Column::Id,
        clients::Column::ClientId,
        clients::Column::Metadata,
        clients::Column::Secrets,
        clients::Column::Origin,
        clients::Column::Version,
        clients::Column::CreatedAt,
        clients::Column::UpdatedAt,
    ] {
        select.column((clients::Entity, column));
    }
    select
        .expr_as(Expr::col((guards::Entity, guards::Column::Value)), "fence")
        .from(clients::Entity)
        .left_join(guards::Entity, Expr::col((guards::Entity, guards::Column::Key)).eq(Expr::cust(fence)));
    select
}

/// The client of a row of [`select`].
fn read(row: &QueryResult) -> Result<Client, DbErr> {
    Stored::from_query_result(row, "").and_then(Client::try_from)
}

#[derive(FromQueryResult)]
struct Stored {
    id: Vec<u8>,
    client_id: String,
    metadata: String,
    secrets: String,
    origin: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    fence: Option<i64>,
}

impl TryFrom<Stored> for Client {
    type Error = DbErr;

    fn try_from(stored: Stored) -> Result<Self, DbErr> {
        Ok(Self {
            id: ClientId(id(&stored.id)?),
            client_id: stored.client_id,
            metadata: from_json(&stored.metadata)?,
            secrets: from_json(&stored.secrets)?,
            origin: from_word(stored.origin)?,
            fence: stored.fence.unwrap_or_default(),
            version: stored.version,
            created_at: Timestamp(stored.created_at),
            updated_at: Timestamp(stored.updated_at),
        })
    }
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, DbErr> {
    serde_json::from_str(text).map_err(|why| DbErr::Json(why.to_string()))
}

/// A closed vocabulary's word.
pub(super) fn from_word<T: DeserializeOwned>(word: String) -> Result<T, DbErr> {
    serde_json::from_value(Json::String(word)).map_err(|why| DbErr::Json(why.to_string()))
}
