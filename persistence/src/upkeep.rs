//! What keeps the tables small and true: retention in small batches, counts, and the audit that looks for what must
//! not be.

use std::time::Duration;

use cairn_actors::flows::id_text;
use cairn_actors::identity::device::KNOWN_FOR;
use cairn_runtime::store::{Audit, Backlog, Finding, Retention, RetentionRule, RuledRows, StoreFault, whole_since};
use cairn_runtime::{FlowId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, Func, IntoIden, LockBehavior, LockType, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, JoinType, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::connect::Database;
use crate::entity::{devices, events, failures, flows, guards, id, outbox, users};
use crate::fault::{Stage, fault};
use crate::operator::waits_for_operator;

/// Flows that the audit looks at in one statement.
const PAGE: u64 = 2_000;
/// Findings of one kind that are told; whoever has more has one cause.
const TOLD: u64 = 100;
/// How late a delivery may be before the audit asks for it.
const LATE_DELIVERY: Duration = Duration::from_secs(3_600);
/// How late a wake-up may be before the audit asks for it.
const LATE_FLOW: Duration = Duration::from_secs(300);

/// Removes what may go, oldest first, and sooner what the domain's rules say; gives the number of rows it touched.
pub(crate) async fn retain(
    database: &Database,
    rules: &[RetentionRule],
    retention: Retention,
) -> Result<u64, StoreFault> {
    let touched = async {
        let limit = u64::from(retention.limit);
        let before = retention.rows_before.0;
        let mut touched =
            delete(database, outbox::Entity, outbox::Column::Id, outbox::Column::Settled, limit, |column| {
                Condition::all().add(column.is_not_null()).add(column.lt(before))
            })
            .await?;
        touched += wipe(database, retention.payloads_before, limit).await?;
        touched += delete(database, events::Entity, events::Column::Input, events::Column::At, limit, |column| {
            Condition::all().add(column.lt(before))
        })
        .await?;
        // By then the cookie of the last sign-in has been worthless for a day.
        let known = retention.payloads_before.0.saturating_sub(KNOWN_FOR.saturating_mul(1_000));
        let seen = devices::Column::LastSeenAt;
        touched += delete(database, devices::Entity, devices::Column::Id, seen, limit, |column| {
            Condition::all().add(column.lt(known))
        })
        .await?;
        touched += delete(database, failures::Entity, failures::Column::Id, failures::Column::At, limit, |column| {
            Condition::all().add(column.lt(retention.payloads_before.0))
        })
        .await?;
        let expiry = guards::Column::Expires;
        touched += delete(database, guards::Entity, guards::Column::Key, expiry, limit, |column| {
            Condition::all().add(column.is_not_null()).add(column.lte(retention.now.0))
        })
        .await?;
        for rule in rules {
            let before = retention.now.before(rule.keep);
            touched += match rule.rows {
                RuledRows::Events { kind, name, to } => ruled_events(database, kind, name, to, before, limit).await?,
                RuledRows::Flows { kind, phase } => ruled_flows(database, kind, phase, before, limit).await?,
            };
        }
        touched += delete(database, flows::Entity, flows::Column::Id, flows::Column::TouchedAt, limit, |column| {
            Condition::all().add(flows::Column::WakeAt.is_null()).add(column.lt(before))
        })
        .await?;
        Ok(touched)
    };
    touched.await.map_err(|error: DbErr| fault(Stage::Commit, &error))
}

/// The oldest rows, at most so many, that nobody else is at.
fn oldest<C: ColumnTrait>(
    table: impl EntityTrait,
    key: C,
    age: C,
    condition: Condition,
    limit: u64,
) -> SelectStatement {
    Query::select()
        .column(key)
        .from(table)
        .cond_where(condition)
        .order_by(age, Order::Asc)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .to_owned()
}

async fn delete<E: EntityTrait, C: ColumnTrait>(
    database: &Database,
    table: E,
    key: C,
    age: C,
    limit: u64,
    condition: impl FnOnce(C) -> Condition,
) -> Result<u64, DbErr> {
    let rows = oldest(table, key, age, condition(age), limit);
    let delete = Query::delete()
        .with_cte(crate::due::once(rows))
        .from_table(table)
        .and_where(Expr::col(key).in_subquery(crate::due::all_due()))
        .to_owned();
    Ok(database.writer().execute(&delete).await?.rows_affected())
}

/// A column that equals a word, which stands in the statement itself: a partial index is only found by what the planner
/// can read.
fn is(column: impl ColumnTrait, word: &'static str) -> Expr {
    Expr::col(column).eq(Expr::Constant(word.into()))
}

/// Events that are kept for less time than others.
async fn ruled_events(
    database: &Database,
    kind: &'static str,
    name: &'static str,
    to: &'static str,
    before: Timestamp,
    limit: u64,
) -> Result<u64, DbErr> {
    delete(database, events::Entity, events::Column::Input, events::Column::At, limit, |column| {
        Condition::all()
            .add(is(events::Column::Kind, kind))
            .add(is(events::Column::Name, name))
            .add(is(events::Column::To, to))
            .add(column.lt(before.0))
    })
    .await
}

/// Finished flows that are kept for less time than others, each with its events and settled deliveries.
async fn ruled_flows(
    database: &Database,
    kind: &'static str,
    phase: &'static str,
    before: Timestamp,
    limit: u64,
) -> Result<u64, DbErr> {
    let over = Condition::all()
        .add(is(flows::Column::Kind, kind))
        .add(is(flows::Column::Phase, phase))
        .add(flows::Column::WakeAt.is_null())
        .add(flows::Column::TouchedAt.lt(before.0));
    let oldest = oldest(flows::Entity, flows::Column::Id, flows::Column::TouchedAt, over, limit);
    let txn = database.begin().await?;
    let removed = async {
        let found = txn.query_all(&oldest).await?;
        let ids = found.iter().map(|row| row.try_get_by_index::<Vec<u8>>(0)).collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let sent = outbox::Entity::delete_many()
            .filter(outbox::Column::Flow.is_in(ids.clone()))
            .filter(outbox::Column::Settled.is_not_null());
        let mut removed = sent.exec(&*txn).await?.rows_affected;
        let history = events::Entity::delete_many().filter(events::Column::Flow.is_in(ids.clone()));
        removed += history.exec(&*txn).await?.rows_affected;
        let rows = flows::Entity::delete_many().filter(flows::Column::Id.is_in(ids));
        removed += rows.exec(&*txn).await?.rows_affected;
        Ok(removed)
    }
    .await;
    match removed {
        Ok(removed) => txn.commit().await.map(|()| removed),
        Err(error) => {
            if let Err(broken) = txn.rollback().await {
                tracing::debug!(%broken, "a transaction could not be rolled back; its connection is given up");
            }
            Err(error)
        }
    }
}

async fn wipe(database: &Database, before: Timestamp, limit: u64) -> Result<u64, DbErr> {
    let full = Expr::expr(Func::cust("length".into_iden()).arg(Expr::col(outbox::Column::Payload)));
    let condition = Condition::all()
        .add(outbox::Column::Settled.is_not_null())
        .add(outbox::Column::Settled.lt(before.0))
        .add(full.gt(Expr::Constant(0.into())));
    let rows = oldest(outbox::Entity, outbox::Column::Id, outbox::Column::Settled, condition, limit);
    let update = Query::update()
        .with_cte(crate::due::once(rows))
        .table(outbox::Entity)
        .value(outbox::Column::Payload, Vec::<u8>::new())
        .and_where(Expr::col(outbox::Column::Id).in_subquery(crate::due::all_due()))
        .to_owned();
    Ok(database.writer().execute(&update).await?.rows_affected())
}

/// Counts the flows that are not finished, by partial indexes.
pub(crate) async fn live(database: &Database) -> Result<u64, StoreFault> {
    let db = database.slow_readers();
    let attempts = || Expr::col(flows::Column::Attempts);
    let zero = || Expr::Constant(0.into());
    let awake = flows::Entity::find().filter(flows::Column::WakeAt.is_not_null());
    let at_large = awake.clone().filter(flows::Column::QuarantinedAt.is_null());
    let counted = async {
        let fresh = at_large.clone().filter(attempts().eq(zero())).count(db).await?;
        let failed = at_large.filter(attempts().gt(zero())).count(db).await?;
        let set_aside = awake.filter(flows::Column::QuarantinedAt.is_not_null()).count(db).await?;
        Ok(fresh + failed + set_aside)
    };
    counted.await.map_err(|error: DbErr| fault(Stage::Within, &error))
}

/// Counts what waits, each by a partial index of nothing else.
pub(crate) async fn backlog(database: &Database) -> Result<Backlog, StoreFault> {
    let db = database.slow_readers();
    let counted = async {
        let aside = flows::Entity::find().filter(waits_for_operator());
        let waiting = outbox::Entity::find().filter(outbox::Column::Settled.is_null());
        let oldest = waiting.clone().select_only().column_as(outbox::Column::Created.min(), "oldest");
        let oldest: Option<Option<i64>> = oldest.into_tuple().one(db).await?;
        Ok(Backlog {
            quarantined: aside.count(db).await?,
            pending: waiting.count(db).await?,
            dead: outbox::Entity::find().filter(outbox::Column::Dead.into_expr()).count(db).await?,
            oldest: oldest.flatten().map(Timestamp),
        })
    };
    counted.await.map_err(|error: DbErr| fault(Stage::Within, &error))
}

/// Looks for what must not be, table by table and page by page: what it holds in memory does not grow with them.
pub(crate) async fn audit(database: &Database, rules: &[RetentionRule], now: Timestamp) -> Result<Audit, StoreFault> {
    let audited = async {
        let mut audit = Audit::default();
        twins(database, &mut audit).await?;
        gaps(database, rules, now, &mut audit).await?;
        unended(database, now, &mut audit).await?;
        overdue(database, now, &mut audit).await?;
        set_aside(database, &mut audit).await?;
        audit.events = events::Entity::find().count(database.slow_readers()).await?;
        audit.deliveries = outbox::Entity::find().count(database.slow_readers()).await?;
        Ok(audit)
    };
    audited.await.map_err(|error: DbErr| fault(Stage::Within, &error))
}

fn found(audit: &mut Audit, invariant: &str, flow: Option<String>, what: String) {
    audit.findings.push(Finding { invariant: invariant.to_owned(), flow, what });
}

/// A flow's id as every answer writes it.
fn named(kind: &str, flow: &[u8]) -> Result<Option<String>, DbErr> {
    Ok(Some(id_text(kind, FlowId(id(flow)?))))
}

/// I8: one user an address.
async fn twins(database: &Database, audit: &mut Audit) -> Result<(), DbErr> {
    let twins: Vec<i64> = users::Entity::find()
        .select_only()
        .column_as(users::Column::Id.count(), "users")
        .group_by(users::Column::EmailKey)
        .having(users::Column::Id.count().gt(1))
        .limit(TOLD)
        .into_tuple()
        .all(database.slow_readers())
        .await?;
    for users in twins {
        found(audit, "I8", None, format!("{users} users have one address"));
    }
    Ok(())
}

/// A flow beside what its events say.
#[derive(FromQueryResult)]
struct Kept {
    id: Vec<u8>,
    kind: String,
    version: i64,
    touched_at: i64,
    quarantined_at: Option<i64>,
    events: i64,
    first: Option<i64>,
    last: Option<i64>,
}

/// I2: versions have no gaps. Retention takes events from the oldest on, so those that are left must run on without a
/// gap to the row's version, and a row that was touched since the oldest of all that are left must have one. Of kinds
/// whose events go one by one, only those count that are too young for that.
async fn gaps(database: &Database, rules: &[RetentionRule], now: Timestamp, audit: &mut Audit) -> Result<(), DbErr> {
    let mut ruled: Vec<(&'static str, Timestamp)> = Vec::new();
    for rule in rules {
        if let RuledRows::Events { kind, .. } = rule.rows
            && let Some(since) = whole_since(rules, kind, now)
            && !ruled.contains(&(kind, since))
        {
            ruled.push((kind, since));
        }
    }
    let whole_since = |kind: &str| ruled.iter().find(|(ruled, _)| *ruled == kind).map(|(_, since)| *since);
    let counts = ruled.iter().fold(Condition::all(), |counts, (kind, since)| {
        counts.add(events::Column::Kind.ne(*kind).or(events::Column::At.gt(since.0)))
    });
    let mut after: Option<Vec<u8>> = None;
    let mut silent: Vec<Kept> = Vec::new();
    let mut told = 0;
    loop {
        let mut page = flows::Entity::find().select_only().column(flows::Column::Id).order_by_asc(flows::Column::Id);
        if let Some(after) = after.take() {
            page = page.filter(flows::Column::Id.gt(after));
        }
        // One statement reads rows and events as they were at one instant.
        let kept: Vec<Kept> = flows::Entity::find()
            .select_only()
            .columns([
                flows::Column::Id,
                flows::Column::Kind,
                flows::Column::Version,
                flows::Column::TouchedAt,
                flows::Column::QuarantinedAt,
            ])
            .column_as(events::Column::Version.count(), "events")
            .column_as(events::Column::Version.min(), "first")
            .column_as(events::Column::Version.max(), "last")
            .join(
                JoinType::LeftJoin,
                flows::Entity::belongs_to(events::Entity)
                    .from(flows::Column::Id)
                    .to(events::Column::Flow)
                    .on_condition({
                        let counts = counts.clone();
                        move |_, _| counts.clone()
                    })
                    .into(),
            )
            .filter(flows::Column::Id.in_subquery(sea_orm::QueryTrait::into_query(page.limit(PAGE))))
            .group_by(flows::Column::Id)
            .order_by_asc(flows::Column::Id)
            .into_model()
            .all(database.slow_readers())
            .await?;
        audit.flows += kept.len() as u64;
        after = kept.last().map(|last| last.id.clone());
        for flow in kept {
            if let Some(what) = gap(&flow) {
                if told < TOLD {
                    found(audit, "I2", named(&flow.kind, &flow.id)?, what);
                }
                told += 1;
            } else if flow.last.is_none() && flow.quarantined_at.is_none() {
                // Of these only the youngest can be wrong; an operator's mark is set without an event.
                silent.push(flow);
            }
        }
        silent.sort_unstable_by_key(|flow| std::cmp::Reverse(flow.touched_at));
        silent.truncate(usize::try_from(TOLD).unwrap_or(usize::MAX));
        if after.is_none() {
            break;
        }
    }
    // Asked last: whatever retention took meanwhile is older than what is the oldest now.
    let oldest = events::Entity::find().order_by_asc(events::Column::At).limit(1).one(database.slow_readers()).await?;
    let Some(oldest) = oldest else { return Ok(()) };
    let must_have_one =
        |flow: &Kept| flow.touched_at > whole_since(&flow.kind).map_or(oldest.at, |since| Ord::max(since.0, oldest.at));
    for flow in silent.into_iter().filter(must_have_one) {
        found(audit, "I2", named(&flow.kind, &flow.id)?, format!("the row has version {} and no event", flow.version));
    }
    Ok(())
}

fn gap(flow: &Kept) -> Option<String> {
    match (flow.first, flow.last) {
        (Some(first), Some(last)) if last - first + 1 != flow.events => {
            Some(format!("{} events between version {first} and {last}", flow.events))
        }
        (_, Some(last)) if last != flow.version => {
            Some(format!("the row has version {}, the last event {last}", flow.version))
        }
        _ => None,
    }
}

fn before(now: Timestamp, span: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// I5: what was committed is delivered, or ends visibly.
async fn unended(database: &Database, now: Timestamp, audit: &mut Audit) -> Result<(), DbErr> {
    let unended: Vec<(Vec<u8>, Vec<u8>, String, String)> = outbox::Entity::find()
        .select_only()
        .columns([outbox::Column::Id, outbox::Column::Flow, outbox::Column::FlowKind, outbox::Column::Kind])
        .filter(outbox::Column::Settled.is_null())
        .filter(outbox::Column::Due.lt(before(now, LATE_DELIVERY)))
        .filter(outbox::Column::ClaimedUntil.is_null().or(outbox::Column::ClaimedUntil.lte(now.0)))
        .order_by_asc(outbox::Column::Due)
        .limit(TOLD)
        .into_tuple()
        .all(database.slow_readers())
        .await?;
    for (delivery, flow, flow_kind, kind) in unended {
        let what = format!("the {kind} delivery {} is an hour late, and nobody has it in hand", id(&delivery)?);
        found(audit, "I5", named(&flow_kind, &flow)?, what);
    }
    Ok(())
}

/// I7: every live flow has a next event, and it comes.
async fn overdue(database: &Database, now: Timestamp, audit: &mut Audit) -> Result<(), DbErr> {
    for failed in [false, true] {
        let attempts = Expr::col(flows::Column::Attempts);
        let zero = Expr::Constant(0.into());
        let overdue: Vec<(Vec<u8>, String)> = flows::Entity::find()
            .select_only()
            .columns([flows::Column::Id, flows::Column::Kind])
            .filter(flows::Column::QuarantinedAt.is_null())
            .filter(if failed { attempts.gt(zero) } else { attempts.eq(zero) })
            .filter(flows::Column::WakeAt.lt(before(now, LATE_FLOW)))
            .filter(flows::Column::ClaimedUntil.is_null().or(flows::Column::ClaimedUntil.lte(now.0)))
            .order_by_asc(flows::Column::WakeAt)
            .limit(TOLD)
            .into_tuple()
            .all(database.slow_readers())
            .await?;
        for (flow, kind) in overdue {
            let what = format!("the {kind} flow should have been woken minutes ago, and nobody has it in hand");
            found(audit, "I7", named(&kind, &flow)?, what);
        }
    }
    Ok(())
}

/// I7 again: nothing comes to a flow in quarantine until an operator says what is to become of it.
async fn set_aside(database: &Database, audit: &mut Audit) -> Result<(), DbErr> {
    let aside: Vec<(Vec<u8>, String, Option<String>)> = flows::Entity::find()
        .select_only()
        .columns([flows::Column::Id, flows::Column::Kind, flows::Column::QuarantineWhy])
        .filter(waits_for_operator())
        .order_by_desc(flows::Column::QuarantinedAt)
        .limit(TOLD)
        .into_tuple()
        .all(database.slow_readers())
        .await?;
    for (flow, kind, why) in aside {
        let what = format!("the {kind} flow is in quarantine: {}", why.unwrap_or_default());
        found(audit, "I7", named(&kind, &flow)?, what);
    }
    Ok(())
}
