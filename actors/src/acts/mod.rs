//! Acts: what belongs to no flow. Each is a pure function from a command and what was read to what is committed; it
//! leaves an event and no row.

pub mod clients;
pub mod consents;
pub mod devices;
pub mod guesses;
pub mod password;
pub mod profile;
pub mod resources;
pub mod sessions;
