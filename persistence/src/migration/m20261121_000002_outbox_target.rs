//! The outbox names the flow that a signal or an answer is to be brought to, so that an operator can end those that it
//! cannot take.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000002_outbox_target"
    }
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Settled,
    Target,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Null in what an older release writes beside this one: it says there only within what is sealed.
        let column = ColumnDef::new(Outbox::Target).binary_len(16).null().to_owned();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).to_owned()).await?;
        // Letters, which most deliveries are, cost it nothing.
        let told = Expr::col(Outbox::Settled).is_null().and(Expr::col(Outbox::Target).is_not_null());
        let index =
            Index::create().name("outbox_target").table(Outbox::Table).col(Outbox::Target).and_where(told).to_owned();
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
