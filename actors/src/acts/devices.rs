//! Forgetting a device that an account knows.

use cairn_runtime::{ActStep, Effects, FlowId, Id};
use serde_json::json;

use crate::effects::{Auth, DeviceWrite};
use crate::flows::session::{Session, Signal};
use crate::identity::device::Device;
use crate::identity::user_id::UserId;

/// The act's name.
pub const FORGET_DEVICE: &str = "forget_device";

/// Forgets it, and ends these sessions. Others that were begun with it go on.
pub fn forget(user: UserId, device: Id, sessions: &[FlowId]) -> ActStep<(), Auth> {
    let forget = Effects::none().write(DeviceWrite::Forget { id: device, user });
    ActStep {
        says: (),
        user: Some(user.0),
        effects: sessions.iter().fold(forget, |all, session| all.tell::<Session>(*session, &Signal::Revoked)),
        public: json!({ "user": user.text(), "device": device.text(Device::PREFIX) }),
    }
}
