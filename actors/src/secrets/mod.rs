//! What is kept secret, and what is derived from a secret: keys, passwords and their hashes, credentials, signatures.

mod breached;
pub mod credential;
pub mod digest;
pub mod hasher;
pub mod master_key;
pub mod password;
pub mod ring;
pub mod secret;
pub mod signing;
pub mod signing_algorithm;
pub mod strength;
mod verified;
