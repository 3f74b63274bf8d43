//! The last event on record: what a clock that was set back goes on from.

use cairn_runtime::Timestamp;
use sea_orm::{DbErr, EntityTrait, QuerySelect};

use crate::connect::Database;
use crate::entity::events;

/// When the last event happened, by the clock of whoever wrote it; `None` when nothing has happened yet.
///
/// # Errors
/// What the database says.
pub async fn latest_event(database: &Database) -> Result<Option<Timestamp>, DbErr> {
    let latest: Option<Option<i64>> = events::Entity::find()
        .select_only()
        .column_as(sea_orm::ColumnTrait::max(&events::Column::At), "latest")
        .into_tuple()
        .one(database.readers())
        .await?;
    Ok(latest.flatten().map(Timestamp))
}
