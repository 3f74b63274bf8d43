//! The flows: one file each, an enum of phases and one `match` that is the whole rule book. Flows never do I/O.

pub mod authorization;
pub mod challenge;
pub mod deletion;
pub mod email_change;
pub mod ping;
pub mod recovery;
pub mod registration;
pub mod rotation;
pub mod session;
