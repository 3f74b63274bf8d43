//! The end-to-end tests: the real binary over real sockets, files and servers. The tree of modules is the tree of URLs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may stop where it stands; what fails names its line"
)]

#[macro_use]
mod support;

mod auth;
mod clients;
mod common;
mod dev;
mod documents;
mod hostile;
mod house;
mod journeys;
mod letters;
mod limits;
mod oauth;
mod openapi;
mod operations;
mod pages;
mod process;
mod smtp;
mod survival;
mod users;
mod well_known;
