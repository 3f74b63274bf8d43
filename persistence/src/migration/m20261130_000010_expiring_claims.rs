//! A claim may expire: its row says when, and those that do are found by that instant.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_000010_expiring_claims"
    }
}

#[derive(DeriveIden)]
enum Guards {
    Table,
    Expires,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(Guards::Expires).big_integer().null().to_owned();
        manager.alter_table(Table::alter().table(Guards::Table).add_column(column).to_owned()).await?;
        let index = Index::create()
            .name("guards_expires")
            .table(Guards::Table)
            .col(Guards::Expires)
            .and_where(Expr::col(Guards::Expires).is_not_null())
            .to_owned();
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
