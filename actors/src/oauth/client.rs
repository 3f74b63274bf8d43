//! Clients by name: what asks for access in somebody's stead (RFC 6749 section 1.1).

use cairn_runtime::Id;
use serde::{Deserialize, Serialize};

/// Names one client; `cli_…` in text. Not the `client_id` of the protocol, which may be a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub Id);

impl ClientId {
    /// The prefix of its text.
    pub const PREFIX: &'static str = "cli";

    /// Its text.
    pub fn text(self) -> String {
        self.0.text(Self::PREFIX)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(Self::PREFIX, text).map(Self)
    }
}
