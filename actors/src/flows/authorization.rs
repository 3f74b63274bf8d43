//! Authorization: a client asks for access in a person's stead, the person signs in and consents, the client redeems a
//! code for tokens and carries them on, until the grant ends. One flow from the question to the last token.
//!
//! Two ways lead in. A browser is sent here and sent back with a code (RFC 6749 section 4.1), or a device without a
//! browser shows a short code that the person types into one, while the device asks again and again (RFC 8628).
//!
//! What must stay true: a code is answered once, and its second use ends what it opened; whoever is not the client, or
//! does not know the verifier, uses nothing up; no token is given past the fence of the user, nor past the end of the
//! session in which it was granted, unless `offline_access` was.

mod grant;
mod words;

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Input, Lost, Public, Retain, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

pub use self::grant::{Grant, Policy, Way, Who};
pub use self::words::{Asking, Command, Exchange, Outcome, Signal, Start, Tokens};
pub use super::rotation::Minted;
use super::rotation::{ROUTINE, Standing, standing};
use crate::effects::{Auth, Key};
use crate::environment::Environment;
use crate::identity::user_id::UserId;
use crate::oauth::access::{Access, Wish};
use crate::oauth::client::ClientId;
use crate::oauth::scope::{OFFLINE_ACCESS, Scope};
use crate::secrets::credential::{self, Presented, Seal, UserCode, of};
use crate::secrets::digest::Digest;

/// How long a person may take to sign in and consent, and a device code is good, in seconds.
pub const PATIENCE: u64 = 1_800;
/// How long an authorization code is good, in seconds (RFC 6749 section 4.1.2: ten minutes at most).
pub const CODE_TTL: u64 = 60;
/// How many seconds a device waits between two polls at first, and how many more after each that came too soon
/// (RFC 8628 sections 3.2 and 3.5).
pub const INTERVAL: u32 = 5;
/// The longest interval: a device in a hurry is written down so often and no oftener.
pub const LONGEST_INTERVAL: u32 = 60;

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Authorization {
    /// A client asked; somebody must sign in.
    Requested(Box<Grant>),
    /// Somebody is signed in; their consent is awaited.
    SignedIn(Box<Claimed>),
    /// They consented: the code is out, or the device may fetch its tokens.
    Consented(Box<Claimed>),
    /// The client has tokens.
    Active(Box<Active>),
    /// It has none, or none that are good.
    Ended {
        /// Why.
        by: End,
        /// Who asked.
        client: ClientId,
        /// Whose access it was, if anybody signed in.
        user: Option<UserId>,
    },
}

/// A grant with the person that it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claimed {
    /// What is asked for.
    pub grant: Grant,
    /// Of whom.
    pub who: Who,
}

/// What is known of a grant whose client has tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Active {
    /// What was granted; its seal is the present refresh token's.
    pub grant: Grant,
    /// By whom.
    pub who: Who,
    /// What the present access token is made from.
    pub minted: Minted,
    /// For what the present access token is good: the grant, or what the client narrowed it to.
    pub access: Access,
}

/// Why a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Nobody signed in, consented, redeemed or refreshed in time.
    Expired,
    /// The person said no.
    Denied,
    /// The code came twice: somebody has a copy.
    CodeReused,
    /// A refresh token came that had been replaced: somebody has a copy.
    Reused,
    /// The client gave its tokens back (RFC 7009).
    Revoked,
    /// The user's fence moved, or the session in which it was granted is over.
    Fenced,
    /// The client was deleted.
    ClientDeleted,
    /// The person took the consent back.
    ConsentRevoked,
}

impl Grant {
    /// A poll while the person has not decided. One in time costs nothing; one too soon is written down until the
    /// interval is at its longest.
    fn pending(
        &self,
        (code, client, hasty): (&Presented<of::DeviceCode>, ClientId, bool),
        to: impl FnOnce(Self) -> Authorization,
        cx: &Cx<'_, Auth>,
    ) -> Step<Authorization> {
        match self.admits_poll(code, client, cx) {
            Err(refusal) => stay().says(refusal),
            Ok(interval) if !hasty => stay().says(Outcome::Pending { interval }),
            Ok(interval) if interval >= LONGEST_INTERVAL => stay().says(Outcome::SlowDown { interval }),
            Ok(interval) => {
                let interval = interval.saturating_add(INTERVAL).min(LONGEST_INTERVAL);
                go(to(self.slowed(interval))).says(Outcome::SlowDown { interval })
            }
        }
    }

    /// Somebody is signed in: their consent is awaited, if no fence of theirs has moved meanwhile.
    fn claimed(&self, who: &Who, lost: Option<&Lost<Authorization>>) -> Step<Authorization> {
        if who.has_lost(lost) {
            return stay().says(Outcome::Refused);
        }
        let expires_at = self.expires_at;
        let claimed = Claimed { grant: self.clone(), who: who.clone() };
        who.fences(false)
            .fold(go(Authorization::SignedIn(Box::new(claimed))), |step, (key, number)| step.hold(key, number))
            .says(Outcome::SignedIn { expires_at })
    }
}

impl Claimed {
    /// They consent to so much of what was asked for. A code is good for a minute, a device code for as long as it was.
    fn consented(&self, scope: &Scope, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let mut grant = self.grant.clone();
        grant.access.scope = grant.access.scope.and(scope);
        let user_code = grant.way.user_code();
        if user_code.is_none() {
            grant.expires_at = cx.now.after(Duration::from_secs(CODE_TTL));
        }
        let next = Self { grant, who: self.who.clone() };
        let says = next.consent();
        let mut step = go(Authorization::Consented(Box::new(next)));
        for (key, number) in self.who.fences(false) {
            step = step.hold(key, number);
        }
        if let Some(user_code) = user_code {
            step = step.release(Key::UserCode(user_code));
        }
        step.says(says)
    }

    /// What a consent is told, however often it comes.
    fn consent(&self) -> Outcome {
        match &self.grant.way {
            Way::Browser { redirect_uri, state, .. } => Outcome::CodeIssued {
                issue: self.grant.issue.clone(),
                redirect_uri: redirect_uri.clone(),
                state: state.clone(),
                expires_at: self.grant.expires_at,
            },
            Way::Device { .. } => Outcome::DeviceApproved,
        }
    }

    /// The code counts as used: the first tokens.
    fn redeemed(&self, access: Access, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let nonce = self.grant.way.nonce();
        let grant = Grant {
            way: self.grant.way.clone().used(),
            expires_at: cx.now.after(cx.environment.settings.session_ttl),
            ..self.grant.clone()
        };
        let active = Active { grant, who: self.who.clone(), minted: Minted::first(cx), access };
        active.given(nonce)
    }
}

impl Active {
    fn is_offline(&self) -> bool {
        self.grant.access.scope.has(OFFLINE_ACCESS)
    }

    fn tokens(&self, nonce: Option<String>) -> Outcome {
        Outcome::Tokens(Box::new(Tokens {
            user: self.who.user,
            client: self.grant.client,
            session: self.who.session,
            issue: self.grant.issue.clone(),
            minted: self.minted.clone(),
            access: self.access.clone(),
            auth_time: self.who.auth_time,
            amr: self.who.amr.clone(),
            nonce,
            expires_at: self.grant.expires_at,
        }))
    }

    /// Tokens, if no fence has moved.
    fn given(self, nonce: Option<String>) -> Step<Authorization> {
        let says = self.tokens(nonce);
        let fences = self.who.fences(self.is_offline()).collect::<Vec<_>>();
        fences
            .into_iter()
            .fold(go(Authorization::Active(Box::new(self))), |step, (key, number)| step.hold(key, number))
            .says(says)
    }

    /// The same tokens again, on the same condition.
    fn given_again(&self) -> Step<Authorization> {
        self.who
            .fences(self.is_offline())
            .fold(stay(), |step, (key, number)| step.hold(key, number))
            .says(self.tokens(None))
    }

    /// The next tokens.
    fn refreshed(&self, wish: &Wish, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let access = match self.grant.access.narrowed(wish) {
            Ok(access) => access,
            Err(too_wide) => return stay().says(Outcome::TooWide(too_wide)),
        };
        let mut grant = self.grant.clone();
        grant.expires_at = cx.now.after(cx.environment.settings.session_ttl);
        if grant.refresh == Policy::Rotate {
            grant.issue = grant.issue.next(&cx.environment.ring);
        }
        Self { grant, who: self.who.clone(), minted: self.minted.next(cx), access }.given(None)
    }
}

impl Authorization {
    /// The keyed hash by which a user code is claimed, and its flow found (`subject` of the row).
    pub fn user_code_key(code: &UserCode, environment: &Environment) -> Digest {
        environment.digest("user code", code.letters())
    }

    /// Whether a flow's cookie is this flow's own: the browser that was sent here is this one.
    pub fn began_in(&self, cookie: &Presented<of::FlowCookie>, environment: &Environment) -> bool {
        self.grant()
            .is_some_and(|grant| cookie.generation() == 0 && cookie.is_genuine(&environment.ring, &grant.issue.salt))
    }

    /// The user code's hash, for as long as nobody else may show the same: until the person has decided.
    fn user_code(&self) -> Option<Digest> {
        match self {
            Self::Requested(grant) => grant.way.user_code(),
            Self::SignedIn(claimed) => claimed.grant.way.user_code(),
            Self::Consented(_) | Self::Active(_) | Self::Ended { .. } => None,
        }
    }

    fn end(&self, by: End) -> Step<Self> {
        self.end_saying(by, Outcome::Ended { by })
    }

    fn end_saying(&self, by: End, says: Outcome) -> Step<Self> {
        let Some(client) = self.grant().map(|grant| grant.client) else { return stay().says(says) };
        let going = go(Self::Ended { by, client, user: self.who().map(|who| who.user) });
        match self.user_code() {
            Some(user_code) => going.release(Key::UserCode(user_code)),
            None => going,
        }
        .says(says)
    }

    /// The person says no: a browser takes the answer back.
    fn denied(&self) -> Step<Self> {
        let back = match self.grant().map(|grant| &grant.way) {
            Some(Way::Browser { redirect_uri, state, .. }) => Some((redirect_uri.clone(), state.clone())),
            Some(Way::Device { .. }) | None => None,
        };
        self.end_saying(End::Denied, Outcome::Denied { back })
    }

    /// What is asked for, while it has not ended.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Requested(grant) => Some(grant),
            Self::SignedIn(claimed) | Self::Consented(claimed) => Some(&claimed.grant),
            Self::Active(active) => Some(&active.grant),
            Self::Ended { .. } => None,
        }
    }

    /// Who is signed in, while it has not ended.
    pub fn who(&self) -> Option<&Who> {
        match self {
            Self::SignedIn(claimed) | Self::Consented(claimed) => Some(&claimed.who),
            Self::Active(active) => Some(&active.who),
            Self::Requested(_) | Self::Ended { .. } => None,
        }
    }
}

phases! {
    /// Where an authorization stands.
    pub enum Phase {
        Requested = "requested",
        SignedIn = "signed_in",
        Consented = "consented",
        Active = "active",
        Ended = "ended",
    }
}

impl Flow for Authorization {
    const NAME: &'static str = "authorization";
    const PREFIX: &'static str = "aut";
    // An authorization that goes on, every few minutes.
    const RETENTION: &'static [Retain<Phase>] = &[Retain::Steps { input: "refresh", to: Phase::Active, span: ROUTINE }];
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Command;
    type Signal = Signal;
    type Outcome = Outcome;

    fn start(asked: &Start, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        let issue = Seal::new(&cx.environment.ring, cx.salt);
        let expires_at = cx.now.after(Duration::from_secs(PATIENCE));
        let (client, access, refresh) = (asked.client, asked.access.clone(), asked.refresh);
        match &asked.way {
            Asking::Browser { redirect_uri, challenge, nonce, state } => {
                let (redirect_uri, nonce, state) = (redirect_uri.clone(), nonce.clone(), state.clone());
                let way = Way::Browser { redirect_uri, challenge: *challenge, nonce, state };
                let grant = Grant { client, access, refresh, way, issue: issue.clone(), expires_at };
                go(Self::Requested(Box::new(grant))).says(Outcome::Requested { issue, expires_at })
            }
            // When another device shows the same user code, this is decided again with another salt.
            Asking::Device => {
                let code = credential::user_code(&cx.environment.ring, *cx.flow.bytes(), &issue);
                let Some(code) = code else { return stay().says(Outcome::Nothing) };
                let user_code = Self::user_code_key(&code, cx.environment);
                let way = Way::Device { user_code, interval: INTERVAL };
                let grant = Grant { client, access, refresh, way, issue: issue.clone(), expires_at };
                go(Self::Requested(Box::new(grant))).claim(Key::UserCode(user_code)).says(Outcome::DeviceRequested {
                    issue,
                    interval: INTERVAL,
                    expires_at,
                })
            }
        }
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        use Command::{Claim, Consent, Deny, Exchange, Poll, Refresh, Revoke, SignIn};
        match (self, input) {
            (Self::Requested(g), Input::Asked(SignIn(who))) => match g.way {
                Way::Browser { .. } => g.claimed(who, lost),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::Requested(g), Input::Asked(Claim { code, who })) => {
                if g.is_user_code(code, cx.environment) {
                    g.claimed(who, lost)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            (Self::Requested(g), Input::Asked(Deny { .. })) => match g.way {
                Way::Browser { .. } => self.denied(),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::Requested(_), Input::Asked(Consent { .. })) => stay().says(Outcome::NotYours),
            (Self::Requested(g), Input::Asked(Poll { code, client, hasty })) => {
                g.pending((code, *client, *hasty), |grant| Self::Requested(Box::new(grant)), cx)
            }

            // The browser may change its mind about who it is; a device's code belongs to whoever typed it first.
            (Self::SignedIn(c), Input::Asked(SignIn(who))) => match c.grant.way {
                Way::Browser { .. } => c.grant.claimed(who, lost),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::SignedIn(c), Input::Asked(Claim { code, who })) => {
                if !c.grant.is_user_code(code, cx.environment) {
                    stay().says(Outcome::Garbage)
                } else if who.user == c.who.user {
                    c.grant.claimed(who, lost)
                } else {
                    stay().says(Outcome::Occupied)
                }
            }
            (Self::SignedIn(c), Input::Asked(Consent { user, scope })) => {
                if *user != c.who.user {
                    stay().says(Outcome::NotYours)
                } else if c.who.has_lost(lost) {
                    self.end(End::Fenced)
                } else {
                    c.consented(scope, cx)
                }
            }
            (Self::SignedIn(c) | Self::Consented(c), Input::Asked(Deny { user })) => {
                if *user == Some(c.who.user) {
                    self.denied()
                } else {
                    stay().says(Outcome::NotYours)
                }
            }
            (Self::SignedIn(c), Input::Asked(Poll { code, client, hasty })) => {
                let to = |grant| Self::SignedIn(Box::new(Claimed { grant, who: c.who.clone() }));
                c.grant.pending((code, *client, *hasty), to, cx)
            }

            // A double click on the button gets the same code.
            (Self::Consented(c), Input::Asked(Consent { user, .. })) => {
                if *user == c.who.user {
                    stay().says(c.consent())
                } else {
                    stay().says(Outcome::NotYours)
                }
            }
            (Self::Consented(c), Input::Asked(Exchange(asked))) => match c.grant.admits(asked, cx) {
                Err(refusal) => stay().says(refusal),
                Ok(_) if c.who.has_lost(lost) => self.end(End::Fenced),
                Ok(access) => c.redeemed(access, cx),
            },
            (Self::Consented(c), Input::Asked(Poll { code, client, .. })) => {
                match c.grant.admits_poll(code, *client, cx) {
                    Err(refusal) => stay().says(refusal),
                    Ok(_) if c.who.has_lost(lost) => self.end(End::Fenced),
                    Ok(_) => c.redeemed(c.grant.access.clone(), cx),
                }
            }
            // The second use of a code, by whoever could have made the first.
            (Self::Active(a), Input::Asked(Exchange(asked))) => match a.grant.admits(asked, cx) {
                Err(refusal) => stay().says(refusal),
                Ok(_) => self.end(End::CodeReused),
            },
            (Self::Active(a), Input::Asked(Poll { code, client, .. })) => {
                match a.grant.admits_poll(code, *client, cx) {
                    Err(refusal) => stay().says(refusal),
                    Ok(_) => self.end(End::CodeReused),
                }
            }
            (Self::Active(a), Input::Asked(Refresh { client, .. } | Revoke { client, .. }))
                if *client != a.grant.client =>
            {
                stay().says(Outcome::WrongClient)
            }
            (Self::Active(a), Input::Asked(Refresh { token, wish, .. })) => {
                match standing(token, &a.grant.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Replaced => self.end(End::Reused),
                    Standing::Present | Standing::Repeated if a.who.has_lost(lost) => self.end(End::Fenced),
                    Standing::Present => a.refreshed(wish, cx),
                    // The client lost our reply: the same again, whatever it wishes now.
                    Standing::Repeated => a.given_again(),
                }
            }
            (Self::Active(a), Input::Asked(Revoke { token, .. })) => {
                match standing(token, &a.grant.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Present | Standing::Repeated | Standing::Replaced => self.end(End::Revoked),
                }
            }
            (
                Self::Requested(_) | Self::SignedIn(_) | Self::Consented(_) | Self::Active(_),
                Input::Told(Signal::ClientDeleted),
            ) => self.end(End::ClientDeleted),
            (Self::SignedIn(_) | Self::Consented(_) | Self::Active(_), Input::Told(Signal::Fenced)) => {
                self.end(End::Fenced)
            }
            (Self::Consented(_) | Self::Active(_), Input::Told(Signal::ConsentRevoked)) => {
                self.end(End::ConsentRevoked)
            }
            (Self::Requested(_) | Self::SignedIn(_) | Self::Consented(_) | Self::Active(_), Input::Woken) => {
                self.end(End::Expired)
            }

            // No code is out yet, or no token.
            (Self::Requested(_) | Self::SignedIn(_), Input::Asked(Exchange(_) | Refresh { .. } | Revoke { .. }))
            | (Self::Consented(_), Input::Asked(Refresh { .. } | Revoke { .. })) => stay().says(Outcome::Garbage),
            (Self::Consented(_) | Self::Active(_), Input::Asked(SignIn(_) | Claim { .. }))
            | (Self::Active(_), Input::Asked(Consent { .. } | Deny { .. })) => stay().says(Outcome::Decided),
            // Before anybody consented there is no consent to take back, and before anybody signed in no fence.
            (Self::Requested(_), Input::Told(Signal::Fenced | Signal::ConsentRevoked))
            | (Self::SignedIn(_), Input::Told(Signal::ConsentRevoked)) => stay().says(Outcome::Nothing),

            (Self::Ended { by, .. }, Input::Asked(_) | Input::Told(_) | Input::Woken) => {
                stay().says(Outcome::Ended { by: *by })
            }
            (_, Input::Answered { .. }) => stay().says(Outcome::Nothing),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.grant().map(|grant| grant.expires_at)
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Requested(_) => Phase::Requested,
            Self::SignedIn(_) => Phase::SignedIn,
            Self::Consented(_) => Phase::Consented,
            Self::Active(_) => Phase::Active,
            Self::Ended { .. } => Phase::Ended,
        }
    }

    fn public(&self) -> Public {
        if let Self::Ended { by, client, user } = self {
            let shown = serde_json::json!({ "by": by });
            let (user, client) = (user.map(|user| user.0), Some(client.0));
            return Public { user, client, shown, ..Public::default() };
        }
        let user = self.who().map(|who| who.user.0);
        let client = self.grant().map(|grant| grant.client.0);
        let way = self.grant().map(|grant| &grant.way);
        let subject = self.user_code().map(|hash| hash.0);
        let shown = serde_json::json!({
            "way": match way { Some(Way::Device { .. }) => "device", _ => "browser" },
            "scope": self.grant().map(|grant| &grant.access.scope),
            "generation": match self { Self::Active(active) => Some(active.minted.generation), _ => None },
        });
        Public { user, client, subject, shown, ..Public::default() }
    }
}
