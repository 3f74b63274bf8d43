//! The table of OAuth clients.

use sea_orm::entity::prelude::*;

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "clients")]
pub struct Model {
    /// The client's id, sixteen bytes: made from its `client_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// Its `client_id` in the protocol, unique.
    #[sea_orm(column_type = "Text")]
    pub client_id: String,
    /// What is registered of it, as JSON.
    #[sea_orm(column_type = "Text")]
    pub metadata: String,
    /// Its secrets by their keyed hashes, as JSON.
    #[sea_orm(column_type = "Text")]
    pub secrets: String,
    /// Who has registered it, in a word.
    #[sea_orm(column_type = "Text")]
    pub origin: String,
    /// The number of its registration.
    pub version: i64,
    /// When it was registered.
    pub created_at: i64,
    /// When its registration last changed.
    pub updated_at: i64,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
