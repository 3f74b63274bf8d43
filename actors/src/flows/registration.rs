//! Registration: somebody gives an address and a password, proves the address by code or link, and becomes a user.
//!
//! What must stay true: whether the address has an account shows in nothing but the letter to its owner; five wrong
//! codes and only the link works; a link proves the address to whoever also knows the password typed here, and to the
//! browser that began it.

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Id, Input, Lost, Named, Never, Outgoing, Public, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use super::challenge::{
    self, Awaits, Challenge, Checked, LetterProof, LinkState, REMEMBERED, Repeated, TypedCode, asked_letter, tells,
};
pub use super::challenge::{RESENDS, TRIES};
use crate::effects::{AskedBy, Auth, Delivery, Key, NewUser, UserWrite};
use crate::identity::address::Address;
use crate::identity::name::PersonName;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Purpose, Seal, of};
use crate::secrets::hasher::{Proved, SealedHash};

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Registration {
    /// A letter is on its way; its code or link is awaited.
    AwaitingCode(Box<Awaiting>),
    /// The address is proved and the user made. For a day any credential of the last letter gets the same answer.
    Verified {
        /// Who came to be.
        user: UserId,
        /// The last letter's credential.
        issue: Seal,
        /// Wrong codes so far.
        tries: u8,
        /// When this is forgotten.
        until: Timestamp,
        /// What the first answer said of them: a repeat says the same, whatever they are called by then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Shown>,
    },
    /// Verified, and the day is over.
    Done {
        /// Who came to be.
        user: UserId,
    },
    /// Nobody proved the address in time.
    Expired,
    /// Somebody else proved the address first.
    Ended,
}

/// What an answer says of a user besides their id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The address that was proved.
    pub address: Address,
    /// The username, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
}

/// What is known while the proof is awaited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Awaiting {
    /// To be proved.
    pub address: Address,
    /// Taken when the proof comes, if it is free then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// As typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<PersonName>,
    /// As typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<PersonName>,
    /// The hash of the password typed here, sealed; gone when this phase is left.
    pub password: SealedHash,
    /// The letters and the wrong codes so far.
    #[serde(flatten)]
    pub challenge: Challenge,
    /// The address has an account: its owner was told, and nothing typed here is ever right.
    pub decoy: bool,
    /// When waiting ends.
    pub expires_at: Timestamp,
}

/// What opens a registration.
#[derive(Debug)]
pub struct Start {
    /// The address, parsed.
    pub address: Address,
    /// The username, if one was asked for.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The password's hash, sealed.
    pub password: SealedHash,
    /// The address has an account.
    pub known: bool,
    /// Who asks.
    pub by: AskedBy,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "register"
    }
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Command {
    /// Here is the code of the letter.
    Enter(TypedCode),
    /// Here is the link of the letter, and the proof that the password typed at registration is known.
    Open {
        /// The link's credential.
        link: Presented<of::VerifyEmail>,
        /// The password was right; `None`: not asked yet, or wrong.
        password: Option<Proved>,
    },
    /// Here is the link of the letter, in the browser that began this registration: that is who typed the password.
    OpenHere {
        /// The link's credential.
        link: Presented<of::VerifyEmail>,
        /// The browser's cookie.
        cookie: Presented<of::FlowCookie>,
    },
    /// Send the letter once more.
    Resend(AskedBy),
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Enter(_) => "enter",
            Self::Open { .. } => "open",
            Self::OpenHere { .. } => "open_here",
            Self::Resend(_) => "resend",
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
    /// It is too soon for another letter.
    TooSoon {
        /// When it is not.
        at: Timestamp,
    },
    /// There have been five letters more than the first.
    NoMoreLetters,
    /// The address is proved.
    Verified {
        /// Who came to be.
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
    /// The link is right; the password is wrong or was not given.
    PasswordNeeded,
    /// Somebody else has proved this address.
    AddressTaken,
    /// It has ended, or woke to its end.
    Over,
}

tells!(Outcome);

impl Awaits for Awaiting {
    type Flow = Registration;
    const PURPOSE: Purpose = Purpose::VerifyEmail;

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

    /// Whether the address has an account shows in nothing else.
    fn letter(&self, seal: Seal, by: AskedBy) -> Outgoing<Auth> {
        let to = self.address.clone();
        let letter = if self.decoy {
            Letter::RegistrationKnown { to }
        } else {
            Letter::RegistrationVerify { to, seal, expires_at: self.expires_at }
        };
        asked_letter(letter, by, self.expires_at)
    }

    fn waits(self) -> Registration {
        Registration::AwaitingCode(Box::new(self))
    }
}

impl Awaiting {
    fn verified(&self, issue: &Seal, lost: Option<&Lost<Registration>>, cx: &Cx<'_, Auth>) -> Step<Registration> {
        let username = match lost {
            Some(Lost(Key::Address(_))) => return go(Registration::Ended).says(Outcome::AddressTaken),
            Some(Lost(Key::Username(_))) => None, // lost between registering and verifying: verified all the same
            _ => self.username.clone(),
        };
        let user = UserId(cx.id("user"));
        let address_key = cx.environment.address_key(&self.address);
        let until = cx.now.after(Duration::from_secs(REMEMBERED));
        let shown = Some(Shown { address: self.address.clone(), username: username.clone() });
        let (issue, tries) = (issue.clone(), self.challenge.tries);
        let mut step = go(Registration::Verified { user, issue, tries, until, shown })
            .claim(Key::Address(address_key))
            .claim(Key::User(user))
            .claim(Key::Profile(user))
            .claim(Key::Devices(user));
        if let Some(username) = &username {
            step = step.claim(Key::Username(username.clone()));
        }
        step.write(UserWrite::Create(Box::new(NewUser {
            id: user,
            address: self.address.clone(),
            address_key,
            username,
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            password: self.password.clone(),
            at: cx.now,
        })))
        .send(
            Outgoing::external(Delivery::Letter(Letter::RegistrationWelcome { to: self.address.clone() }))
                .until(cx.now.after(challenge::NOTICE)),
        )
        .says(Outcome::Verified { user, until })
    }

    /// A link was opened, by somebody who could prove (or not) that the registration is theirs.
    fn opened(
        &self,
        link: &Presented<of::VerifyEmail>,
        proved: bool,
        lost: Option<&Lost<Registration>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<Registration> {
        match self.challenge.check_link(link, cx.environment) {
            Checked::Right(issue) if proved && !self.decoy => self.verified(issue, lost, cx),
            Checked::Right(_) if !self.decoy => stay().says(Outcome::PasswordNeeded),
            Checked::Right(_) | Checked::Wrong | Checked::Spent => stay().says(Outcome::Garbage),
        }
    }
}

impl Registration {
    /// The hash that the password of a link is checked against, while the link may still be used.
    pub fn password(&self) -> Option<&SealedHash> {
        match self {
            Self::AwaitingCode(awaiting) => Some(&awaiting.password),
            _ => None,
        }
    }

    /// The user, once there is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Verified { user, .. } | Self::Done { user } => Some(*user),
            _ => None,
        }
    }

    /// What the first answer said of the user, while it is repeated.
    pub fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Verified { shown, .. } => shown.as_ref(),
            _ => None,
        }
    }

    fn began_in(&self, cookie: &Presented<of::FlowCookie>, cx: &Cx<'_, Auth>) -> bool {
        cookie.flow() == *cx.flow.bytes() && self.knows_browser(cookie, cx.environment)
    }
}

impl LetterProof for Registration {
    type Link = of::VerifyEmail;
    const LETTERS: &'static [&'static str] = &["registration.verify", "registration.known"];

    fn awaits(&self) -> Option<(&Address, &Challenge)> {
        match self {
            Self::AwaitingCode(awaiting) => Some((&awaiting.address, &awaiting.challenge)),
            _ => None,
        }
    }

    fn proved_by(&self) -> Option<&Seal> {
        match self {
            Self::Verified { issue, .. } => Some(issue),
            _ => None,
        }
    }

    fn wrong_codes(&self) -> u8 {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.challenge.tries,
            Self::Verified { tries, .. } => *tries,
            _ => 0,
        }
    }

    fn link_state(&self) -> LinkState {
        match self {
            Self::AwaitingCode(_) => LinkState::Good,
            Self::Verified { .. } | Self::Done { .. } => LinkState::Done,
            Self::Expired => LinkState::Expired,
            Self::Ended => LinkState::Overtaken,
        }
    }
}

phases! {
    /// Where a registration stands.
    pub enum Phase {
        AwaitingCode = "awaiting_code",
        Verified = "verified",
        Done = "done",
        Expired = "expired",
        Ended = "ended",
    }
}

impl Flow for Registration {
    const NAME: &'static str = "registration";
    const PREFIX: &'static str = "reg";
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Command;
    type Signal = Never;
    type Outcome = Outcome;

    fn start(asked: &Start, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        Awaiting {
            address: asked.address.clone(),
            username: asked.username.clone(),
            first_name: asked.first_name.clone(),
            last_name: asked.last_name.clone(),
            password: asked.password.clone(),
            challenge: Challenge::first(cx),
            decoy: asked.known,
            expires_at: cx.now.after(cx.environment.settings.registration_ttl),
        }
        .sent(asked.by)
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::AwaitingCode(_), Input::Woken) => go(Self::Expired).says(Outcome::Over),

            // Everything typed into a decoy is judged all the same, and then it is wrong.
            (Self::AwaitingCode(a), Input::Asked(Command::Enter(typed))) => {
                match a.challenge.check_code(Purpose::VerifyEmail, typed, cx) {
                    Checked::Right(issue) if !a.decoy => a.verified(issue, lost, cx),
                    Checked::Right(_) | Checked::Wrong => a.missed(typed, cx),
                    Checked::Spent => a.spent(),
                }
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Open { link, password })) => {
                a.opened(link, password.is_some(), lost, cx)
            }
            (Self::AwaitingCode(a), Input::Asked(Command::OpenHere { link, cookie })) => {
                a.opened(link, self.began_in(cookie, cx), lost, cx)
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Resend(by))) => a.resent(*by, cx),

            (Self::Verified { user, issue, until, tries, shown }, Input::Asked(Command::Enter(typed))) => {
                match challenge::repeated(issue, *tries, Purpose::VerifyEmail, typed, cx) {
                    Repeated::Right => stay().says(Outcome::Verified { user: *user, until: *until }),
                    Repeated::Wrong { tries } => {
                        let (issue, shown) = (issue.clone(), shown.clone());
                        go(Self::Verified { user: *user, issue, until: *until, tries, shown })
                            .says(Outcome::WrongCode { tries_left: challenge::tries_left(tries) })
                    }
                    Repeated::Spent => stay().says(Outcome::OnlyTheLink),
                }
            }
            (
                Self::Verified { user, issue, until, .. },
                Input::Asked(opened @ (Command::Open { .. } | Command::OpenHere { .. })),
            ) => {
                let (link, proved) = match opened {
                    Command::OpenHere { link, cookie } => (link, self.began_in(cookie, cx)),
                    Command::Open { link, password } => (link, password.is_some()),
                    Command::Enter(_) | Command::Resend(_) => return stay().says(Outcome::Garbage),
                };
                match (link.proves(&cx.environment.ring, issue), proved) {
                    (true, true) => stay().says(Outcome::Verified { user: *user, until: *until }),
                    (true, false) => stay().says(Outcome::PasswordNeeded),
                    (false, _) => stay().says(Outcome::Garbage),
                }
            }
            (Self::Verified { user, .. }, Input::Woken) => go(Self::Done { user: *user }).says(Outcome::Over),

            (Self::Verified { .. }, Input::Asked(Command::Resend(_)))
            | (Self::Done { .. } | Self::Expired | Self::Ended, Input::Asked(_) | Input::Woken) => {
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
            Self::Verified { until, .. } => Some(*until),
            Self::Done { .. } | Self::Expired | Self::Ended => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::AwaitingCode(_) => Phase::AwaitingCode,
            Self::Verified { .. } => Phase::Verified,
            Self::Done { .. } => Phase::Done,
            Self::Expired => Phase::Expired,
            Self::Ended => Phase::Ended,
        }
    }

    fn public(&self) -> Public {
        let shown = match self {
            Self::AwaitingCode(a) => serde_json::json!({
                "address": a.address.masked(), "tries": a.challenge.tries, "letters": a.challenge.letters(),
            }),
            _ => serde_json::Value::Null,
        };
        let user: Option<Id> = self.user().map(|user| user.0);
        Public { user, shown, ..Public::default() }
    }
}
