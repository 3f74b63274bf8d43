//! What is written about users.

use cairn_runtime::{FlowId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Write;
use crate::identity::address::Address;
use crate::identity::name::PersonName;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::secrets::digest::Digest;
use crate::secrets::hasher::SealedHash;

/// A user comes to be, changes, or is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserWrite {
    /// A user comes to be.
    Create(Box<NewUser>),
    /// The password becomes another, which is in force from now on.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The new hash, sealed.
        password: SealedHash,
        /// When.
        at: Timestamp,
    },
    /// The password is out of force: whatever is typed is wrong, until the next [`UserWrite::SetPassword`].
    SuspendPassword {
        /// Whose.
        user: UserId,
        /// When.
        at: Timestamp,
    },
    /// The password stays, and its hash is made anew.
    Rehash {
        /// Whose.
        user: UserId,
        /// The new hash, sealed.
        password: SealedHash,
        /// When.
        at: Timestamp,
    },
    /// The address becomes another. The step that writes this raises [`crate::effects::Key::Profile`] as well.
    SetAddress {
        /// Whose.
        user: UserId,
        /// The address that was proved.
        address: Address,
        /// By which it is found.
        address_key: Digest,
        /// When.
        at: Timestamp,
    },
    /// The names become others. The step that writes this raises [`crate::effects::Key::Profile`] as well.
    SetProfile {
        /// Whose.
        user: UserId,
        /// Unique, when there is one.
        username: Option<Username>,
        /// As typed.
        first_name: Option<PersonName>,
        /// As typed.
        last_name: Option<PersonName>,
        /// When.
        at: Timestamp,
    },
    /// A deletion waits for a user, or does so no longer. The step that writes this raises
    /// [`crate::effects::Key::Profile`] as well.
    SetDeletion {
        /// Whose.
        user: UserId,
        /// The flow that will delete them.
        flow: Option<FlowId>,
        /// When.
        at: Timestamp,
    },
    /// A user signs in for the first time.
    FirstSignIn {
        /// Who.
        user: UserId,
        /// When.
        at: Timestamp,
    },
    /// A user is no more, nor is what other tables hold of them.
    Delete {
        /// Who.
        user: UserId,
    },
}

/// A user as a registration makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The address that was proved.
    pub address: Address,
    /// By which the address is found.
    pub address_key: Digest,
    /// Unique, when there is one.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The password's hash, sealed.
    pub password: SealedHash,
    /// When.
    pub at: Timestamp,
}

impl From<UserWrite> for Write {
    fn from(write: UserWrite) -> Self {
        Self::User(write)
    }
}
