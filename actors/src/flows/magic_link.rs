//! Magic link: somebody signs in by a letter to the address of their account instead of a password.
//!
//! What must stay true: whether the address has an account shows in nothing but the letter to its owner; a letter signs in
//! once, and the session begins in the very commit that uses it up; no letter from before a reset, a sign-out everywhere or
//! a change of address signs anybody in.

use cairn_runtime::effects::open;
use cairn_runtime::{
    Cx, Flow, FlowId, Input, Lost, Named, Never, Outgoing, Public, Retain, Step, Timestamp, go, phases, stay,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::challenge::{
    self, Awaits, Challenge, Checked, LetterProof, LinkState, Repeated, TypedCode, asked_letter, letter_to_nobody,
    tells,
};
use super::session::{self, Session};
use crate::effects::{AskedBy, Auth, Key};
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Purpose, Seal, of};
use crate::secrets::digest::Digest;

/// How long a letter signs in.
pub const GOOD_FOR: Duration = Duration::from_secs(900);

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum MagicLink {
    /// A letter is on its way, if there is anybody to write to; its code or link is awaited.
    AwaitingCode(Box<Awaiting>),
    /// Its session has begun. Within the grace time the browser that asked gets the same answer, should it have lost ours.
    SignedIn(Box<SignedIn>),
    /// Signed in, and the grace time is over.
    Done {
        /// Who.
        user: UserId,
    },
    /// Nobody used the letter in time.
    Expired {
        /// Whose account it was; `None`: nobody's.
        user: Option<UserId>,
    },
    /// The account, or its hold on the address, had moved when the proof came.
    Ended {
        /// Whose account it was.
        user: UserId,
    },
}

/// Who is to be signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who.
    pub user: UserId,
    /// The number of their fence when they asked.
    pub fence: i64,
    /// The number of their claim on the address when they asked.
    pub number: i64,
}

/// What is known while the proof is awaited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Awaiting {
    /// As typed.
    pub address: Address,
    /// Who has it; `None`: nobody, so nothing is mailed and nothing typed here is ever right.
    pub account: Option<Account>,
    /// The letters and the wrong codes so far.
    #[serde(flatten)]
    pub challenge: Challenge,
    /// When waiting ends.
    pub expires_at: Timestamp,
}

/// What is remembered of a sign-in for the grace time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedIn {
    /// Who.
    pub user: UserId,
    /// The session that has begun.
    pub session: FlowId,
    /// What it said, for the same answer.
    pub tokens: session::Outcome,
    /// The letter's credential.
    pub issue: Seal,
    /// Wrong codes so far.
    pub tries: u8,
    /// The browser that asked for the letter has used it: it alone gets the same answer again.
    pub here: bool,
    /// The account was to be deleted, and this sign-in has called that off.
    pub restored: bool,
    /// When this is forgotten.
    pub until: Timestamp,
}

/// What opens it.
#[derive(Debug)]
pub struct Start {
    /// The address, parsed.
    pub address: Address,
    /// Who has it, verified; `None`: nobody.
    pub account: Option<Account>,
    /// Who asks.
    pub by: AskedBy,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "ask"
    }
}

/// Somebody who shows a code or a link.
#[derive(Debug)]
pub struct Arrival {
    /// What the session begins with; `None` where the proof is none as far as anybody can tell: nothing is looked up for
    /// it.
    pub entry: Option<Entry>,
    /// The cookie of the browser that shows it.
    pub browser: Option<Presented<of::FlowCookie>>,
}

/// What a session begins with, as it was read together with the account.
#[derive(Debug)]
pub struct Entry {
    /// What opens the session.
    pub start: session::Start,
    /// The address that the account has, by its keyed hash.
    pub address: Digest,
    /// The number of the claim on it.
    pub number: i64,
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Command {
    /// Here is the code of the letter.
    Enter {
        /// The code.
        code: TypedCode,
        /// Who shows it.
        arrival: Box<Arrival>,
    },
    /// Here is the link of the letter.
    Open {
        /// The link's credential.
        link: Presented<of::MagicLink>,
        /// Who shows it.
        arrival: Box<Arrival>,
        /// It counts only in the browser that asked for the letter: one click must not sign in who was sent a stranger's
        /// link.
        here_only: bool,
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
    /// The code is wrong.
    WrongCode {
        /// How many tries are left.
        tries_left: u8,
    },
    /// Five codes were wrong; only the link works now.
    OnlyTheLink,
    /// They are signed in.
    SignedIn {
        /// The session that has begun.
        session: FlowId,
        /// What it said.
        tokens: Box<session::Outcome>,
        /// The account was to be deleted, and this sign-in has called that off.
        restored: bool,
    },
    /// The code or link is right, and nothing was looked up for it. Nothing has changed.
    Unprepared,
    /// The account moved while this was asked: it is to be asked again.
    Moved,
    /// The link is right, and this is not the browser that asked for it: the code of the letter signs in here.
    Elsewhere,
    /// The link is not one of ours.
    Garbage,
    /// It has ended, or woke to its end.
    Over,
}

tells!(Outcome);

impl Awaits for Awaiting {
    type Flow = MagicLink;
    const PURPOSE: Purpose = Purpose::MagicLink;

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
        let letter = Letter::MagicLinkSignIn { to: self.address.clone(), seal, expires_at: self.expires_at };
        match self.account {
            Some(_) => asked_letter(letter, by, self.expires_at),
            None => letter_to_nobody(letter, by, self.expires_at),
        }
    }

    fn waits(self) -> MagicLink {
        MagicLink::AwaitingCode(Box::new(self))
    }
}

impl Awaiting {
    /// The proof is right: the session begins in this commit.
    fn signed_in(
        &self,
        account: Account,
        issue: &Seal,
        arrival: &Arrival,
        lost: Option<&Lost<MagicLink>>,
        cx: &Cx<'_, Auth>,
    ) -> Step<MagicLink> {
        let Account { user, fence, number } = account;
        let Some(Entry { start, address, number: has }) = &arrival.entry else {
            return stay().says(Outcome::Unprepared);
        };
        let own = cx.environment.address_key(&self.address);
        if (start.user, start.fence, *address, *has) != (user, fence, own, number) {
            return go(MagicLink::Ended { user }).says(Outcome::Over);
        }
        if lost.is_some() {
            return stay().says(Outcome::Moved);
        }
        let (session, tokens, begins) = open::<Session>(start, 0, cx);
        if tokens == session::Outcome::Refused {
            return stay().says(Outcome::Moved);
        }
        let until = cx.now.after(cx.environment.settings.refresh_grace.max(Duration::from_secs(1)));
        let (issue, tries) = (issue.clone(), self.challenge.tries);
        let here = is_of_browser(arrival.browser.as_ref(), &issue, cx);
        let restored = start.arrival.restores.is_some();
        let signed_in = SignedIn { user, session, tokens: tokens.clone(), issue, tries, here, restored, until };
        go(MagicLink::SignedIn(Box::new(signed_in)))
            .hold(Key::Address(own), number)
            .with(begins)
            .says(Outcome::SignedIn { session, tokens: Box::new(tokens), restored })
    }
}

/// Whether a cookie is the one of the browser that asked for the letter with this credential.
fn is_of_browser(browser: Option<&Presented<of::FlowCookie>>, issue: &Seal, cx: &Cx<'_, Auth>) -> bool {
    browser
        .is_some_and(|cookie| cookie.flow() == *cx.flow.bytes() && cookie.is_genuine(&cx.environment.ring, &issue.salt))
}

impl SignedIn {
    /// The right credential again: the same answer for the browser that asked, where it used the letter itself, and for
    /// nobody else.
    fn again(&self, browser: Option<&Presented<of::FlowCookie>>, cx: &Cx<'_, Auth>) -> Step<MagicLink> {
        if self.here && is_of_browser(browser, &self.issue, cx) {
            let (session, tokens) = (self.session, Box::new(self.tokens.clone()));
            stay().says(Outcome::SignedIn { session, tokens, restored: self.restored })
        } else {
            stay().says(Outcome::Over)
        }
    }
}

impl MagicLink {
    /// Who is to be signed in, or was, if anybody. Never to be shown to who asks.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.account.map(|account| account.user),
            Self::SignedIn(signed_in) => Some(signed_in.user),
            Self::Done { user } | Self::Ended { user } => Some(*user),
            Self::Expired { user } => *user,
        }
    }
}

impl LetterProof for MagicLink {
    type Link = of::MagicLink;
    const LETTERS: &'static [&'static str] = &["magic-link.sign-in"];
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
            Self::SignedIn(signed_in) => Some(&signed_in.issue),
            _ => None,
        }
    }

    fn wrong_codes(&self) -> u8 {
        match self {
            Self::AwaitingCode(awaiting) => awaiting.challenge.tries,
            Self::SignedIn(signed_in) => signed_in.tries,
            _ => 0,
        }
    }

    fn link_state(&self) -> LinkState {
        match self {
            Self::AwaitingCode(_) => LinkState::Good,
            Self::SignedIn(_) | Self::Done { .. } => LinkState::Done,
            Self::Expired { .. } => LinkState::Expired,
            Self::Ended { .. } => LinkState::Overtaken,
        }
    }
}

phases! {
    /// Where a sign-in by letter stands.
    pub enum Phase {
        AwaitingCode = "awaiting_code",
        SignedIn = "signed_in" as "done",
        Done = "done",
        Expired = "expired",
        Ended = "ended",
    }
}

impl Flow for MagicLink {
    const NAME: &'static str = "magic_link";
    const PREFIX: &'static str = "mag";
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
            account: asked.account,
            challenge: Challenge::first(cx),
            expires_at: cx.now.after(GOOD_FOR),
        }
        .sent(asked.by)
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::AwaitingCode(a), Input::Woken) => {
                go(Self::Expired { user: a.account.map(|account| account.user) }).says(Outcome::Over)
            }

            // Where nobody has the address, everything is judged all the same, and then it is wrong.
            (Self::AwaitingCode(a), Input::Asked(Command::Enter { code, arrival })) => {
                match (a.challenge.check_code(Purpose::MagicLink, code, cx), a.account) {
                    (Checked::Right(issue), Some(account)) => a.signed_in(account, issue, arrival, lost, cx),
                    (Checked::Right(_) | Checked::Wrong, _) => a.missed(code, cx),
                    (Checked::Spent, _) => a.spent(),
                }
            }
            (Self::AwaitingCode(a), Input::Asked(Command::Open { link, arrival, here_only })) => {
                match (a.challenge.check_link(link, cx.environment), a.account) {
                    (Checked::Right(issue), Some(_))
                        if *here_only && !is_of_browser(arrival.browser.as_ref(), issue, cx) =>
                    {
                        stay().says(Outcome::Elsewhere)
                    }
                    (Checked::Right(issue), Some(account)) => a.signed_in(account, issue, arrival, lost, cx),
                    (Checked::Right(_) | Checked::Wrong | Checked::Spent, _) => stay().says(Outcome::Garbage),
                }
            }
            (Self::AwaitingCode(a), Input::Asked(Command::Resend(by))) => a.resent(*by, cx),

            (Self::SignedIn(s), Input::Asked(Command::Enter { code, arrival })) => {
                match challenge::repeated(&s.issue, s.tries, Purpose::MagicLink, code, cx) {
                    Repeated::Right => s.again(arrival.browser.as_ref(), cx),
                    Repeated::Wrong { tries } => go(Self::SignedIn(Box::new(SignedIn { tries, ..(**s).clone() })))
                        .says(Outcome::WrongCode { tries_left: challenge::tries_left(tries) }),
                    Repeated::Spent => stay().says(Outcome::OnlyTheLink),
                }
            }
            (Self::SignedIn(s), Input::Asked(Command::Open { link, arrival, .. })) => {
                if link.proves(&cx.environment.ring, &s.issue) {
                    s.again(arrival.browser.as_ref(), cx)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            (Self::SignedIn(s), Input::Woken) => go(Self::Done { user: s.user }).says(Outcome::Over),

            (Self::SignedIn(_), Input::Asked(Command::Resend(_)))
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
            Self::SignedIn(signed_in) => Some(signed_in.until),
            Self::Done { .. } | Self::Expired { .. } | Self::Ended { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::AwaitingCode(_) => Phase::AwaitingCode,
            Self::SignedIn(_) => Phase::SignedIn,
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
