//! The outbox names the lane of a delivery: each is claimed apart, the oldest first.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Query, Table};
use sea_orm::{ConnectionTrait, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_000011_outbox_lane"
    }
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Id,
    Kind,
    Due,
    Settled,
    Lane,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Most of what is there is letters. So is what an older release writes beside this one, or it shares their lane.
        let column = ColumnDef::new(Outbox::Lane).text().not_null().default("mail").to_owned();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).to_owned()).await?;
        let between_flows = Query::update()
            .table(Outbox::Table)
            .value(Outbox::Lane, "signal")
            .and_where(Expr::col(Outbox::Settled).is_null())
            .and_where(Expr::col(Outbox::Kind).is_in(["signal", "answer"]))
            .to_owned();
        manager.get_connection().execute(&between_flows).await?;
        // `outbox_due` stays: an older release claims by it, and the next instant of all lanes is found by it.
        let index = Index::create()
            .name("outbox_lane")
            .table(Outbox::Table)
            .col(Outbox::Lane)
            .col(Outbox::Due)
            .col(Outbox::Id)
            .and_where(Expr::col(Outbox::Settled).is_null())
            .to_owned();
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
