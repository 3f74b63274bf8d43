//! `/auth/devices`: the devices that an account knows, and forgetting one.

use std::sync::Arc;

use cairn_actors::services::devices::DeviceView;
use cairn_actors::services::session::SignedIn;
use serde::Serialize;

use crate::access::caller;
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
use crate::state::AppState;

/// A device, as its user is shown it.
#[derive(Serialize)]
pub(super) struct DeviceBody {
    id: String,
    device: Option<String>,
    client_address: Option<String>,
    first_seen_at: String,
    last_seen_at: String,
    current: bool,
}

impl From<DeviceView> for DeviceBody {
    fn from(known: DeviceView) -> Self {
        let DeviceView { id, user_agent: device, client_address, first_seen_at, last_seen_at, current } = known;
        let (first_seen_at, last_seen_at) = (instant(first_seen_at), instant(last_seen_at));
        Self { id, device, client_address, first_seen_at, last_seen_at, current }
    }
}

#[derive(Serialize)]
pub(super) struct Devices {
    devices: Vec<DeviceBody>,
}

pub(super) async fn list(state: Arc<AppState>, _request: Request, who: SignedIn) -> Result<Devices, Problem> {
    let known = state.services.devices(&who).await?;
    Ok(Devices { devices: known.into_iter().map(DeviceBody::from).collect() })
}

pub(super) async fn forget(state: Arc<AppState>, request: Request, who: SignedIn) -> Result<(), Problem> {
    Ok(state.services.forget_device(&caller::of(&request), &who, request.param("device"), false).await?)
}
