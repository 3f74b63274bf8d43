//! Events know whose history they belong to, so that a page of it is found by an index; what goes sooner than the rest is
//! found by indexes, too.

use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Query, Table};
use sea_orm::{ConnectionTrait, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_000009_events_user"
    }
}

#[derive(DeriveIden)]
enum Events {
    Table,
    Flow,
    Input,
    Kind,
    Name,
    To,
    At,
    UserId,
}

#[derive(DeriveIden)]
enum Flows {
    Table,
    Id,
    Kind,
    Phase,
    WakeAt,
    UserId,
    TouchedAt,
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Null in what an older release writes beside this one: such events are missing from histories.
        let column = ColumnDef::new(Events::UserId).binary_len(16).null().to_owned();
        manager.alter_table(Table::alter().table(Events::Table).add_column(column).to_owned()).await?;
        // A flow's events are its user's. (Acts were in nobody's history until now, and go within a month.)
        let of_flow = |column: Flows| {
            Query::select()
                .column((Flows::Table, column))
                .from(Flows::Table)
                .and_where(Expr::col((Flows::Table, Flows::Id)).equals((Events::Table, Events::Flow)))
                .and_where(Expr::col((Flows::Table, Flows::UserId)).is_not_null())
                .to_owned()
        };
        let backfill = Query::update()
            .table(Events::Table)
            .value(Events::UserId, Expr::SubQuery(None, Box::new(of_flow(Flows::UserId).into())))
            .and_where(Expr::exists(of_flow(Flows::Id)))
            .to_owned();
        manager.get_connection().execute(&backfill).await?;

        let word = |word: &'static str| Expr::Constant(word.into());
        let routine = || Expr::col(Events::Name).eq(word("refresh")).or(Expr::col(Events::Name).eq(word("seen")));
        let goes_on = || Expr::col(Events::To).eq(word("active"));
        for index in [
            // Without what carries a session on, which is most of it and no news to anybody.
            Index::create()
                .name("events_user")
                .table(Events::Table)
                .col(Events::UserId)
                .col(Events::At)
                .col(Events::Input)
                .and_where(Expr::col(Events::UserId).is_not_null().and(goes_on().and(routine()).not()))
                .to_owned(),
            Index::create()
                .name("events_routine")
                .table(Events::Table)
                .col(Events::Kind)
                .col(Events::Name)
                .col(Events::At)
                .and_where(goes_on().and(routine()))
                .to_owned(),
            Index::create()
                .name("flows_unused_resets")
                .table(Flows::Table)
                .col(Flows::TouchedAt)
                .and_where(
                    Expr::col(Flows::Kind)
                        .eq(word("recovery"))
                        .and(Expr::col(Flows::Phase).eq(word("expired")))
                        .and(Expr::col(Flows::WakeAt).is_null()),
                )
                .to_owned(),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
