//! Challenge: the credentials of one flow's letters, a six-digit code and a link. Every letter carries the same ones.
//!
//! What must stay true: five wrong codes a flow, letters sent again included, and then only the link works; a letter
//! that was delivered stays good until the flow moves on, whatever is asked for after it; between two letters lies the
//! cool-down; a wrong code is counted for its address in the very step that costs the try.

use std::time::Duration;

use cairn_runtime::{Cx, Outgoing, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acts::guesses::{self, Target};
use crate::address::Address;
use crate::credential::{self, OfPurpose, Presented, Purpose, Seal};
use crate::effects::{AskedBy, Auth, Delivery, Digest, Letter, Write};
use crate::environment::Environment;
use crate::password::Code;

/// Wrong codes that a flow takes.
pub const TRIES: u8 = 5;
/// Letters that a flow sends after the first.
pub const RESENDS: u8 = 5;
/// How long a flow that did what it was for repeats its answer, in seconds.
pub(super) const REMEMBERED: u64 = 86_400;
/// How long the sending of a letter is tried that proves nothing: a welcome, a notice.
pub(super) const NOTICE: Duration = Duration::from_secs(3 * 86_400);

/// The letters so far and the wrong codes so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// The credentials that the letters carry: one, the same in each. An older release made one for each letter; all of
    /// them are good.
    pub issues: Vec<Seal>,
    /// Letters that carried the last of them once more.
    #[serde(default)]
    pub again: u8,
    /// When the last letter was asked for.
    pub issued_at: Timestamp,
    /// Wrong codes so far.
    pub tries: u8,
}

/// A code as it was typed, with what the service knows of it.
#[derive(Debug)]
pub struct TypedCode {
    /// As typed.
    pub code: Code,
    /// A letter with the code went out. Where none did, no code is right: the owner of the address would not have heard
    /// that somebody guesses.
    pub delivered: bool,
    /// The network that it comes from, by a keyed hash.
    pub from: Digest,
}

/// What a code or a link turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked<'a> {
    /// A letter of this flow carried it.
    Right(&'a Seal),
    /// None did.
    Wrong,
    /// A code after the last try: it was not looked at.
    Spent,
}

/// Why no other letter is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLetter {
    /// The last one is too young.
    TooSoon {
        /// When it is not.
        at: Timestamp,
    },
    /// There have been five more than the first.
    NoMore,
}

impl Challenge {
    /// The first letter, asked for now. Its credentials hang on the salt of the flow's row.
    pub(super) fn first(cx: &Cx<'_, Auth>) -> Self {
        Self { issues: vec![Seal::new(&cx.environment.ring, cx.salt)], again: 0, issued_at: cx.now, tries: 0 }
    }

    /// The same with another letter, asked for now. It carries the same credentials.
    pub(super) fn another(&self, cx: &Cx<'_, Auth>) -> Result<Self, NoLetter> {
        let at = self.issued_at.after(cx.environment.settings.resend_cooldown);
        if !self.may_send_another() {
            return Err(NoLetter::NoMore);
        }
        if cx.now < at {
            return Err(NoLetter::TooSoon { at });
        }
        Ok(Self { again: self.again.saturating_add(1), issued_at: cx.now, ..self.clone() })
    }

    /// Letters that were asked for so far.
    pub fn letters(&self) -> usize {
        self.issues.len() + usize::from(self.again)
    }

    /// Whether there may be one more, once the cool-down is over.
    pub fn may_send_another(&self) -> bool {
        self.letters() <= usize::from(RESENDS)
    }

    /// The same after a code that was not right, whatever it was: it costs a try.
    #[must_use]
    pub(super) fn missed(&self) -> Self {
        Self { tries: self.tries.saturating_add(1), ..self.clone() }
    }

    /// The credential that a letter carries.
    pub fn last(&self) -> Option<&Seal> {
        self.issues.last()
    }

    /// How many wrong codes it still takes.
    pub fn tries_left(&self) -> u8 {
        tries_left(self.tries)
    }

    /// What a typed code is.
    pub(super) fn check_code(&self, purpose: Purpose, typed: &TypedCode, cx: &Cx<'_, Auth>) -> Checked<'_> {
        if self.tries >= TRIES {
            return Checked::Spent;
        }
        match self.issues.iter().rfind(|seal| is_code(seal, purpose, &typed.code, cx)) {
            Some(seal) if typed.delivered => Checked::Right(seal),
            _ => Checked::Wrong,
        }
    }

    /// What a link is. Links are never spent: nobody guesses 128 bits.
    pub fn check_link<P: OfPurpose>(&self, link: &Presented<P>, environment: &Environment) -> Checked<'_> {
        self.issues.iter().rfind(|seal| link.proves(&environment.ring, seal)).map_or(Checked::Wrong, Checked::Right)
    }
}

/// How many wrong codes are still taken after so many.
pub(super) const fn tries_left(tries: u8) -> u8 {
    TRIES.saturating_sub(tries)
}

/// Whether a typed code is the code of this seal.
pub(super) fn is_code(seal: &Seal, purpose: Purpose, code: &Code, cx: &Cx<'_, Auth>) -> bool {
    credential::code(&cx.environment.ring, purpose, *cx.flow.bytes(), seal).is_some_and(|right| right == *code)
}

/// What a wrong code of a letter to this address writes besides the try: it counts for the address over all flows, and a
/// code that would have set a password for the network as well.
pub(super) fn count_miss(address: &Address, purpose: Purpose, typed: &TypedCode, cx: &Cx<'_, Auth>) -> Vec<Write> {
    if !cx.environment.settings.limits {
        return Vec::new();
    }
    let codes = Target::Codes(cx.environment.address_key(address));
    let network = (purpose == Purpose::ResetPassword).then_some(Target::ResetCodes(typed.from));
    let counted = std::iter::once(codes).chain(network);
    counted.map(|target| guesses::failure(target, typed.from, cx)).collect()
}

/// A letter that a stranger may have asked for, as it goes out until `expires`.
pub(super) fn asked_letter(letter: Letter, by: AskedBy, expires: Timestamp) -> Outgoing<Auth> {
    Outgoing::external(Delivery::AskedLetter { letter, by }).until(expires)
}

/// What stands for such a letter where nobody is to get one: nothing that follows the request tells them apart.
pub(super) fn letter_to_nobody(letter: Letter, by: AskedBy, expires: Timestamp) -> Outgoing<Auth> {
    Outgoing::external(Delivery::ToNobody { letter, by }).until(expires)
}
