//! The pure checks of OAuth: one rule a file, each with the section of the RFC that it keeps.

pub mod access;
pub mod access_token;
pub mod claims;
pub mod client;
pub mod error;
pub mod parameters;
pub mod pkce;
pub mod request;
pub mod resource;
pub mod scope;
pub mod uri;
