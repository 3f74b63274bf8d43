//! Ending all sessions of a user at once.

use cairn_runtime::{ActStep, Effects, Guard};
use serde_json::json;

use crate::effects::{Auth, DeviceWrite, Key};
use crate::followers::Followers;
use crate::identity::user_id::UserId;

/// The act's name.
pub const SIGN_OUT_EVERYWHERE: &str = "sign_out_everywhere";

/// Raises the user's fence, by which every session is over; what follows it is told.
/// No device is known any more: whoever signs in next is news.
pub fn sign_out_everywhere(user: UserId, followers: &Followers, lost: Option<&Key>) -> ActStep<(), Auth> {
    let mut effects = Effects::none();
    // Lost: the account is gone, and its sessions with it.
    if lost.is_none() {
        effects = effects
            .guard(Guard::Bump(Key::User(user), None))
            .guard(Guard::Bump(Key::Devices(user), None))
            .write(DeviceWrite::ForgetAll { user });
        effects = effects.with(followers.fenced());
    }
    ActStep { says: (), effects, user: Some(user.0), public: json!({ "user": user.text() }) }
}
