//! Keys of guards: what is taken once, and what is counted.

use cairn_runtime::Id;
use data_encoding::HEXLOWER;

use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::oauth::client::ClientId;
use crate::secrets::digest::Digest;

/// What a step may claim, release, hold or bump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A verified address, by its keyed hash.
    Address(Digest),
    /// A username. Usernames are public.
    Username(Username),
    /// A user's fence: what began before it was bumped is over.
    User(UserId),
    /// The number of a user's profile (address, names, deletion): what `If-Match` holds against.
    Profile(UserId),
    /// The number of what is known of a user from before: their devices, the places that they signed in from, proofs of
    /// the password that are on their way. Raised where somebody who is not the user may have signed in: none of that
    /// counts any more.
    Devices(UserId),
    /// A session's fence: there for as long as the session lives.
    Session(Id),
    /// A device grant's user code, by its keyed hash.
    UserCode(Digest),
    /// A client's fence: raised when the client is deleted. It stays, so that nothing which was granted to a client
    /// comes to life again when another of the same `client_id` is registered.
    Client(ClientId),
    /// The number of a client's registration: what `If-Match` holds against.
    Registration(ClientId),
    /// The fence of what a user has consented to for a client: there from the first consent on, and raised when it is
    /// taken back.
    Consent(UserId, ClientId),
}

impl Key {
    /// Its text in the table of guards.
    pub(super) fn text(&self) -> String {
        let hex = |digest: &Digest| HEXLOWER.encode(&digest.0);
        match self {
            Self::Address(digest) => format!("address/{}", hex(digest)),
            Self::Username(username) => format!("username/{username}"),
            // In hexadecimal, because a query makes the same text out of the column of the id.
            Self::User(user) => format!("user/{}", HEXLOWER.encode(user.0.bytes())),
            Self::Profile(user) => format!("profile/{}", HEXLOWER.encode(user.0.bytes())),
            Self::Devices(user) => format!("devices/{}", HEXLOWER.encode(user.0.bytes())),
            Self::Session(session) => format!("session/{}", session.text("ses")),
            Self::UserCode(digest) => format!("user_code/{}", hex(digest)),
            Self::Client(client) => format!("client/{}", HEXLOWER.encode(client.0.bytes())),
            Self::Registration(client) => format!("registration/{}", HEXLOWER.encode(client.0.bytes())),
            Self::Consent(user, client) => {
                format!("consent/{}/{}", HEXLOWER.encode(user.0.bytes()), HEXLOWER.encode(client.0.bytes()))
            }
        }
    }
}
