//! Users, each read with the numbers that a step about them holds.

use cairn_actors::directory::{User, Users};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::name::PersonName;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::identity::username::Username;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_runtime::store::StoreFault;
use cairn_runtime::{FlowId, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult, Value};

use super::read_fault;
use crate::connect::Database;
use crate::entity::{guards, id, users};

/// Users over a database.
#[derive(Debug)]
pub(super) struct SqlUsers(pub(super) Database);

impl SqlUsers {
    async fn one(&self, column: users::Column, value: impl Into<Value>) -> Result<Option<User>, StoreFault> {
        let mut select = select(self.0.backend());
        select.and_where(Expr::col((users::Entity, column)).eq(Expr::val(value.into())));
        let found = self.0.readers().query_one(&select).await.map_err(read_fault)?;
        found.map(|row| read(&row)).transpose().map_err(read_fault)
    }
}

impl Users for SqlUsers {
    fn by_id(&self, user: UserId) -> BoxFuture<'_, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::Id, user.0.bytes().to_vec()))
    }

    fn by_address(&self, key: Digest) -> BoxFuture<'_, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::EmailKey, key.0.to_vec()))
    }

    fn by_username<'a>(&'a self, username: &'a Username) -> BoxFuture<'a, Result<Option<User>, StoreFault>> {
        Box::pin(self.one(users::Column::Username, username.as_str()))
    }
}

/// Users with the numbers of their fences, of the claims on their addresses and of what is known of them from before.
pub(super) fn select(backend: DbBackend) -> SelectStatement {
    // Their keys are made of the user's id and the address's hash in hexadecimal; the builder has no word for that.
    let (fence, claim, known) = match backend {
        DbBackend::Postgres => (
            "'user/' || encode(users.id, 'hex')",
            "'address/' || encode(users.email_key, 'hex')",
            "'devices/' || encode(users.id, 'hex')",
        ),
        _ => (
            "'user/' || lower(hex(users.id))",
            "'address/' || lower(hex(users.email_key))",
            "'devices/' || lower(hex(users.id))",
        ),
    };
    let (claims, known_devices) = (Alias::new("claims"), Alias::new("known_devices"));
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
        users::Column::Deletion,
        users::Column::SignedInAt,
        users::Column::PasswordChangedAt,
        users::Column::PasswordSuspendedAt,
    ] {
        select.column((users::Entity, column));
    }
    select
        .expr_as(Expr::col((guards::Entity, guards::Column::Value)), "fence")
        .expr_as(Expr::col((claims.clone(), guards::Column::Value)), "number")
        .expr_as(Expr::col((known_devices.clone(), guards::Column::Value)), "devices")
        .from(users::Entity)
        .left_join(guards::Entity, Expr::col((guards::Entity, guards::Column::Key)).eq(Expr::cust(fence)))
        .join_as(
            sea_orm::JoinType::LeftJoin,
            guards::Entity,
            claims.clone(),
            Expr::col((claims, guards::Column::Key)).eq(Expr::cust(claim)),
        )
        .join_as(
            sea_orm::JoinType::LeftJoin,
            guards::Entity,
            known_devices.clone(),
            Expr::col((known_devices, guards::Column::Key)).eq(Expr::cust(known)),
        );
    select
}

/// The user of a row of [`select`].
pub(super) fn read(row: &QueryResult) -> Result<User, DbErr> {
    Stored::from_query_result(row, "").and_then(User::try_from)
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
    deletion: Option<Vec<u8>>,
    signed_in_at: Option<i64>,
    password_changed_at: Option<i64>,
    password_suspended_at: Option<i64>,
    fence: Option<i64>,
    devices: Option<i64>,
    number: Option<i64>,
}

impl TryFrom<Stored> for User {
    type Error = DbErr;

    fn try_from(stored: Stored) -> Result<Self, DbErr> {
        let name = |text: Option<String>| text.and_then(|text| PersonName::restore(&text).ok());
        Ok(Self {
            id: UserId(id(&stored.id)?),
            address: Address::restore(stored.email, stored.email_mail)
                .map_err(|why| DbErr::Type(format!("an address in the table of users: {why}")))?,
            username: stored.username.and_then(|text| Username::parse(&text).ok()),
            first_name: name(stored.first_name),
            last_name: name(stored.last_name),
            password: stored.password.filter(|_| stored.password_suspended_at.is_none()).map(SealedHash::from_text),
            roles: serde_json::from_str(&stored.roles).map_err(|why| DbErr::Json(why.to_string()))?,
            version: stored.version,
            fence: stored.fence.unwrap_or_default(),
            devices: stored.devices.unwrap_or_default(),
            number: stored.number.unwrap_or_default(),
            deletion: stored.deletion.map(|flow| id(&flow).map(FlowId)).transpose()?,
            signed_in_at: stored.signed_in_at.map(Timestamp),
            password_changed_at: stored.password_changed_at.map(Timestamp),
            created_at: Timestamp(stored.created_at),
            updated_at: Timestamp(stored.updated_at),
        })
    }
}
