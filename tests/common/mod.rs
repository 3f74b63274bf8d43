//! What is common to all endpoints (API.md, section 1), held against real ones.

mod access;
mod bounds;
mod idempotency;
mod methods;
mod requests;
