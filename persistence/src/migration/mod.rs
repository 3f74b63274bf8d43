//! The schema's history: each release adds migrations, none is ever changed; first expand, a release later contract.
//!
//! A release that meets a migration it does not know refuses the database. One that runs while a later one migrates is to
//! be stopped (`docs/operations.md`).

mod m20261121_000001_foundation;
mod m20261121_000002_outbox_target;
mod m20261121_000003_failures;
mod m20261121_000004_accounts;
mod m20261121_000005_outbox_budget;
mod m20261122_000006_living_sessions;
mod m20261130_000007_budgets;
mod m20261130_000008_devices;
mod m20261130_000009_events_user;
mod m20261130_000010_expiring_claims;
mod m20261130_000011_outbox_lane;
mod m20261201_000012_clients;
mod m20261201_000013_consents;

use sea_orm::sea_query::{Expr, ExprTrait, LockType, OnConflict, Query, Table};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, DeriveIden, EntityName, EntityTrait, QueryOrder, SqlErr,
    Statement, TransactionTrait,
};
use sea_orm_migration::sea_query::ColumnDef;
use sea_orm_migration::{MigrationTrait, MigratorTrait, seaql_migrations};

use crate::connect::OpenError;

/// How often the table of the lock is asked for: each failure means that another process was faster by a moment.
const TRIES: u32 = 20;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[sea_orm_migration::async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_foundation::Migration),
            Box::new(m20261121_000002_outbox_target::Migration),
            Box::new(m20261121_000003_failures::Migration),
            Box::new(m20261121_000004_accounts::Migration),
            Box::new(m20261121_000005_outbox_budget::Migration),
            Box::new(m20261122_000006_living_sessions::Migration),
            Box::new(m20261130_000007_budgets::Migration),
            Box::new(m20261130_000008_devices::Migration),
            Box::new(m20261130_000009_events_user::Migration),
            Box::new(m20261130_000010_expiring_claims::Migration),
            Box::new(m20261130_000011_outbox_lane::Migration),
            Box::new(m20261201_000012_clients::Migration),
            Box::new(m20261201_000013_consents::Migration),
        ]
    }
}

/// One row; whoever has it locked migrates.
#[derive(DeriveIden)]
enum MigrationLock {
    Table,
    Id,
}

/// Brings the schema up to this release, all of it or nothing, while others that try the same wait. A database that a
/// later release has migrated is not touched.
///
/// # Errors
/// [`OpenError::Later`], or what the database says.
pub(crate) async fn migrate(writer: &DatabaseConnection) -> Result<(), OpenError> {
    // Asked before anything is written, and again under the lock, which a later release may just have had.
    applied(writer).await?;
    let postgres = writer.get_database_backend() == DbBackend::Postgres;
    if postgres {
        make_lock(writer).await?;
    }
    let txn = writer.begin().await?;
    let done = async {
        if postgres {
            // The wait for another process's migration may be longer than a statement may otherwise take.
            txn.execute_unprepared("SET LOCAL lock_timeout = 0").await?;
            txn.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            let lock = Query::select()
                .column(MigrationLock::Id)
                .from(MigrationLock::Table)
                .and_where(Expr::col(MigrationLock::Id).eq(1))
                .lock(LockType::Update)
                .to_owned();
            txn.query_one(&lock).await?;
        }
        let applied = applied(&txn).await?;
        if Migrator::migrations().iter().all(|ours| applied.iter().any(|theirs| theirs == ours.name())) {
            return Ok(());
        }
        Migrator::up(&txn, None).await.map_err(OpenError::from)
    }
    .await;
    match done {
        Ok(()) => txn.commit().await.map_err(OpenError::from),
        Err(error) => {
            if let Err(broken) = txn.rollback().await {
                tracing::debug!(%broken, "a migration could not be rolled back; its connection is given up");
            }
            Err(error)
        }
    }
}

/// The migrations that the database has had, all of which this release must know. Nothing is written.
async fn applied<C: ConnectionTrait>(connection: &C) -> Result<Vec<String>, OpenError> {
    let tables = match connection.get_database_backend() {
        DbBackend::Postgres => "information_schema.tables WHERE table_schema = current_schema() AND table_name = $1",
        _ => "sqlite_schema WHERE type = 'table' AND name = ?1",
    };
    let there = Statement::from_sql_and_values(
        connection.get_database_backend(),
        format!("SELECT count(*) FROM {tables}"),
        [seaql_migrations::Entity.table_name().into()],
    );
    let there = connection.query_one_raw(there).await?.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
    if there.unwrap_or_default() == 0 {
        return Ok(Vec::new());
    }
    let rows = seaql_migrations::Entity::find().order_by_asc(seaql_migrations::Column::Version);
    let rows = rows.all(connection).await?;
    let applied: Vec<String> = rows.into_iter().map(|row| row.version).collect();
    let ours: Vec<String> = Migrator::migrations().iter().map(|ours| ours.name().to_owned()).collect();
    match applied.iter().find(|theirs| !ours.contains(theirs)) {
        None => Ok(applied),
        Some(unknown) => {
            let known = ours.into_iter().max().unwrap_or_default();
            Err(OpenError::Later { unknown: unknown.clone(), known })
        }
    }
}

/// A row to lock, rather than an advisory lock, because every engine of PostgreSQL's protocol has rows.
async fn make_lock(writer: &DatabaseConnection) -> Result<(), DbErr> {
    let table = Table::create()
        .table(MigrationLock::Table)
        .if_not_exists()
        .col(ColumnDef::new(MigrationLock::Id).integer().not_null().primary_key())
        .to_owned();
    let row = Query::insert()
        .into_table(MigrationLock::Table)
        .columns([MigrationLock::Id])
        .values_panic([1.into()])
        .on_conflict(OnConflict::column(MigrationLock::Id).do_nothing().to_owned())
        .to_owned();
    let mut tries = 0;
    // `IF NOT EXISTS` looks first and creates then: of two at once, the slower trips over the catalogue's own index,
    // after it has waited for the faster one to be done.
    while let Err(error) = writer.execute(&table).await {
        tries += 1;
        let raced = matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) || exists(&error);
        if !raced || tries >= TRIES {
            return Err(error);
        }
    }
    writer.execute(&row).await.map(|_| ())
}

fn exists(error: &DbErr) -> bool {
    let (DbErr::Exec(sea_orm::RuntimeErr::SqlxError(cause)) | DbErr::Query(sea_orm::RuntimeErr::SqlxError(cause))) =
        error
    else {
        return false;
    };
    let code = cause.as_database_error().and_then(|refusal| refusal.code());
    // duplicate_table, duplicate_object, and "tuple concurrently updated" (an internal error by its code).
    code.is_some_and(|code| matches!(&*code, "42P07" | "42710" | "XX000" | "40001"))
}
