//! `/auth/devices`: the devices that an account knows, and forgetting one.

use std::sync::Arc;

use cairn_actors::services::devices::DeviceView;
use cairn_actors::services::session::SignedIn;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::caller;
use crate::description::{Area, Description, Param};
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
use crate::schema;
use crate::state::AppState;

pub(super) const LIST: Description =
    Description::new("listDevices", Area::Sessions, "List the devices that the account knows");
pub(super) const FORGET: Description = Description::new("forgetDevice", Area::Sessions, "Forget a device")
    .text("Its next sign-in is one from an unknown device. Its sessions go on.")
    .params(&[Param::id("device", "dev", "A device of the account.")]);

/// A device, as its user is shown it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Device")]
pub(super) struct DeviceBody {
    /// Its id.
    #[schemars(with = "schema::DeviceId")]
    id: String,
    /// What it calls itself (`User-Agent`).
    device: Option<String>,
    /// The address that it last came from.
    client_address: Option<String>,
    /// When it first signed in.
    #[schemars(with = "schema::Instant")]
    first_seen_at: String,
    /// When it last signed in.
    #[schemars(with = "schema::Instant")]
    last_seen_at: String,
    /// Whether the present session is one of this device.
    current: bool,
}

impl From<DeviceView> for DeviceBody {
    fn from(known: DeviceView) -> Self {
        let DeviceView { id, user_agent: device, client_address, first_seen_at, last_seen_at, current } = known;
        let (first_seen_at, last_seen_at) = (instant(first_seen_at), instant(last_seen_at));
        Self { id, device, client_address, first_seen_at, last_seen_at, current }
    }
}

/// The devices that an account knows, last seen first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Devices {
    /// The devices.
    devices: Vec<DeviceBody>,
}

pub(super) async fn list(state: Arc<AppState>, _request: Request, who: SignedIn) -> Result<Devices, Problem> {
    let known = state.services.devices(&who).await?;
    Ok(Devices { devices: known.into_iter().map(DeviceBody::from).collect() })
}

pub(super) async fn forget(state: Arc<AppState>, request: Request, who: SignedIn) -> Result<(), Problem> {
    Ok(state.services.forget_device(&caller::of(&request), &who, request.param("device"), false).await?)
}
