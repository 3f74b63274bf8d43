//! What is kept secret, and what hides behind a secret.

pub mod digest;
