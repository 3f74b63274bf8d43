//! The worked example of `docs/flows.md`: books are lent, fall due, are asked back, and are wanted by others.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "the flows are written as a library would, the tests as tests")]

mod alive;
mod alone;
mod lending;
mod reservation;
