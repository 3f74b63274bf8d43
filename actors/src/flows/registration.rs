//! Registration: somebody gives an address and a password, proves the address by code or link, and becomes a user.
//!
//! What must stay true: whether the address has an account shows in nothing but the letter to its owner; five wrong
//! codes and only the link works; a link proves the address to whoever also knows the password typed here.

use cairn_runtime::{Cx, Flow, Id, Input, Lost, Named, Never, Outgoing, Public, Step, Timestamp, go, stay};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::credential::{self, Presented, Purpose, Seal};
use crate::effects::{Auth, Delivery, Key, Letter, NewUser, UserId, Write};
use crate::hasher::{Proved, SealedHash};
use crate::name::PersonName;
use crate::password::Code;
use crate::username::Username;
use crate::world::World;

/// Wrong codes a flow takes, resends included.
pub const TRIES: u8 = 5;
/// Letters a flow sends after the first.
pub const RESENDS: u8 = 5;
/// How long a verified registration repeats its answer, in seconds.
const REMEMBERED: u64 = 86_400;

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

/// What is known while the proof is awaited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Awaiting {
    /// To be proved.
    pub address: Address,
    /// Taken when the proof comes, if it is free then.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The hash of the password typed here, sealed; gone when this phase is left.
    pub password: SealedHash,
    /// The credentials of all letters, the last one good and the others replaced.
    pub issues: Vec<Seal>,
    /// When the last letter was asked for.
    pub issued_at: Timestamp,
    /// Wrong codes so far.
    pub tries: u8,
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
    Enter(Code),
    /// Here is the link of the letter, and the proof that the password typed at registration is known.
    Open {
        /// The link's credential.
        link: Presented,
        /// The password was right; `None`: not asked yet, or wrong.
        password: Option<Proved>,
    },
    /// Send another letter.
    Resend,
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Enter(_) => "enter",
            Self::Open { .. } => "open",
            Self::Resend => "resend",
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
    /// The code or link was replaced by a newer letter's.
    Replaced {
        /// When the newer one was asked for.
        at: Timestamp,
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

impl Awaiting {
    fn issue(&self) -> Option<&Seal> {
        self.issues.last()
    }

    fn letter(&self, seal: &Seal) -> Letter {
        let to = self.address.clone();
        if self.decoy {
            Letter::RegistrationKnown { to }
        } else {
            Letter::RegistrationVerify { to, seal: seal.clone(), expires_at: self.expires_at }
        }
    }

    /// Whether this letter's code it is. A decoy has computed the same and says no.
    fn is_code(&self, seal: &Seal, code: &Code, cx: &Cx<'_, Auth>) -> bool {
        is_code(seal, code, cx) && !self.decoy
    }

    fn verified(&self, issue: &Seal, lost: Option<&Lost<Registration>>, cx: &Cx<'_, Auth>) -> Step<Registration> {
        let username = match lost {
            Some(Lost(Key::Address(_))) => return go(Registration::Ended).says(Outcome::AddressTaken),
            Some(Lost(Key::Username(_))) => None, // lost between registering and verifying: verified all the same
            _ => self.username.clone(),
        };
        let user = UserId(cx.id("user"));
        let address_key = cx.world.address_key(&self.address);
        let until = cx.now.after(std::time::Duration::from_secs(REMEMBERED));
        let mut step = go(Registration::Verified { user, issue: issue.clone(), tries: self.tries, until })
            .claim(Key::Address(address_key))
            .claim(Key::User(user));
        if let Some(username) = &username {
            step = step.claim(Key::Username(username.clone()));
        }
        step.write(Write::CreateUser(Box::new(NewUser {
            id: user,
            address: self.address.clone(),
            address_key,
            username,
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            password: self.password.clone(),
            at: cx.now,
        })))
        .deliver(Delivery::Letter(Letter::RegistrationWelcome { to: self.address.clone() }))
        .says(Outcome::Verified { user, until })
    }

    /// A code that is not right costs a try, whatever it was.
    fn missed(&self, says: Outcome) -> Step<Registration> {
        let tries = self.tries.saturating_add(1);
        go(Registration::AwaitingCode(Box::new(Self { tries, ..self.clone() }))).says(says)
    }
}

fn is_code(seal: &Seal, code: &Code, cx: &Cx<'_, Auth>) -> bool {
    credential::code(&cx.world.ring, Purpose::VerifyEmail, *cx.flow.bytes(), seal).is_some_and(|right| right == *code)
}

impl Registration {
    /// The prefix of the text of its id.
    pub const PREFIX: &'static str = "reg";

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

    /// Whether a link is this flow's own and the last letter's: worth the price of a password's hash.
    pub fn knows_link(&self, link: &Presented, world: &World) -> bool {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.issue().is_some_and(|issue| link.proves(&world.ring, issue)),
            Self::Verified { issue, .. } => link.proves(&world.ring, issue),
            _ => false,
        }
    }
}

impl Flow for Registration {
    const NAME: &'static str = "registration";
    type Domain = Auth;
    type Start = Start;
    type Command = Command;
    type Signal = Never;
    type Outcome = Outcome;

    fn start(asked: &Start, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        let issue = Seal::new(&cx.world.ring, cx.salt);
        let expires_at = cx.now.after(cx.world.settings.registration_ttl);
        let awaiting = Awaiting {
            address: asked.address.clone(),
            username: asked.username.clone(),
            first_name: asked.first_name.clone(),
            last_name: asked.last_name.clone(),
            password: asked.password.clone(),
            issues: vec![issue.clone()],
            issued_at: cx.now,
            tries: 0,
            decoy: asked.known,
            expires_at,
        };
        let letter = Outgoing::world(Delivery::Letter(awaiting.letter(&issue))).until(expires_at);
        go(Self::AwaitingCode(Box::new(awaiting))).send(letter).says(Outcome::Awaiting { expires_at })
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::AwaitingCode(_), Input::Woken) => go(Self::Expired).says(Outcome::Over),

            (Self::AwaitingCode(a), Input::Asked(Command::Enter(_))) if a.tries >= TRIES => {
                stay().says(Outcome::OnlyTheLink)
            }
            (Self::AwaitingCode(a), Input::Asked(Command::Enter(code))) => {
                let Some((issue, replaced)) = a.issues.split_last() else { return stay().says(Outcome::Over) };
                if a.is_code(issue, code, cx) {
                    a.verified(issue, lost, cx)
                } else if replaced.iter().any(|older| a.is_code(older, code, cx)) {
                    a.missed(Outcome::Replaced { at: a.issued_at })
                } else {
                    a.missed(Outcome::WrongCode { tries_left: TRIES.saturating_sub(a.tries.saturating_add(1)) })
                }
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Open { link, password })) => {
                let Some((issue, replaced)) = a.issues.split_last() else { return stay().says(Outcome::Over) };
                if link.proves(&cx.world.ring, issue) {
                    match password {
                        Some(_) => a.verified(issue, lost, cx),
                        None => stay().says(Outcome::PasswordNeeded),
                    }
                } else if replaced.iter().any(|older| link.proves(&cx.world.ring, older)) {
                    stay().says(Outcome::Replaced { at: a.issued_at })
                } else {
                    stay().says(Outcome::Garbage)
                }
            }

            (Self::AwaitingCode(a), Input::Asked(Command::Resend)) => {
                let at = a.issued_at.after(cx.world.settings.resend_cooldown);
                if usize::from(RESENDS) < a.issues.len() {
                    return stay().says(Outcome::NoMoreLetters);
                }
                if cx.now < at {
                    return stay().says(Outcome::TooSoon { at });
                }
                let Some(issue) = a.issue().map(|last| last.next(&cx.world.ring)) else {
                    return stay().says(Outcome::Over);
                };
                let letter = Outgoing::world(Delivery::Letter(a.letter(&issue))).until(a.expires_at);
                let mut issues = a.issues.clone();
                issues.push(issue);
                let expires_at = a.expires_at;
                go(Self::AwaitingCode(Box::new(Awaiting { issues, issued_at: cx.now, ..(**a).clone() })))
                    .send(letter)
                    .says(Outcome::Awaiting { expires_at })
            }

            (Self::Verified { user, issue, until, tries }, Input::Asked(Command::Enter(code))) => {
                if *tries >= TRIES {
                    stay().says(Outcome::OnlyTheLink)
                } else if is_code(issue, code, cx) {
                    stay().says(Outcome::Verified { user: *user, until: *until })
                } else {
                    let tries = tries.saturating_add(1);
                    go(Self::Verified { user: *user, issue: issue.clone(), until: *until, tries })
                        .says(Outcome::WrongCode { tries_left: TRIES.saturating_sub(tries) })
                }
            }
            (Self::Verified { user, issue, until, .. }, Input::Asked(Command::Open { link, password })) => {
                match (link.proves(&cx.world.ring, issue), password) {
                    (true, Some(_)) => stay().says(Outcome::Verified { user: *user, until: *until }),
                    (true, None) => stay().says(Outcome::PasswordNeeded),
                    (false, _) => stay().says(Outcome::Garbage),
                }
            }
            (Self::Verified { user, .. }, Input::Woken) => go(Self::Done { user: *user }).says(Outcome::Over),

            (Self::Verified { .. }, Input::Asked(Command::Resend))
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

    fn public(&self) -> Public {
        let phase = match self {
            Self::AwaitingCode(_) => "awaiting_code",
            Self::Verified { .. } => "verified",
            Self::Done { .. } => "done",
            Self::Expired => "expired",
            Self::Ended => "ended",
        };
        let shown = match self {
            Self::AwaitingCode(a) => serde_json::json!({
                "address": a.address.masked(), "tries": a.tries, "letters": a.issues.len(),
            }),
            _ => serde_json::Value::Null,
        };
        let user: Option<Id> = self.user().map(|user| user.0);
        Public { phase, user, shown, ..Public::default() }
    }
}
