//! The link of a new-device letter: what it ends, and what is kept of a session for it.
//!
//! What must stay true: once used, nothing that was known of the account before counts any more, and the password from
//! before is out of force or another; the link says the same as often as it is used, and sets one new password at most.

use std::time::Duration;

use cairn_runtime::{Cx, FlowId, Id, Lost, Outgoing, Step, Timestamp, go, stay};
use serde::{Deserialize, Serialize};

use super::{Active, End, Outcome, Session, Signal};
use crate::effects::{Auth, Delivery, DeviceWrite, Key, UserWrite};
use crate::flows::challenge;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Seal, of};
use crate::secrets::digest::Digest;
use crate::secrets::hasher::SealedHash;

/// How long after a sign-in the link of its new-device letter can set a new password. It ends sessions for longer.
pub const SETS_PASSWORD: Duration = Duration::from_secs(7 * 86_400);

/// How long after the end of a session the link of its new-device letter still counts.
pub(super) const COUNTS: Duration = Duration::from_secs(30 * 86_400);

/// What is kept of a session that has ended, for the link of its new-device letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disputable {
    /// Why it ended.
    pub by: End,
    /// Whose it was.
    pub user: UserId,
    /// The link.
    pub link: Link,
    /// Until when it counts.
    pub until: Timestamp,
}

/// The link of a new-device letter, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is rendered from.
    pub seal: Seal,
    /// The device that the session was begun with.
    pub device_id: Option<Id>,
    /// The keyed hash of user, device and network.
    pub place: Option<Digest>,
    /// The number of the account's devices at the sign-in.
    pub devices: i64,
    /// Until when it can set a new password.
    pub until: Timestamp,
    /// What it has done; `None`: nothing.
    pub used: Option<Used>,
}

/// What the link of a new-device letter has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Used {
    /// It has put the password out of force, and may set a new one.
    Disowned {
        /// The number of the account's devices since then.
        devices: i64,
    },
    /// It has set a new password.
    PasswordSet,
}

impl Disputable {
    /// The place, unless its user has said that it is not theirs.
    pub(super) fn known_place(&self) -> Option<Digest> {
        self.link.place.filter(|_| self.link.used.is_none() && self.by != End::Disowned)
    }
}

impl Link {
    /// Whether it can set a new password now, once it has put the one from before out of force.
    pub fn may_set_password(&self, now: Timestamp) -> bool {
        matches!(self.used, Some(Used::Disowned { .. })) && now < self.until
    }

    /// Whether it has set a new password.
    pub fn has_set_password(&self) -> bool {
        self.used == Some(Used::PasswordSet)
    }

    /// Whether a session is of the device or the place that this link is about, and no younger than its use.
    pub fn concerns(&self, other: &Active) -> bool {
        let same_device = self.device_id.is_some() && self.device_id == other.device_id;
        let same_place = self.place.is_some() && self.place == other.place;
        (same_device || same_place) && other.devices <= self.devices
    }
}

/// By which a place is known to an account: its keyed hash with the number of the account's devices in it, so that no
/// place is known any more once the number is another.
pub fn known_place(place: Digest, devices: i64) -> Digest {
    let mut bytes = place.0;
    for (byte, number) in bytes.iter_mut().rev().zip(devices.to_be_bytes().into_iter().rev()) {
        *byte ^= number;
    }
    Digest(bytes)
}

/// An account, as whoever uses the link of a new-device letter finds it.
#[derive(Debug)]
pub struct Account {
    /// The number of its devices.
    pub devices: i64,
    /// Whom to tell of a new password.
    pub to: Address,
    /// Other sessions of the same device or place, to be told that they are over.
    pub others: Vec<FlowId>,
    /// The new password's hash, sealed; `None`: the password is put out of force.
    pub password: Option<SealedHash>,
}

impl Session {
    /// The link of its new-device letter, where one was sent.
    pub fn link(&self) -> Option<Link> {
        match self {
            Self::Active(active) => Some(Link {
                seal: active.notice.clone()?,
                device_id: active.device_id,
                place: active.place,
                devices: active.devices,
                until: active.created_at.after(SETS_PASSWORD),
                used: None,
            }),
            Self::Disputable(disputable) => Some(disputable.link.clone()),
            Self::Ended { .. } => None,
        }
    }

    /// Somebody shows the link of the new-device letter: once it ends what came of the sign-in that it tells of, and puts
    /// the password out of force or sets a new one. Where it has not set one yet, it may still do so.
    pub(super) fn disown(
        &self,
        shown: &Presented<of::EndSession>,
        account: Option<&Account>,
        lost: Option<&Lost<Self>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<Self> {
        let Some(link) = self.link() else {
            // Ended by an older release, which kept nothing to hold the link against: its tag has shown that it was ours.
            return stay().says(if self.active().is_some() { Outcome::Garbage } else { Outcome::Ended });
        };
        let Some(user) = self.user().filter(|_| shown.proves(&cx.environment.ring, &link.seal)) else {
            return stay().says(Outcome::Garbage);
        };
        let password = account.and_then(|account| account.password.as_ref());
        match (link.used, account) {
            (Some(Used::PasswordSet), _) if password.is_some() => stay().says(Outcome::UsedUp),
            (_, Some(_)) if password.is_some() && cx.now >= link.until => stay().says(Outcome::UsedUp),
            // Once the number moved, the password was set otherwise, or another link has taken over.
            (Some(Used::Disowned { .. }), Some(_)) if password.is_some() && lost.is_some() => {
                stay().says(Outcome::UsedUp)
            }
            (Some(Used::Disowned { devices }), Some(account)) if password.is_some() => {
                self.disowned(user, &link, devices, account, cx)
            }
            (Some(used), _) => stay().says(Outcome::Disowned { password_set: used == Used::PasswordSet }),
            (None, None) => stay().says(Outcome::Disowned { password_set: false }),
            (None, Some(_)) if lost.is_some() => stay().says(Outcome::Moved),
            (None, Some(account)) => self.disowned(user, &link, account.devices, account, cx),
        }
    }

    /// Nothing that is known of the account from before counts any more.
    fn disowned(&self, user: UserId, link: &Link, devices: i64, account: &Account, cx: &Cx<'_, Auth>) -> Step<Self> {
        let password_set = account.password.is_some();
        let used = if password_set {
            Used::PasswordSet
        } else {
            // Raised by this very step.
            Used::Disowned { devices: devices.saturating_add(1) }
        };
        let (by, until) = match self {
            Self::Disputable(disputable) => (disputable.by, disputable.until),
            Self::Active(_) | Self::Ended { .. } => (End::Disowned, cx.now.after(COUNTS)),
        };
        let link = Link { used: Some(used), ..link.clone() };
        let mut step = go(Self::Disputable(Box::new(Disputable { by, user, link, until })))
            .release(Key::Session(cx.flow.0))
            .bump_from(Key::Devices(user), devices)
            .write(DeviceWrite::ForgetAll { user });
        step = match &account.password {
            Some(password) => {
                let letter = Letter::PasswordChanged { to: account.to.clone(), at: cx.now };
                step.write(UserWrite::SetPassword { user, password: password.clone(), at: cx.now })
                    .send(Outgoing::external(Delivery::Letter(letter)).until(cx.now.after(challenge::NOTICE)))
            }
            None => step.write(UserWrite::SuspendPassword { user, at: cx.now }),
        };
        for other in &account.others {
            step = step.tell::<Self>(*other, &Signal::Disowned);
        }
        step.says(Outcome::Disowned { password_set })
    }
}
