//! Session: begun by a sign-in, carried on by refresh tokens that rotate, ended by its user, its time, its misuse, or
//! by the fence of its user.
//!
//! What must stay true: one refresh token is the present one; the one before it gets the same answer within the grace
//! time; any older one shows that somebody else has them, and ends the session.

use cairn_runtime::{Cx, Flow, FlowId, Input, Lost, Named, Outgoing, Public, Step, Timestamp, go, stay};
use serde::{Deserialize, Serialize};

use super::issue;
pub use super::rotation::Minted;
use super::rotation::{Standing, standing};
use crate::acts::guesses::{self, Target};
use crate::address::Address;
use crate::credential::{Presented, Seal, of};
use crate::effects::{Auth, Delivery, Digest, Key, Letter, UserId, Write};
use crate::hasher::SealedHash;
use crate::world::Settings;

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Session {
    /// Its tokens are good.
    Active(Box<Active>),
    /// They are not any more.
    Ended {
        /// Why.
        by: End,
        /// Whose it was, so that their history shows it. Ends that an older release wrote do not say.
        #[serde(default)]
        user: Option<UserId>,
        /// The keyed hash of user, device and network.
        #[serde(default)]
        place: Option<Digest>,
    },
}

/// What is known of a living session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Active {
    /// Whose it is.
    pub user: UserId,
    /// The number of the user's fence at the sign-in: once it is another, the session is over.
    pub fence: i64,
    /// The present refresh token.
    pub issue: Seal,
    /// What the present refresh token came with.
    pub minted: Minted,
    /// When the person last proved who they are.
    pub auth_time: Timestamp,
    /// How they proved it (RFC 8176).
    pub amr: Vec<String>,
    /// The user agent, as the browser or program says it.
    pub device: Option<String>,
    /// The address that it was begun from.
    pub client_address: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ends unless it is refreshed before.
    pub expires_at: Timestamp,
    /// The keyed hash of its user, device and network: a later sign-in from there is no news.
    #[serde(default)]
    pub place: Option<Digest>,
    /// What the link in a new-device letter is rendered from, where one was sent.
    #[serde(default)]
    pub notice: Option<Seal>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its user signed out.
    SignedOut,
    /// Nobody used it for too long.
    Expired,
    /// A refresh token came that had been replaced: somebody has a copy.
    Reused,
    /// The user's fence moved: a reset, a lock, a sign-out everywhere.
    Fenced,
    /// Its user ended it from another session.
    Revoked,
    /// Its user did not know the device: the link in the letter was used.
    Disowned,
    /// The user had too many sessions, and this one was idle for longest.
    Crowded,
}

/// What opens a session.
#[derive(Debug)]
pub struct Start {
    /// Who signed in.
    pub user: UserId,
    /// The user's fence, read together with the password's hash.
    pub fence: i64,
    /// How they proved it (RFC 8176).
    pub amr: Vec<String>,
    /// The user agent.
    pub device: Option<String>,
    /// The address that the sign-in came from.
    pub client_address: Option<String>,
    /// What else the sign-in brings about.
    pub arrival: Arrival,
    /// The failed guesses that it forgets: at this target, from this network.
    pub forgets: Option<(Target, Digest)>,
}

/// What a sign-in brings about besides the session.
#[derive(Debug, Default)]
pub struct Arrival {
    /// The keyed hash of user, device and network.
    pub place: Option<Digest>,
    /// Whom to tell of a device or place that was not seen before.
    pub notice: Option<Notice>,
    /// The user never signed in before.
    pub is_first: bool,
    /// Sessions that are too many.
    pub crowded: Vec<FlowId>,
}

/// A new-device letter to be sent.
#[derive(Debug)]
pub struct Notice {
    /// To whom.
    pub to: Address,
    /// With what they signed in, in words of ours.
    pub device: String,
    /// From where.
    pub client_address: String,
}

impl Named for Start {
    fn name(&self) -> &'static str {
        "sign_in"
    }
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Command {
    /// Here is a refresh token: new tokens, please.
    Refresh(Presented<of::RefreshToken>),
    /// Here is a refresh token of any generation: end the session.
    SignOut(Presented<of::RefreshToken>),
    /// The person has just proved again who they are: new tokens that say so.
    StepUp {
        /// The number of the user's fence, read together with the password's hash.
        fence: i64,
    },
    /// A new password, the old one proved: whatever else was begun is over, this session stays.
    ChangePassword {
        /// The number of the user's fence, read together with the old password's hash.
        fence: i64,
        /// The new hash, sealed.
        password: SealedHash,
        /// Whom to tell.
        to: Address,
        /// The user's other sessions, to be told that they are over.
        others: Vec<FlowId>,
    },
    /// Its user ends it, from this session or another.
    Revoke,
    /// Here is the link of a new-device letter.
    Disown(Presented<of::EndSession>),
    /// Here is the cookie of the browser that signed in: it is in use, carry the session on.
    Seen(Presented<of::SessionCookie>),
    /// Here is the cookie of the browser that signed in: end the session.
    Leave(Presented<of::SessionCookie>),
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Refresh(_) => "refresh",
            Self::SignOut(_) => "sign_out",
            Self::StepUp { .. } => "step_up",
            Self::ChangePassword { .. } => "change_password",
            Self::Revoke => "revoke",
            Self::Disown(_) => "disown",
            Self::Seen(_) => "seen",
            Self::Leave(_) => "leave",
        }
    }
}

/// What other flows and acts may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The user's fence was moved: the tokens are dead already, what is left is to tidy up.
    Fenced,
    /// The user has too many sessions, and this one was idle for longest.
    Crowded,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Crowded => "crowded",
        }
    }
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Tokens: the refresh token is the seal's, the access token is what was minted with it.
    Tokens {
        /// Of whom.
        user: UserId,
        /// What the refresh token is rendered from.
        issue: Seal,
        /// What the access token is signed from.
        minted: Minted,
        /// When they proved who they are.
        auth_time: Timestamp,
        /// When the session ends unless it is refreshed before.
        expires_at: Timestamp,
    },
    /// The password is another; this session stays.
    PasswordChanged {
        /// Since when.
        at: Timestamp,
    },
    /// It goes on.
    Seen {
        /// When it ends unless it is used before.
        expires_at: Timestamp,
    },
    /// The user's fence moved between the check of the password and the commit: the password may be another now.
    Refused,
    /// The session has ended, now or before.
    Ended,
    /// Not a token of this session.
    Garbage,
}

impl Session {
    /// The prefix of the text of its id.
    pub const PREFIX: &'static str = "ses";

    /// The living session, if it is one.
    pub fn active(&self) -> Option<&Active> {
        match self {
            Self::Active(active) => Some(active),
            Self::Ended { .. } => None,
        }
    }

    /// Whose it is, or was.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Active(active) => Some(active.user),
            Self::Ended { user, .. } => *user,
        }
    }

    /// The keyed hash of user, device and network.
    fn place(&self) -> Option<Digest> {
        match self {
            Self::Active(active) => active.place,
            Self::Ended { place, .. } => *place,
        }
    }

    fn end(&self, by: End, cx: &Cx<'_, Auth>) -> Step<Self> {
        // Who was not known here is not known here later either: the next sign-in from there is news again.
        let place = self.place().filter(|_| by != End::Disowned);
        go(Self::Ended { by, user: self.user(), place }).release(Key::Session(cx.flow.0)).says(Outcome::Ended)
    }
}

impl Active {
    fn tokens(&self) -> Outcome {
        Outcome::Tokens {
            user: self.user,
            issue: self.issue.clone(),
            minted: self.minted.clone(),
            auth_time: self.auth_time,
            expires_at: self.expires_at,
        }
    }

    /// The letter about a device or place that was not seen before.
    fn letter(&self, notice: Option<&Notice>) -> Option<Letter> {
        let (notice, seal) = notice.zip(self.notice.clone())?;
        let Notice { to, device, client_address } = notice;
        let (to, device, client_address) = (to.clone(), device.clone(), client_address.clone());
        Some(Letter::SessionNewDevice { to, seal, device, client_address, at: self.created_at })
    }

    /// The same session with the next refresh token.
    fn rotated(&self, cx: &Cx<'_, Auth>) -> Self {
        let (issue, minted) = (self.issue.next(&cx.world.ring), self.minted.next(cx));
        Self { issue, minted, expires_at: lasts_until(self.auth_time, cx.now, &cx.world.settings), ..self.clone() }
    }

    /// Until when it would last if it were used now.
    pub fn lasts_until(&self, now: Timestamp, settings: &Settings) -> Timestamp {
        lasts_until(self.auth_time, now, settings)
    }
}

/// Until when a session lasts that is used now: as long as it may be idle, and not longer after the last proof of who its
/// user is than any may last.
fn lasts_until(auth_time: Timestamp, now: Timestamp, settings: &Settings) -> Timestamp {
    now.after(settings.session_ttl).min(auth_time.after(settings.session_max))
}

impl Flow for Session {
    const NAME: &'static str = "session";
    type Domain = Auth;
    type Start = Start;
    type Command = Command;
    type Signal = Signal;
    type Outcome = Outcome;

    fn start(asked: &Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        if lost.is_some() {
            return stay().says(Outcome::Refused);
        }
        let active = Active {
            user: asked.user,
            fence: asked.fence,
            issue: Seal::new(&cx.world.ring, cx.salt),
            minted: Minted::first(cx),
            auth_time: cx.now,
            amr: asked.amr.clone(),
            device: asked.device.clone(),
            client_address: asked.client_address.clone(),
            created_at: cx.now,
            expires_at: lasts_until(cx.now, cx.now, &cx.world.settings),
            place: asked.arrival.place,
            notice: asked.arrival.notice.as_ref().map(|_| Seal::new(&cx.world.ring, cx.bytes("notice"))),
        };
        let (tokens, letter) = (active.tokens(), active.letter(asked.arrival.notice.as_ref()));
        let mut step =
            go(Self::Active(Box::new(active))).hold(Key::User(asked.user), asked.fence).claim(Key::Session(cx.flow.0));
        if let Some(letter) = letter {
            step = step.send(Outgoing::world(Delivery::Letter(letter)).until(cx.now.after(issue::NOTICE)));
        }
        if asked.arrival.is_first {
            step = step.write(Write::FirstSignIn { user: asked.user, at: cx.now });
        }
        if let Some((target, by)) = asked.forgets {
            step = step.write(guesses::forgotten(target, by, cx));
        }
        for crowded in &asked.arrival.crowded {
            step = step.tell::<Self>(*crowded, &Signal::Crowded);
        }
        step.says(tokens)
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::Active(_), Input::Asked(Command::Refresh(_))) if matches!(lost, Some(Lost(Key::User(_)))) => {
                self.end(End::Fenced, cx)
            }
            (Self::Active(a), Input::Asked(Command::Refresh(token))) => {
                match standing(token, &a.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Present => {
                        let next = a.rotated(cx);
                        let tokens = next.tokens();
                        go(Self::Active(Box::new(next))).hold(Key::User(a.user), a.fence).says(tokens)
                    }
                    // The client lost our reply: the same again. It costs a read of the fence, and writes nothing.
                    Standing::Repeated => stay().hold(Key::User(a.user), a.fence).says(a.tokens()),
                    Standing::Replaced => self.end(End::Reused, cx),
                }
            }

            (Self::Active(a), Input::Asked(Command::SignOut(token))) => {
                match standing(token, &a.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Present | Standing::Repeated | Standing::Replaced => self.end(End::SignedOut, cx),
                }
            }
            // The fence moved, now or before the proof was read: the session is one of those that are over.
            (Self::Active(a), Input::Asked(Command::StepUp { fence } | Command::ChangePassword { fence, .. }))
                if lost.is_some() || *fence > a.fence =>
            {
                self.end(End::Fenced, cx)
            }
            // The proof was of the password that this session has replaced since: it proves nothing, and ends nothing.
            (Self::Active(a), Input::Asked(Command::StepUp { fence } | Command::ChangePassword { fence, .. }))
                if *fence < a.fence =>
            {
                stay().says(Outcome::Refused)
            }
            (Self::Active(a), Input::Asked(Command::StepUp { .. })) => {
                let next = Active { auth_time: cx.now, ..(**a).clone() }.rotated(cx);
                let tokens = next.tokens();
                go(Self::Active(Box::new(next))).hold(Key::User(a.user), a.fence).says(tokens)
            }
            (Self::Active(a), Input::Asked(Command::ChangePassword { password, to, others, .. })) => {
                let next = Active { fence: a.fence.saturating_add(1), ..(**a).clone() };
                let letter = Letter::PasswordChanged { to: to.clone(), at: cx.now };
                let mut step = go(Self::Active(Box::new(next)))
                    .bump_from(Key::User(a.user), a.fence)
                    .write(Write::SetPassword { user: a.user, password: password.clone(), at: cx.now })
                    .send(Outgoing::world(Delivery::Letter(letter)).until(cx.now.after(issue::NOTICE)));
                for other in others {
                    step = step.tell::<Self>(*other, &Signal::Fenced);
                }
                step.says(Outcome::PasswordChanged { at: cx.now })
            }
            (Self::Active(_), Input::Asked(Command::Revoke)) => self.end(End::Revoked, cx),
            (Self::Active(a), Input::Asked(Command::Disown(link))) => {
                if a.notice.as_ref().is_some_and(|notice| link.proves(&cx.world.ring, notice)) {
                    self.end(End::Disowned, cx)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            // A browser's cookie does not rotate: pages that load side by side would take each other's turn.
            (Self::Active(a), Input::Asked(Command::Seen(cookie) | Command::Leave(cookie)))
                if !cookie.is_genuine(&cx.world.ring, &a.issue.salt) =>
            {
                stay().says(Outcome::Garbage)
            }
            (Self::Active(_), Input::Asked(Command::Seen(_))) if lost.is_some() => self.end(End::Fenced, cx),
            (Self::Active(a), Input::Asked(Command::Seen(_))) => {
                let expires_at = a.lasts_until(cx.now, &cx.world.settings);
                go(Self::Active(Box::new(Active { expires_at, ..(**a).clone() })))
                    .hold(Key::User(a.user), a.fence)
                    .says(Outcome::Seen { expires_at })
            }
            (Self::Active(_), Input::Asked(Command::Leave(_))) => self.end(End::SignedOut, cx),
            (Self::Active(_), Input::Woken) => self.end(End::Expired, cx),
            (Self::Active(_), Input::Told(Signal::Fenced)) => self.end(End::Fenced, cx),
            (Self::Active(_), Input::Told(Signal::Crowded)) => self.end(End::Crowded, cx),

            (Self::Ended { .. }, Input::Asked(_) | Input::Told(_) | Input::Woken) | (_, Input::Answered { .. }) => {
                stay().says(Outcome::Ended)
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.active().map(|active| active.expires_at)
    }

    fn public(&self) -> Public {
        match self {
            Self::Active(a) => Public {
                phase: "active",
                user: Some(a.user.0),
                subject: a.place.map(|place| place.0),
                shown: serde_json::json!({ "generation": a.issue.n, "amr": a.amr, "expires_at": a.expires_at }),
                ..Public::default()
            },
            Self::Ended { by, user, place } => Public {
                phase: "ended",
                user: user.map(|user| user.0),
                subject: place.map(|place| place.0),
                shown: serde_json::json!({ "by": by }),
                ..Public::default()
            },
        }
    }
}
