//! What a step may write besides its own row: one vocabulary a table.

mod client;
mod consent;
mod device;
mod failure;
mod resource;
mod user;

use serde::{Deserialize, Serialize};

pub use self::client::{ClientWrite, StoredClient};
pub use self::consent::ConsentWrite;
pub use self::device::DeviceWrite;
pub use self::failure::FailureWrite;
pub use self::resource::ResourceWrite;
pub use self::user::{NewUser, UserWrite};

/// A write, by the table that it is about. `persistence/src/writes` has a file for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// About users.
    User(UserWrite),
    /// About guesses that have failed.
    Failure(FailureWrite),
    /// About devices that accounts know.
    Device(DeviceWrite),
    /// About OAuth clients.
    Client(ClientWrite),
    /// About resources, the services that access tokens are for.
    Resource(ResourceWrite),
    /// About what people have consented to.
    Consent(ConsentWrite),
}
