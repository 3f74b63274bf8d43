//! The index of a user's flows knows their phases, so that a user's sessions are found without a look at those that have
//! ended, however many there are.

use sea_orm::sea_query::{ConditionalStatement, Expr, ExprTrait, Index};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000006_living_sessions"
    }
}

#[derive(DeriveIden)]
enum Flows {
    Table,
    UserId,
    Kind,
    Phase,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("flows_user").table(Flows::Table).to_owned()).await?;
        let index = Index::create()
            .name("flows_user")
            .table(Flows::Table)
            .col(Flows::UserId)
            .col(Flows::Kind)
            .col(Flows::Phase)
            .and_where(Expr::col(Flows::UserId).is_not_null())
            .to_owned();
        manager.create_index(index).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
