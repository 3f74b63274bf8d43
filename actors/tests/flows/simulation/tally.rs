//! How often what happened, over many histories: a workload that never gets anywhere proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Counts by name; clones count together.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub(super) fn count(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.trim_end().to_owned()).or_default() += 1;
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in self.0.lock().unwrap().iter() {
            writeln!(f, "  {count:>8} {what}")?;
        }
        Ok(())
    }
}

/// The name of a variant.
pub(super) fn word(variant: &dyn fmt::Debug) -> String {
    format!("{variant:?}").chars().take_while(|character| character.is_alphanumeric()).collect()
}
