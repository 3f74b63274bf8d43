//! The pure checks of OAuth: one rule a file, each with the section of the RFC that it keeps.

pub mod access;
pub mod client;
pub mod pkce;
pub mod resource;
pub mod scope;
pub mod uri;
