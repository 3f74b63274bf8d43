//! Sessions, which every request of somebody who is signed in asks for: those who ask at the same time share one query.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_actors::directory::{EarlierSessions, InSession, Sessions};
use cairn_actors::flows::session::{self, Session};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::store::{Row, StoreFault};
use cairn_runtime::{Flow, FlowId, Phase as _};
use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, FromQueryResult, IdenStatic, Iterable, QueryFilter, QueryResult, Statement,
};

use super::{flows as rows, read_fault, users};
use crate::batched_reads::BatchedReads;
use crate::connect::Database;
use crate::deadline::Kept;
use crate::entity::{flows, id, users as table};
use crate::records::json;
use crate::sql::ids;

/// Sessions over a database.
#[derive(Debug)]
pub(super) struct SqlSessions {
    database: Database,
    /// Sessions with their users.
    reads: Arc<BatchedReads<FlowId, InSession, Kept>>,
    /// A list of ids → the sessions that are there, with their users.
    find: Arc<str>,
}

impl SqlSessions {
    pub(super) fn new(database: Database) -> Self {
        let mut select = users::select(database.backend());
        // The builder has no word for a function that gives a table.
        let wanted = format!(r#""flows"."id" IN (SELECT "id" FROM {} AS n)"#, ids(database.backend()));
        for column in flows::Column::iter() {
            select.expr_as(Expr::col((flows::Entity, column)), format!("{SESSION}{}", column.as_str()));
        }
        select
            .inner_join(
                flows::Entity,
                Expr::col((flows::Entity, flows::Column::UserId)).equals((table::Entity, table::Column::Id)),
            )
            .and_where(Expr::cust(wanted));
        let find = database.backend().build(&select).sql.into();
        Self { database, reads: BatchedReads::new(), find }
    }

    async fn read(
        &self,
        sessions: Vec<FlowId>,
        connection: Option<Kept>,
    ) -> (Result<HashMap<FlowId, InSession>, StoreFault>, Option<Kept>) {
        let list: Vec<String> = sessions.iter().map(|session| HEXLOWER.encode(session.bytes())).collect();
        let list = match json(&list) {
            Ok(list) => list,
            Err(why) => return (Err(read_fault(why)), connection),
        };
        let (rows, connection) = self.database.readers().query_list(connection, &self.find, list).await;
        (rows.map_err(read_fault).and_then(|rows| in_sessions(&rows)), connection)
    }
}

impl Sessions for SqlSessions {
    fn with_user(&self, session: FlowId) -> BoxFuture<'_, Result<Option<InSession>, StoreFault>> {
        Box::pin(self.reads.find(session, |sessions, connection| self.read(sessions, connection)))
    }

    fn of(&self, user: UserId, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        let living = rows::of_user(user)
            .filter(flows::Column::Kind.eq(Session::NAME))
            .filter(flows::Column::Phase.eq(session::Phase::Active.word()));
        Box::pin(rows::last_touched(&self.database, living, limit))
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
}

/// A user and a place → the user's sessions for which there is no room, and a null if there is or was one from the place.
/// Numbers stand in the text and are not bound: SQLite prepares a statement anew whenever a limit is bound.
fn earlier_sessions(room: u32) -> String {
    format!(
        r#"SELECT "id" FROM (SELECT "id" FROM "flows" WHERE "user_id" = $1 AND "kind" = '{kind}' AND "phase" = '{active}' AND "quarantined_at" IS NULL ORDER BY "touched_at" DESC, "id" DESC LIMIT 1000 OFFSET {room}) AS beyond UNION ALL SELECT NULL FROM (SELECT 1 FROM "flows" WHERE "subject" = $2 LIMIT 1) AS seen"#,
        kind = Session::NAME,
        active = session::Phase::Active.word(),
    )
}

/// What the names of a session's columns begin with beside those of its user.
const SESSION: &str = "session_";

fn in_sessions(rows: &[QueryResult]) -> Result<HashMap<FlowId, InSession>, StoreFault> {
    let found = rows.iter().map(|row| {
        let user = users::read(row)?;
        let session = Row::try_from(flows::Model::from_query_result(row, SESSION)?)?;
        Ok((session.id, InSession { user, session }))
    });
    found.collect::<Result<_, DbErr>>().map_err(read_fault)
}
