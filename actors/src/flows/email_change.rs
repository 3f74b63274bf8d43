//! Change of address: somebody who is signed in proves another address, by code or link; for seven days the address
//! from before can take it back.
//!
//! What must stay true: whether the new address has an account shows in nothing but the letter to its owner; the
//! address from before stays claimed as long as it can take the change back; taking it back ends every session and
//! every later change and calls a deletion off, in the same commit. (A signal tidies up after that. What makes a later
//! change's own link worthless is the number of the claim on *its* address from before, which the commit raises: who
//! took an account over must not take the owner's undo back before the signal is there.) What was taken meanwhile is
//! kept for longer than a reset link is good, so that nobody has it anew while a letter from then is about.

mod words;

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Going, Input, Lost, Outgoing, Public, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

pub use self::words::{Account, Command, Confirmer, Later, NewPassword, Outcome, Signal, Start};
use super::challenge::{self, Awaits, Challenge, Checked, LetterProof, LinkState, Repeated, asked_letter, tells};
use super::deletion::{self, Deletion};
use crate::effects::{AskedBy, Auth, Delivery, DeviceWrite, Key, UserWrite};
use crate::environment::Environment;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Purpose, Seal, of};
use crate::secrets::digest::Digest;
use crate::secrets::hasher::SealedHash;

/// How long the address from before can take a change back.
pub const UNDO: Duration = Duration::from_secs(7 * 86_400);
/// How long an address that was lost by a change taken back is kept at least, on top of the time that a reset link is
/// good: whoever has it next counts from the beginning, and a letter of a recovery that was asked for before must not
/// take their claim for the account's. Far more than clocks are wrong by.
const KEPT: Duration = Duration::from_secs(86_400);
/// How many changes of one account can be taken back at a time: taking the first back names all the others.
pub const CHANGES: usize = 20;

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum EmailChange {
    /// A letter is on its way to the new address; its code or link is awaited.
    AwaitingCode(Box<Awaiting>),
    /// The address is another. The one from before can still take it back.
    Changed(Box<Changed>),
    /// It was taken back. What it had taken is held until nobody can ask about it any more.
    Undone(Box<Undone>),
    /// Changed, and not taken back in time.
    Done {
        /// Whose address it is.
        user: UserId,
    },
    /// Nobody proved the new address in time.
    Expired {
        /// Whose address it would have been.
        user: UserId,
    },
    /// Called off: the new address had an owner when the proof came, the account's fence had moved, or the change was
    /// taken back together with an earlier one, or long ago.
    Ended {
        /// Whose address it would have been.
        user: UserId,
    },
}

/// What is known while the proof is awaited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Awaiting {
    /// Who asks.
    pub user: UserId,
    /// The number of their fence when they asked: a reset or a sign-out everywhere calls this off.
    pub fence: i64,
    /// The number of their devices when they asked: whoever does not know a sign-in calls this off as well.
    #[serde(default)]
    pub devices: i64,
    /// The address that they had when they asked, and the number of the claim on it: another change that is proved
    /// first calls this one off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<(Digest, i64)>,
    /// The new address, as typed.
    pub address: Address,
    /// The new address has an owner: the letter goes to them and nothing typed here is ever right.
    pub decoy: bool,
    /// The letters and the wrong codes so far.
    #[serde(flatten)]
    pub challenge: Challenge,
    /// When waiting ends.
    pub expires_at: Timestamp,
}

/// What is known of a change that can be taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// Whose address it is.
    pub user: UserId,
    /// The address from before, still claimed.
    pub before: Address,
    /// The number of the claim on it since: once it is another, an earlier change was taken back, and this one with it.
    pub number: i64,
    /// The address since.
    pub address: Address,
    /// The last letter's credential: any of it gets the same answer.
    pub issue: Seal,
    /// Wrong codes so far.
    pub tries: u8,
    /// What the link in the letter to the address from before is rendered from.
    pub undo: Seal,
    /// Until when it can be taken back.
    pub until: Timestamp,
}

/// What is remembered of a change that was taken back, by its own link or with an earlier one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Undone {
    /// Whose address it was.
    pub user: UserId,
    /// The address that was given up by it, claimed until the end.
    pub address: Address,
    /// The address that is the account's again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Address>,
    /// The link that took it back: it gets the same answer again.
    pub undo: Seal,
    /// The number of the user's fence since then: as long as it is this, the password is out of force, and the link may set
    /// a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// The hash of the password that the link has set, sealed: what a repeat is told apart by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SealedHash>,
    /// Until when.
    pub until: Timestamp,
    /// It was taken back with an earlier change: its own link does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overtaken: bool,
}

tells!(Outcome);

impl Awaits for Awaiting {
    type Flow = EmailChange;
    const PURPOSE: Purpose = Purpose::EmailChange;

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
            Letter::EmailKnown { to }
        } else {
            Letter::EmailConfirm { to, seal, expires_at: self.expires_at }
        };
        asked_letter(letter, by, self.expires_at)
    }

    fn waits(self) -> EmailChange {
        EmailChange::AwaitingCode(Box::new(self))
    }
}

impl Awaiting {
    /// The proof is right: the address becomes the account's, and the one from before stays claimed, its number raised,
    /// so that whatever counted on it being the account's loses.
    fn changed(
        &self,
        issue: &Seal,
        account: Option<&Account>,
        lost: Option<&Lost<EmailChange>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<EmailChange> {
        let user = self.user;
        let address_key = cx.environment.address_key(&self.address);
        let Some(account) = account else { return go(EmailChange::Ended { user }).says(Outcome::Over) };
        let before = cx.environment.address_key(&account.address);
        if before == address_key || self.from.is_some_and(|from| from != (before, account.number)) {
            // Another change was faster.
            return go(EmailChange::Ended { user }).says(Outcome::Over);
        }
        match lost {
            Some(Lost(Key::Address(key))) if *key == address_key => {
                return go(EmailChange::Ended { user }).says(Outcome::AddressTaken);
            }
            Some(Lost(Key::Address(_))) => return stay().says(Outcome::Moved),
            Some(_) => return go(EmailChange::Ended { user }).says(Outcome::Over),
            None => {}
        }
        if account.later.len() >= CHANGES {
            let at = account.later.iter().map(|later| later.until).min().unwrap_or(cx.now);
            return stay().says(Outcome::TooSoon { at });
        }
        // Later than any earlier change can be taken back, whatever the clocks of the processes say: by this they are
        // told apart when one of them is.
        let earlier = account.later.iter().map(|earlier| earlier.until.after(Duration::from_millis(1)));
        let until = earlier.fold(cx.now.after(UNDO), Timestamp::max);
        let undo = Seal::new(&cx.environment.ring, cx.bytes("undo"));
        let notice =
            Letter::EmailChanged { to: account.address.clone(), seal: undo.clone(), at: cx.now, expires_at: until };
        go(EmailChange::Changed(Box::new(Changed {
            user,
            before: account.address.clone(),
            // Raised by this very step.
            number: account.number.saturating_add(1),
            address: self.address.clone(),
            issue: issue.clone(),
            tries: self.challenge.tries,
            undo,
            until,
        })))
        .hold(Key::User(user), self.fence)
        .hold(Key::Devices(user), self.devices)
        .claim(Key::Address(address_key))
        .bump_from(Key::Address(before), account.number)
        .bump(Key::Profile(user))
        .write(UserWrite::SetAddress { user, address: self.address.clone(), address_key, at: cx.now })
        .send(Outgoing::external(Delivery::Letter(notice)).until(until))
        .says(Outcome::Changed { user, until })
    }
}

impl Changed {
    fn again(&self) -> Step<EmailChange> {
        stay().says(Outcome::Changed { user: self.user, until: self.until })
    }

    /// A new password, or none: the one from before may be the thief's.
    fn secured(
        going: Going<EmailChange>,
        user: UserId,
        password: Option<&NewPassword>,
        to: &Address,
        cx: &Cx<'_, Auth>,
    ) -> Going<EmailChange> {
        let Some(password) = password else { return going.write(UserWrite::SuspendPassword { user, at: cx.now }) };
        let letter = Letter::PasswordChanged { to: to.clone(), at: cx.now };
        going
            .write(UserWrite::SetPassword { user, password: password.hash.clone(), at: cx.now })
            .send(Outgoing::external(Delivery::Letter(letter)).until(cx.now.after(challenge::NOTICE)))
    }

    /// The address from before becomes the account's again. What it is instead is given up at the end of the seven days.
    fn undone(
        &self,
        account: Option<&Account>,
        password: Option<&NewPassword>,
        lost: Option<&Lost<EmailChange>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<EmailChange> {
        let (user, until) = (self.user, self.kept_until(cx));
        let key = |address| Key::Address(cx.environment.address_key(address));
        // The address since went with the account, or is a later change's to give back.
        let gone = || go(EmailChange::Ended { user }).release(key(&self.before)).says(Outcome::Over);
        let Some(account) = account else { return gone() };
        if account.address == self.before {
            // It was read before the change.
            return stay().says(Outcome::Moved);
        }
        match lost {
            Some(Lost(lost)) if *lost == key(&self.before) => return self.overtaken(cx),
            Some(Lost(Key::Address(_) | Key::User(_))) => return stay().says(Outcome::Moved),
            Some(_) => return gone(),
            None => {}
        }
        let address_key = cx.environment.address_key(&self.before);
        let undone = go(EmailChange::Undone(Box::new(Undone {
            user,
            address: self.address.clone(),
            before: Some(self.before.clone()),
            undo: self.undo.clone(),
            // Raised by this very step.
            fence: password.is_none().then(|| account.fence.saturating_add(1)),
            password: password.map(|password| password.hash.clone()),
            until,
            overtaken: false,
        })));
        let mut step = Self::secured(undone, user, password, &self.before, cx)
            .bump_from(Key::Address(address_key), self.number)
            .bump_from(key(&account.address), account.number)
            .bump_from(Key::User(user), account.fence)
            .bump(Key::Profile(user))
            .bump(Key::Devices(user))
            .write(DeviceWrite::ForgetAll { user })
            // Whether or not one waited when the account was read: it may have been asked for since.
            .write(UserWrite::SetDeletion { user, flow: None, at: cx.now })
            .write(UserWrite::SetAddress { user, address: self.before.clone(), address_key, at: cx.now });
        for later in &account.later {
            step = step.bump(key(&later.before)).tell::<EmailChange>(later.flow, &Signal::Undone);
        }
        step = step.with(account.followers.fenced());
        if let Some(deletion) = account.deletion {
            step = step.tell::<Deletion>(deletion, &deletion::Signal::Restored);
        }
        step.says(Outcome::Undone { user, until })
    }

    /// An earlier change was taken back: what this one took is to be nobody's; what it had given up is the earlier
    /// one's to give back.
    fn overtaken(&self, cx: &Cx<'_, Auth>) -> Step<EmailChange> {
        go(EmailChange::Undone(Box::new(Undone {
            user: self.user,
            address: self.address.clone(),
            before: None,
            undo: self.undo.clone(),
            fence: None,
            password: None,
            until: self.kept_until(cx),
            overtaken: true,
        })))
        .says(Outcome::Over)
    }

    /// Until when the address that is lost now is kept.
    fn kept_until(&self, cx: &Cx<'_, Auth>) -> Timestamp {
        self.until.max(cx.now.after(KEPT.saturating_add(cx.environment.settings.reset_ttl)))
    }
}

impl Undone {
    /// The link once more: the same answer, and a new password once, as long as the one from before is out of force.
    fn again(&self, password: Option<&NewPassword>, lost: bool, cx: &Cx<'_, Auth>) -> Step<EmailChange> {
        let says = Outcome::Undone { user: self.user, until: self.until };
        match (password, self.fence, &self.before) {
            (None, ..) => stay().says(says),
            (Some(password), Some(fence), Some(before)) if !lost => {
                let set = Self { fence: None, password: Some(password.hash.clone()), ..self.clone() };
                let going = go(EmailChange::Undone(Box::new(set)));
                Changed::secured(going, self.user, Some(password), before, cx)
                    .bump_from(Key::User(self.user), fence)
                    .says(says)
            }
            (Some(password), ..) if password.same.is_some() => stay().says(says),
            (Some(_), ..) => stay().says(Outcome::UsedUp),
        }
    }
}

impl EmailChange {
    /// Whose address it is or would be.
    pub fn user(&self) -> UserId {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.user,
            Self::Changed(changed) => changed.user,
            Self::Undone(undone) => undone.user,
            Self::Done { user } | Self::Expired { user } | Self::Ended { user } => *user,
        }
    }

    /// The change that can still be taken back, if it is one.
    pub fn changed(&self) -> Option<&Changed> {
        match self {
            Self::Changed(changed) => Some(changed),
            _ => None,
        }
    }

    /// The address that an answer to a proof says, or to whoever took the change back, while it is repeated.
    pub fn shown(&self, outcome: &Outcome) -> Option<&Address> {
        match (self, outcome) {
            (Self::Changed(changed), Outcome::Changed { .. }) => Some(&changed.address),
            (Self::Undone(undone), Outcome::Changed { .. }) => Some(&undone.address),
            (Self::Undone(undone), Outcome::Undone { .. }) => undone.before.as_ref(),
            _ => None,
        }
    }

    /// An address that nobody can have for now, because the account had it: from before the change, or until it was taken
    /// back.
    pub fn kept(&self) -> Option<(&Address, Timestamp)> {
        match self {
            Self::Changed(changed) => Some((&changed.before, changed.until)),
            Self::Undone(undone) => Some((&undone.address, undone.until)),
            _ => None,
        }
    }

    /// The hash of the password that was set here with the link that took the change back, while a repeat may still come.
    pub fn password(&self) -> Option<&SealedHash> {
        match self {
            Self::Undone(undone) => undone.password.as_ref(),
            _ => None,
        }
    }

    /// Whether the link that took the change back may set a new password, given the present number of the user's fence.
    pub fn may_set_password(&self, fence: Option<i64>) -> bool {
        matches!(self, Self::Undone(undone) if fence.is_some() && undone.fence == fence)
    }

    /// Whether a link takes this change back, or has done so.
    pub fn knows_undo(&self, link: &Presented<of::UndoEmailChange>, environment: &Environment) -> bool {
        match self {
            Self::Changed(changed) => link.proves(&environment.ring, &changed.undo),
            Self::Undone(undone) => !undone.overtaken && link.proves(&environment.ring, &undone.undo),
            _ => false,
        }
    }
}

impl LetterProof for EmailChange {
    type Link = of::EmailChange;
    const LETTERS: &'static [&'static str] = &["email.confirm", "email.known"];

    fn awaits(&self) -> Option<(&Address, &Challenge)> {
        match self {
            Self::AwaitingCode(awaiting) => Some((&awaiting.address, &awaiting.challenge)),
            _ => None,
        }
    }

    fn proved_by(&self) -> Option<&Seal> {
        self.changed().map(|changed| &changed.issue)
    }

    fn wrong_codes(&self) -> u8 {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.challenge.tries,
            Self::Changed(changed) => changed.tries,
            _ => 0,
        }
    }

    fn link_state(&self) -> LinkState {
        match self {
            Self::AwaitingCode(_) => LinkState::Good,
            Self::Changed(_) | Self::Done { .. } => LinkState::Done,
            Self::Expired { .. } => LinkState::Expired,
            Self::Undone(_) | Self::Ended { .. } => LinkState::Overtaken,
        }
    }
}

phases! {
    /// Where a change of address stands.
    pub enum Phase {
        AwaitingCode = "awaiting_code",
        Changed = "changed" as "done",
        Done = "done",
        Undone = "undone" as "ended",
        Expired = "expired",
        Ended = "ended",
    }
}

impl Flow for EmailChange {
    const NAME: &'static str = "email_change";
    const PREFIX: &'static str = "emc";
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Command;
    type Signal = Signal;
    type Outcome = Outcome;

    fn start(asked: &Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        if lost.is_some() {
            // Whatever the password was proved for is over.
            return stay().says(Outcome::Over);
        }
        let expires_at = cx.now.after(cx.environment.settings.registration_ttl);
        let begun = Awaiting {
            user: asked.user,
            fence: asked.fence,
            devices: asked.devices,
            from: Some(asked.from),
            address: asked.address.clone(),
            decoy: asked.known,
            challenge: Challenge::first(cx),
            expires_at,
        };
        let step = begun
            .sending(asked.by)
            .hold(Key::User(asked.user), asked.fence)
            .hold(Key::Devices(asked.user), asked.devices);
        let step = asked.waiting.iter().fold(step, |step, flow| step.tell::<Self>(*flow, &Signal::Replaced));
        step.says(Outcome::Awaiting { expires_at })
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        let key = |address| Key::Address(cx.environment.address_key(address));
        match (self, input) {
            (Self::AwaitingCode(a), Input::Woken) => go(Self::Expired { user: a.user }).says(Outcome::Over),

            // Everything typed into a decoy is judged all the same, and then it is wrong.
            (Self::AwaitingCode(a), Input::Asked(Command::Enter { code, account })) => {
                match a.challenge.check_code(Purpose::EmailChange, code, cx) {
                    Checked::Right(issue) if !a.decoy => a.changed(issue, account.as_ref(), lost, cx),
                    Checked::Right(_) | Checked::Wrong => a.missed(code, cx),
                    Checked::Spent => a.spent(),
                }
            }
            (Self::AwaitingCode(a), Input::Asked(Command::Open { link, by, account })) => {
                match a.challenge.check_link(link, cx.environment) {
                    Checked::Right(issue) if !a.decoy && by.is_entitled(a.user, issue, cx) => {
                        a.changed(issue, account.as_ref(), lost, cx)
                    }
                    Checked::Right(_) if !a.decoy => stay().says(Outcome::PasswordNeeded),
                    Checked::Right(_) | Checked::Wrong | Checked::Spent => stay().says(Outcome::Garbage),
                }
            }
            (Self::AwaitingCode(a), Input::Asked(Command::Resend(by))) => a.resent(*by, cx),
            (Self::AwaitingCode(a), Input::Told(Signal::Undone | Signal::Replaced)) => {
                go(Self::Ended { user: a.user }).says(Outcome::Over)
            }

            (Self::Changed(c), Input::Asked(Command::Enter { code, .. })) => {
                match challenge::repeated(&c.issue, c.tries, Purpose::EmailChange, code, cx) {
                    Repeated::Right => c.again(),
                    Repeated::Wrong { tries } => go(Self::Changed(Box::new(Changed { tries, ..(**c).clone() })))
                        .says(Outcome::WrongCode { tries_left: challenge::tries_left(tries) }),
                    Repeated::Spent => stay().says(Outcome::OnlyTheLink),
                }
            }
            (Self::Changed(c), Input::Asked(Command::Open { link, by, .. })) => {
                if !link.proves(&cx.environment.ring, &c.issue) {
                    stay().says(Outcome::Garbage)
                } else if by.is_entitled(c.user, &c.issue, cx) {
                    c.again()
                } else {
                    stay().says(Outcome::PasswordNeeded)
                }
            }
            (Self::Changed(c), Input::Asked(Command::Undo { link, account, password })) => {
                if link.proves(&cx.environment.ring, &c.undo) {
                    c.undone(account.as_ref(), password.as_ref(), lost, cx)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            // The address from before goes back to whoever may want it.
            (Self::Changed(c), Input::Woken) if lost.is_none() => go(Self::Done { user: c.user })
                .hold(key(&c.before), c.number)
                .release(key(&c.before))
                .says(Outcome::Over),
            (Self::Changed(c), Input::Woken) => c.overtaken(cx),
            (Self::Changed(c), Input::Told(Signal::Undone)) => c.overtaken(cx),

            (Self::Undone(u), Input::Asked(Command::Undo { link, password, .. })) if !u.overtaken => {
                if link.proves(&cx.environment.ring, &u.undo) {
                    u.again(password.as_ref(), lost.is_some(), cx)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            // What it keeps it keeps until then, whatever else is taken back.
            (Self::Undone(_), Input::Told(_)) | (Self::Changed(_), Input::Told(Signal::Replaced)) => {
                stay().says(Outcome::Over)
            }
            (Self::Undone(u), Input::Woken) => {
                go(Self::Ended { user: u.user }).release(key(&u.address)).says(Outcome::Over)
            }

            (Self::AwaitingCode(_), Input::Asked(Command::Undo { .. })) => stay().says(Outcome::Garbage),
            (Self::Changed(_), Input::Asked(Command::Resend(_)))
            | (Self::Undone(_), Input::Asked(_))
            | (
                Self::Done { .. } | Self::Expired { .. } | Self::Ended { .. },
                Input::Asked(_) | Input::Woken | Input::Told(_),
            ) => stay().says(Outcome::Over),
            // No letter of this flow carries a tag: what becomes of it is read from the outbox.
            (_, Input::Answered { .. }) => stay().says(Outcome::Over),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::AwaitingCode(awaiting) => Some(awaiting.expires_at),
            Self::Changed(changed) => Some(changed.until),
            Self::Undone(undone) => Some(undone.until),
            Self::Done { .. } | Self::Expired { .. } | Self::Ended { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::AwaitingCode(_) => Phase::AwaitingCode,
            Self::Changed(_) => Phase::Changed,
            Self::Done { .. } => Phase::Done,
            Self::Undone(_) => Phase::Undone,
            Self::Expired { .. } => Phase::Expired,
            Self::Ended { .. } => Phase::Ended,
        }
    }

    fn public(&self) -> Public {
        let shown = match self {
            Self::AwaitingCode(a) => serde_json::json!({
                "address": a.address.masked(), "tries": a.challenge.tries, "letters": a.challenge.letters(),
            }),
            Self::Changed(c) => serde_json::json!({ "address": c.address.masked(), "before": c.before.masked() }),
            Self::Undone(_) => serde_json::json!({ "undone": true }),
            _ => serde_json::Value::Null,
        };
        Public { user: Some(self.user().0), shown, ..Public::default() }
    }
}
