//! All that knows auth: flows that decide, services that ask them, workers that carry out, letters.
//!
//! What is deliberately absent: HTTP and the database. Both come through ports.

pub mod address;
pub mod credential;
pub mod effects;
pub mod flows;
pub mod hasher;
pub mod master_key;
pub mod name;
pub mod password;
pub mod ring;
pub mod signing;
pub mod username;
pub mod world;
