//! Workers: what runs after a commit, outside every transaction.

pub mod mailer;
