//! What is written about devices that accounts know.

use cairn_runtime::{Id, Timestamp};
use serde::{Deserialize, Serialize};

use super::Write;
use crate::identity::user_id::UserId;

/// A device becomes known, is seen again, or is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceWrite {
    /// A user has signed in with a device that the account did not know.
    Add {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
        /// The user agent, as the browser or program says it, at most [`crate::identity::device::AGENT`] characters of it.
        user_agent: Option<String>,
        /// The address that the sign-in came from.
        client_address: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A user has signed in with a device that the account knows. One that was forgotten meanwhile stays forgotten.
    See {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
        /// The user agent, as the browser or program says it, at most [`crate::identity::device::AGENT`] characters of it.
        user_agent: Option<String>,
        /// The address that the sign-in came from.
        client_address: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A device is not known to an account any more.
    Forget {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
    },
    /// No device is known to an account any more. The step that writes this raises [`crate::effects::Key::Devices`] as
    /// well.
    ForgetAll {
        /// Whose.
        user: UserId,
    },
}

impl From<DeviceWrite> for Write {
    fn from(write: DeviceWrite) -> Self {
        Self::Device(write)
    }
}
