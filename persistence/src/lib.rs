//! The ports of Cairn's engine over SeaORM: SQLite for one process, PostgreSQL for several, with the same features.
//!
//! What is deliberately absent: decisions. A flow decides, this crate makes it durable or says whose it was before.

pub mod address;
mod batched_reads;
mod commit;
pub mod connect;
mod deadline;
mod directory;
mod due;
pub mod entity;
mod fault;
pub mod keys;
mod last_event;
pub mod migration;
mod operator;
mod pools;
mod readers;
mod records;
mod server;
mod single;
mod sql;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod upkeep;
mod writes;

pub use connect::{Database, OpenError, Options};
pub use deadline::Bounded;
pub use last_event::latest_event;
pub use pools::{Figures, Transaction};
pub use single::Part;
pub use store::{SqlStore, Writes};
pub use writes::AuthWrites;
