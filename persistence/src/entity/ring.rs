//! The key ring: the secrets from which credentials, seals and keyed hashes derive, sealed by the master key.

use sea_orm::entity::prelude::*;

/// A key of the ring.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ring")]
pub struct Model {
    /// Its number, never used again.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The key, sealed.
    #[sea_orm(column_type = "Text")]
    pub sealed: String,
    /// When it was made.
    pub created_at: i64,
    /// Since when it only checks and opens what it made before.
    pub retired_at: Option<i64>,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
