//! The table of resources, the services that access tokens are for.

use sea_orm::entity::prelude::*;

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "resources")]
pub struct Model {
    /// Its URI.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub uri: String,
    /// The scopes that tokens for it may have, with a space between two.
    #[sea_orm(column_type = "Text")]
    pub scope: String,
    /// Its name, as people are shown it.
    #[sea_orm(column_type = "Text", nullable)]
    pub name: Option<String>,
    /// How long access tokens for it are good at most, in seconds.
    pub access_token_ttl: Option<i64>,
    /// Who has registered it, in a word.
    #[sea_orm(column_type = "Text")]
    pub origin: String,
    /// When it was registered.
    pub created_at: i64,
    /// When its registration last changed.
    pub updated_at: i64,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
