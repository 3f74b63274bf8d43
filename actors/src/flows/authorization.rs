//! Authorization: a client asks for access in a person's stead, the person signs in and consents, the client redeems a
//! code for tokens and carries them on, until the grant ends. One flow from the question to the last token.
//!
//! Two ways lead in. A browser is sent here and sent back with a code (RFC 6749 section 4.1), or a device without a
//! browser shows a short code that the person types into one, while the device asks again and again (RFC 8628).
//!
//! What must stay true: a code is answered once, its repeat within the grace time gets the same answer, and any other second
//! use ends what it opened; what is not the client, or does not know the verifier, uses nothing up; no token is given past
//! the fences of user, client and consent, nor past the end of the session in which it was granted, unless `offline_access`
//! was.

mod claimed;
mod grant;
mod words;

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Input, Lost, Public, Retain, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

pub use self::claimed::{Active, Claimed};
use self::grant::held;
pub use self::grant::{Browser, Claims, Grant, Policy, ResponseMode, Return, Way, Who};
pub use self::words::{Asking, Command, Consenting, Exchange, Outcome, Remembered, SignIn, Signal, Start, Tokens};
pub use super::rotation::Minted;
use super::rotation::{ROUTINE, Standing, standing};
use crate::effects::{Auth, Key};
use crate::environment::Environment;
use crate::identity::user_id::UserId;
use crate::oauth::client::ClientId;
use crate::secrets::credential::{self, Presented, Seal, UserCode, of};
use crate::secrets::digest::Digest;

/// How long a request waits before anybody has signed in, and a device code is good, in seconds.
pub const UNCLAIMED: u64 = 600;
/// How long a person who has signed in may take to consent, in seconds.
pub const PATIENCE: u64 = 1_800;
/// How long the request of a browser that was left alone can still be taken up, by signing in after all, in seconds.
pub const RESUMES: u64 = 86_400;
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
    /// Nobody signed in or consented in time. The browser that was sent here may have been away for longer (a letter was
    /// awaited, a laptop was closed): signing in takes the request up again.
    Lapsed(Box<Grant>),
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

    /// Somebody is signed in: their consent is awaited if it is not there, and no fence has moved meanwhile.
    fn claimed(&self, by: &SignIn, lost: Option<&Lost<Authorization>>, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        if lost.is_some_and(|Lost(key)| self.is_fence(key, &by.who)) {
            return stay().says(Outcome::Refused);
        }
        if self.way.not_before().is_some_and(|since| by.who.auth_time < since) {
            return stay().says(Outcome::TooOld);
        }
        let mut claimed = Claimed { grant: self.clone(), who: by.who.clone(), consent: by.remembered.number() };
        if by.remembered != Remembered::Nothing && !self.way.asks() {
            return claimed.decided(false, None, cx);
        }
        if matches!(self.way, Way::Browser { .. }) {
            claimed.grant.expires_at = cx.now.after(Duration::from_secs(PATIENCE));
        }
        claimed.consent = None;
        let (expires_at, fences) = (claimed.grant.expires_at, held(self, &by.who, None, false));
        fences
            .into_iter()
            .fold(go(Authorization::SignedIn(Box::new(claimed))), |step, (key, number)| step.hold(key, number))
            .says(Outcome::SignedIn { expires_at })
    }
}

impl Authorization {
    /// The keyed hash by which a user code is claimed, and its flow found (`subject` of the row).
    pub fn user_code_key(code: &UserCode, environment: &Environment) -> Digest {
        environment.digest("user code", code.letters())
    }

    /// The user code's hash, for as long as nobody else may show the same: until the person has decided.
    fn user_code(&self) -> Option<Digest> {
        match self {
            Self::Requested(grant) => grant.way.user_code(),
            Self::SignedIn(claimed) => claimed.grant.way.user_code(),
            Self::Lapsed(_) | Self::Consented(_) | Self::Active(_) | Self::Ended { .. } => None,
        }
    }

    /// Nobody came: a browser may still come back to it, a device asks anew.
    fn lapsed(&self, grant: &Grant, cx: &Cx<'_, Auth>) -> Step<Self> {
        match grant.way {
            Way::Browser(_) => {
                let expires_at = cx.now.after(Duration::from_secs(RESUMES));
                let lapsed = Grant { expires_at, ..grant.clone() };
                go(Self::Lapsed(Box::new(lapsed))).says(Outcome::Lapsed)
            }
            Way::Device { .. } => self.end(End::Expired),
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
        let back = self.grant().and_then(Return::of);
        self.end_saying(End::Denied, Outcome::Denied { back })
    }

    /// A fence of the grant has moved: it is over, and why follows from which it was.
    fn fenced(&self, lost: &Lost<Self>) -> Step<Self> {
        self.end(match lost {
            Lost(Key::Client(_)) => End::ClientDeleted,
            Lost(Key::Consent(..)) => End::ConsentRevoked,
            Lost(_) => End::Fenced,
        })
    }

    /// Somebody says that a fence has moved: it is over if one of its own has.
    fn told(&self, lost: Option<&Lost<Self>>) -> Step<Self> {
        match self.has_lost(lost) {
            Some(lost) => self.fenced(lost),
            None => self
                .fences()
                .into_iter()
                .fold(stay(), |step, (key, number)| step.hold(key, number))
                .says(Outcome::Nothing),
        }
    }

    /// The fences whose numbers its next step needs.
    fn fences(&self) -> Vec<(Key, i64)> {
        match self {
            Self::SignedIn(c) => held(&c.grant, &c.who, None, false),
            Self::Consented(c) => held(&c.grant, &c.who, c.consent, c.grant.is_offline()),
            Self::Active(a) => a.fences(),
            Self::Requested(_) | Self::Lapsed(_) | Self::Ended { .. } => Vec::new(),
        }
    }

    /// Whether a step was undone because of a fence of this grant.
    fn has_lost<'l>(&self, lost: Option<&'l Lost<Self>>) -> Option<&'l Lost<Self>> {
        let (grant, who) = self.grant().zip(self.who())?;
        lost.filter(|Lost(key)| grant.is_fence(key, who))
    }

    /// What is asked for, while it has not ended.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Requested(grant) | Self::Lapsed(grant) => Some(grant),
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
            Self::Requested(_) | Self::Lapsed(_) | Self::Ended { .. } => None,
        }
    }

    /// Which client asks, or did.
    pub fn client(&self) -> ClientId {
        match self {
            Self::Requested(grant) | Self::Lapsed(grant) => grant.client,
            Self::SignedIn(claimed) | Self::Consented(claimed) => claimed.grant.client,
            Self::Active(active) => active.grant.client,
            Self::Ended { client, .. } => *client,
        }
    }
}

phases! {
    /// Where an authorization stands.
    pub enum Phase {
        Requested = "requested",
        Lapsed = "lapsed",
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

    fn start(asked: &Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        let issue = Seal::new(&cx.environment.ring, cx.salt);
        let expires_at = cx.now.after(Duration::from_secs(UNCLAIMED));
        let client = Key::Client(asked.client);
        if matches!(lost, Some(Lost(Key::Client(_)))) {
            return stay().says(Outcome::Refused);
        }
        let grant = |way: Way| Grant {
            client: asked.client,
            client_fence: asked.client_fence,
            access: asked.access.clone(),
            refresh: asked.refresh,
            access_ttl: asked.access_ttl,
            way,
            issue: issue.clone(),
            expires_at,
        };
        match &asked.way {
            Asking::Browser { way, entry } => {
                let grant = grant(Way::Browser(way.clone()));
                match entry {
                    Some(entry) => grant.claimed(entry, lost, cx),
                    None => go(Self::Requested(Box::new(grant)))
                        .hold(client, asked.client_fence)
                        .says(Outcome::Requested { expires_at }),
                }
            }
            // When another device shows the same user code, this is decided again with another salt.
            Asking::Device => {
                let code = credential::user_code(&cx.environment.ring, *cx.flow.bytes(), &issue);
                let Some(code) = code else { return stay().says(Outcome::Nothing) };
                let user_code = Self::user_code_key(&code, cx.environment);
                let grant = grant(Way::Device { user_code, interval: INTERVAL });
                go(Self::Requested(Box::new(grant)))
                    .hold(client, asked.client_fence)
                    .claim(Key::UserCode(user_code))
                    .says(Outcome::DeviceRequested { issue, interval: INTERVAL, expires_at })
            }
        }
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        use Command::{Claim, Consent, Deny, Exchange, Poll, Refresh, Revoke, SignIn};
        match (self, input) {
            // The client was deleted since it asked: nothing that is read anew would help.
            (Self::Requested(_) | Self::Lapsed(_) | Self::SignedIn(_), Input::Asked(SignIn(_) | Claim { .. }))
                if matches!(lost, Some(Lost(Key::Client(_)))) =>
            {
                self.end(End::ClientDeleted)
            }
            (Self::Requested(g) | Self::Lapsed(g), Input::Asked(SignIn(by))) => match g.way {
                Way::Browser(_) => g.claimed(by, lost, cx),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::Requested(g), Input::Asked(Claim { code, by })) => {
                if g.is_user_code(code, cx.environment) {
                    g.claimed(by, lost, cx)
                } else {
                    stay().says(Outcome::Garbage)
                }
            }
            (Self::Requested(g) | Self::Lapsed(g), Input::Asked(Deny { .. })) => match g.way {
                Way::Browser(_) => self.denied(),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::Requested(_) | Self::Lapsed(_), Input::Asked(Consent { .. })) => stay().says(Outcome::NotYours),
            (Self::Requested(g), Input::Asked(Poll { code, client, hasty })) => {
                g.pending((code, *client, *hasty), |grant| Self::Requested(Box::new(grant)), cx)
            }

            // The browser may change its mind about who it is; a device's code belongs to whoever typed it first.
            (Self::SignedIn(c), Input::Asked(SignIn(by))) => match c.grant.way {
                Way::Browser(_) => c.grant.claimed(by, lost, cx),
                Way::Device { .. } => stay().says(Outcome::NotYours),
            },
            (Self::SignedIn(c), Input::Asked(Claim { code, by })) => {
                if !c.grant.is_user_code(code, cx.environment) {
                    stay().says(Outcome::Garbage)
                } else if by.who.user == c.who.user {
                    c.grant.claimed(by, lost, cx)
                } else {
                    stay().says(Outcome::Occupied)
                }
            }
            (Self::SignedIn(c), Input::Asked(Consent { user, scope, how })) => {
                if *user != c.who.user {
                    return stay().says(Outcome::NotYours);
                }
                match lost {
                    // Given or taken back meanwhile: it must be read again.
                    Some(Lost(Key::Consent(..))) => stay().says(Outcome::Refused),
                    _ => match self.has_lost(lost) {
                        Some(lost) => self.fenced(lost),
                        None => c.consented(scope, how, cx),
                    },
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
                let to = |grant| Self::SignedIn(Box::new(Claimed { grant, ..(**c).clone() }));
                c.grant.pending((code, *client, *hasty), to, cx)
            }

            // A double click on the button gets the same code, and so does the page that is opened again.
            (
                Self::Consented(c),
                Input::Asked(Consent { user, .. } | SignIn(words::SignIn { who: Who { user, .. }, .. })),
            ) => {
                if *user == c.who.user {
                    stay().says(c.consent())
                } else {
                    stay().says(Outcome::NotYours)
                }
            }
            (Self::Consented(c), Input::Asked(Exchange(asked))) => match c.grant.admits(asked, cx) {
                Err(refusal) => stay().says(refusal),
                Ok(access) => match self.has_lost(lost) {
                    Some(lost) => self.fenced(lost),
                    None => c.redeemed(access, cx),
                },
            },
            (Self::Consented(c), Input::Asked(Poll { code, client, .. })) => {
                match c.grant.admits_poll(code, *client, cx) {
                    Err(refusal) => stay().says(refusal),
                    Ok(_) => match self.has_lost(lost) {
                        Some(lost) => self.fenced(lost),
                        None => c.redeemed(c.grant.access.clone(), cx),
                    },
                }
            }
            // The second use of a code, by what could have made the first.
            (Self::Active(a), Input::Asked(Exchange(asked))) => {
                match (a.grant.admits(asked, cx), self.has_lost(lost)) {
                    (Err(refusal), _) => stay().says(refusal),
                    (Ok(access), None) if a.repeats_exchange(&access, cx) => a.given_again(),
                    (Ok(access), Some(lost)) if a.repeats_exchange(&access, cx) => self.fenced(lost),
                    (Ok(_), _) => self.end(End::CodeReused),
                }
            }
            (Self::Active(a), Input::Asked(Poll { code, client, .. })) => {
                match (a.grant.admits_poll(code, *client, cx), self.has_lost(lost)) {
                    (Err(refusal), _) => stay().says(refusal),
                    (Ok(_), None) if a.repeats_exchange(&a.access, cx) => a.given_again(),
                    (Ok(_), Some(lost)) if a.repeats_exchange(&a.access, cx) => self.fenced(lost),
                    (Ok(_), _) => self.end(End::CodeReused),
                }
            }
            (Self::Active(a), Input::Asked(Refresh { client, .. } | Revoke { client, .. }))
                if *client != a.grant.client =>
            {
                stay().says(Outcome::WrongClient)
            }
            (Self::Active(a), Input::Asked(Refresh { token, wish, .. })) => {
                match (standing(token, &a.grant.issue, a.minted.at, cx), self.has_lost(lost)) {
                    (Standing::Foreign, _) => stay().says(Outcome::Garbage),
                    (Standing::Replaced, _) => self.end(End::Reused),
                    (Standing::Present | Standing::Repeated, Some(lost)) => self.fenced(lost),
                    (Standing::Present, None) => a.refreshed(wish, cx),
                    // The client lost our reply: the same again, whatever it wishes now.
                    (Standing::Repeated, None) => a.given_again(),
                }
            }
            (Self::Active(a), Input::Asked(Revoke { token, .. })) => {
                match standing(token, &a.grant.issue, a.minted.at, cx) {
                    Standing::Foreign => stay().says(Outcome::Garbage),
                    Standing::Present | Standing::Repeated | Standing::Replaced => self.end(End::Revoked),
                }
            }
            (Self::Consented(_) | Self::Active(_), Input::Asked(Command::Leave)) => self.end(End::Revoked),
            (
                Self::Requested(_) | Self::Lapsed(_) | Self::SignedIn(_) | Self::Consented(_) | Self::Active(_),
                Input::Told(Signal::ClientDeleted),
            ) => self.end(End::ClientDeleted),
            // No consent of its own was kept, and so none has a fence that would tell.
            (Self::Consented(_) | Self::Active(_), Input::Told(Signal::ConsentRevoked))
                if !self.fences().iter().any(|(key, _)| matches!(key, Key::Consent(..))) =>
            {
                self.end(End::ConsentRevoked)
            }
            // A signal may come late, to what has meanwhile begun anew under the present numbers.
            (Self::SignedIn(_) | Self::Consented(_) | Self::Active(_), Input::Told(Signal::Fenced))
            | (Self::Consented(_) | Self::Active(_), Input::Told(Signal::ConsentRevoked)) => self.told(lost),
            (Self::Requested(grant), Input::Woken) => self.lapsed(grant, cx),
            (Self::SignedIn(claimed), Input::Woken) => self.lapsed(&claimed.grant, cx),
            (Self::Lapsed(_) | Self::Consented(_) | Self::Active(_), Input::Woken) => self.end(End::Expired),

            // No code is out yet, or no token.
            (
                Self::Requested(_) | Self::Lapsed(_) | Self::SignedIn(_),
                Input::Asked(Exchange(_) | Refresh { .. } | Revoke { .. } | Command::Leave),
            )
            | (Self::Lapsed(_), Input::Asked(Claim { .. } | Poll { .. }))
            | (Self::Consented(_), Input::Asked(Refresh { .. } | Revoke { .. })) => stay().says(Outcome::Garbage),
            (Self::Consented(_), Input::Asked(Claim { .. }))
            | (Self::Active(_), Input::Asked(SignIn(_) | Claim { .. } | Consent { .. } | Deny { .. })) => {
                stay().says(Outcome::Decided)
            }
            // Before anybody consented there is no consent to take back, and before anybody signed in no fence.
            (Self::Requested(_) | Self::Lapsed(_), Input::Told(Signal::Fenced | Signal::ConsentRevoked))
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
            Self::Lapsed(_) => Phase::Lapsed,
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
