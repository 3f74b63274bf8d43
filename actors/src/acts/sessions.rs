//! Ending all sessions of a user at once.

use cairn_runtime::{Deed, Effects, FlowId, Guard};
use serde_json::json;

use crate::effects::{Auth, Key, UserId, Write};
use crate::flows::session::{Session, Signal};

/// The act's name.
pub const SIGN_OUT_EVERYWHERE: &str = "sign_out_everywhere";

/// Raises the user's fence, by which every session is over; the sessions are told, so that they tidy up after themselves.
/// No device is known any more: whoever signs in next is news.
pub fn sign_out_everywhere(user: UserId, sessions: &[FlowId], lost: Option<&Key>) -> Deed<(), Auth> {
    let mut effects = Effects::none();
    // Lost: the account is gone, and its sessions with it.
    if lost.is_none() {
        effects = effects
            .guard(Guard::Bump(Key::User(user), None))
            .guard(Guard::Bump(Key::Devices(user), None))
            .write(Write::ForgetDevices { user });
        for session in sessions {
            effects = effects.tell::<Session>(*session, &Signal::Fenced);
        }
    }
    Deed { says: (), effects, user: Some(user.0), public: json!({ "user": user.text() }) }
}
