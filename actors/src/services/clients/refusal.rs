//! Why clients and resources are not managed as somebody asks.

use cairn_runtime::Fault;
use cairn_runtime::store::StoreFault;

use crate::oauth::client::InvalidMetadata;

/// Why a request about clients or resources ended otherwise than hoped.
#[derive(Debug)]
pub enum ClientRefusal {
    /// Values that are not acceptable.
    Invalid(Vec<InvalidClient>),
    /// There is none.
    NotFound,
    /// It was changed by somebody else since it was read.
    Changed,
    /// The engine's own.
    Fault(Fault),
}

/// One member that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidClient {
    /// The place in the list, counted from 0, where a list was sent.
    pub place: Option<usize>,
    /// One word of a fixed set.
    pub code: &'static str,
    /// The member, and what to do.
    pub why: InvalidMetadata,
}

impl ClientRefusal {
    pub(crate) fn invalid(member: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        let why = InvalidMetadata { member, detail: detail.into() };
        Self::Invalid(vec![InvalidClient { place: None, code, why }])
    }
}

impl From<InvalidMetadata> for ClientRefusal {
    fn from(why: InvalidMetadata) -> Self {
        Self::Invalid(vec![InvalidClient { place: None, code: "invalid", why }])
    }
}

impl From<Fault> for ClientRefusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreFault> for ClientRefusal {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(Fault::from(fault))
    }
}
