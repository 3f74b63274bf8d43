//! What is carried out of the process after a commit, and in which lane.

use cairn_runtime::Lane;
use serde::{Deserialize, Serialize};

use crate::letters::Letter;
use crate::secrets::digest::Digest;

/// Letters. The lane has no breaker: the mailer has its own, which tells a server in trouble from one address in trouble.
pub const MAIL: Lane = Lane::named("mail");

/// Who has a letter sent that a stranger may ask for: it is charged to them as well as to the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// The network that asked, by a keyed hash.
    pub network: Digest,
    /// The browser that asked is known to the account that has the address: its letters have a budget of their own.
    pub known: bool,
}

/// What is carried out of the house.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// By mail.
    Letter(Letter),
    /// By mail, and somebody asked for it who may be a stranger.
    AskedLetter {
        /// The letter.
        letter: Letter,
        /// Who asked.
        by: AskedBy,
    },
    /// To nobody: it stands where [`Delivery::AskedLetter`] would stand if somebody had the address, and costs the same
    /// rows, commits and time, so that nothing which follows the answer tells what the answer hid. No mail server and no
    /// mailbox ever has it.
    ToNobody {
        /// The letter that nobody gets.
        letter: Letter,
        /// Who asked.
        by: AskedBy,
    },
}

impl Delivery {
    /// The kind of what goes to nobody, in the outbox and in metrics.
    pub const NOBODY: &'static str = "nobody";
    /// Every kind of a delivery: the letters, and what goes to nobody.
    pub const KINDS: &'static [&'static str] = &[
        "registration.verify",
        "registration.known",
        "registration.welcome",
        "recovery.reset",
        "password.changed",
        "email.confirm",
        "email.known",
        "email.changed",
        "session.new-device",
        "deletion.asked",
        "deletion.called-off",
        Self::NOBODY,
    ];

    /// The letter that is carried, or would be.
    pub const fn letter(&self) -> &Letter {
        match self {
            Self::Letter(letter) | Self::AskedLetter { letter, .. } | Self::ToNobody { letter, .. } => letter,
        }
    }

    /// The letter that somebody gets.
    pub const fn mailed(&self) -> Option<&Letter> {
        match self {
            Self::Letter(letter) | Self::AskedLetter { letter, .. } => Some(letter),
            Self::ToNobody { .. } => None,
        }
    }

    /// The lane in which it is carried.
    pub(super) const fn lane(&self) -> &'static Lane {
        match self {
            Self::Letter(_) | Self::AskedLetter { .. } | Self::ToNobody { .. } => &MAIL,
        }
    }
}
