//! Strangers: bytes that mean harm, questions that fish for accounts, and the search for secrets where they must not lie.

mod connections;
mod echo;
mod enumeration;
mod fuzz;
mod pre_hijacking;
mod secrets;
mod timing;
