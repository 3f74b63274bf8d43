//! Users, by what names them.

use cairn_runtime::store::StoreFault;
use cairn_runtime::{FlowId, Timestamp};
use futures_util::future::BoxFuture;

use crate::identity::address::Address;
use crate::identity::name::PersonName;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::secrets::digest::Digest;
use crate::secrets::hasher::SealedHash;

/// Reads users.
pub trait Users: Send + Sync + 'static {
    /// The user with this id.
    fn by_id(&self, user: UserId) -> BoxFuture<'_, Result<Option<User>, StoreFault>>;
    /// The user with this verified address.
    fn by_address(&self, key: Digest) -> BoxFuture<'_, Result<Option<User>, StoreFault>>;
    /// The user with this username.
    fn by_username<'a>(&'a self, username: &'a Username) -> BoxFuture<'a, Result<Option<User>, StoreFault>>;
}

/// A user as the database has it.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The verified address.
    pub address: Address,
    /// Unique, when there is one.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The password's hash, sealed; `None`: there is none, or it is out of force, and whatever is typed is wrong.
    pub password: Option<SealedHash>,
    /// What they may do.
    pub roles: Vec<String>,
    /// 0 at first, one more with each change of the profile: the number of [`crate::effects::Key::Profile`].
    pub version: i64,
    /// The number of the claim on their address, read in the same query.
    pub number: i64,
    /// The deletion that waits for them.
    pub deletion: Option<FlowId>,
    /// When they first signed in.
    pub signed_in_at: Option<Timestamp>,
    /// When their password last changed, if it ever did.
    pub password_changed_at: Option<Timestamp>,
    /// The number of their fence, read in the same query.
    pub fence: i64,
    /// The number of what is known of them from before ([`crate::effects::Key::Devices`]), read in the same query.
    pub devices: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when like this.
    pub updated_at: Timestamp,
}

impl User {
    /// First and last name as one, if there is either.
    pub fn name(&self) -> Option<String> {
        match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => Some(format!("{} {}", first.as_str(), last.as_str())),
            (Some(one), None) | (None, Some(one)) => Some(one.as_str().to_owned()),
            (None, None) => None,
        }
    }
}
