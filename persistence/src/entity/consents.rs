//! The table of consents: what people let clients do for them.

use sea_orm::entity::prelude::*;

/// A consent.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consents")]
pub struct Model {
    /// Whose it is, sixteen bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Vec<u8>,
    /// For which client, sixteen bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Vec<u8>,
    /// Which scopes.
    #[sea_orm(column_type = "Text")]
    pub scope: String,
    /// At which resource servers: a JSON list of URIs.
    #[sea_orm(column_type = "Text")]
    pub resources: String,
    /// When it was last given.
    pub given_at: i64,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
