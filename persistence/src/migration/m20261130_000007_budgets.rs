//! The outbox says who asked for a letter, and finds by its budget what was sent within an hour and what is on its way
//! without a look at what waits for room; failures say from which network they came.

use cairn_actors::workers::budget::OVER;
use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_000007_budgets"
    }
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Budget,
    AskedBy,
    Settled,
    Dead,
    Note,
}

#[derive(DeriveIden)]
enum Failures {
    Table,
    By,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Null in what an older release writes beside this one: nobody in particular asked.
        let column = ColumnDef::new(Outbox::AskedBy).binary_len(32).null().to_owned();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).to_owned()).await?;
        let column = ColumnDef::new(Failures::By).binary_len(32).null().to_owned();
        manager.alter_table(Table::alter().table(Failures::Table).add_column(column).to_owned()).await?;
        manager.drop_index(Index::drop().name("outbox_budget").table(Outbox::Table).to_owned()).await?;
        let counted = || Expr::col(Outbox::Budget).is_not_null();
        let sent = Index::create()
            .name("outbox_sent")
            .table(Outbox::Table)
            .col(Outbox::Budget)
            .col(Outbox::Settled)
            .and_where(counted().and(Expr::col(Outbox::Settled).is_not_null()).and(Expr::col(Outbox::Dead).not()))
            .to_owned();
        manager.create_index(sent).await?;
        let under_way = Index::create()
            .name("outbox_under_way")
            .table(Outbox::Table)
            .col(Outbox::Budget)
            .and_where(counted().and(Expr::col(Outbox::Settled).is_null()).and(Expr::col(Outbox::Note).ne(OVER)))
            .to_owned();
        manager.create_index(under_way).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
