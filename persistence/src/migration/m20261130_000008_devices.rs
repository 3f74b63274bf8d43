//! Devices are rows that their user sees and forgets, under a number of the account; a password can be put out of force.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_000008_devices"
    }
}

#[derive(DeriveIden)]
enum Devices {
    Table,
    Id,
    UserId,
    UserAgent,
    ClientAddress,
    FirstSeenAt,
    LastSeenAt,
}

#[derive(DeriveIden)]
enum Users {
    Table,
    PasswordSuspendedAt,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Devices::Table)
            .col(ColumnDef::new(Devices::Id).binary_len(16).not_null().primary_key())
            .col(ColumnDef::new(Devices::UserId).binary_len(16).not_null())
            .col(ColumnDef::new(Devices::UserAgent).text().null())
            .col(ColumnDef::new(Devices::ClientAddress).text().null())
            .col(ColumnDef::new(Devices::FirstSeenAt).big_integer().not_null())
            .col(ColumnDef::new(Devices::LastSeenAt).big_integer().not_null())
            .to_owned();
        manager.create_table(table).await?;
        let user = Index::create()
            .name("devices_user")
            .table(Devices::Table)
            .col(Devices::UserId)
            .col(Devices::LastSeenAt)
            .to_owned();
        manager.create_index(user).await?;
        let seen = Index::create().name("devices_seen").table(Devices::Table).col(Devices::LastSeenAt).to_owned();
        manager.create_index(seen).await?;
        let mut suspended = ColumnDef::new(Users::PasswordSuspendedAt).big_integer().null().to_owned();
        manager.alter_table(Table::alter().table(Users::Table).add_column(&mut suspended).to_owned()).await?;
        // The builder cannot make a text out of an id's bytes.
        let connection = manager.get_connection();
        let key = match connection.get_database_backend() {
            DbBackend::Postgres => "'devices/' || encode(id, 'hex')",
            _ => "'devices/' || lower(hex(id))",
        };
        let given = format!(r#"INSERT INTO guards ("key", "value") SELECT {key}, 0 FROM users"#);
        connection.execute_unprepared(&given).await.map(|_| ())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
