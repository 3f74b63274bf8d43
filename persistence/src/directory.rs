//! The reads of auth's services: one query each, or one for all who ask at the same time, on connections that cannot
//! write.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_actors::address::Address;
use cairn_actors::device;
use cairn_actors::directory::{Directory, EarlierSessions, HistoryEntry, HistoryPlace, InSession, KnownDevice, User};
use cairn_actors::effects::{self, Digest, UserId};
use cairn_actors::flows::authorization::Authorization;
use cairn_actors::flows::email_change::{self, EmailChange};
use cairn_actors::flows::session::{self, Session};
use cairn_actors::followers::{Follower, Followers};
use cairn_actors::hasher::SealedHash;
use cairn_actors::name::PersonName;
use cairn_actors::username::Username;
use cairn_actors::workers::budget::{Charged, OVER, SentLetters};
use cairn_runtime::store::{OutboxRow, Row, StoreFault};
use cairn_runtime::{DeliveryId, Flow, FlowId, Id, InputId, Phase as _, Timestamp};
use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, Select, Statement, Value,
};

use crate::batched_reads::BatchedReads;
use crate::connect::Database;
use crate::deadline::Kept;
use crate::entity::{devices, events, fixed, flows, guards, id, outbox, users};
use crate::fault::{Stage, fault};
use crate::records::json;
use crate::sql::ids;

/// The directory over a database.
#[derive(Clone, Debug)]
pub struct SqlDirectory {
    database: Database,
    /// Sessions with their users, which every request of somebody who is signed in asks for.
    sessions: Arc<BatchedReads<FlowId, InSession, Kept>>,
    /// A list of ids → the sessions that are there, with their users.
    find_sessions: Arc<str>,
}

impl SqlDirectory {
    /// Reads through the database's readers.
    pub fn new(database: Database) -> Self {
        let mut select = users(database.backend());
        // The builder has no word for a function that gives a table.
        let wanted = format!(r#""flows"."id" IN (SELECT "id" FROM {} AS n)"#, ids(database.backend()));
        for column in flows::Column::iter() {
            select.expr_as(Expr::col((flows::Entity, column)), format!("{SESSION}{}", column.as_str()));
        }
        select
            .inner_join(
                flows::Entity,
                Expr::col((flows::Entity, flows::Column::UserId)).equals((users::Entity, users::Column::Id)),
            )
            .and_where(Expr::cust(wanted));
        let find_sessions = database.backend().build(&select).sql.into();
        Self { database, sessions: BatchedReads::new(), find_sessions }
    }

    /// A user's flows that are not in quarantine.
    fn flows_of_user(&self, user: UserId) -> Select<flows::Entity> {
        flows::Entity::find()
            .filter(flows::Column::UserId.eq(user.0.bytes().to_vec()))
            .filter(flows::Column::QuarantinedAt.is_null())
    }

    fn living_sessions(&self, user: UserId) -> Select<flows::Entity> {
        self.flows_of_user(user)
            .filter(flows::Column::Kind.eq(Session::NAME))
            .filter(flows::Column::Phase.eq(session::Phase::Active.word()))
    }

    async fn last_touched(&self, select: Select<flows::Entity>, limit: u32) -> Result<Vec<Row>, StoreFault> {
        let found = select
            .order_by_desc(flows::Column::TouchedAt)
            .order_by_desc(flows::Column::Id)
            .limit(u64::from(limit))
            .all(self.database.readers())
            .await
            .map_err(read_fault)?;
        found.into_iter().map(|row| Row::try_from(row).map_err(read_fault)).collect()
    }

    async fn read_sessions(
        &self,
        sessions: Vec<FlowId>,
        connection: Option<Kept>,
    ) -> (Result<HashMap<FlowId, InSession>, StoreFault>, Option<Kept>) {
        let list: Vec<String> = sessions.iter().map(|session| HEXLOWER.encode(session.bytes())).collect();
        let list = match json(&list) {
            Ok(list) => list,
            Err(why) => return (Err(read_fault(why)), connection),
        };
        let (rows, connection) = self.database.readers().query_list(connection, &self.find_sessions, list).await;
        (rows.map_err(read_fault).and_then(|rows| in_sessions(&rows)), connection)
    }
    async fn one(&self, column: users::Column, value: impl Into<Value>) -> Result<Option<User>, StoreFault> {
        let mut select = users(self.database.backend());
        select.and_where(Expr::col((users::Entity, column)).eq(Expr::val(value.into())));
        let found = self.database.readers().query_one(&select).await.map_err(|error| fault(Stage::Within, &error))?;
        found.map(|row| Stored::from_query_result(&row, "").and_then(User::try_from)).transpose().map_err(read_fault)
    }
}

/// Users with the numbers of their fences, of the claims on their addresses and of what is known of them from before.
fn users(backend: DbBackend) -> SelectStatement {
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

// Numbers stand in the texts below and are not bound: SQLite prepares a statement anew whenever a limit is bound.

/// A user and a place → the user's sessions for which there is no room, and a null if there is or was one from the place.
fn earlier_sessions(room: u32) -> String {
    format!(
        r#"SELECT "id" FROM (SELECT "id" FROM "flows" WHERE "user_id" = $1 AND "kind" = '{kind}' AND "phase" = '{active}' AND "quarantined_at" IS NULL ORDER BY "touched_at" DESC, "id" DESC LIMIT 1000 OFFSET {room}) AS beyond UNION ALL SELECT NULL FROM (SELECT 1 FROM "flows" WHERE "subject" = $2 LIMIT 1) AS seen"#,
        kind = Session::NAME,
        active = session::Phase::Active.word(),
    )
}

/// What is guessed at and an instant → when guesses after that failed, newest first.
fn failures(limit: u32) -> String {
    format!(r#"SELECT "at" FROM "failures" WHERE "of" = $1 AND "at" > $2 ORDER BY "at" DESC LIMIT {limit}"#)
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

/// What the names of a session's columns begin with beside those of its user.
const SESSION: &str = "session_";

fn in_sessions(rows: &[QueryResult]) -> Result<HashMap<FlowId, InSession>, StoreFault> {
    let found = rows.iter().map(|row| {
        let user = Stored::from_query_result(row, "").and_then(User::try_from)?;
        let session = Row::try_from(flows::Model::from_query_result(row, SESSION)?)?;
        Ok((session.id, InSession { user, session }))
    });
    found.collect::<Result<_, DbErr>>().map_err(read_fault)
}

fn read_fault(error: DbErr) -> StoreFault {
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

/// A budget, an instant, and a delivery's instant and id → the letters of the budget that were sent after the one, newest
/// first, and those that were committed before the other and are on their way. Each half reads a partial index of its
/// own, whose words these are.
fn charged(most: u32) -> String {
    format!(
        r#"SELECT * FROM (SELECT "id", "asked_by", "settled" FROM "outbox" WHERE "budget" = $1 AND "settled" IS NOT NULL AND NOT "dead" AND "settled" > $2 ORDER BY "settled" DESC LIMIT {most}) AS sent UNION ALL SELECT * FROM (SELECT "id", "asked_by", "settled" FROM "outbox" WHERE "budget" = $1 AND "settled" IS NULL AND "note" <> '{OVER}' AND ("created" < $3 OR ("created" = $3 AND "id" < $4)) LIMIT {most}) AS under_way"#
    )
}

impl SentLetters for SqlDirectory {
    fn charged(
        &self,
        budget: [u8; 32],
        since: Timestamp,
        delivery: (Timestamp, DeliveryId),
        most: u32,
    ) -> BoxFuture<'_, Result<Vec<Charged>, StoreFault>> {
        Box::pin(async move {
            let (created, letter) = delivery;
            let values: [Value; 4] =
                [budget.to_vec().into(), since.0.into(), created.0.into(), letter.bytes().to_vec().into()];
            let statement = Statement::from_sql_and_values(self.database.backend(), charged(most), values);
            let rows = self.database.readers().query_all_raw(statement).await.map_err(read_fault)?;
            let read = |row: &sea_orm::QueryResult| -> Result<Charged, DbErr> {
                let asked_by: Option<Vec<u8>> = row.try_get_by_index(1)?;
                Ok(Charged {
                    id: DeliveryId(id(&row.try_get_by_index::<Vec<u8>>(0)?)?),
                    asked_by: asked_by.map(|asker| fixed(&asker)).transpose()?,
                    sent: row.try_get_by_index::<Option<i64>>(2)?.map(Timestamp),
                })
            };
            rows.iter().map(|row| read(row).map_err(read_fault)).collect()
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

    fn session(&self, session: FlowId) -> BoxFuture<'_, Result<Option<InSession>, StoreFault>> {
        Box::pin(self.sessions.find(session, |sessions, connection| self.read_sessions(sessions, connection)))
    }

    fn failures(&self, of: Digest, after: Timestamp, limit: u32) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreFault>> {
        Box::pin(async move {
            let values = [of.0.to_vec().into(), after.0.into()];
            let statement = Statement::from_sql_and_values(self.database.backend(), failures(limit), values);
            let rows = self.database.readers().query_all_raw(statement).await.map_err(read_fault)?;
            rows.iter().map(|row| row.try_get_by_index(0).map(Timestamp).map_err(read_fault)).collect()
        })
    }

    fn flows_of<'a>(
        &'a self,
        user: UserId,
        kind: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move {
            let mut select = self.flows_of_user(user);
            if let Some(kind) = kind {
                select = select.filter(flows::Column::Kind.eq(kind));
            }
            self.last_touched(select, limit).await
        })
    }

    fn changes(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        // Done, and not at its end: whatever else its user asks for does not crowd it out.
        let living = self
            .flows_of_user(user)
            .filter(flows::Column::Kind.eq(EmailChange::NAME))
            .filter(flows::Column::Phase.eq(email_change::Phase::Changed.word()))
            .filter(flows::Column::WakeAt.is_not_null());
        Box::pin(self.last_touched(living, limit))
    }

    fn sessions(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.last_touched(self.living_sessions(user), limit))
    }

    fn followers(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Followers, StoreFault>> {
        Box::pin(async move {
            let found: Vec<(Vec<u8>, String)> = self
                .flows_of_user(user)
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
                .all(self.database.readers())
                .await
                .map_err(read_fault)?;
            let follower = |(flow, kind): (Vec<u8>, String)| {
                let flow = FlowId(id(&flow).map_err(read_fault)?);
                Ok(if kind == Session::NAME { Follower::Session(flow) } else { Follower::Authorization(flow) })
            };
            found.into_iter().map(follower).collect()
        })
    }

    fn earlier_sessions(
        &self,
        user: UserId,
        place: Digest,
        room: u32,
    ) -> BoxFuture<'_, Result<EarlierSessions, StoreFault>> {
        Box::pin(async move {
            let values = [user.0.bytes().to_vec().into(), place.0.to_vec().into()];
            let statement = Statement::from_sql_and_values(self.database.backend(), earlier_sessions(room), values);
            let rows = self.database.readers().query_all_raw(statement).await.map_err(read_fault)?;
            let mut visits = EarlierSessions::default();
            for row in &rows {
                match row.try_get_by_index::<Option<Vec<u8>>>(0).map_err(read_fault)? {
                    Some(beyond) => visits.beyond.push(FlowId(id(&beyond).map_err(read_fault)?)),
                    None => visits.knows_place = true,
                }
            }
            Ok(visits)
        })
    }

    fn knows_device(&self, user: UserId, device: Id) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(async move {
            let found: Option<i64> = devices::Entity::find_by_id(device.bytes().to_vec())
                .select_only()
                .column(devices::Column::LastSeenAt)
                .filter(devices::Column::UserId.eq(user.0.bytes().to_vec()))
                .into_tuple()
                .one(self.database.readers())
                .await
                .map_err(read_fault)?;
            Ok(found.is_some())
        })
    }

    fn devices(&self, user: UserId) -> BoxFuture<'_, Result<Vec<KnownDevice>, StoreFault>> {
        Box::pin(async move {
            let found = devices::Entity::find()
                .filter(devices::Column::UserId.eq(user.0.bytes().to_vec()))
                .order_by_desc(devices::Column::LastSeenAt)
                .order_by_desc(devices::Column::Id)
                .limit(u64::from(device::MOST))
                .all(self.database.readers())
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

    fn history(
        &self,
        user: UserId,
        before: Option<HistoryPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, StoreFault>> {
        Box::pin(async move {
            let found = own_history(user, before, limit).all(self.database.readers()).await.map_err(read_fault)?;
            let happened = |event: events::Model| {
                let events::Model { input, kind, flow, name, to, public, at, .. } = event;
                let (input, flow) = (InputId(id(&input).map_err(read_fault)?), FlowId(id(&flow).map_err(read_fault)?));
                Ok(HistoryEntry { input, kind, flow, name, to, public, at: Timestamp(at) })
            };
            found.into_iter().map(happened).collect()
        })
    }

    fn letters(&self, limit: u32) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(async move {
            let newest = outbox::Entity::find()
                .filter(outbox::Column::Kind.is_not_in(["signal", "answer", effects::Delivery::NOBODY]))
                .filter(outbox::Column::Payload.ne(Vec::<u8>::new()))
                .filter(outbox::Column::Dead.eq(false))
                // What waits for room has not been sent: nobody has it in their mailbox.
                .filter(outbox::Column::Settled.is_not_null().or(outbox::Column::Note.ne(OVER)))
                .order_by_desc(outbox::Column::Created)
                .order_by_desc(outbox::Column::Id)
                .limit(u64::from(limit))
                .all(self.database.readers())
                .await
                .map_err(read_fault)?;
            newest.into_iter().rev().map(|row| OutboxRow::try_from(row).map_err(read_fault)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::QueryTrait;

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
