//! What tests of the engine and of all that stands on it share: driven time and chance, toy flows, a store in memory
//! with its faults, the suite that every store is held to, an executor that replays a seed exactly, and a simulation on it.

pub mod clock;
pub mod executor;
pub mod process;
pub mod scenarios;
pub mod simulation;
pub mod store;
pub mod suite;
pub mod sweep;
pub mod toy;
