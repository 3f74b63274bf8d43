//! The letters there are: a closed vocabulary, each with all that it says.

use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::address::Address;
use crate::secrets::credential::Seal;

/// A letter, with all that is needed to write it again in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "letter")]
pub enum Letter {
    /// Proves an address: a code and a link.
    RegistrationVerify {
        /// To whom.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// Somebody registered with an address that has an account.
    RegistrationKnown {
        /// To whom.
        to: Address,
    },
    /// The account is there.
    RegistrationWelcome {
        /// To whom.
        to: Address,
    },
    /// Sets a new password: a code and a link.
    RecoveryReset {
        /// To whom.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// Signs in: a code and a link.
    MagicLinkSignIn {
        /// To whom.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// The password is another now.
    PasswordChanged {
        /// To whom.
        to: Address,
        /// Since when.
        at: Timestamp,
    },
    /// Proves the new address of an account: a code and a link.
    EmailConfirm {
        /// To the new address.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// Somebody wanted to change to an address that has an account.
    EmailKnown {
        /// To the account's owner.
        to: Address,
    },
    /// The address is another now; a link takes that back.
    EmailChanged {
        /// To the address from before.
        to: Address,
        /// What the link is rendered from.
        seal: Seal,
        /// Since when.
        at: Timestamp,
        /// Until when the link is good.
        expires_at: Timestamp,
    },
    /// Somebody signed in from a device or place that was not seen before; a link ends that session.
    SessionNewDevice {
        /// To whom.
        to: Address,
        /// What the link is rendered from.
        seal: Seal,
        /// With what, in words of ours: "Firefox on Linux".
        device: String,
        /// The address of the network that it came from.
        client_address: String,
        /// When.
        at: Timestamp,
    },
    /// The account will be deleted.
    DeletionAsked {
        /// To whom.
        to: Address,
        /// When.
        until: Timestamp,
    },
    /// The account will not be deleted: somebody has signed in to it.
    DeletionCalledOff {
        /// To whom.
        to: Address,
        /// When.
        at: Timestamp,
    },
}

impl Letter {
    /// Every value of [`Letter::name`].
    pub const NAMES: &'static [&'static str] = &[
        "registration.verify",
        "registration.known",
        "registration.welcome",
        "recovery.reset",
        "magic-link.sign-in",
        "password.changed",
        "email.confirm",
        "email.known",
        "email.changed",
        "session.new-device",
        "deletion.asked",
        "deletion.called-off",
    ];

    /// The value of `X-Cairn-Letter`, the kind in the outbox and in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RegistrationVerify { .. } => "registration.verify",
            Self::RegistrationKnown { .. } => "registration.known",
            Self::RegistrationWelcome { .. } => "registration.welcome",
            Self::RecoveryReset { .. } => "recovery.reset",
            Self::MagicLinkSignIn { .. } => "magic-link.sign-in",
            Self::PasswordChanged { .. } => "password.changed",
            Self::EmailConfirm { .. } => "email.confirm",
            Self::EmailKnown { .. } => "email.known",
            Self::EmailChanged { .. } => "email.changed",
            Self::SessionNewDevice { .. } => "session.new-device",
            Self::DeletionAsked { .. } => "deletion.asked",
            Self::DeletionCalledOff { .. } => "deletion.called-off",
        }
    }

    /// The budget class that it is paid from, each with the same budget: what strangers can cause must not use up what its
    /// owner needs, what a forgotten password can cause (by anybody) must not keep a notice of a theft away, and no
    /// number of notices, which a thief can cause, the two letters that tell how to undo a theft.
    pub const fn budget_class(&self) -> &'static str {
        match self {
            Self::RegistrationVerify { .. }
            | Self::RegistrationKnown { .. }
            | Self::EmailConfirm { .. }
            | Self::EmailKnown { .. } => "strangers",
            Self::RecoveryReset { .. } => "recovery",
            Self::MagicLinkSignIn { .. } => "sign-in",
            // The welcome as well: beside the strangers' letters it would tell them, by the one that no longer goes out,
            // whether the address was proved within the hour.
            Self::RegistrationWelcome { .. }
            | Self::PasswordChanged { .. }
            | Self::SessionNewDevice { .. }
            | Self::DeletionCalledOff { .. } => "notices",
            Self::EmailChanged { .. } => "changed",
            Self::DeletionAsked { .. } => "deletion",
        }
    }

    /// To whom it goes.
    pub const fn to(&self) -> &Address {
        match self {
            Self::RegistrationVerify { to, .. }
            | Self::RegistrationKnown { to }
            | Self::RegistrationWelcome { to }
            | Self::RecoveryReset { to, .. }
            | Self::MagicLinkSignIn { to, .. }
            | Self::PasswordChanged { to, .. }
            | Self::EmailConfirm { to, .. }
            | Self::EmailKnown { to }
            | Self::EmailChanged { to, .. }
            | Self::SessionNewDevice { to, .. }
            | Self::DeletionAsked { to, .. }
            | Self::DeletionCalledOff { to, .. } => to,
        }
    }
}
