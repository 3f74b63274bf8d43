//! Rows that are kept for less time than all others: what the flows say of their own rows, and failed guesses.

use std::sync::LazyLock;
use std::time::Duration;

use cairn_runtime::store::{RetentionRule, RuledRows};

use crate::acts::guesses::FAILED;
use crate::flows;

pub(super) static RULES: LazyLock<Vec<RetentionRule>> = LazyLock::new(|| {
    let keep = Duration::from_secs(86_400);
    let failed = RetentionRule { rows: RuledRows::Events { kind: FAILED, name: FAILED, to: "" }, keep };
    flows::ALL.iter().flat_map(|kind| (kind.retention)()).chain([failed]).collect()
});
