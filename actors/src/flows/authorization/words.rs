//! The words of an authorization: what opens it, what is asked of it, and what it answers.

use cairn_runtime::{Id, Named, Timestamp};
use serde::{Deserialize, Serialize};

use super::grant::Browser;
use super::{Claims, End, Minted, Policy, Return, Who};
use crate::identity::user_id::UserId;
use crate::oauth::access::{Access, TooWide, Wish};
use crate::oauth::client::ClientId;
use crate::oauth::pkce::Verifier;
use crate::oauth::scope::Scope;
use crate::oauth::uri::AbsoluteUri;
use crate::secrets::credential::{Presented, Seal, UserCode, of};

/// What opens a grant. That the client may ask for this, in this way, the service has checked.
#[derive(Debug)]
pub struct Start {
    /// Who asks.
    pub client: ClientId,
    /// The number of the client's fence.
    pub client_fence: i64,
    /// For what.
    pub access: Access,
    /// What the client's registration says of refresh tokens.
    pub refresh: Policy,
    /// How long its access tokens are good at most, in seconds, where its registration says so.
    pub access_ttl: Option<u64>,
    /// By a browser with these, or by a device.
    pub way: Asking,
}

/// The way in which a client asks.
#[derive(Debug)]
pub enum Asking {
    /// An authorization request (RFC 6749 section 4.1.1).
    Browser {
        /// What it said.
        way: Box<Browser>,
        /// Who is signed in there, if that may count.
        entry: Option<SignIn>,
    },
    /// A device authorization request (RFC 8628 section 3.1).
    Device,
}

/// Somebody is signed in, as the service read it.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who.
    pub who: Who,
    /// What is known of their consent to what is asked for.
    pub remembered: Remembered,
}

/// What is known of a person's consent, read together with what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// They must be asked.
    Nothing,
    /// Nobody is asked: the client is the operator's own.
    NotNeeded,
    /// They consented to all of it before; the number of the consent's fence.
    Given(i64),
}

impl Remembered {
    pub(super) const fn number(self) -> Option<i64> {
        match self {
            Self::Given(number) => Some(number),
            Self::Nothing | Self::NotNeeded => None,
        }
    }
}

/// What becomes of a consent that is given now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consenting {
    /// It is not kept: the client is the operator's own, and the person was shown what it asks for all the same.
    NotKept,
    /// It is the first for this client.
    First,
    /// There is one, to which this is added.
    Again {
        /// The number of its fence.
        number: i64,
        /// What it is for.
        scope: Scope,
        /// At which resource servers.
        resources: Vec<AbsoluteUri>,
    },
}

impl Consenting {
    /// The number of the consent's fence from then on.
    pub(super) const fn number(&self) -> Option<i64> {
        match self {
            Self::NotKept => None,
            Self::First => Some(0),
            Self::Again { number, .. } => Some(*number),
        }
    }
}

impl Named for Start {
    fn name(&self) -> &'static str {
        match self.way {
            Asking::Browser { .. } => "authorize",
            Asking::Device => "authorize_device",
        }
    }
}

/// What may be asked of it. That a client is who it says, the service has checked.
#[derive(Debug)]
pub enum Command {
    /// The browser that was sent here belongs to this person.
    SignIn(SignIn),
    /// This person has typed the code that a device shows.
    Claim {
        /// As typed.
        code: UserCode,
        /// The person.
        by: SignIn,
    },
    /// The person consents.
    Consent {
        /// Who says so.
        user: UserId,
        /// To what; more than was asked for counts for nothing.
        scope: Scope,
        /// What becomes of it.
        how: Consenting,
    },
    /// The person says no, signed in or not yet.
    Deny {
        /// Who says so, when they are signed in.
        user: Option<UserId>,
    },
    /// The client redeems its authorization code.
    Exchange(Exchange),
    /// The device asks whether it may.
    Poll {
        /// The device code.
        code: Presented<of::DeviceCode>,
        /// Who asks.
        client: ClientId,
        /// It came sooner than the interval after the one before. The service knows, for a poll that comes in time is
        /// not written down.
        hasty: bool,
    },
    /// The client asks for new tokens.
    Refresh {
        /// The refresh token.
        token: Presented<of::RefreshToken>,
        /// Who asks.
        client: ClientId,
        /// For how much of it.
        wish: Wish,
    },
    /// The client gives its tokens back, by a refresh token of any generation (RFC 7009).
    Revoke {
        /// The refresh token.
        token: Presented<of::RefreshToken>,
        /// Who asks.
        client: ClientId,
    },
    /// The client gives its tokens back, by the access token that it has shown, or the person does. That they may, the
    /// service has checked.
    Leave,
}

/// A request for tokens with an authorization code (RFC 6749 section 4.1.3).
#[derive(Debug)]
pub struct Exchange {
    /// The code.
    pub code: Presented<of::AuthorizationCode>,
    /// Who asks.
    pub client: ClientId,
    /// The code verifier (RFC 7636 section 4.5).
    pub verifier: Option<Verifier>,
    /// When it is given, it must be the one from before. PKCE does not need it any more (OAuth 2.1).
    pub redirect_uri: Option<AbsoluteUri>,
    /// For how much of what was granted.
    pub wish: Wish,
}

impl Named for Command {
    fn name(&self) -> &'static str {
        match self {
            Self::SignIn(_) => "sign_in",
            Self::Claim { .. } => "claim",
            Self::Consent { .. } => "consent",
            Self::Deny { .. } => "deny",
            Self::Exchange(_) => "exchange",
            Self::Poll { .. } => "poll",
            Self::Refresh { .. } => "refresh",
            Self::Revoke { .. } => "revoke",
            Self::Leave => "leave",
        }
    }
}

/// What other flows and acts may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The user's fence was moved: the tokens are dead already, what is left is to tidy up. What began after that stays.
    Fenced,
    /// The client was deleted.
    ClientDeleted,
    /// The person took the consent back.
    ConsentRevoked,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::ClientDeleted => "client_deleted",
            Self::ConsentRevoked => "consent_revoked",
        }
    }
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody must sign in.
    Requested {
        /// Until when.
        expires_at: Timestamp,
    },
    /// Somebody must type the user code into a browser.
    DeviceRequested {
        /// What the device code and the user code are rendered from.
        issue: Seal,
        /// How many seconds must lie between two polls.
        interval: u32,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Their consent is awaited.
    SignedIn {
        /// Until when.
        expires_at: Timestamp,
    },
    /// They consented: the browser goes back with the code.
    CodeIssued {
        /// What the code is rendered from.
        issue: Seal,
        /// In which session they consented.
        session: Id,
        /// Where it goes back to.
        back: Return,
        /// Until when the code is good.
        expires_at: Timestamp,
    },
    /// They consented: the device fetches its tokens by itself.
    DeviceApproved,
    /// They said no just now: the browser goes back, or the device is told when it asks.
    Denied {
        /// Where the browser goes back to.
        back: Option<Return>,
    },
    /// `authorization_pending` (RFC 8628 section 3.5).
    Pending {
        /// How many seconds must lie between two polls.
        interval: u32,
    },
    /// `slow_down` (RFC 8628 section 3.5).
    SlowDown {
        /// How many seconds must lie between two polls from now on.
        interval: u32,
    },
    /// Tokens.
    Tokens(Box<Tokens>),
    /// A fence moved between what was read and the commit: it must be read again.
    Refused,
    /// The sign-in is older than the client takes: they must prove anew who they are.
    TooOld,
    /// Nobody signed in or consented in time.
    Lapsed,
    /// Whoever says this is not the person who is signed in here, or nobody is yet.
    NotYours,
    /// Somebody else has typed this user code already.
    Occupied,
    /// The person has decided already.
    Decided,
    /// A code or token that this flow did not issue, or not yet.
    Garbage,
    /// The code or token is another client's.
    WrongClient,
    /// The verifier does not meet the challenge.
    WrongVerifier,
    /// The redirect URI is another than the one before.
    WrongRedirectUri,
    /// More was asked for than was granted.
    TooWide(TooWide),
    /// It has ended, now or before.
    Ended {
        /// Why.
        by: End,
    },
    /// This changes nothing.
    Nothing,
}

/// What tokens are made from: the refresh token is the seal's, the access token is what was minted with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Whose access it is.
    pub user: UserId,
    /// Through which client.
    pub client: ClientId,
    /// In which session it was granted.
    pub session: Id,
    /// What the refresh token is rendered from.
    pub issue: Seal,
    /// What the access token is signed from.
    pub minted: Minted,
    /// For what the access token is good.
    pub access: Access,
    /// When they proved who they are.
    pub auth_time: Timestamp,
    /// How they proved it.
    pub amr: Vec<String>,
    /// For the ID token, with the first tokens only.
    pub nonce: Option<String>,
    /// Which claims were asked for one by one.
    pub claims: Claims,
    /// When the grant ends unless it is refreshed before.
    pub expires_at: Timestamp,
}
