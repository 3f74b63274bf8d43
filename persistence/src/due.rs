//! What is due: flows and deliveries are claimed for a while, put off, set aside and given back.

use cairn_runtime::store::{Claim, OutboxRow, Postpone, Row, StoreFault, Unclaim};
use cairn_runtime::{FlowId, Timestamp};
use sea_orm::sea_query::{
    CommonTableExpression, Expr, ExprTrait, LockBehavior, LockType, Order, Query, SelectStatement, UpdateStatement,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, DeriveIden, EntityTrait, FromQueryResult, Iterable, QueryFilter, QueryOrder,
    QuerySelect,
};

use crate::connect::Database;
use crate::entity::{flows, outbox};
use crate::fault::{Stage, fault};
use crate::records::readable;
use crate::sql::{ROWS, Texts};

/// The rows that a claim takes.
#[derive(DeriveIden)]
enum Due {
    Table,
    Id,
}

/// A number that stands in the statement itself: a partial index is only found by what the planner can read.
fn literal(number: i32) -> Expr {
    Expr::Constant(number.into())
}

fn written(error: &DbErr) -> StoreFault {
    fault(Stage::Commit, error)
}

/// Claims due flows: many that never failed, or one that did and that has waited longer than any of the others.
pub(crate) async fn claim_flows(database: &Database, claim: &Claim) -> Result<Vec<Row>, StoreFault> {
    if claim.limit == 0 {
        return Ok(Vec::new());
    }
    // Oldest first over both kinds: neither starves the other, because a failure puts a flow off.
    let failed = oldest(database, true, claim.now).await?;
    let alone = match &failed {
        None => false,
        Some(failed) => oldest(database, false, claim.now).await?.is_none_or(|fresh| *failed <= fresh),
    };
    let rows = take_flows(database, alone, claim).await?;
    if rows.is_empty() && failed.is_some() {
        // Another node was faster; it does not have both kinds.
        return take_flows(database, !alone, claim).await;
    }
    Ok(rows)
}

fn due_flows(failed: bool, now: Timestamp) -> Expr {
    let kind = Expr::col(flows::Column::Attempts);
    let kind = if failed { kind.gt(literal(0)) } else { kind.eq(literal(0)) };
    flows::Column::WakeAt
        .lte(now.0)
        .and(flows::Column::QuarantinedAt.is_null())
        .and(kind)
        .and(flows::Column::ClaimedUntil.is_null().or(flows::Column::ClaimedUntil.lte(now.0)))
}

async fn oldest(database: &Database, failed: bool, now: Timestamp) -> Result<Option<(i64, Vec<u8>)>, StoreFault> {
    flows::Entity::find()
        .select_only()
        .columns([flows::Column::WakeAt, flows::Column::Id])
        .filter(due_flows(failed, now))
        .order_by_asc(flows::Column::WakeAt)
        .order_by_asc(flows::Column::Id)
        .limit(1)
        .into_tuple()
        .one(database.writer())
        .await
        .map_err(|error| fault(Stage::Within, &error))
}

async fn take_flows(database: &Database, alone: bool, claim: &Claim) -> Result<Vec<Row>, StoreFault> {
    let due = Query::select()
        .column(flows::Column::Id)
        .from(flows::Entity)
        .and_where(due_flows(alone, claim.now))
        .order_by(flows::Column::WakeAt, Order::Asc)
        .order_by(flows::Column::Id, Order::Asc)
        .limit(if alone { 1 } else { u64::from(claim.limit) })
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .to_owned();
    let update = Query::update()
        .with_cte(once(due))
        .table(flows::Entity)
        .value(flows::Column::Attempts, Expr::col(flows::Column::Attempts).add(literal(1)))
        .value(flows::Column::ClaimedUntil, claim.until.0)
        .value(flows::Column::ClaimedBy, claim.node.as_str())
        .and_where(Expr::col(flows::Column::Id).in_subquery(all_due()))
        .returning(Query::returning().columns(flows::Column::iter()))
        .to_owned();
    let rows: Result<Vec<Row>, DbErr> = returned::<flows::Model, Row>(database, &update).await;
    let mut rows = rows.map_err(|error| written(&error))?;
    rows.sort_unstable_by_key(|row| (row.wake_at, row.id));
    Ok(rows)
}

/// What a claim took, read once more.
pub(crate) async fn claimed_flows(database: &Database, claim: &Claim) -> Result<Vec<Row>, StoreFault> {
    let found = flows::Entity::find()
        .filter(flows::Column::ClaimedUntil.is_not_null())
        .filter(flows::Column::ClaimedUntil.eq(claim.until.0))
        .filter(flows::Column::ClaimedBy.eq(claim.node.as_str()))
        .filter(flows::Column::QuarantinedAt.is_null())
        .all(database.writer())
        .await
        .map_err(|error| fault(Stage::Within, &error))?;
    found.into_iter().map(|row| Row::try_from(row).map_err(|error| fault(Stage::Within, &error))).collect()
}

/// Claims due deliveries of a lane, oldest first.
pub(crate) async fn claim_deliveries(
    database: &Database,
    lane: &'static str,
    claim: &Claim,
) -> Result<Vec<OutboxRow>, StoreFault> {
    if claim.limit == 0 {
        return Ok(Vec::new());
    }
    let update = claim_of(lane, claim);
    let deliveries: Result<Vec<OutboxRow>, DbErr> = returned::<outbox::Model, OutboxRow>(database, &update).await;
    let mut deliveries = deliveries.map_err(|error| written(&error))?;
    deliveries.sort_unstable_by_key(|delivery| (delivery.due, delivery.id));
    Ok(deliveries)
}

fn claim_of(lane: &'static str, claim: &Claim) -> UpdateStatement {
    let free = outbox::Column::ClaimedUntil.is_null().or(outbox::Column::ClaimedUntil.lte(claim.now.0));
    let open = outbox::Column::Settled.is_null().and(outbox::Column::Lane.eq(lane));
    let due = Query::select()
        .column(outbox::Column::Id)
        .from(outbox::Entity)
        .and_where(open.and(outbox::Column::Due.lte(claim.now.0)).and(free))
        .order_by(outbox::Column::Due, Order::Asc)
        .order_by(outbox::Column::Id, Order::Asc)
        .limit(u64::from(claim.limit))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .to_owned();
    Query::update()
        .with_cte(once(due))
        .table(outbox::Entity)
        .value(outbox::Column::Attempts, Expr::col(outbox::Column::Attempts).add(literal(1)))
        .value(outbox::Column::ClaimedUntil, claim.until.0)
        .value(outbox::Column::ClaimedBy, claim.node.as_str())
        .and_where(Expr::col(outbox::Column::Id).in_subquery(all_due()))
        .returning(Query::returning().columns(outbox::Column::iter()))
        .to_owned()
}

/// The ids that [`once`] gave.
pub(crate) fn all_due() -> SelectStatement {
    Query::select().column(Due::Id).from(Due::Table).to_owned()
}

/// A subquery that is run once: run anew for each row, as a planner may choose, it would lock more than its limit.
pub(crate) fn once(select: SelectStatement) -> CommonTableExpression {
    CommonTableExpression::new().table_name(Due::Table).column(Due::Id).materialized(true).query(select).to_owned()
}

async fn returned<M, T>(database: &Database, update: &UpdateStatement) -> Result<Vec<T>, DbErr>
where
    M: FromQueryResult,
    T: TryFrom<M, Error = DbErr>,
{
    let rows = database.writer().query_all(update).await?;
    rows.iter().map(|row| T::try_from(M::from_query_result(row, "")?)).collect()
}

/// Puts deliveries off.
pub(crate) async fn postpone(database: &Database, texts: &Texts, postponed: &[Postpone]) -> Result<(), StoreFault> {
    for some in postponed.chunks(ROWS) {
        let statement = texts.wide(&texts.postpone_outbox, some).map_err(|error| fault(Stage::Within, &error))?;
        database.writer().execute_raw(statement).await.map_err(|error| written(&error))?;
    }
    Ok(())
}

/// Has a flow's claim end at another instant.
pub(crate) async fn unclaim(database: &Database, back: &Unclaim) -> Result<(), StoreFault> {
    let attempts = Expr::col(flows::Column::Attempts);
    let fewer = Expr::case(attempts.clone().gt(literal(0)), attempts.clone().sub(literal(1))).finally(literal(0));
    let (until, by) = (Expr::col(flows::Column::ClaimedUntil), Expr::col(flows::Column::ClaimedBy));
    // A claim that has lapsed may be another's by now: that one stands.
    let still = || flows::Column::ClaimedBy.eq(back.node.as_str()).and(flows::Column::ClaimedUntil.eq(back.lapses.0));
    flows::Entity::update_many()
        .col_expr(flows::Column::ClaimedUntil, Expr::case(still(), back.until.0).finally(until).into())
        .col_expr(flows::Column::ClaimedBy, Expr::case(still(), None::<String>).finally(by).into())
        .col_expr(flows::Column::Attempts, if back.counts { attempts } else { fewer.into() })
        .filter(flows::Column::Id.eq(back.flow.bytes().to_vec()))
        .filter(flows::Column::Version.eq(i64::try_from(back.version).unwrap_or(i64::MAX)))
        .exec(database.writer())
        .await
        .map(|_| ())
        .map_err(|error| written(&error))
}

/// Gives back all that is claimed, but for flows that were claimed alone; the attempts stay counted.
pub(crate) async fn release_claims(database: &Database) -> Result<(), StoreFault> {
    flows::Entity::update_many()
        .col_expr(flows::Column::ClaimedUntil, Expr::value(None::<i64>))
        .col_expr(flows::Column::ClaimedBy, Expr::value(None::<String>))
        .filter(flows::Column::ClaimedUntil.is_not_null())
        .filter(flows::Column::Attempts.lte(1))
        .exec(database.writer())
        .await
        .map_err(|error| written(&error))?;
    outbox::Entity::update_many()
        .col_expr(outbox::Column::ClaimedUntil, Expr::value(None::<i64>))
        .col_expr(outbox::Column::ClaimedBy, Expr::value(None::<String>))
        .filter(outbox::Column::ClaimedUntil.is_not_null())
        .exec(database.writer())
        .await
        .map(|_| ())
        .map_err(|error| written(&error))
}

/// Sets a flow aside that still has this version.
pub(crate) async fn quarantine(
    database: &Database,
    flow: FlowId,
    version: u64,
    at: Timestamp,
    why: &str,
) -> Result<(), StoreFault> {
    flows::Entity::update_many()
        .col_expr(flows::Column::QuarantinedAt, Expr::value(at.0))
        .col_expr(flows::Column::QuarantineWhy, Expr::value(readable(why).into_owned()))
        .filter(flows::Column::Id.eq(flow.bytes().to_vec()))
        .filter(flows::Column::Version.eq(i64::try_from(version).unwrap_or(i64::MAX)))
        .filter(flows::Column::QuarantinedAt.is_null())
        .exec(database.writer())
        .await
        .map(|_| ())
        .map_err(|error| written(&error))
}

/// The next instant at which something may be claimed.
pub(crate) async fn next_due(database: &Database) -> Result<Option<Timestamp>, StoreFault> {
    let sooner = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
    let mut next = None;
    for failed in [false, true] {
        let kind = Expr::col(flows::Column::Attempts);
        let kind = if failed { kind.gt(literal(0)) } else { kind.eq(literal(0)) };
        let waiting = flows::Entity::find()
            .select_only()
            .column(flows::Column::WakeAt)
            .filter(flows::Column::WakeAt.is_not_null())
            .filter(flows::Column::QuarantinedAt.is_null())
            .filter(kind)
            .filter(flows::Column::ClaimedUntil.is_null())
            .order_by_asc(flows::Column::WakeAt);
        next = sooner(next, first(database, waiting).await?);
    }
    let lapses = |until: Expr, due: Expr| Expr::expr(Expr::case(until.clone().gt(due.clone()), until).finally(due));
    let claimed = flows::Entity::find()
        .select_only()
        .column_as(lapses(Expr::col(flows::Column::ClaimedUntil), Expr::col(flows::Column::WakeAt)).min(), "next")
        .filter(flows::Column::ClaimedUntil.is_not_null())
        .filter(flows::Column::WakeAt.is_not_null())
        .filter(flows::Column::QuarantinedAt.is_null());
    next = sooner(next, first(database, claimed).await?);
    let waiting = outbox::Entity::find()
        .select_only()
        .column(outbox::Column::Due)
        .filter(outbox::Column::Settled.is_null())
        .filter(outbox::Column::ClaimedUntil.is_null())
        .order_by_asc(outbox::Column::Due);
    next = sooner(next, first(database, waiting).await?);
    let claimed = outbox::Entity::find()
        .select_only()
        .column_as(lapses(Expr::col(outbox::Column::ClaimedUntil), Expr::col(outbox::Column::Due)).min(), "next")
        .filter(outbox::Column::ClaimedUntil.is_not_null())
        .filter(outbox::Column::Settled.is_null());
    next = sooner(next, first(database, claimed).await?);
    Ok(next.map(Timestamp))
}

async fn first<E: EntityTrait>(database: &Database, select: sea_orm::Select<E>) -> Result<Option<i64>, StoreFault> {
    let found: Result<Option<Option<i64>>, DbErr> = select.limit(1).into_tuple().one(database.readers()).await;
    found.map(Option::flatten).map_err(|error| fault(Stage::Within, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sea_orm::DbBackend;
    use sea_orm_migration::MigratorTrait;

    use super::*;
    use crate::migration::Migrator;

    /// On PostgreSQL it is counted what is read: see `tests/store/lanes.rs`.
    #[tokio::test]
    async fn a_claim_finds_the_oldest_of_its_lane_by_an_index_and_sorts_nothing() {
        let memory = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&memory, None).await.unwrap();
        let claim = Claim { now: Timestamp(2), until: Timestamp(3), node: "one".to_owned(), limit: 20 };
        let mut statement = DbBackend::Sqlite.build(&claim_of("mail", &claim));
        statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        let plan = memory.query_all_raw(statement).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("USING INDEX outbox_lane (lane=? AND due<?)"), "{plan}");
        assert!(!plan.contains("SCAN outbox") && !plan.contains("B-TREE FOR ORDER BY"), "{plan}");
    }
}
