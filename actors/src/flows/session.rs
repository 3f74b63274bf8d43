//! Session: begun by a sign-in, carried on by refresh tokens that rotate, ended by its user, its time, its misuse, or
//! by the fence of its user.
//!
//! What must stay true: one refresh token is the present one; the one before it gets the same answer within the grace
//! time; any older one shows that somebody else has them, and ends the session.

use cairn_runtime::{Cx, Flow, Input, Lost, Named, Public, Step, Timestamp, go, stay};
use serde::{Deserialize, Serialize};

pub use super::rotation::Minted;
use super::rotation::{Standing, standing};
use crate::credential::{Presented, Seal};
use crate::effects::{Auth, Key, UserId};

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
    Refresh(Presented),
    /// Here is a refresh token of any generation: end the session.
    SignOut(Presented),
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Refresh(_) => "refresh",
            Self::SignOut(_) => "sign_out",
        }
    }
}

/// What other flows and acts may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The user's fence was moved: the tokens are dead already, what is left is to tidy up.
    Fenced,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        "fenced"
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

    fn end(by: End, cx: &Cx<'_, Auth>) -> Step<Self> {
        go(Self::Ended { by }).release(Key::Session(cx.flow.0)).says(Outcome::Ended)
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

    /// The same session with the next refresh token.
    fn rotated(&self, cx: &Cx<'_, Auth>) -> Self {
        let (issue, minted) = (self.issue.next(&cx.world.ring), self.minted.next(cx));
        Self { issue, minted, expires_at: cx.now.after(cx.world.settings.session_ttl), ..self.clone() }
    }
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
            expires_at: cx.now.after(cx.world.settings.session_ttl),
        };
        let tokens = active.tokens();
        go(Self::Active(Box::new(active)))
            .hold(Key::User(asked.user), asked.fence)
            .claim(Key::Session(cx.flow.0))
            .says(tokens)
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::Active(_), Input::Asked(Command::Refresh(_))) if matches!(lost, Some(Lost(Key::User(_)))) => {
                Self::end(End::Fenced, cx)
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
                    Standing::Replaced => Self::end(End::Reused, cx),
                }
            }

            (Self::Active(a), Input::Asked(Command::SignOut(token))) => {
                match standing(token, &a.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Present | Standing::Repeated | Standing::Replaced => Self::end(End::SignedOut, cx),
                }
            }
            (Self::Active(_), Input::Woken) => Self::end(End::Expired, cx),
            (Self::Active(_), Input::Told(Signal::Fenced)) => Self::end(End::Fenced, cx),

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
                shown: serde_json::json!({ "generation": a.issue.n, "amr": a.amr, "expires_at": a.expires_at }),
                ..Public::default()
            },
            Self::Ended { by } => {
                Public { phase: "ended", shown: serde_json::json!({ "by": by }), ..Public::default() }
            }
        }
    }
}
