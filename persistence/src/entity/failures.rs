//! The table of failures: each guess at a secret that failed within the last day, by what was guessed at.

use sea_orm::entity::prelude::*;

/// One failed guess.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "failures")]
pub struct Model {
    /// Names the failure, sixteen bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// What was guessed at, whether or not it exists: a keyed hash, thirty-two bytes.
    pub of: Vec<u8>,
    /// When.
    pub at: i64,
    /// The network that it came from: a keyed hash, thirty-two bytes.
    pub by: Option<Vec<u8>>,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
