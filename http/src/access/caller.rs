//! Who asks, as use cases are told it.

use std::borrow::Cow;

use cairn_actors::services::{Caller, Repeat};

use super::device;
use crate::problem::Problem;
use crate::request::Request;

/// The header that makes a request a repeatable one.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Who asks. An `Idempotency-Key` of 1 to 255 visible ASCII characters makes the request a repeatable one.
///
/// # Errors
/// 400 for another key, or two.
pub(crate) fn repeatable(request: &Request) -> Result<Caller, Problem> {
    let mut keys = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let repeat = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(key), None) if matches!(key.len(), 1..=255) && key.as_bytes().iter().all(u8::is_ascii_graphic) => {
            let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
            Some(Repeat { route: format!("{} {}", request.method(), request.path()), key })
        }
        _ => return Err(Problem::unreadable("Send one Idempotency-Key of 1 to 255 visible ASCII characters.")),
    };
    Ok(Caller { repeat, ..of(request) })
}

/// Who asks, at an endpoint that has its own way with repeats.
pub(crate) fn of(request: &Request) -> Caller {
    Caller {
        trace: request.id().to_owned(),
        address: request.client(),
        device: request.words_of("user-agent").map(Cow::into_owned),
        device_proof: device::presented(request).map(str::to_owned),
        repeat: None,
    }
}
