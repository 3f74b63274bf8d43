//! What the refusals of use cases are in HTTP, so that handlers may pass them on with `?`.

use std::time::Duration;

use cairn_actors::services::{BadValue, Refusal};
use cairn_runtime::Fault;
use cairn_runtime::store::StoreFault;

use crate::problem::{Problem, Unacceptable};

/// How long a client is asked to wait when the server cannot say better.
const SOON: Duration = Duration::from_secs(1);
/// How long a client is asked to wait for a flow that an operator has to look at.
const LATER: Duration = Duration::from_secs(60);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Values(values) => {
                let named = |value: BadValue| Unacceptable::new(value.pointer, value.code, value.detail);
                Self::value(values.into_iter().map(named).collect())
            }
            Refusal::WrongCode { tries_left } => Self::wrong_code("/code", u32::from(tries_left)),
            Refusal::Credentials => Self::credentials(),
            Refusal::SessionEnded => Self::session_ended(),
            Refusal::Changed => Self::changed(),
            Refusal::UsernameTaken => Self::username_taken(),
            Refusal::RegistrationClosed => {
                Self::forbidden().detail("Registration is closed here: ask whoever runs this server for an account.")
            }
            Refusal::AddressTaken => Self::address_taken(),
            Refusal::FlowEnded(why) => Self::flow_ended().detail(why),
            Refusal::NotFound => Self::not_found(),
            Refusal::SlowDown(until) => Self::slow_down_until(until),
            Refusal::Mismatch => Self::idempotency_mismatch(),
            Refusal::Fault(fault) => Self::from(fault),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotFound => Self::not_found(),
            Fault::Mismatch => Self::idempotency_mismatch(),
            Fault::Unavailable(_) | Fault::Overloaded | Fault::Contended => Self::unavailable(SOON).log(fault),
            Fault::Quarantined | Fault::Ended => Self::unavailable(LATER).log(fault),
            Fault::Storage(_) => Self::storage().log(fault),
            Fault::Settled | Fault::Defect(_) => Self::fault(fault),
        }
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        Self::from(Fault::from(fault))
    }
}
