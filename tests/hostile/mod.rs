//! Strangers: bytes that mean harm, and the search for secrets where they must not lie.

mod fuzz;
mod secrets;
