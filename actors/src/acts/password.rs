//! Storing the same password at the present cost.

use cairn_runtime::{ActStep, Cx, Effects, Guard};
use serde_json::json;

use crate::directory::User;
use crate::effects::{Auth, Key, UserWrite};
use crate::secrets::hasher::SealedHash;

/// The act's name.
pub const REHASH: &str = "rehash";

/// Stores the same password's hash at the present cost. Fence and number are held, not raised: nothing ends by it, and a
/// password that was set meanwhile stays.
pub fn rehash(user: &User, hash: &SealedHash, lost: Option<&Key>, cx: &Cx<'_, Auth>) -> ActStep<(), Auth> {
    let id = user.id;
    let effects = match lost {
        Some(_) => Effects::none(),
        None => Effects::none()
            .guard(Guard::Hold(Key::User(id), user.fence))
            .guard(Guard::Hold(Key::Devices(id), user.devices))
            .write(UserWrite::Rehash { user: id, password: hash.clone(), at: cx.now }),
    };
    ActStep { says: (), effects, user: Some(id.0), public: json!({ "user": id.text() }) }
}
