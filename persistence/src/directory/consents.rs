//! Consents, each with the number of its fence.

use cairn_actors::directory::{Consent, Consents};
use cairn_actors::effects::{Auth, Key};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::scope::Scope;
use cairn_runtime::store::StoreFault;
use cairn_runtime::{Domain, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{Condition, ConnectionTrait, DbBackend, DbErr, FromQueryResult, Order, QueryResult};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{consents, guards, id};

/// Consents over a database.
#[derive(Debug)]
pub(super) struct SqlConsents(pub(super) Database);

/// At most so many of one user are read.
const MOST: u64 = 1_000;

impl Consents for SqlConsents {
    fn of(&self, user: UserId, client: ClientId) -> BoxFuture<'_, Result<Option<Consent>, StoreFault>> {
        Box::pin(async move {
            let mut select = columns();
            select
                .from(guards::Entity)
                .left_join(
                    consents::Entity,
                    Condition::all()
                        .add(column(consents::Column::UserId).eq(user.0.bytes().to_vec()))
                        .add(column(consents::Column::ClientId).eq(client.0.bytes().to_vec())),
                )
                .and_where(guard(guards::Column::Key).eq(Auth::guard(&Key::Consent(user, client))));
            let row = self.0.readers().query_one(&select).await.map_err(read_fault)?;
            row.map(|row| read(&row, Some(client))).transpose().map_err(read_fault)
        })
    }

    fn all(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Consent>, StoreFault>> {
        Box::pin(async move {
            // The key is made of the ids in hexadecimal; the builder has no word for that.
            let key = match self.0.backend() {
                DbBackend::Postgres => {
                    "'consent/' || encode(consents.user_id, 'hex') || '/' || encode(consents.client_id, 'hex')"
                }
                _ => "'consent/' || lower(hex(consents.user_id)) || '/' || lower(hex(consents.client_id))",
            };
            let mut select = columns();
            select
                .from(consents::Entity)
                .inner_join(guards::Entity, guard(guards::Column::Key).eq(Expr::cust(key)))
                .and_where(column(consents::Column::UserId).eq(user.0.bytes().to_vec()))
                .order_by((consents::Entity, consents::Column::GivenAt), Order::Desc)
                .limit(MOST);
            let rows = self.0.readers().query_all(&select).await.map_err(read_fault)?;
            rows.iter().map(|row| read(row, None)).collect::<Result<_, DbErr>>().map_err(read_fault)
        })
    }
}

fn column(column: consents::Column) -> Expr {
    Expr::col((consents::Entity, column))
}

fn guard(column: guards::Column) -> Expr {
    Expr::col((guards::Entity, column))
}

fn columns() -> SelectStatement {
    let mut select = Query::select();
    select
        .column((consents::Entity, consents::Column::ClientId))
        .column((consents::Entity, consents::Column::Scope))
        .column((consents::Entity, consents::Column::Resources))
        .column((consents::Entity, consents::Column::GivenAt))
        .expr_as(guard(guards::Column::Value), "fence");
    select
}

/// The consent of a row; `client`: where the row does not say, because there is nothing left of it but its fence.
fn read(row: &QueryResult, client: Option<ClientId>) -> Result<Consent, DbErr> {
    let Stored { client_id, scope, resources, given_at, fence } = Stored::from_query_result(row, "")?;
    let client = match (client_id, client) {
        (Some(bytes), _) => ClientId(id(&bytes)?),
        (None, Some(client)) => client,
        (None, None) => return Err(DbErr::Type("a consent without a client".to_owned())),
    };
    let scope = Scope::parse(&scope.unwrap_or_default());
    Ok(Consent {
        client,
        scope: scope.map_err(|why| DbErr::Type(format!("the scope of a consent: {why}")))?,
        resources: match resources {
            Some(resources) => serde_json::from_str(&resources).map_err(|why| DbErr::Json(why.to_string()))?,
            None => Vec::new(),
        },
        fence,
        given_at: given_at.map(Timestamp),
    })
}

#[derive(FromQueryResult)]
struct Stored {
    client_id: Option<Vec<u8>>,
    scope: Option<String>,
    resources: Option<String>,
    given_at: Option<i64>,
    fence: i64,
}
