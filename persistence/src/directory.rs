//! The reads of auth's services: one query each, on connections that cannot write.

use cairn_actors::address::Address;
use cairn_actors::directory::{Directory, InSession, User};
use cairn_actors::effects::{Digest, UserId};
use cairn_actors::hasher::SealedHash;
use cairn_actors::name::PersonName;
use cairn_actors::username::Username;
use cairn_runtime::store::{Delivery, StoreFault};
use cairn_runtime::{FlowId, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    Value,
};

use crate::connect::Database;
use crate::entity::{flows, guards, id, outbox, users};
use crate::fault::{Stage, fault};

/// The directory over a database.
#[derive(Clone, Debug)]
pub struct SqlDirectory(Database);

impl SqlDirectory {
    /// Reads through the database's readers.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Users with the numbers of their fences.
    fn users(&self) -> SelectStatement {
        // The key of a fence is made of the user's id in hexadecimal; the builder has no word for that.
        let fence = match self.0.backend() {
            DbBackend::Postgres => Expr::cust("'user/' || encode(users.id, 'hex')"),
            _ => Expr::cust("'user/' || lower(hex(users.id))"),
        };
        let mut select = Query::select();
        for column in [
            users::Column::Id,
            users::Column::Email,
            users::Column::EmailMail,
            users::Column::Username,
            users::Column::FirstName,
            users::Column::LastName,
            users::Column::Password,
            users::Column::Roles,
            users::Column::CreatedAt,
            users::Column::UpdatedAt,
            users::Column::Version,
        ] {
            select.column((users::Entity, column));
        }
        select
            .expr_as(Expr::col((guards::Entity, guards::Column::Value)), "fence")
            .from(users::Entity)
            .left_join(guards::Entity, Expr::col((guards::Entity, guards::Column::Key)).eq(fence));
        select
    }

    async fn one(&self, column: users::Column, value: impl Into<Value>) -> Result<Option<User>, StoreFault> {
        let mut select = self.users();
        select.and_where(Expr::col((users::Entity, column)).eq(Expr::val(value.into())));
        let found = self.0.readers().query_one(&select).await.map_err(|error| fault(Stage::Within, &error))?;
        found.map(|row| Stored::from_query_result(&row, "").and_then(User::try_from)).transpose().map_err(odd)
    }
}

fn odd(error: DbErr) -> StoreFault {
    fault(Stage::Within, &error)
}

#[derive(FromQueryResult)]
struct Stored {
    id: Vec<u8>,
    email: String,
    email_mail: String,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    password: Option<String>,
    roles: String,
    created_at: i64,
    updated_at: i64,
    version: i64,
    fence: Option<i64>,
}

impl TryFrom<Stored> for User {
    type Error = DbErr;

    fn try_from(stored: Stored) -> Result<Self, DbErr> {
        let name = |text: Option<String>| text.and_then(|text| PersonName::parse(&text).ok());
        Ok(Self {
            id: UserId(id(&stored.id)?),
            address: Address::restore(stored.email, stored.email_mail)
                .map_err(|why| DbErr::Type(format!("an address in the table of users: {why}")))?,
            username: stored.username.and_then(|text| Username::parse(&text).ok()),
            first_name: name(stored.first_name),
            last_name: name(stored.last_name),
            password: stored.password.map(SealedHash::from_text),
            roles: serde_json::from_str(&stored.roles).map_err(|why| DbErr::Json(why.to_string()))?,
            version: stored.version,
            fence: stored.fence.unwrap_or_default(),
            created_at: Timestamp(stored.created_at),
            updated_at: Timestamp(stored.updated_at),
        })
    }
}

impl Directory for SqlDirectory {
    fn by_address(&self, key: Digest) -> BoxFuture<'_, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::EmailKey, key.0.to_vec()))
    }

    fn by_username<'a>(&'a self, username: &'a Username) -> BoxFuture<'a, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::Username, username.as_str()))
    }

    fn by_id(&self, user: UserId) -> BoxFuture<'_, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::Id, user.0.bytes().to_vec()))
    }

    fn with_session(&self, user: UserId, session: FlowId) -> BoxFuture<'_, Result<Option<InSession>, StoreFault>> {
        Box::pin(async move {
            let mut select = self.users();
            let id = Expr::val(session.bytes().to_vec());
            select
                .expr_as(Expr::col((flows::Entity, flows::Column::State)), "session")
                .left_join(flows::Entity, Expr::col((flows::Entity, flows::Column::Id)).eq(id))
                .and_where(Expr::col((users::Entity, users::Column::Id)).eq(Expr::val(user.0.bytes().to_vec())));
            let Some(row) = self.0.readers().query_one(&select).await.map_err(odd)? else { return Ok(None) };
            let user = Stored::from_query_result(&row, "").and_then(User::try_from).map_err(odd)?;
            let session: Option<String> = row.try_get("", "session").map_err(odd)?;
            Ok(Some(InSession { user, session }))
        })
    }

    fn letters(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        Box::pin(async move {
            let newest = outbox::Entity::find()
                .filter(outbox::Column::Kind.is_not_in(["signal", "answer"]))
                .filter(outbox::Column::Payload.ne(Vec::<u8>::new()))
                .order_by_desc(outbox::Column::Created)
                .order_by_desc(outbox::Column::Id)
                .limit(u64::from(limit))
                .all(self.0.readers())
                .await
                .map_err(odd)?;
            newest.into_iter().rev().map(|row| Delivery::try_from(row).map_err(odd)).collect()
        })
    }
}
