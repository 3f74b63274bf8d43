//! What is known of a grant before there are tokens, and the checks that must hold before a code counts as used.

use cairn_runtime::{Cx, Id, Lost, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Authorization, Exchange, Outcome};
use crate::effects::{Auth, Key};
use crate::environment::Environment;
use crate::identity::user_id::UserId;
use crate::oauth::access::Access;
use crate::oauth::client::ClientId;
use crate::oauth::pkce::Challenge;
use crate::oauth::uri::AbsoluteUri;
use crate::secrets::credential::{OfPurpose, Presented, Seal, UserCode, of};
use crate::secrets::digest::Digest;

/// What is asked for, by whom and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Who asks.
    pub client: ClientId,
    /// For what: as asked at first, as granted after the consent.
    pub access: Access,
    /// Whether refresh tokens rotate.
    pub refresh: Policy,
    /// The way that it came in.
    pub way: Way,
    /// What all credentials of this flow are rendered from: the browser's cookie, the authorization or device code
    /// and the user code at generation 0, then the refresh tokens, each with the prefix of its purpose.
    pub issue: Seal,
    /// When this phase ends by itself.
    pub expires_at: Timestamp,
}

/// The two ways in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A browser was sent here, and goes back with a code.
    Browser {
        /// Where it goes back to; registered by the client.
        redirect_uri: AbsoluteUri,
        /// What the verifier must meet (RFC 7636).
        challenge: Challenge,
        /// For the ID token (OpenID Connect Core section 3.1.2.1). Gone with the first tokens.
        nonce: Option<String>,
        /// The client's own, given back as it came. Gone with the first tokens.
        state: Option<String>,
    },
    /// A device asks again and again.
    Device {
        /// The keyed hash of the user code: see [`Authorization::user_code_key`].
        user_code: Digest,
        /// How many seconds must lie between two polls.
        interval: u32,
    },
}

/// What becomes of a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is replaced: for clients that prove nothing about themselves.
    Rotate,
    /// It stays: for clients that authenticate, or bind it to a key of theirs.
    Stable,
}

/// Who is signed in, as the service read it, with the fences that were read together with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user.
    pub user: UserId,
    /// The number of the user's fence.
    pub fence: i64,
    /// The session in which they are signed in: the id of its flow.
    pub session: Id,
    /// The number of the session's fence.
    pub session_fence: i64,
    /// When they last proved who they are.
    pub auth_time: Timestamp,
    /// How they proved it (RFC 8176).
    pub amr: Vec<String>,
}

impl Way {
    /// What is still of use once the client has tokens: enough to recognise a second use of the code.
    pub(super) fn used(self) -> Self {
        match self {
            Self::Browser { redirect_uri, challenge, .. } => {
                Self::Browser { redirect_uri, challenge, nonce: None, state: None }
            }
            device @ Self::Device { .. } => device,
        }
    }

    pub(super) fn user_code(&self) -> Option<Digest> {
        match self {
            Self::Device { user_code, .. } => Some(*user_code),
            Self::Browser { .. } => None,
        }
    }

    pub(super) fn nonce(&self) -> Option<String> {
        match self {
            Self::Browser { nonce, .. } => nonce.clone(),
            Self::Device { .. } => None,
        }
    }
}

impl Who {
    /// Whether a step was undone because a fence of this person had moved.
    pub(super) fn has_lost(&self, lost: Option<&Lost<Authorization>>) -> bool {
        match lost {
            Some(Lost(Key::User(user))) => *user == self.user,
            Some(Lost(Key::Session(session))) => *session == self.session,
            _ => false,
        }
    }

    /// The keys and numbers that must not have moved.
    pub(super) fn fences(&self, offline: bool) -> impl Iterator<Item = (Key, i64)> {
        let session = (!offline).then_some((Key::Session(self.session), self.session_fence));
        std::iter::once((Key::User(self.user), self.fence)).chain(session)
    }
}

impl Grant {
    /// Whether a code is this flow's own: the only one there is is of generation 0.
    fn is_code<P: OfPurpose>(&self, code: &Presented<P>, cx: &Cx<'_, Auth>) -> bool {
        code.generation() == 0 && code.is_genuine(&cx.environment.ring, &self.issue.salt)
    }

    /// Whether somebody has typed the code that the device shows.
    pub(super) fn is_user_code(&self, code: &UserCode, environment: &Environment) -> bool {
        self.way.user_code() == Some(Authorization::user_code_key(code, environment))
    }

    /// Everything that must be right with an exchange before the code counts as used, in this order.
    pub(super) fn admits(&self, asked: &Exchange, cx: &Cx<'_, Auth>) -> Result<Access, Outcome> {
        let Way::Browser { redirect_uri, challenge, .. } = &self.way else { return Err(Outcome::Garbage) };
        if !self.is_code(&asked.code, cx) {
            return Err(Outcome::Garbage);
        }
        if asked.client != self.client {
            return Err(Outcome::WrongClient);
        }
        if !challenge.is_met_by(&asked.verifier) {
            return Err(Outcome::WrongVerifier);
        }
        if asked.redirect_uri.as_ref().is_some_and(|given| given != redirect_uri) {
            return Err(Outcome::WrongRedirectUri);
        }
        self.access.narrowed(&asked.wish).map_err(Outcome::TooWide)
    }

    /// The same for a poll.
    pub(super) fn admits_poll(
        &self,
        code: &Presented<of::DeviceCode>,
        client: ClientId,
        cx: &Cx<'_, Auth>,
    ) -> Result<u32, Outcome> {
        match self.way {
            Way::Device { interval, .. } if self.is_code(code, cx) => {
                if client == self.client {
                    Ok(interval)
                } else {
                    Err(Outcome::WrongClient)
                }
            }
            _ => Err(Outcome::Garbage),
        }
    }

    /// The same grant with another interval between two polls.
    pub(super) fn slowed(&self, interval: u32) -> Self {
        let mut slowed = self.clone();
        if let Way::Device { interval: present, .. } = &mut slowed.way {
            *present = interval;
        }
        slowed
    }
}
