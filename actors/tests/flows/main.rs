//! Every flow as pure code: its printed table of transitions, its checkpoints, and what must hold whatever comes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod authorization;
mod checkpoints;
mod deletion;
mod driver;
mod email_change;
mod golden;
mod letters;
mod magic_link;
mod ping;
mod recovery;
mod registration;
mod session;
mod simulation;
mod table;
