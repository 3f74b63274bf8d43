//! The id of a user.

use cairn_runtime::Id;
use serde::{Deserialize, Serialize};

/// Names one user; `usr_…` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Id);

impl UserId {
    /// The prefix of its text.
    pub const PREFIX: &'static str = "usr";

    /// Its text.
    pub fn text(self) -> String {
        self.0.text(Self::PREFIX)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(Self::PREFIX, text).map(Self)
    }
}
