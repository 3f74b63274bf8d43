//! Measures Cairn as ratios to floors that are taken in the same run, right beside it: `make bench`.
//!
//! What is measured how, and how to read it, is in `docs/benchmarks.md`. Words given after `--` choose parts:
//! `cargo bench --bench ratios -- steps http`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a measurement may stop where it stands; what fails names its line"
)]

#[macro_use]
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "the end-to-end tests use all of it, this a part")]
mod support;

mod accounts;
mod costs;
mod http;
mod journeys;
mod mail;
mod memory;
mod postgres;
mod raw;
mod recovery;
mod report;
mod rig;
mod server;
mod sqlite;
mod syncs;

use std::future::Future;

use self::report::Report;

// As the binary has it: what is measured of memory is this allocator's as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set for a process that this one starts to measure itself in.
const PART: &str = "CAIRN_BENCH_PART";

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match std::env::var(PART).as_deref() {
        Ok("syncs") => return run(syncs::count()),
        Ok("seed") => return run(memory::seed()),
        Ok("memory") => return run(memory::weigh()),
        _ => {}
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);

    let mut report = Report::default();
    if wants("steps") {
        run(sqlite::steps(&mut report));
    }
    if wants("syncs") {
        run(syncs::row(&mut report));
    }
    if wants("postgres") {
        run(postgres::steps(&mut report));
    }
    if wants("latency") {
        run(sqlite::latency(&mut report));
    }
    if wants("http") {
        run(http::refreshes(&mut report));
    }
    if wants("mail") {
        run(mail::rows(&mut report));
    }
    if wants("accounts") || wants("sign-ins") {
        run(accounts::hashing(&mut report));
    }
    if wants("accounts") || wants("registrations") {
        run(accounts::registering(&mut report));
    }
    if wants("accounts") {
        run(accounts::reading(&mut report));
        run(accounts::sizes(&mut report));
    }
    if wants("journeys") {
        run(journeys::steps(&mut report));
        run(journeys::reads(&mut report));
    }
    if wants("memory") {
        run(memory::rows(&mut report));
    }
    if wants("recovery") {
        run(recovery::rows(&mut report, support::Kind::Sqlite));
        run(recovery::rows(&mut report, support::Kind::Postgres));
    }
    if wants("costs") {
        run(costs::table());
    }
    report.print();
    report.write();
}

/// Each part has a runtime of its own, as the server has it: with it ends all that the part began.
fn run(part: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(part);
    runtime.shutdown_background();
}

/// How often a measurement and its floor take turns; `CAIRN_BENCH_ROUNDS` says otherwise.
fn rounds() -> usize {
    std::env::var("CAIRN_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(7)
}
