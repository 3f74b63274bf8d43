//! The table of guards: who has a key, and which number it has reached.

use sea_orm::entity::prelude::*;

/// A key that is taken.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "guards")]
pub struct Model {
    /// The key's one text; holds no personal data in clear.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// Its number: 0 when claimed, one more at each bump.
    pub value: i64,
    /// From when on the key counts as free; null: until it is released.
    pub expires: Option<i64>,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
