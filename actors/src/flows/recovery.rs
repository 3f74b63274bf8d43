//! Recovery: somebody forgot a password, proves the address of the account by code or link, and sets a new one.
//!
//! What must stay true: whether the address has an account shows in nothing but the letter to its owner; the address
//! is still the account's when the new password is set; whatever was begun with the old password is over in the same
//! commit, by the user's fence, and so is every other letter to this address, by the number of the claim on it.

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Input, Lost, Named, Never, Outgoing, Public, Retain, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use super::challenge::{
    self, Awaits, Challenge, Checked, LetterProof, LinkState, REMEMBERED, Repeated, TypedCode, asked_letter,
    letter_to_nobody, tells,
};
use crate::effects::{AskedBy, Auth, Delivery, DeviceWrite, Key, UserWrite};
use crate::followers::Followers;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Purpose, Seal, of};
use crate::secrets::hasher::{Proved, SealedHash};

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Recovery {
    /// A letter is on its way, if there is anybody to write to; its code or link is awaited.
    AwaitingCode(Box<Awaiting>),
    /// The new password is set. For a day any credential of the last letter gets the same answer, with that password.
    Reset(Box<Reset>),
    /// Reset, and the day is over.
    Done {
        /// Whose password it was.
        user: UserId,
    },
    /// Nobody proved the address in time.
    Expired {
        /// Whose password it was; `None`: nobody's.
        user: Option<UserId>,
    },
    /// The account, or its hold on the address, was gone when the proof came, or another letter had been used.
    Ended {
        /// Whose password it was.
        user: UserId,
    },
}

/// What is known while the proof is awaited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Awaiting {
    /// As typed by whoever forgot.
    pub address: Address,
    /// Who has it; `None`: nobody, so nothing is mailed and nothing typed here is ever right.
    pub user: Option<UserId>,
    /// The number of their claim on it: raised by every reset, and once the account has another address or has this one
    /// again.
    #[serde(default)]
    pub number: i64,
    /// The letters and the wrong codes so far.
    #[serde(flatten)]
    pub challenge: Challenge,
    /// When waiting ends.
    pub expires_at: Timestamp,
}

/// What is remembered of a reset for a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reset {
    /// Whose password it is.
    pub user: UserId,
    /// The new password's hash, sealed: what a repeat is told apart by.
    pub password: SealedHash,
    /// The last letter's credential.
    pub issue: Seal,
    /// Wrong codes so far.
    pub tries: u8,
    /// When this is forgotten.
    pub until: Timestamp,
}

/// What opens a recovery.
#[derive(Debug)]
pub struct Start {
    /// The address, parsed.
    pub address: Address,
    /// Who has it, verified; `None`: nobody.
    pub user: Option<UserId>,
    /// The number of their claim on it.
    pub number: i64,
    /// Who asks.
    pub by: AskedBy,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "recover"
    }
}

/// A password that somebody chose.
#[derive(Debug)]
pub struct NewPassword {
    /// Its hash, sealed; `None` when the proof that came with it was none: nothing is hashed then, nothing can be set.
    pub hash: Option<SealedHash>,
    /// It is the one that this flow has set already, checked against [`Recovery::password`] and nothing else: only
    /// that hash never changes. `None`: not asked, or it is another.
    pub same: Option<Proved>,
    /// What follows the fence that this moves.
    pub followers: Followers,
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Command {
    /// Here is the code of the letter, and the new password.
    Enter {
        /// The code.
        code: TypedCode,
        /// To be set.
        password: NewPassword,
    },
    /// Here is the link of the letter, and the new password.
    Open {
        /// The link's credential.
        link: Presented<of::ResetPassword>,
        /// To be set.
        password: NewPassword,
    },
    /// Send the letter once more.
    Resend(AskedBy),
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Enter { .. } => "enter",
            Self::Open { .. } => "open",
            Self::Resend(_) => "resend",
        }
    }
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A letter is on its way, if there is anybody to write to.
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
    /// The new password is set.
    Done {
        /// Whose it is.
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
    /// The code or link was right, and has set another password than this.
    UsedUp,
    /// The code or link is right, and the password that came with it was not hashed. Nothing has changed.
    Unhashed,
    /// It has ended, or woke to its end.
    Over,
}

tells!(Outcome);

impl Awaits for Awaiting {
    type Flow = Recovery;
    const PURPOSE: Purpose = Purpose::ResetPassword;

    fn address(&self) -> &Address {
        &self.address
    }

    fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn with(&self, challenge: Challenge) -> Self {
        Self { challenge, ..self.clone() }
    }

    /// To nobody where nobody has the address.
    fn letter(&self, seal: Seal, by: AskedBy) -> Outgoing<Auth> {
        let letter = Letter::RecoveryReset { to: self.address.clone(), seal, expires_at: self.expires_at };
        match self.user {
            Some(_) => asked_letter(letter, by, self.expires_at),
            None => letter_to_nobody(letter, by, self.expires_at),
        }
    }

    fn waits(self) -> Recovery {
        Recovery::AwaitingCode(Box::new(self))
    }
}

impl Awaiting {
    fn reset(
        &self,
        user: UserId,
        issue: &Seal,
        password: &NewPassword,
        lost: Option<&Lost<Recovery>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<Recovery> {
        if lost.is_some() {
            return go(Recovery::Ended { user }).says(Outcome::Over);
        }
        let Some(hash) = password.hash.clone() else { return stay().says(Outcome::Unhashed) };
        let until = cx.now.after(Duration::from_secs(REMEMBERED));
        let (followers, password, tries) = (&password.followers, hash, self.challenge.tries);
        go(Recovery::Reset(Box::new(Reset { user, password: password.clone(), issue: issue.clone(), tries, until })))
            // Raised, so that no other letter that was asked for before is good any more.
            .bump_from(Key::Address(cx.environment.address_key(&self.address)), self.number)
            .bump(Key::User(user))
            .bump(Key::Devices(user))
            .write(UserWrite::SetPassword { user, password, at: cx.now })
            .write(DeviceWrite::ForgetAll { user })
            .send(
                Outgoing::external(Delivery::Letter(Letter::PasswordChanged { to: self.address.clone(), at: cx.now }))
                    .until(cx.now.after(challenge::NOTICE)),
            )
            .with(followers.fenced())
            .says(Outcome::Done { user, until })
    }
}

impl Reset {
    /// The right credential again: with the same password a repeat, with another a second use.
    fn again(&self, password: &NewPassword) -> Step<Recovery> {
        match password.same {
            Some(_) => stay().says(Outcome::Done { user: self.user, until: self.until }),
            None => stay().says(Outcome::UsedUp),
        }
    }
}

impl Recovery {
    /// Whose password it is, if anybody's. Never to be shown to who asks.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.user,
            Self::Reset(reset) => Some(reset.user),
            Self::Done { user } | Self::Ended { user } => Some(*user),
            Self::Expired { user } => *user,
        }
    }

    /// The hash of the password that was set here, while a repeat may still come: what [`NewPassword::same`] is
    /// checked against.
    pub fn password(&self) -> Option<&SealedHash> {
        match self {
            Self::Reset(reset) => Some(&reset.password),
            _ => None,
        }
    }
}

impl LetterProof for Recovery {
    type Link = of::ResetPassword;
    const LETTERS: &'static [&'static str] = &["recovery.reset"];
    // Only where an account has the address is there a letter at all.
    const TELLS_OF_MAIL: bool = false;

    fn awaits(&self) -> Option<(&Address, &Challenge)> {
        match self {
            Self::AwaitingCode(awaiting) => Some((&awaiting.address, &awaiting.challenge)),
            _ => None,
        }
    }

    fn proved_by(&self) -> Option<&Seal> {
        match self {
            Self::Reset(reset) => Some(&reset.issue),
            _ => None,
        }
    }

    fn wrong_codes(&self) -> u8 {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.challenge.tries,
            Self::Reset(reset) => reset.tries,
            _ => 0,
        }
    }

    fn link_state(&self) -> LinkState {
        match self {
            Self::AwaitingCode(_) => LinkState::Good,
            Self::Reset(_) | Self::Done { .. } => LinkState::Done,
            Self::Expired { .. } => LinkState::Expired,
            Self::Ended { .. } => LinkState::Overtaken,
        }
    }
}

phases! {
    /// Where a recovery stands.
    pub enum Phase {
        AwaitingCode = "awaiting_code",
        Reset = "reset" as "done",
        Done = "done",
        Expired = "expired",
        Ended = "ended",
    }
}

impl Flow for Recovery {
    const NAME: &'static str = "recovery";
    const PREFIX: &'static str = "rec";
    // Strangers cause these at will; and for whoever has the address, what is left would tell who has an account.
    const RETENTION: &'static [Retain<Phase>] =
        &[Retain::Finished { phase: Phase::Expired, span: Duration::from_secs(86_400) }];
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Command;
    type Signal = Never;
    type Outcome = Outcome;

    fn start(asked: &Start, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        Awaiting {
            address: asked.address.clone(),
            user: asked.user,
            number: asked.number,
            challenge: Challenge::first(cx),
            expires_at: cx.now.after(cx.environment.settings.reset_ttl),
        }
        .sent(asked.by)
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::AwaitingCode(a), Input::Woken) => go(Self::Expired { user: a.user }).says(Outcome::Over),

            // Where nobody has the address, everything is judged all the same, and then it is wrong.
            (Self::AwaitingCode(a), Input::Asked(Command::Enter { code, password })) => {
                match (a.challenge.check_code(Purpose::ResetPassword, code, cx), a.user) {
                    (Checked::Right(issue), Some(user)) => a.reset(user, issue, password, lost, cx),
                    (Checked::Right(_) | Checked::Wrong, _) => a.missed(code, cx),
                    (Checked::Spent, _) => a.spent(),
                }
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Open { link, password })) => {
                match (a.challenge.check_link(link, cx.environment), a.user) {
                    (Checked::Right(issue), Some(user)) => a.reset(user, issue, password, lost, cx),
                    (Checked::Right(_) | Checked::Wrong | Checked::Spent, _) => stay().says(Outcome::Garbage),
                }
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Resend(by))) => a.resent(*by, cx),

            (Self::Reset(r), Input::Asked(Command::Enter { code, password })) => {
                match challenge::repeated(&r.issue, r.tries, Purpose::ResetPassword, code, cx) {
                    Repeated::Right => r.again(password),
                    Repeated::Wrong { tries } => go(Self::Reset(Box::new(Reset { tries, ..(**r).clone() })))
                        .says(Outcome::WrongCode { tries_left: challenge::tries_left(tries) }),
                    Repeated::Spent => stay().says(Outcome::OnlyTheLink),
                }
            }
            (Self::Reset(r), Input::Asked(Command::Open { link, password })) => {
                if link.proves(&cx.environment.ring, &r.issue) {
                    r.again(password)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            (Self::Reset(r), Input::Woken) => go(Self::Done { user: r.user }).says(Outcome::Over),

            (Self::Reset(_), Input::Asked(Command::Resend(_)))
            | (Self::Done { .. } | Self::Expired { .. } | Self::Ended { .. }, Input::Asked(_) | Input::Woken) => {
                stay().says(Outcome::Over)
            }
            (_, Input::Told(never)) => match *never {},
            // No letter of this flow carries a tag: what becomes of it is read from the outbox.
            (_, Input::Answered { .. }) => stay().says(Outcome::Over),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::AwaitingCode(awaiting) => Some(awaiting.expires_at),
            Self::Reset(reset) => Some(reset.until),
            Self::Done { .. } | Self::Expired { .. } | Self::Ended { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::AwaitingCode(_) => Phase::AwaitingCode,
            Self::Reset(_) => Phase::Reset,
            Self::Done { .. } => Phase::Done,
            Self::Expired { .. } => Phase::Expired,
            Self::Ended { .. } => Phase::Ended,
        }
    }

    fn public(&self) -> Public {
        let shown = match self {
            Self::AwaitingCode(a) => serde_json::json!({
                "address": a.address.masked(), "tries": a.challenge.tries, "letters": a.challenge.letters(),
            }),
            _ => serde_json::Value::Null,
        };
        Public { user: self.user().map(|user| user.0), shown, ..Public::default() }
    }
}
