//! The outbox says whose budget a delivery counts against, so that what an address was sent within an hour can be counted.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000005_outbox_budget"
    }
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Budget,
    Created,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Null in what an older release writes beside this one: that is not counted.
        let column = ColumnDef::new(Outbox::Budget).binary_len(32).null().to_owned();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).to_owned()).await?;
        let index = Index::create()
            .name("outbox_budget")
            .table(Outbox::Table)
            .col(Outbox::Budget)
            .col(Outbox::Created)
            .and_where(Expr::col(Outbox::Budget).is_not_null())
            .to_owned();
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
