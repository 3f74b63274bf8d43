//! What accounts need besides names and a password: a deletion that waits, the first sign-in, the last change of the
//! password, and a number of the profile that guards can hold.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, DeriveIden};
use sea_orm_migration::sea_query::{ColumnDef, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000004_accounts"
    }
}

#[derive(DeriveIden)]
enum Users {
    Table,
    Deletion,
    SignedInAt,
    PasswordChangedAt,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column a statement: SQLite adds no more at once.
        for mut column in [
            ColumnDef::new(Users::Deletion).binary().null().to_owned(),
            ColumnDef::new(Users::SignedInAt).big_integer().null().to_owned(),
            ColumnDef::new(Users::PasswordChangedAt).big_integer().null().to_owned(),
        ] {
            manager.alter_table(Table::alter().table(Users::Table).add_column(&mut column).to_owned()).await?;
        }
        // The builder cannot make a text out of an id's bytes.
        let connection = manager.get_connection();
        let key = match connection.get_database_backend() {
            DbBackend::Postgres => "'profile/' || encode(id, 'hex')",
            _ => "'profile/' || lower(hex(id))",
        };
        let given = format!(r#"INSERT INTO guards ("key", "value") SELECT {key}, "version" FROM users"#);
        connection.execute_unprepared(&given).await.map(|_| ())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
