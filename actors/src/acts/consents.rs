//! A person takes back what they consented to for a client.

use cairn_runtime::{ActStep, Effects, Guard};
use serde_json::json;

use crate::effects::{Auth, ConsentWrite, Key};
use crate::identity::user_id::UserId;
use crate::oauth::client::ClientId;

/// The act's name.
pub const TAKE_BACK: &str = "consent.taken_back";

/// Raises the consent's fence: whatever holds the number from before is over. Without a fence there is nothing to end.
pub fn take_back(user: UserId, client: ClientId, lost: Option<&Key>) -> ActStep<(), Auth> {
    let effects = match lost {
        Some(_) => Effects::none(),
        None => Effects::none()
            .guard(Guard::Bump(Key::Consent(user, client), None))
            .write(ConsentWrite::TakeBack { user, client }),
    };
    ActStep { says: (), effects, user: Some(user.0), public: json!({ "client": client.text() }) }
}
