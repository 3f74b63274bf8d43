//! The keys that sign tokens for others to verify.

use sea_orm::entity::prelude::*;

/// A signing key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
pub struct Model {
    /// The key's id in the published set.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// The algorithm (RFC 7518 and RFC 8037 names).
    pub alg: String,
    /// The private key, sealed.
    #[sea_orm(column_type = "Text")]
    pub sealed: String,
    /// The public key as it is published.
    #[sea_orm(column_type = "Text")]
    pub public_key: String,
    /// When it was made.
    pub created_at: i64,
    /// Since when it signs nothing new.
    pub retired_at: Option<i64>,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
