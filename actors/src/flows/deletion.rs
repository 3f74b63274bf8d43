//! Deletion: somebody has their account deleted; for fourteen days a sign-in undoes it, then everything goes.
//!
//! What must stay true: every session ends in the commit that asks for the deletion; address and username stay claimed
//! until the account is gone; then user, claims and fence go in one commit, unless the account was changed meanwhile
//! (its owner took a change of address back: whoever asked for this was not the owner). The number of the profile
//! stays behind, raised: nothing that was begun with the account can still be done to it.
//!
//! Changes of address hold claims of their own, and give them back not long after seven days, which is sooner.

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Input, Lost, Named, Never, Outgoing, Public, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use crate::effects::{Auth, Delivery, Key, UserWrite};
use crate::followers::Followers;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::letters::Letter;
use crate::secrets::digest::Digest;

/// How long a sign-in undoes it.
pub const GRACE: Duration = Duration::from_secs(14 * 86_400);

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Deletion {
    /// The account can still be had back by signing in.
    Waiting(Box<Waiting>),
    /// A sign-in, or a change of address taken back, had it back.
    Restored {
        /// Whose account it is.
        user: UserId,
    },
    /// The account is gone.
    Done {
        /// Whose account it was.
        user: UserId,
    },
}

/// What goes with the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Whose account it is.
    pub user: UserId,
    /// The claim on the address.
    pub address: Digest,
    /// The claim on the username.
    pub username: Option<Username>,
    /// The number of the profile while nobody changes it.
    pub profile: i64,
    /// When it goes.
    pub until: Timestamp,
}

/// What opens it.
#[derive(Debug)]
pub struct Start {
    /// Whose account.
    pub user: UserId,
    /// The number of their fence.
    pub fence: i64,
    /// The number of their devices.
    pub devices: i64,
    /// The number of their profile: address and username are still these.
    pub profile: i64,
    /// The address, to be written to.
    pub address: Address,
    /// The username.
    pub username: Option<Username>,
    /// What follows the fence that this moves.
    pub followers: Followers,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "delete"
    }
}

/// What other flows may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The deletion was called off: by a sign-in, or with a change of address that was taken back.
    Restored,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        "restored"
    }
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The account goes then.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// The account is as it was.
    Restored,
    /// The account moved while this was asked: it is to be asked again.
    Moved,
    /// It has ended, or woke to its end.
    Over,
}

impl Deletion {
    /// Whose account it is or was.
    pub fn user(&self) -> UserId {
        match self {
            Self::Waiting(waiting) => waiting.user,
            Self::Restored { user } | Self::Done { user } => *user,
        }
    }
}

phases! {
    /// Where a deletion stands. One that waits shows as verified: it was asked for by who may, and is not done.
    pub enum Phase {
        Waiting = "waiting" as "verified",
        Restored = "restored" as "ended",
        Done = "done",
    }
}

impl Flow for Deletion {
    const NAME: &'static str = "deletion";
    const PREFIX: &'static str = "del";
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Never;
    type Signal = Signal;
    type Outcome = Outcome;

    fn start(asked: &Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        if lost.is_some() {
            return stay().says(Outcome::Moved);
        }
        let (user, until) = (asked.user, cx.now.after(GRACE));
        let waiting = Waiting {
            user,
            address: cx.environment.address_key(&asked.address),
            username: asked.username.clone(),
            // Raised by this very step.
            profile: asked.profile.saturating_add(1),
            until,
        };
        let letter = Letter::DeletionAsked { to: asked.address.clone(), until };
        go(Self::Waiting(Box::new(waiting)))
            .bump_from(Key::User(user), asked.fence)
            .hold(Key::Devices(user), asked.devices)
            .bump_from(Key::Profile(user), asked.profile)
            .write(UserWrite::SetDeletion { user, flow: Some(cx.flow), at: cx.now })
            .send(Outgoing::external(Delivery::Letter(letter)).until(until))
            .with(asked.followers.fenced())
            .says(Outcome::Waiting { until })
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, _cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (_, Input::Asked(never)) => match *never {},
            (Self::Waiting(w), Input::Told(Signal::Restored)) => {
                go(Self::Restored { user: w.user }).says(Outcome::Restored)
            }
            (Self::Waiting(w), Input::Woken) if lost.is_none() => {
                let user = w.user;
                let step = go(Self::Done { user })
                    .bump_from(Key::Profile(user), w.profile)
                    .release(Key::Address(w.address))
                    .release(Key::User(user))
                    .release(Key::Devices(user))
                    .write(UserWrite::Delete { user });
                match &w.username {
                    Some(username) => step.release(Key::Username(username.clone())),
                    None => step,
                }
                .says(Outcome::Over)
            }
            (Self::Waiting(w), Input::Woken) => go(Self::Restored { user: w.user }).says(Outcome::Restored),

            (Self::Restored { .. } | Self::Done { .. }, Input::Woken | Input::Told(_)) => stay().says(Outcome::Over),
            // No letter of this flow carries a tag: what becomes of it is read from the outbox.
            (_, Input::Answered { .. }) => stay().says(Outcome::Over),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting(waiting) => Some(waiting.until),
            Self::Restored { .. } | Self::Done { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Waiting(_) => Phase::Waiting,
            Self::Restored { .. } => Phase::Restored,
            Self::Done { .. } => Phase::Done,
        }
    }

    fn public(&self) -> Public {
        let shown = match self {
            Self::Waiting(waiting) => serde_json::json!({ "until": waiting.until }),
            _ => serde_json::Value::Null,
        };
        Public { user: Some(self.user().0), shown, ..Public::default() }
    }
}
