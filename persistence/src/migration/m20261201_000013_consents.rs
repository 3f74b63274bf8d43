//! What people have consented to for clients.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261201_000013_consents"
    }
}

#[derive(DeriveIden)]
enum Consents {
    Table,
    UserId,
    ClientId,
    Scope,
    Resources,
    GivenAt,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Consents::Table)
            .col(ColumnDef::new(Consents::UserId).binary_len(16).not_null())
            .col(ColumnDef::new(Consents::ClientId).binary_len(16).not_null())
            .col(ColumnDef::new(Consents::Scope).text().not_null())
            .col(ColumnDef::new(Consents::Resources).text().not_null())
            .col(ColumnDef::new(Consents::GivenAt).big_integer().not_null())
            .primary_key(Index::create().col(Consents::UserId).col(Consents::ClientId))
            .to_owned();
        manager.create_table(table).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
