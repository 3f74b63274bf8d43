//! The table of devices: the browsers and programs that an account knows because somebody has signed in with them.

use sea_orm::entity::prelude::*;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    /// The device's id, sixteen bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// Whose it is, sixteen bytes.
    pub user_id: Vec<u8>,
    /// The user agent of the last sign-in, as it said it.
    #[sea_orm(column_type = "Text", nullable)]
    pub user_agent: Option<String>,
    /// The address that the last sign-in came from.
    #[sea_orm(column_type = "Text", nullable)]
    pub client_address: Option<String>,
    /// When a sign-in first came from it.
    pub first_seen_at: i64,
    /// When a sign-in last came from it.
    pub last_seen_at: i64,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
