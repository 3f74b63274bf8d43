//! What is written about what people have consented to.

use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use super::Write;
use crate::identity::user_id::UserId;
use crate::oauth::client::ClientId;
use crate::oauth::scope::Scope;
use crate::oauth::uri::AbsoluteUri;

/// A consent is given, or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsentWrite {
    /// A person lets a client act for them, for this and nothing else from now on.
    Give {
        /// Who.
        user: UserId,
        /// To which client.
        client: ClientId,
        /// For what.
        scope: Scope,
        /// At which resource servers besides our own endpoints.
        resources: Vec<AbsoluteUri>,
        /// When.
        at: Timestamp,
    },
    /// A person takes everything back that they consented to for a client. The step that writes this raises
    /// [`crate::effects::Key::Consent`] as well.
    TakeBack {
        /// Who.
        user: UserId,
        /// From which client.
        client: ClientId,
    },
}

impl From<ConsentWrite> for Write {
    fn from(write: ConsentWrite) -> Self {
        Self::Consent(write)
    }
}
