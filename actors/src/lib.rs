//! All that knows auth: flows that decide, services that ask them, workers that carry out, letters.
//!
//! What is deliberately absent: HTTP and the database. Both come through ports.

pub mod acts;
pub mod directory;
pub mod effects;
pub mod environment;
pub mod flows;
pub mod followers;
mod hashed_set;
pub mod identity;
pub mod instant;
pub mod letters;
pub mod oauth;
pub mod secrets;
pub mod services;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod workers;

/// Tells the recorder of metrics what is recorded here, and makes the counters whose labels are known, at 0.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        "cairn_password_hash_seconds",
        metrics::Unit::Seconds,
        "Time to hash, verify or judge one password, without waiting"
    );
    metrics::describe_gauge!("cairn_password_hash_waiting", "Passwords that wait for a core");
    metrics::describe_gauge!("cairn_password_hash_engine", "The implementation of argon2 in use: 1, the others 0");
    metrics::describe_counter!(
        "cairn_mail_over_budget_total",
        "Letters that did not go out because their address had had its share of the hour"
    );
    metrics::describe_counter!(
        "cairn_guesses_failed_total",
        "Guesses at a secret that were wrong, by what was guessed at"
    );
    metrics::describe_counter!(
        "cairn_guesses_slowed_total",
        "Guesses that were put off without being looked at, by what was guessed at"
    );
    metrics::describe_gauge!(
        "cairn_signing_key_created_timestamp_seconds",
        metrics::Unit::Seconds,
        "When the key that signs was made, in seconds since 1970, by algorithm"
    );
    metrics::gauge!("cairn_password_hash_waiting").set(0.0);
    for word in acts::guesses::Target::WORDS {
        metrics::counter!("cairn_guesses_failed_total", "of" => word).increment(0);
        metrics::counter!("cairn_guesses_slowed_total", "of" => word).increment(0);
    }
    for letter in letters::Letter::NAMES.iter().copied() {
        metrics::counter!("cairn_mail_over_budget_total", "letter" => letter).increment(0);
    }
    workers::mailer::describe_metrics();
}
