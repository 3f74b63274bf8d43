//! What is written about OAuth clients.

use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use super::Write;
use crate::oauth::client::{ClientId, Metadata, Origin, StoredSecret};

/// A client is registered, changes, or is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientWrite {
    /// A client's row is as this says. The step that writes this claims or raises
    /// [`crate::effects::Key::Registration`] as well.
    Save(Box<StoredClient>),
    /// A client is no more. The step that writes this raises [`crate::effects::Key::Client`] as well.
    Delete {
        /// Which.
        client: ClientId,
    },
}

/// A client's whole row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClient {
    /// Its `client_id` in the protocol, which its id is made from.
    pub client_id: String,
    /// What is registered of it.
    pub metadata: Metadata,
    /// Its secrets, by their keyed hashes.
    pub secrets: Vec<StoredSecret>,
    /// Who has registered it.
    pub origin: Origin,
    /// The number of its registration after this step.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its registration last changed.
    pub updated_at: Timestamp,
}

impl From<ClientWrite> for Write {
    fn from(write: ClientWrite) -> Self {
        Self::Client(write)
    }
}
