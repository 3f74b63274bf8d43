//! Rows that are kept for less time than all others.

use std::time::Duration;

use cairn_runtime::Flow;
use cairn_runtime::store::{RetentionRule, RuledRows};

use crate::acts::guesses::FAILED;
use crate::flows::authorization::Authorization;
use crate::flows::recovery::Recovery;
use crate::flows::session::Session;

const DAY: Duration = Duration::from_secs(86_400);

const fn events(kind: &'static str, name: &'static str, to: &'static str, days: u32) -> RetentionRule {
    RetentionRule { rows: RuledRows::Events { kind, name, to }, keep: DAY.saturating_mul(days) }
}

const fn flows(kind: &'static str, phase: &'static str, days: u32) -> RetentionRule {
    RetentionRule { rows: RuledRows::Flows { kind, phase }, keep: DAY.saturating_mul(days) }
}

/// What is not kept for as long as all the rest.
pub(super) const RULES: &[RetentionRule] = &[
    // Strangers cause these at will.
    events(FAILED, FAILED, "", 1),
    // Strangers again; and whoever has the address, for else what is left would tell who has an account.
    flows(Recovery::NAME, "expired", 1),
    // A session that goes on, every few minutes.
    events(Session::NAME, "refresh", "active", 7),
    events(Session::NAME, "seen", "active", 7),
    events(Authorization::NAME, "refresh", "active", 7),
];
