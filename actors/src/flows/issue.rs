//! Issues: the letters of one flow, each with a six-digit code and a link, of which only the last one's are good.
//!
//! What must stay true: five wrong codes a flow, letters sent again included, and then only the link works; a letter
//! replaces the one before it; between two letters lies the cool-down.

use std::time::Duration;

use cairn_runtime::{Cx, Timestamp};
use serde::{Deserialize, Serialize};

use crate::credential::{self, OfPurpose, Presented, Purpose, Seal};
use crate::effects::Auth;
use crate::password::Code;
use crate::world::World;

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
pub struct Issues {
    /// The credentials of all letters, the last one good and the others replaced.
    pub issues: Vec<Seal>,
    /// When the last letter was asked for.
    pub issued_at: Timestamp,
    /// Wrong codes so far.
    pub tries: u8,
}

/// What a code or a link turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged<'a> {
    /// The last letter's.
    Right(&'a Seal),
    /// An older letter's.
    Replaced,
    /// No letter's.
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

impl Issues {
    /// The first letter, asked for now. Its credentials hang on the salt of the flow's row.
    pub(super) fn first(cx: &Cx<'_, Auth>) -> Self {
        Self { issues: vec![Seal::new(&cx.world.ring, cx.salt)], issued_at: cx.now, tries: 0 }
    }

    /// The same with another letter, asked for now.
    pub(super) fn another(&self, cx: &Cx<'_, Auth>) -> Result<Self, NoLetter> {
        let at = self.issued_at.after(cx.world.settings.resend_cooldown);
        let Some(last) = self.last().filter(|_| self.issues.len() <= usize::from(RESENDS)) else {
            return Err(NoLetter::NoMore);
        };
        if cx.now < at {
            return Err(NoLetter::TooSoon { at });
        }
        let mut issues = self.issues.clone();
        issues.push(last.next(&cx.world.ring));
        Ok(Self { issues, issued_at: cx.now, tries: self.tries })
    }

    /// The same after a code that was not right, whatever it was: it costs a try.
    #[must_use]
    pub(super) fn missed(&self) -> Self {
        Self { tries: self.tries.saturating_add(1), ..self.clone() }
    }

    /// The last letter's credential.
    pub fn last(&self) -> Option<&Seal> {
        self.issues.last()
    }

    /// How many wrong codes it still takes.
    pub fn tries_left(&self) -> u8 {
        tries_left(self.tries)
    }

    /// What a typed code is.
    pub(super) fn judge_code(&self, purpose: Purpose, code: &Code, cx: &Cx<'_, Auth>) -> Judged<'_> {
        if self.tries >= TRIES {
            return Judged::Spent;
        }
        self.judge(|seal| is_code(seal, purpose, code, cx))
    }

    /// What a link is. Links are never spent: nobody guesses 128 bits.
    pub fn judge_link<P: OfPurpose>(&self, link: &Presented<P>, world: &World) -> Judged<'_> {
        self.judge(|seal| link.proves(&world.ring, seal))
    }

    fn judge(&self, is_of: impl Fn(&Seal) -> bool) -> Judged<'_> {
        match self.issues.split_last() {
            Some((last, _)) if is_of(last) => Judged::Right(last),
            Some((_, older)) if older.iter().any(is_of) => Judged::Replaced,
            _ => Judged::Wrong,
        }
    }
}

/// How many wrong codes are still taken after so many.
pub(super) const fn tries_left(tries: u8) -> u8 {
    TRIES.saturating_sub(tries)
}

/// Whether a typed code is the code of this seal.
pub(super) fn is_code(seal: &Seal, purpose: Purpose, code: &Code, cx: &Cx<'_, Auth>) -> bool {
    credential::code(&cx.world.ring, purpose, *cx.flow.bytes(), seal).is_some_and(|right| right == *code)
}
