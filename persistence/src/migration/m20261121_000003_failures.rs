//! Failed guesses, each a row of its own: two nodes that count at once never wait for each other, and none is lost.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000003_failures"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Failures::Table)
            .col(ColumnDef::new(Failures::Id).binary_len(16).not_null().primary_key())
            .col(ColumnDef::new(Failures::Of).binary_len(32).not_null())
            .col(ColumnDef::new(Failures::At).big_integer().not_null())
            .to_owned();
        manager.create_table(table).await?;
        let of =
            Index::create().name("failures_of").table(Failures::Table).col(Failures::Of).col(Failures::At).to_owned();
        manager.create_index(of).await?;
        let at = Index::create().name("failures_at").table(Failures::Table).col(Failures::At).to_owned();
        manager.create_index(at).await?;
        // Events of failed guesses go sooner than the others, and are found without looking through those.
        let guesses = Index::create()
            .name("events_guesses")
            .table(Events::Table)
            .col(Events::At)
            .and_where(Expr::col(Events::Kind).eq("guess_failed"))
            .to_owned();
        manager.create_index(guesses).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Failures {
    Table,
    Id,
    Of,
    At,
}

#[derive(DeriveIden)]
enum Events {
    Table,
    Kind,
    At,
}
