//! Storing the same password at the present cost.

use cairn_runtime::{Cx, Deed, Effects, Guard};
use serde_json::json;

use crate::effects::{Auth, Key, UserId, Write};
use crate::hasher::SealedHash;

/// The act's name.
pub const REHASH: &str = "rehash";

/// Stores the same password's hash at the present cost. The fence is held, not raised: nothing ends by it, and a reset
/// that came meanwhile wins.
pub fn rehash(user: UserId, fence: i64, hash: &SealedHash, lost: Option<&Key>, cx: &Cx<'_, Auth>) -> Deed<(), Auth> {
    let effects = match lost {
        Some(_) => Effects::none(),
        None => Effects::none().guard(Guard::Hold(Key::User(user), fence)).write(Write::Rehash {
            user,
            password: hash.clone(),
            at: cx.now,
        }),
    };
    Deed { says: (), effects, user: Some(user.0), public: json!({ "user": user.text() }) }
}
