//! The table of users: whoever proved an address.

use sea_orm::entity::prelude::*;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// The user's id, sixteen bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// The address as it was typed.
    pub email: String,
    /// The address as it is mailed: its domain as lower-case A-labels.
    pub email_mail: String,
    /// The keyed hash of the address's canonical form, thirty-two bytes: one user an address.
    #[sea_orm(unique)]
    pub email_key: Vec<u8>,
    /// The username, in lower case.
    #[sea_orm(unique)]
    pub username: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The password's hash, sealed; none: signs in otherwise.
    #[sea_orm(column_type = "Text", nullable)]
    pub password: Option<String>,
    /// The roles, a JSON list of words.
    #[sea_orm(column_type = "Text")]
    pub roles: String,
    /// When the address was proved.
    pub email_verified_at: Option<i64>,
    /// When the user came to be.
    pub created_at: i64,
    /// When anything here last changed.
    pub updated_at: i64,
    /// 0 at first, one more at each change of the profile: what `ETag` and `If-Match` speak of.
    pub version: i64,
    /// The flow that will delete the user, sixteen bytes.
    pub deletion: Option<Vec<u8>>,
    /// When the user first signed in.
    pub signed_in_at: Option<i64>,
    /// When the password last became another.
    pub password_changed_at: Option<i64>,
    /// When the password was put out of force; none: it is in force.
    pub password_suspended_at: Option<i64>,
}

/// It stands alone.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
