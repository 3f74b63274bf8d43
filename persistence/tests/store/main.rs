//! The store on real databases: held to the engine's contract, and to what only a database can do wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test may stop where it stands, and owns the tasks that it begins"
)]

mod accounts;
mod auth;
mod clients;
mod commits;
mod connections;
mod contract;
mod encrypted;
mod guesses;
mod lanes;
mod opening;
mod outages;
mod pooler;
mod proxy;
mod races;
mod retention;
mod signing_keys;
mod silence;
mod support;
mod sweep;
