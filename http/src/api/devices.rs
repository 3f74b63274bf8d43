//! `/auth/devices`: the devices that an account knows, and forgetting one.

use std::sync::Arc;

use cairn_actors::services::session::SignedIn;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::caller;
use crate::description::{Area, Description, Param};
use crate::problem::Problem;
use crate::request::Request;
use crate::state::AppState;
use crate::views::DeviceBody;

pub(super) const LIST: Description =
    Description::new("listDevices", Area::Sessions, "List the devices that the account knows");
pub(super) const FORGET: Description = Description::new("forgetDevice", Area::Sessions, "Forget a device")
    .text("Its next sign-in is one from an unknown device. Its sessions go on.")
    .params(&[Param::id("device", "dev", "A device of the account.")]);

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
