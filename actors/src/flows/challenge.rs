//! Proof by letter: the credentials of one flow's letters, a six-digit code and a link, and what every flow that waits for
//! one of them does alike. Every letter carries the same ones.
//!
//! What must stay true: five wrong codes a flow, letters sent again included, and then only the link works; a letter
//! that was delivered stays good until the flow moves on, whatever is asked for after it; between two letters lies the
//! cool-down; a wrong code is counted for its address in the very step that costs the try.

use std::time::Duration;

use cairn_runtime::effects::Going;
use cairn_runtime::{Cx, Flow, FlowId, Outgoing, Step, Timestamp, go, stay};
use serde::{Deserialize, Serialize};

use crate::acts::guesses::{self, Target};
use crate::effects::{AskedBy, Auth, Delivery, FailureWrite};
use crate::environment::Environment;
use crate::identity::address::Address;
use crate::letters::Letter;
use crate::secrets::credential::{self, OfPurpose, Presented, Purpose, Seal, of};
use crate::secrets::digest::Digest;
use crate::secrets::password::Code;

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

/// What stands behind the link of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is awaited.
    Good,
    /// It has done what it was for.
    Done,
    /// Nobody used it in time.
    Expired,
    /// Something else came first: somebody else proved the address, or another reset came.
    Overtaken,
    /// It is none of ours, or was forgotten.
    Garbage,
}

impl From<Checked<'_>> for LinkState {
    fn from(checked: Checked<'_>) -> Self {
        match checked {
            Checked::Right(_) => Self::Good,
            Checked::Wrong | Checked::Spent => Self::Garbage,
        }
    }
}

/// A flow that waits for the proof of an address by letter, as services and pages see it.
pub trait LetterProof: Flow<Domain = Auth> {
    /// What the link of its letter is for.
    type Link: OfPurpose;
    /// The letters that are awaited, by name.
    const LETTERS: &'static [&'static str];
    /// Whether whoever began it is told where the letter is. Not where there may be no letter at all: one that never
    /// arrives would tell.
    const TELLS_OF_MAIL: bool = true;

    /// The address whose proof is awaited, and its challenge; `None` once nothing is awaited.
    fn awaits(&self) -> Option<(&Address, &Challenge)>;

    /// The credential of the letter that was proved with, while its answer is repeated.
    fn proved_by(&self) -> Option<&Seal>;

    /// Wrong codes so far, while any is looked at.
    fn wrong_codes(&self) -> u8;

    /// What its link finds once nothing is awaited any more, where the link is this flow's own as far as anybody can tell.
    fn link_state(&self) -> LinkState;

    /// What the cookie of the browser that began it is rendered from, while there is anything to go on with. It hangs on
    /// the salt that all letters share and never rotates: a letter sent again leaves it good.
    fn cookie(&self) -> Option<Seal> {
        let seal = self.awaits().and_then(|(_, challenge)| challenge.last()).or_else(|| self.proved_by())?;
        Some(Seal { n: 0, ..seal.clone() })
    }

    /// Whether a cookie is the one of the browser that began it.
    fn knows_browser(&self, cookie: &Presented<of::FlowCookie>, environment: &Environment) -> bool {
        self.cookie().is_some_and(|seal| cookie.is_genuine(&environment.ring, &seal.salt))
    }

    /// Whether a code is the one of a letter of this flow that went out, while it may be entered: worth the price of what
    /// must be looked up or hashed for a right one.
    fn knows_code(&self, typed: &TypedCode, flow: FlowId, environment: &Environment) -> bool {
        let is_of = |seal: &Seal| {
            let right = credential::code(&environment.ring, <Self::Link as OfPurpose>::PURPOSE, *flow.bytes(), seal);
            right.is_some_and(|right| right == typed.code)
        };
        self.wrong_codes() < TRIES
            && match (self.awaits(), self.proved_by()) {
                (Some((_, challenge)), _) => typed.delivered && challenge.issues.iter().any(is_of),
                (None, proved_by) => proved_by.is_some_and(is_of),
            }
    }

    /// Whether a link is its own, and not over.
    fn knows_link(&self, link: &Presented<Self::Link>, environment: &Environment) -> bool {
        match (self.awaits(), self.proved_by()) {
            (Some((_, challenge)), _) => matches!(challenge.check_link(link, environment), Checked::Right(_)),
            (None, Some(seal)) => link.proves(&environment.ring, seal),
            (None, None) => false,
        }
    }
}

/// What the asker is told of a challenge, whatever the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A letter is on its way.
    Awaiting {
        /// When waiting ends.
        expires_at: Timestamp,
    },
    /// It is too soon for another letter.
    TooSoon {
        /// When it is not.
        at: Timestamp,
    },
    /// There have been five letters more than the first.
    NoMoreLetters,
    /// The code is wrong.
    WrongCode {
        /// How many tries are left.
        tries_left: u8,
    },
    /// Five codes were wrong; only the link works now.
    OnlyTheLink,
}

/// Says in a flow's own outcomes what is told of a challenge, and reads it there. The outcomes are stored, so they stay
/// the flow's own words.
macro_rules! tells {
    ($Outcome:ty) => {
        impl From<$crate::flows::challenge::Told> for $Outcome {
            fn from(told: $crate::flows::challenge::Told) -> Self {
                use $crate::flows::challenge::Told;
                match told {
                    Told::Awaiting { expires_at } => Self::Awaiting { expires_at },
                    Told::TooSoon { at } => Self::TooSoon { at },
                    Told::NoMoreLetters => Self::NoMoreLetters,
                    Told::WrongCode { tries_left } => Self::WrongCode { tries_left },
                    Told::OnlyTheLink => Self::OnlyTheLink,
                }
            }
        }

        impl $Outcome {
            /// What this says of the challenge, if anything.
            pub fn of_challenge(&self) -> Option<$crate::flows::challenge::Told> {
                use $crate::flows::challenge::Told;
                Some(match *self {
                    Self::Awaiting { expires_at } => Told::Awaiting { expires_at },
                    Self::TooSoon { at } => Told::TooSoon { at },
                    Self::NoMoreLetters => Told::NoMoreLetters,
                    Self::WrongCode { tries_left } => Told::WrongCode { tries_left },
                    Self::OnlyTheLink => Told::OnlyTheLink,
                    _ => return None,
                })
            }
        }
    };
}
pub(super) use tells;

/// The state in which a flow waits for a proof by letter.
pub(super) trait Awaits: Clone {
    /// Its flow.
    type Flow: Flow<Domain = Auth, Outcome: From<Told>>;
    /// What its codes are for.
    const PURPOSE: Purpose;

    /// Whose proof is awaited.
    fn address(&self) -> &Address;
    /// The credentials of its letters, and the wrong codes so far.
    fn challenge(&self) -> &Challenge;
    /// When waiting ends.
    fn expires_at(&self) -> Timestamp;
    /// The same with another challenge.
    fn with(&self, challenge: Challenge) -> Self;
    /// The letter that carries this credential, as it goes out.
    fn letter(&self, seal: Seal, by: AskedBy) -> Outgoing<Auth>;
    /// The flow that waits so.
    fn waits(self) -> Self::Flow;

    /// Waits on with the letter on its way.
    fn sending(self, by: AskedBy) -> Going<Self::Flow> {
        let letter = self.challenge().last().cloned().map(|seal| self.letter(seal, by));
        let going = go(self.waits());
        match letter {
            Some(letter) => going.send(letter),
            None => going,
        }
    }

    /// The same, and says so.
    fn sent(self, by: AskedBy) -> Step<Self::Flow> {
        let expires_at = self.expires_at();
        self.sending(by).says(Told::Awaiting { expires_at }.into())
    }

    /// The letter is asked for once more.
    fn resent(&self, by: AskedBy, cx: &Cx<'_, Auth>) -> Step<Self::Flow> {
        match self.challenge().another(cx) {
            Ok(challenge) => self.with(challenge).sent(by),
            Err(NoLetter::TooSoon { at }) => stay().says(Told::TooSoon { at }.into()),
            Err(NoLetter::NoMore) => stay().says(Told::NoMoreLetters.into()),
        }
    }

    /// A code that is not right costs a try, and counts for the address in the same commit.
    fn missed(&self, typed: &TypedCode, cx: &Cx<'_, Auth>) -> Step<Self::Flow> {
        let challenge = self.challenge().missed();
        let tries_left = challenge.tries_left();
        let counted = count_miss(self.address(), Self::PURPOSE, typed, cx);
        counted
            .into_iter()
            .fold(go(self.with(challenge).waits()), |step, write| step.write(write))
            .says(Told::WrongCode { tries_left }.into())
    }

    /// No code is looked at any more.
    fn spent(&self) -> Step<Self::Flow> {
        stay().says(Told::OnlyTheLink.into())
    }
}

/// What a code turns out to be that is typed once the proof was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The same code: its answer is repeated.
    Right,
    /// Another: so many were wrong now.
    Wrong {
        /// Wrong codes with this one.
        tries: u8,
    },
    /// A code after the last try: it was not looked at.
    Spent,
}

/// What a code is that is typed once the proof was given with this credential, after so many wrong ones.
pub(super) fn repeated(seal: &Seal, tries: u8, purpose: Purpose, typed: &TypedCode, cx: &Cx<'_, Auth>) -> Repeated {
    if tries >= TRIES {
        Repeated::Spent
    } else if is_code(seal, purpose, &typed.code, cx) {
        Repeated::Right
    } else {
        Repeated::Wrong { tries: tries.saturating_add(1) }
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
/// code that would have opened an account, by a new password or without one, for the network as well.
pub(super) fn count_miss(
    address: &Address,
    purpose: Purpose,
    typed: &TypedCode,
    cx: &Cx<'_, Auth>,
) -> Vec<FailureWrite> {
    if !cx.environment.settings.limits {
        return Vec::new();
    }
    let codes = Target::Codes(cx.environment.address_key(address));
    let opens = matches!(purpose, Purpose::ResetPassword | Purpose::MagicLink);
    let network = opens.then_some(Target::ResetCodes(typed.from));
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
