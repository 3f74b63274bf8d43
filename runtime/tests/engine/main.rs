//! The engine on production's host, over the store in memory: what must hold in its whole life, and through each fault.
//!
//! Time is driven: the clock moves when a test moves it, the pumps run when a test runs them, and the timers of the
//! runtime jump as soon as nothing else can happen.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and owns the tasks that it begins"
)]

mod commands;
mod crash_points;
mod defects;
mod deliveries;
mod lanes;
mod outage;
mod races;
mod reads;
mod repeats;
mod simulation;
mod supervision;
mod support;
mod sweep;
mod wakes;
