//! OAuth clients, and the resources that access tokens are for.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261201_000012_clients"
    }
}

#[derive(DeriveIden)]
enum Clients {
    Table,
    Id,
    ClientId,
    Metadata,
    Secrets,
    Origin,
    Version,
    CreatedAt,
    UpdatedAt,
}

#[derive(DeriveIden)]
enum Resources {
    Table,
    Uri,
    Scope,
    Name,
    AccessTokenTtl,
    Origin,
    CreatedAt,
    UpdatedAt,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let clients = Table::create()
            .table(Clients::Table)
            .col(ColumnDef::new(Clients::Id).binary_len(16).not_null().primary_key())
            .col(ColumnDef::new(Clients::ClientId).text().not_null())
            .col(ColumnDef::new(Clients::Metadata).text().not_null())
            .col(ColumnDef::new(Clients::Secrets).text().not_null())
            .col(ColumnDef::new(Clients::Origin).text().not_null())
            .col(ColumnDef::new(Clients::Version).big_integer().not_null())
            .col(ColumnDef::new(Clients::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(Clients::UpdatedAt).big_integer().not_null())
            .to_owned();
        manager.create_table(clients).await?;
        let named =
            Index::create().name("clients_client_id").table(Clients::Table).col(Clients::ClientId).unique().to_owned();
        manager.create_index(named).await?;
        let resources = Table::create()
            .table(Resources::Table)
            .col(ColumnDef::new(Resources::Uri).text().not_null().primary_key())
            .col(ColumnDef::new(Resources::Scope).text().not_null())
            .col(ColumnDef::new(Resources::Name).text().null())
            .col(ColumnDef::new(Resources::AccessTokenTtl).big_integer().null())
            .col(ColumnDef::new(Resources::Origin).text().not_null())
            .col(ColumnDef::new(Resources::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(Resources::UpdatedAt).big_integer().not_null())
            .to_owned();
        manager.create_table(resources).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
