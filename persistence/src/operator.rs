//! What an operator does with a flow in quarantine.

use cairn_runtime::store::{ENDED, PATIENCE, StoreFault, Verb};
use cairn_runtime::{FlowId, Timestamp};
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, UpdateMany};

use crate::connect::Database;
use crate::entity::{flows, outbox};
use crate::fault::{Stage, fault};

/// How long a wake-up waits that an operator had skipped.
const DAY_IN_MILLIS: i64 = 86_400_000;
/// The note of what an operator gave up.
const SKIPPED: &str = "skipped by the operator";

/// Does as the operator says; one that was ended is out of the operator's hands.
pub(crate) async fn operate(database: &Database, flow: FlowId, verb: Verb, now: Timestamp) -> Result<bool, StoreFault> {
    let txn = database.begin().await.map_err(|error| fault(Stage::Begin, &error))?;
    let done = async {
        let found = mark(flow, verb, now).exec(&*txn).await?.rows_affected > 0;
        if found && verb == Verb::Skip {
            give_up(&*txn, flow, now).await?;
        }
        Ok(found)
    }
    .await;
    match done {
        Ok(found) => txn.commit().await.map(|()| found).map_err(|error| fault(Stage::Commit, &error)),
        Err(error) => {
            if let Err(broken) = txn.rollback().await {
                tracing::debug!(%broken, "a transaction could not be rolled back; its connection is given up");
            }
            Err(fault(Stage::Within, &error))
        }
    }
}

/// The change of its row, which is there only while it is in quarantine.
fn mark(flow: FlowId, verb: Verb, now: Timestamp) -> UpdateMany<flows::Entity> {
    let update = flows::Entity::update_many()
        .col_expr(flows::Column::ClaimedBy, Expr::value(None::<String>))
        .filter(flows::Column::Id.eq(flow.bytes().to_vec()))
        .filter(waits_for_operator());
    let free = |update: UpdateMany<flows::Entity>| {
        update
            .col_expr(flows::Column::QuarantinedAt, Expr::value(None::<i64>))
            .col_expr(flows::Column::QuarantineWhy, Expr::value(None::<String>))
            .col_expr(flows::Column::Attempts, Expr::value(0))
    };
    match verb {
        Verb::Retry => free(update).col_expr(flows::Column::ClaimedUntil, Expr::value(None::<i64>)),
        Verb::Skip => {
            // What was due is kept from being claimed for a day; the flow's own instant stays as it decided it.
            let tomorrow = now.0.saturating_add(DAY_IN_MILLIS);
            let due = Expr::case(flows::Column::WakeAt.lte(now.0), Expr::value(tomorrow));
            free(update).col_expr(flows::Column::ClaimedUntil, due.into())
        }
        // The mark stays: whoever reads the row must not take its bytes for a flow that lives.
        Verb::End => update
            .col_expr(flows::Column::ClaimedUntil, Expr::value(None::<i64>))
            .col_expr(flows::Column::Phase, Expr::value(ENDED))
            .col_expr(flows::Column::WakeAt, Expr::value(None::<i64>))
            .col_expr(flows::Column::TouchedAt, Expr::value(now.0)),
    }
}

/// What waits for an operator's word: in quarantine, and not ended by an operator. A flow that has a phase of that name
/// itself has an instant to wake at until its own end.
pub(crate) fn waits_for_operator() -> Condition {
    let ended = flows::Column::Phase.eq(ENDED).and(flows::Column::WakeAt.is_null());
    Condition::all().add(flows::Column::QuarantinedAt.is_not_null()).add(ended.not())
}

/// Ends what it failed at, and what it waits for.
async fn give_up<C: ConnectionTrait>(txn: &C, flow: FlowId, now: Timestamp) -> Result<(), DbErr> {
    let open = || {
        outbox::Entity::update_many()
            .col_expr(outbox::Column::Note, Expr::value(SKIPPED))
            .col_expr(outbox::Column::ClaimedUntil, Expr::value(None::<i64>))
            .col_expr(outbox::Column::ClaimedBy, Expr::value(None::<String>))
            .filter(outbox::Column::Settled.is_null())
    };
    let dead = |deliveries: UpdateMany<outbox::Entity>| {
        deliveries
            .col_expr(outbox::Column::Settled, Expr::value(now.0))
            .col_expr(outbox::Column::Dead, Expr::value(true))
    };
    let patience = i32::try_from(PATIENCE).unwrap_or(i32::MAX);
    let failed = || {
        open().filter(outbox::Column::Target.eq(flow.bytes().to_vec())).filter(outbox::Column::Attempts.gte(patience))
    };
    // Whoever waits for the end of one is told of it by whoever claims it next, in the commit that ends it.
    failed()
        .col_expr(outbox::Column::Due, Expr::value(now.0))
        .col_expr(outbox::Column::Expires, Expr::value(now.0))
        .filter(outbox::Column::Tag.is_not_null())
        .exec(txn)
        .await?;
    dead(failed().filter(outbox::Column::Tag.is_null())).exec(txn).await?;
    let awaited = open().filter(outbox::Column::Flow.eq(flow.bytes().to_vec()));
    dead(awaited.filter(outbox::Column::Tag.is_not_null())).exec(txn).await?;
    Ok(())
}
