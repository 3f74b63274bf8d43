//! What is written about resources, the services that access tokens are for.

use serde::{Deserialize, Serialize};

use super::Write;
use crate::oauth::resource::Resource;
use crate::oauth::uri::AbsoluteUri;

/// A resource is registered, changes, or is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceWrite {
    /// A resource's row is as this says. The instant at which it was first registered stays.
    Save(Box<Resource>),
    /// A resource is no more.
    Delete {
        /// Which.
        uri: AbsoluteUri,
    },
}

impl From<ResourceWrite> for Write {
    fn from(write: ResourceWrite) -> Self {
        Self::Resource(write)
    }
}
