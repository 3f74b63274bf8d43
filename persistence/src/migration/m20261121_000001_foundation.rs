//! The first tables: the engine's four, and the domain's users, keys and settings.

use sea_orm::sea_query::{
    ColumnDef, ConditionalStatement, Expr, ExprTrait, Func, Index, IndexCreateStatement, Table, TableCreateStatement,
};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000001_foundation"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [flows(), events(), guards(), outbox(), users(), ring(), signing_keys(), settings()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Flows {
    Table,
    Id,
    Kind,
    Schema,
    Version,
    Phase,
    State,
    Salt,
    WakeAt,
    Attempts,
    QuarantinedAt,
    QuarantineWhy,
    ClaimedUntil,
    ClaimedBy,
    UserId,
    ClientId,
    Parent,
    Subject,
    TouchedAt,
}

#[derive(DeriveIden)]
enum Events {
    Table,
    Flow,
    Version,
    Input,
    Kind,
    Name,
    From,
    To,
    Public,
    Outcome,
    Fingerprint,
    Node,
    Trace,
    At,
}

#[derive(DeriveIden)]
enum Guards {
    Table,
    Key,
    Value,
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Id,
    Flow,
    FlowKind,
    Tag,
    Kind,
    Payload,
    Due,
    Expires,
    Once,
    Attempts,
    ClaimedUntil,
    ClaimedBy,
    Settled,
    Note,
    Dead,
    Created,
}

#[derive(DeriveIden)]
enum Users {
    Table,
    Id,
    Email,
    EmailMail,
    EmailKey,
    Username,
    FirstName,
    LastName,
    Password,
    Roles,
    EmailVerifiedAt,
    CreatedAt,
    UpdatedAt,
    Version,
}

#[derive(DeriveIden)]
enum Ring {
    Table,
    Id,
    Sealed,
    CreatedAt,
    RetiredAt,
}

#[derive(DeriveIden)]
enum SigningKeys {
    Table,
    Kid,
    Alg,
    Sealed,
    PublicKey,
    CreatedAt,
    RetiredAt,
}

#[derive(DeriveIden)]
enum Settings {
    Table,
    Name,
    Value,
}

fn flows() -> TableCreateStatement {
    Table::create()
        .table(Flows::Table)
        .col(ColumnDef::new(Flows::Id).binary_len(16).not_null().primary_key())
        .col(ColumnDef::new(Flows::Kind).text().not_null())
        .col(ColumnDef::new(Flows::Schema).integer().not_null())
        .col(ColumnDef::new(Flows::Version).big_integer().not_null())
        .col(ColumnDef::new(Flows::Phase).text().not_null())
        .col(ColumnDef::new(Flows::State).text().not_null())
        .col(ColumnDef::new(Flows::Salt).binary_len(16).not_null())
        .col(ColumnDef::new(Flows::WakeAt).big_integer().null())
        .col(ColumnDef::new(Flows::Attempts).integer().not_null())
        .col(ColumnDef::new(Flows::QuarantinedAt).big_integer().null())
        .col(ColumnDef::new(Flows::QuarantineWhy).text().null())
        .col(ColumnDef::new(Flows::ClaimedUntil).big_integer().null())
        .col(ColumnDef::new(Flows::ClaimedBy).text().null())
        .col(ColumnDef::new(Flows::UserId).binary_len(16).null())
        .col(ColumnDef::new(Flows::ClientId).binary_len(16).null())
        .col(ColumnDef::new(Flows::Parent).binary_len(16).null())
        .col(ColumnDef::new(Flows::Subject).binary_len(32).null())
        .col(ColumnDef::new(Flows::TouchedAt).big_integer().not_null())
        .to_owned()
}

fn events() -> TableCreateStatement {
    Table::create()
        .table(Events::Table)
        .col(ColumnDef::new(Events::Flow).binary_len(16).not_null())
        .col(ColumnDef::new(Events::Version).big_integer().not_null())
        .col(ColumnDef::new(Events::Input).binary_len(16).not_null().primary_key())
        .col(ColumnDef::new(Events::Kind).text().not_null())
        .col(ColumnDef::new(Events::Name).text().not_null())
        .col(ColumnDef::new(Events::From).text().not_null())
        .col(ColumnDef::new(Events::To).text().not_null())
        .col(ColumnDef::new(Events::Public).text().not_null())
        .col(ColumnDef::new(Events::Outcome).text().not_null())
        .col(ColumnDef::new(Events::Fingerprint).binary_len(16).null())
        .col(ColumnDef::new(Events::Node).text().not_null())
        .col(ColumnDef::new(Events::Trace).text().not_null())
        .col(ColumnDef::new(Events::At).big_integer().not_null())
        .to_owned()
}

fn guards() -> TableCreateStatement {
    Table::create()
        .table(Guards::Table)
        .col(ColumnDef::new(Guards::Key).text().not_null().primary_key())
        .col(ColumnDef::new(Guards::Value).big_integer().not_null())
        .to_owned()
}

fn outbox() -> TableCreateStatement {
    Table::create()
        .table(Outbox::Table)
        .col(ColumnDef::new(Outbox::Id).binary_len(16).not_null().primary_key())
        .col(ColumnDef::new(Outbox::Flow).binary_len(16).not_null())
        .col(ColumnDef::new(Outbox::FlowKind).text().not_null())
        .col(ColumnDef::new(Outbox::Tag).text().null())
        .col(ColumnDef::new(Outbox::Kind).text().not_null())
        .col(ColumnDef::new(Outbox::Payload).blob().not_null())
        .col(ColumnDef::new(Outbox::Due).big_integer().not_null())
        .col(ColumnDef::new(Outbox::Expires).big_integer().null())
        .col(ColumnDef::new(Outbox::Once).boolean().not_null())
        .col(ColumnDef::new(Outbox::Attempts).integer().not_null())
        .col(ColumnDef::new(Outbox::ClaimedUntil).big_integer().null())
        .col(ColumnDef::new(Outbox::ClaimedBy).text().null())
        .col(ColumnDef::new(Outbox::Settled).big_integer().null())
        .col(ColumnDef::new(Outbox::Note).text().not_null())
        .col(ColumnDef::new(Outbox::Dead).boolean().not_null())
        .col(ColumnDef::new(Outbox::Created).big_integer().not_null())
        .to_owned()
}

fn users() -> TableCreateStatement {
    Table::create()
        .table(Users::Table)
        .col(ColumnDef::new(Users::Id).binary_len(16).not_null().primary_key())
        .col(ColumnDef::new(Users::Email).text().not_null())
        .col(ColumnDef::new(Users::EmailMail).text().not_null())
        .col(ColumnDef::new(Users::EmailKey).binary_len(32).not_null().unique_key())
        .col(ColumnDef::new(Users::Username).text().null().unique_key())
        .col(ColumnDef::new(Users::FirstName).text().null())
        .col(ColumnDef::new(Users::LastName).text().null())
        .col(ColumnDef::new(Users::Password).text().null())
        .col(ColumnDef::new(Users::Roles).text().not_null())
        .col(ColumnDef::new(Users::EmailVerifiedAt).big_integer().null())
        .col(ColumnDef::new(Users::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Users::UpdatedAt).big_integer().not_null())
        .col(ColumnDef::new(Users::Version).big_integer().not_null())
        .to_owned()
}

fn ring() -> TableCreateStatement {
    Table::create()
        .table(Ring::Table)
        .col(ColumnDef::new(Ring::Id).integer().not_null().primary_key())
        .col(ColumnDef::new(Ring::Sealed).text().not_null())
        .col(ColumnDef::new(Ring::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Ring::RetiredAt).big_integer().null())
        .to_owned()
}

fn signing_keys() -> TableCreateStatement {
    Table::create()
        .table(SigningKeys::Table)
        .col(ColumnDef::new(SigningKeys::Kid).text().not_null().primary_key())
        .col(ColumnDef::new(SigningKeys::Alg).text().not_null())
        .col(ColumnDef::new(SigningKeys::Sealed).text().not_null())
        .col(ColumnDef::new(SigningKeys::PublicKey).text().not_null())
        .col(ColumnDef::new(SigningKeys::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(SigningKeys::RetiredAt).big_integer().null())
        .to_owned()
}

fn settings() -> TableCreateStatement {
    Table::create()
        .table(Settings::Table)
        .col(ColumnDef::new(Settings::Name).text().not_null().primary_key())
        .col(ColumnDef::new(Settings::Value).text().not_null())
        .to_owned()
}

/// Nearly all are partial: what is finished, settled or unclaimed, which is most of it, costs them nothing.
fn indexes() -> Vec<IndexCreateStatement> {
    let awake = || Expr::col(Flows::WakeAt).is_not_null().and(Expr::col(Flows::QuarantinedAt).is_null());
    let open = || Expr::col(Outbox::Settled).is_null();
    let ended = || Expr::col(Outbox::Settled).is_not_null();
    vec![
        // Due flows: those that never failed, and those that did, which are looked for one at a time.
        Index::create()
            .name("flows_due")
            .table(Flows::Table)
            .col(Flows::WakeAt)
            .col(Flows::Id)
            .and_where(awake().and(Expr::col(Flows::Attempts).eq(0)))
            .to_owned(),
        Index::create()
            .name("flows_failed")
            .table(Flows::Table)
            .col(Flows::WakeAt)
            .col(Flows::Id)
            .and_where(awake().and(Expr::col(Flows::Attempts).gt(0)))
            .to_owned(),
        Index::create()
            .name("flows_claimed")
            .table(Flows::Table)
            .col(Flows::ClaimedUntil)
            .and_where(Expr::col(Flows::ClaimedUntil).is_not_null())
            .to_owned(),
        Index::create()
            .name("flows_quarantined")
            .table(Flows::Table)
            .col(Flows::QuarantinedAt)
            .and_where(Expr::col(Flows::QuarantinedAt).is_not_null())
            .to_owned(),
        Index::create()
            .name("flows_finished")
            .table(Flows::Table)
            .col(Flows::TouchedAt)
            .and_where(Expr::col(Flows::WakeAt).is_null())
            .to_owned(),
        Index::create()
            .name("flows_user")
            .table(Flows::Table)
            .col(Flows::UserId)
            .col(Flows::Kind)
            .and_where(Expr::col(Flows::UserId).is_not_null())
            .to_owned(),
        Index::create()
            .name("flows_parent")
            .table(Flows::Table)
            .col(Flows::Parent)
            .and_where(Expr::col(Flows::Parent).is_not_null())
            .to_owned(),
        Index::create()
            .name("flows_subject")
            .table(Flows::Table)
            .col(Flows::Subject)
            .col(Flows::Kind)
            .and_where(Expr::col(Flows::Subject).is_not_null())
            .to_owned(),
        Index::create()
            .name("events_history")
            .table(Events::Table)
            .col(Events::Flow)
            .col(Events::Version)
            .unique()
            .to_owned(),
        Index::create().name("events_at").table(Events::Table).col(Events::At).to_owned(),
        Index::create().name("outbox_flow").table(Outbox::Table).col(Outbox::Flow).col(Outbox::Created).to_owned(),
        Index::create()
            .name("outbox_due")
            .table(Outbox::Table)
            .col(Outbox::Due)
            .col(Outbox::Id)
            .and_where(open())
            .to_owned(),
        Index::create()
            .name("outbox_claimed")
            .table(Outbox::Table)
            .col(Outbox::ClaimedUntil)
            .and_where(Expr::col(Outbox::ClaimedUntil).is_not_null())
            .to_owned(),
        Index::create().name("outbox_settled").table(Outbox::Table).col(Outbox::Settled).and_where(ended()).to_owned(),
        Index::create()
            .name("outbox_unwiped")
            .table(Outbox::Table)
            .col(Outbox::Settled)
            .and_where(ended().and(Expr::expr(Func::cust("length").arg(Expr::col(Outbox::Payload))).gt(0)))
            .to_owned(),
        Index::create()
            .name("outbox_dead")
            .table(Outbox::Table)
            .col(Outbox::Settled)
            .and_where(Expr::col(Outbox::Dead))
            .to_owned(),
    ]
}
