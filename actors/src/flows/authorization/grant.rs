//! What is known of a grant before there are tokens, and the checks that must hold before a code counts as used.

use std::time::Duration;

use cairn_runtime::{Cx, Id, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Authorization, Exchange, Outcome};
use crate::effects::{Auth, Key};
use crate::environment::Environment;
use crate::identity::user_id::UserId;
use crate::oauth::access::Access;
use crate::oauth::client::ClientId;
use crate::oauth::pkce::Challenge;
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::oauth::uri::AbsoluteUri;
use crate::secrets::credential::{OfPurpose, Presented, Seal, UserCode, of};
use crate::secrets::digest::Digest;

/// What is asked for, by whom and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Who asks.
    pub client: ClientId,
    /// The number of the client's fence.
    #[serde(default)]
    pub client_fence: i64,
    /// For what: as asked at first, as granted after the consent.
    pub access: Access,
    /// Whether refresh tokens rotate.
    pub refresh: Policy,
    /// How long access tokens are good at most, in seconds, where the client's registration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_ttl: Option<u64>,
    /// The way that it came in.
    pub way: Way,
    /// What all credentials of this flow are rendered from: the authorization or device code and the user code at
    /// generation 0, then the refresh tokens, each with the prefix of its purpose.
    pub issue: Seal,
    /// When this phase ends by itself.
    pub expires_at: Timestamp,
}

/// The two ways in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A browser was sent here, and goes back with a code.
    Browser(Box<Browser>),
    /// A device asks again and again.
    Device {
        /// The keyed hash of the user code: see [`Authorization::user_code_key`].
        user_code: Digest,
        /// How many seconds must lie between two polls.
        interval: u32,
    },
}

/// What an authorization request said that is needed later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browser {
    /// Where the browser goes back to; registered by the client.
    pub redirect_uri: AbsoluteUri,
    /// What the verifier must meet (RFC 7636); `None` only where the client's registration lifts it.
    pub challenge: Option<Challenge>,
    /// For the ID token (OpenID Connect Core section 3.1.2.1). Gone with the first refresh.
    pub nonce: Option<String>,
    /// The client's own, given back as it came. Gone with the first tokens.
    pub state: Option<String>,
    /// How the answer is taken back.
    #[serde(default)]
    pub response_mode: ResponseMode,
    /// Since when somebody must have proved who they are (`prompt=login`, `max_age`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The person is asked, whatever they consented to before (`prompt=consent`, `prompt=select_account`).
    #[serde(default)]
    pub asks: bool,
    /// Which claims are asked for one by one.
    #[serde(default)]
    pub claims: Claims,
}

/// How a browser takes an answer back to its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    #[default]
    Query,
    /// In its fragment.
    Fragment,
    /// In a form that is posted there (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// Claims that were asked for one by one (OpenID Connect Core section 5.5), by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// In the ID token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_token: Vec<String>,
    /// At userinfo.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub userinfo: Vec<String>,
}

/// Where a browser goes back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// The redirect URI.
    pub redirect_uri: AbsoluteUri,
    /// The client's own, given back as it came.
    pub state: Option<String>,
    /// How the answer is taken there.
    pub response_mode: ResponseMode,
}

impl Return {
    /// Of a grant that a browser was sent here for.
    pub fn of(grant: &Grant) -> Option<Self> {
        match &grant.way {
            Way::Browser(browser) => Some(Self {
                redirect_uri: browser.redirect_uri.clone(),
                state: browser.state.clone(),
                response_mode: browser.response_mode,
            }),
            Way::Device { .. } => None,
        }
    }
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
            Self::Browser(browser) => Self::Browser(Box::new(Browser { state: None, ..*browser })),
            device @ Self::Device { .. } => device,
        }
    }

    /// What is still of use once the client has used its first tokens.
    pub(super) fn refreshed(self) -> Self {
        match self {
            Self::Browser(browser) => Self::Browser(Box::new(Browser { nonce: None, ..*browser })),
            device @ Self::Device { .. } => device,
        }
    }

    pub(super) fn user_code(&self) -> Option<Digest> {
        match self {
            Self::Device { user_code, .. } => Some(*user_code),
            Self::Browser(_) => None,
        }
    }

    pub(super) fn nonce(&self) -> Option<String> {
        match self {
            Self::Browser(browser) => browser.nonce.clone(),
            Self::Device { .. } => None,
        }
    }

    /// Which claims were asked for one by one.
    pub fn claims(&self) -> Claims {
        match self {
            Self::Browser(browser) => browser.claims.clone(),
            Self::Device { .. } => Claims::default(),
        }
    }

    /// Since when somebody must have proved who they are.
    pub fn not_before(&self) -> Option<Timestamp> {
        match self {
            Self::Browser(browser) => browser.not_before,
            Self::Device { .. } => None,
        }
    }

    /// Whether the person is asked, whatever they consented to before.
    pub fn asks(&self) -> bool {
        match self {
            Self::Browser(browser) => browser.asks,
            // Somebody must see which device they let in.
            Self::Device { .. } => true,
        }
    }
}

impl Who {
    /// Until when what they have granted lasts that is used now: for as long as a session would, and never beyond the longest
    /// time from the last proof of who they are.
    pub(super) fn lasts_until(&self, cx: &Cx<'_, Auth>) -> Timestamp {
        let settings = &cx.environment.settings;
        cx.now.after(settings.session_ttl).min(self.auth_time.after(settings.session_max))
    }
}

/// The fences of a grant, with their numbers: of its user, its client, its consent, and the session in which it was
/// granted, unless it is `offline`.
pub(super) fn held(grant: &Grant, who: &Who, consent: Option<i64>, offline: bool) -> Vec<(Key, i64)> {
    let session = (!offline).then_some((Key::Session(who.session), who.session_fence));
    let consent = consent.map(|number| (Key::Consent(who.user, grant.client), number));
    let always = [(Key::User(who.user), who.fence), (Key::Client(grant.client), grant.client_fence)];
    always.into_iter().chain(session).chain(consent).collect()
}

impl Grant {
    /// Whether it outlives the session in which it was granted.
    pub fn is_offline(&self) -> bool {
        self.access.scope.has(OFFLINE_ACCESS)
    }

    /// Whether a key is one of its fences, for this person.
    pub(super) fn is_fence(&self, key: &Key, who: &Who) -> bool {
        match key {
            Key::User(user) => *user == who.user,
            Key::Session(session) => *session == who.session,
            Key::Client(client) => *client == self.client,
            Key::Consent(user, client) => *user == who.user && *client == self.client,
            _ => false,
        }
    }

    /// How long its access tokens are good at most.
    pub(super) fn access_ttl(&self) -> Option<Duration> {
        self.access_ttl.map(Duration::from_secs)
    }

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
        let Way::Browser(browser) = &self.way else { return Err(Outcome::Garbage) };
        if !self.is_code(&asked.code, cx) {
            return Err(Outcome::Garbage);
        }
        if asked.client != self.client {
            return Err(Outcome::WrongClient);
        }
        let verified = match (&browser.challenge, &asked.verifier) {
            (Some(challenge), Some(verifier)) => challenge.is_met_by(verifier),
            (None, None) => true,
            // RFC 9700 section 2.1.1: a verifier without a challenge means that somebody has taken the challenge out.
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !verified {
            return Err(Outcome::WrongVerifier);
        }
        if asked.redirect_uri.as_ref().is_some_and(|given| *given != browser.redirect_uri) {
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
