//! `/auth/devices`: the devices that an account knows, and forgetting one.

use std::sync::Arc;

use cairn_actors::services::devices::DeviceView;
use http::StatusCode;
use serde::Serialize;

use super::{instant, signed_in, stranger};
use crate::reply::Reply;
use crate::request::Request;
use crate::route_group::Answer;
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
struct Devices {
    devices: Vec<DeviceBody>,
}

pub(super) async fn list(state: Arc<AppState>, request: Request) -> Answer {
    let services = &state.services;
    let known = services.devices(signed_in(&request)?).await?;
    Reply::json(StatusCode::OK, &Devices { devices: known.into_iter().map(DeviceBody::from).collect() })
}

pub(super) async fn forget(state: Arc<AppState>, request: Request) -> Answer {
    let services = &state.services;
    let forgotten =
        services.forget_device(&stranger(&request), signed_in(&request)?, request.param("device"), false).await;
    forgotten?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
