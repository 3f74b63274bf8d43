//! Signing in with a password, for the JSON interface and the page alike: the limit by identifier, the proof, the device.

use std::time::Duration;

use cairn_actors::secrets::password::Password;
use cairn_actors::services::session::{Identifier, Tokens};
use cairn_actors::services::{Caller, Refusal};
use cairn_runtime::Fault;
use http::HeaderValue;

use crate::access::cookie::Names;
use crate::access::{device, rate};
use crate::request::Request;
use crate::state::AppState;

/// Somebody who has just signed in.
pub(crate) struct SignedIn {
    /// The tokens of the new session.
    pub(crate) tokens: Tokens,
    /// The `Set-Cookie` by which the browser is known from now on.
    pub(crate) device: Option<HeaderValue>,
}

impl SignedIn {
    /// The tokens of a session that has begun, and the cookie of its device.
    ///
    /// # Errors
    /// A defect of ours: the cookie cannot stand in a header.
    pub(crate) fn of(tokens: Tokens, names: Names) -> Result<Self, Refusal> {
        let defect = |_| Refusal::Fault(Fault::Defect("a device cookie cannot stand in a header".to_owned()));
        let device = tokens.device.as_deref().map(|proof| device::set(proof, names));
        Ok(Self { device: device.transpose().map_err(defect)?, tokens })
    }
}

/// Signs in by an address or a username.
///
/// # Errors
/// As [`cairn_actors::services::Services::sign_in_from`]; [`Refusal::SlowDown`] also when too many tries name this
/// identifier.
pub(crate) async fn sign_in(
    state: &AppState,
    request: &Request,
    caller: &Caller,
    identifier: Identifier<'_>,
    password: &Password,
) -> Result<SignedIn, Refusal> {
    let services = &state.services;
    let approach = services.sign_in_attempt(identifier, device::presented(request)).await?;
    if let Err(slow) = state.meter_for(rate::LOGIN_IDENTIFIER, approach.target().bytes(), request) {
        let wait = Duration::from_secs(slow.seconds_to_wait().unwrap_or(1));
        return Err(Refusal::SlowDown(services.engine.now().after(wait)));
    }
    let tokens = services.sign_in_from(caller, approach, password).await?;
    SignedIn::of(tokens, request.names())
}
