//! Workers: what runs after a commit, outside every transaction.

pub mod budget;
pub mod courier;
pub mod mailer;
