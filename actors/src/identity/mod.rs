//! What tells one user from another.

pub mod user_id;
