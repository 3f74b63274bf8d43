//! One model a table: what the rows look like, and what they mean in the engine's words.

pub mod clients;
pub mod consents;
pub mod devices;
pub mod events;
pub mod failures;
pub mod flows;
pub mod guards;
pub mod outbox;
pub mod resources;
pub mod ring;
pub mod settings;
pub mod signing_keys;
pub mod users;

use cairn_runtime::{Id, Timestamp};
use sea_orm::DbErr;

/// Reads an id of sixteen bytes out of a column.
pub(crate) fn id(bytes: &[u8]) -> Result<Id, DbErr> {
    Ok(Id::from_bytes(fixed(bytes)?))
}

/// Reads a column that holds exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DbErr> {
    bytes.try_into().map_err(|_| DbErr::Type(format!("{} bytes where {N} were expected", bytes.len())))
}

/// Reads a number that cannot be negative out of a column.
pub(crate) fn number<T>(stored: impl Copy + std::fmt::Display + TryInto<T>) -> Result<T, DbErr> {
    stored.try_into().map_err(|_| DbErr::Type(format!("{stored} is out of range")))
}

/// Reads an optional instant out of a column.
pub(crate) fn instant(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp)
}
