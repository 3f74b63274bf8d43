//! The words of a change of address: what opens it, what is asked of it, and what it answers.

use std::sync::Arc;

use cairn_runtime::{Cx, FlowId, Named, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effects::{AskedBy, Auth};
use crate::flows::challenge::TypedCode;
use crate::followers::Followers;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::secrets::credential::{Presented, Seal, of};
use crate::secrets::digest::Digest;
use crate::secrets::hasher::{Proved, SealedHash};

/// What opens it.
#[derive(Debug)]
pub struct Start {
    /// Who asks.
    pub user: UserId,
    /// The number of their fence.
    pub fence: i64,
    /// The number of their devices.
    pub devices: i64,
    /// The address that they have, and the number of the claim on it.
    pub from: (Digest, i64),
    /// The new address, parsed.
    pub address: Address,
    /// The new address has an owner.
    pub known: bool,
    /// Their changes that wait for a proof: this one replaces them.
    pub waiting: Vec<FlowId>,
    /// Who asks.
    pub by: AskedBy,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "change_email"
    }
}

/// The account as it stands, read before a command. Should it have moved meanwhile, the guards tell.
#[derive(Clone, Debug)]
pub struct Account {
    /// The present address.
    pub address: Address,
    /// The number of its claim.
    pub number: i64,
    /// The number of its fence.
    pub fence: i64,
    /// What follows the account's fence.
    pub followers: Followers,
    /// Changes that can still be taken back: of an account whose change is taken back those that were made after it,
    /// else all.
    pub later: Vec<Later>,
    /// The deletion that waits, if there is one.
    pub deletion: Option<FlowId>,
}

/// A change that can still be taken back.
#[derive(Clone, Debug)]
pub struct Later {
    /// Its flow.
    pub flow: FlowId,
    /// The address from before it.
    pub before: Address,
    /// Until when it can be.
    pub until: Timestamp,
}

/// Who opens the link of a letter: what shows that the account is theirs. The letter alone shows only who reads the mail
/// of the new address, and they may have been told to press the button by whoever asked.
#[derive(Debug)]
pub enum Confirmer {
    /// Nothing does.
    Anybody,
    /// They are signed in as this user.
    SignedIn(UserId),
    /// They know the account's password.
    Password(Arc<Proved>),
    /// The change was asked for in their browser.
    Browser(Presented<of::FlowCookie>),
}

impl Confirmer {
    /// Whether the account is theirs, as far as this flow can see. `issue`: what its browser's cookie hangs on.
    pub(super) fn is_entitled(&self, user: UserId, issue: &Seal, cx: &Cx<'_, Auth>) -> bool {
        match self {
            Self::Anybody => false,
            Self::SignedIn(other) => *other == user,
            Self::Password(_) => true,
            Self::Browser(cookie) => {
                cookie.flow() == *cx.flow.bytes() && cookie.is_genuine(&cx.environment.ring, &issue.salt)
            }
        }
    }
}

/// A password that somebody chose.
#[derive(Debug)]
pub struct NewPassword {
    /// Its hash, sealed.
    pub hash: SealedHash,
    /// It is the one that this flow has set already, checked against [`EmailChange::password`]. `None`: not asked, or
    /// it is another.
    pub same: Option<Proved>,
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Command {
    /// Here is the code of the letter.
    Enter {
        /// The code.
        code: TypedCode,
        /// The account as it stands; `None`: there is none any more.
        account: Option<Account>,
    },
    /// Here is the link of the letter.
    Open {
        /// The link's credential.
        link: Presented<of::EmailChange>,
        /// Who confirms.
        by: Confirmer,
        /// The account as it stands; `None`: there is none any more.
        account: Option<Account>,
    },
    /// Here is the link of the letter to the address from before: take it back.
    Undo {
        /// The link's credential.
        link: Presented<of::UndoEmailChange>,
        /// The account as it stands; `None`: there is none any more.
        account: Option<Account>,
        /// The password from now on; `None`: the one from before is put out of force.
        password: Option<NewPassword>,
    },
    /// Send the letter once more.
    Resend(AskedBy),
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Enter { .. } => "enter",
            Self::Open { .. } => "open",
            Self::Undo { .. } => "undo",
            Self::Resend(_) => "resend",
        }
    }
}

/// What other flows may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// An earlier change was taken back, and this one with it.
    Undone,
    /// Its user has asked for another change since.
    Replaced,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        match self {
            Self::Undone => "undone",
            Self::Replaced => "replaced",
        }
    }
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A letter is on its way.
    Awaiting {
        /// When waiting ends.
        expires_at: Timestamp,
    },
    /// It is too soon for another letter, or there were too many changes of late.
    TooSoon {
        /// When it is not.
        at: Timestamp,
    },
    /// There have been five letters more than the first.
    NoMoreLetters,
    /// The address is another.
    Changed {
        /// Whose.
        user: UserId,
        /// Until when it can be taken back.
        until: Timestamp,
    },
    /// The address from before is the account's again.
    Undone {
        /// Whose.
        user: UserId,
        /// Until when this answer is repeated.
        until: Timestamp,
    },
    /// The code is wrong.
    WrongCode {
        /// How many tries are left.
        tries_left: u8,
    },
    /// Five codes were wrong; only the link works now.
    OnlyTheLink,
    /// The link is not one of ours.
    Garbage,
    /// The link is right, and nothing shows that the account is the asker's.
    PasswordNeeded,
    /// The link has taken the change back and sets no password any more: another was set since.
    UsedUp,
    /// The new address has an owner.
    AddressTaken,
    /// The account moved while this was asked: it is to be asked again.
    Moved,
    /// It has ended, or woke to its end.
    Over,
}
