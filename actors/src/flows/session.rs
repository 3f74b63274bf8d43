//! Session: begun by a sign-in, carried on by refresh tokens that rotate, ended by its user, its time, its misuse, or
//! by the fence of its user.
//!
//! What must stay true: one refresh token is the present one; the one before it gets the same answer within the grace
//! time; any older one shows that somebody else has them, and ends the session. Where the password was proved, nothing
//! that was copied before gets what came of it: a step-up has no grace, and a change of the password makes every refresh
//! token and cookie of the session anew.

mod link;

use cairn_runtime::{
    Cx, Flow, FlowId, Id, Input, Lost, Named, Outgoing, Public, Retain, Step, Timestamp, go, phases, stay,
};
use serde::{Deserialize, Serialize};

pub use self::link::{Account, Disputable, Link, SETS_PASSWORD, Used, known_place};
use super::challenge;
use super::deletion::{self, Deletion};
pub use super::rotation::Minted;
use super::rotation::{ROUTINE, Standing, standing};
use crate::acts::guesses::{self, Target};
use crate::effects::{Auth, Delivery, DeviceWrite, Key, UserWrite};
use crate::environment::Settings;
use crate::followers::Followers;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::letters::Letter;
use crate::secrets::credential::{Presented, Seal, of};
use crate::secrets::digest::Digest;
use crate::secrets::hasher::SealedHash;
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Session {
    /// Its tokens are good.
    Active(Box<Active>),
    /// They are not any more; the link of its new-device letter still counts, because whoever signed in knows the password.
    Disputable(Box<Disputable>),
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
        /// The number of the account's devices at the sign-in.
        #[serde(default)]
        devices: i64,
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
    /// The device that it was begun with.
    #[serde(default)]
    pub device_id: Option<Id>,
    /// The number of the account's devices at the sign-in ([`Key::Devices`]).
    #[serde(default)]
    pub devices: i64,
    /// The present refresh token came of a proof of the password: the one before it gets no repeat.
    #[serde(default)]
    pub no_grace: bool,
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
    /// The number of the account's devices, read in the same query.
    pub devices: i64,
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
    /// The device that the sign-in came from.
    pub device: Option<SeenDevice>,
    /// The deletion that the sign-in calls off.
    pub restores: Option<Restores>,
}

/// The device that a sign-in came from.
#[derive(Clone, Copy, Debug)]
pub struct SeenDevice {
    /// Its id.
    pub id: Id,
    /// The account did not know it.
    pub is_new: bool,
}

/// A deletion to be called off.
#[derive(Debug)]
pub struct Restores {
    /// Its flow.
    pub deletion: FlowId,
    /// When the account goes: a sign-in from then on calls nothing off.
    pub until: Timestamp,
    /// The number of the profile that names it.
    pub profile: i64,
    /// Whom to tell.
    pub to: Address,
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
        /// The number of the account's devices, read in the same query.
        devices: i64,
    },
    /// A new password, the old one proved: whatever else was begun is over, this session stays.
    ChangePassword {
        /// The number of the user's fence, read together with the old password's hash.
        fence: i64,
        /// The number of the account's devices, read in the same query.
        devices: i64,
        /// The new hash, sealed.
        password: SealedHash,
        /// Whom to tell.
        to: Address,
        /// What follows the account's fence, but this session.
        followers: Followers,
    },
    /// Its user ends it, from this session or another.
    Revoke,
    /// Here is the link of a new-device letter.
    Disown {
        /// The link's credential.
        link: Presented<of::EndSession>,
        /// The account as it was read; `None`: it is gone.
        account: Option<Account>,
    },
    /// Its user did not know another session of the same device or place.
    Disowned,
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
            Self::Disown { .. } => "disown",
            Self::Disowned => "disowned",
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
    /// Its user did not know another session of the same device or place.
    Disowned,
    /// Its user ended it from another session, together with its device.
    Revoked,
}

impl Named for Signal {
    fn name(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Crowded => "crowded",
            Self::Disowned => "disowned",
            Self::Revoked => "revoked",
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
        /// [`Outcome::Tokens`]. Steps of an older release gave none.
        #[serde(default)]
        tokens: Option<Box<Outcome>>,
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
    /// The link of a new-device letter has done what it is for, now or before.
    Disowned {
        /// A new password is set by it; else the one from before is out of force.
        password_set: bool,
    },
    /// The account moved while this was asked: it is to be asked again.
    Moved,
    /// The link sets no password: it has set one, the account's was set otherwise since, or it is too late.
    UsedUp,
    /// Not a token of this session.
    Garbage,
}

impl Session {
    /// The living session, if it is one.
    pub fn active(&self) -> Option<&Active> {
        match self {
            Self::Active(active) => Some(active),
            Self::Disputable(_) | Self::Ended { .. } => None,
        }
    }

    /// Whose it is, or was.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Active(active) => Some(active.user),
            Self::Disputable(disputable) => Some(disputable.user),
            Self::Ended { user, .. } => *user,
        }
    }

    /// The keyed hash of user, device and network.
    fn place(&self) -> Option<Digest> {
        match self {
            Self::Active(active) => active.place,
            Self::Disputable(disputable) => disputable.known_place(),
            Self::Ended { place, .. } => *place,
        }
    }

    /// The number of the account's devices at the sign-in.
    fn devices(&self) -> i64 {
        match self {
            Self::Active(active) => active.devices,
            Self::Disputable(disputable) => disputable.link.devices,
            Self::Ended { devices, .. } => *devices,
        }
    }

    fn end(&self, by: End, cx: &Cx<'_, Auth>) -> Step<Self> {
        let ended = match (self.link(), self.user()) {
            (Some(link), Some(user)) => {
                Self::Disputable(Box::new(Disputable { by, user, link, until: cx.now.after(link::COUNTS) }))
            }
            _ => self.forgotten(by),
        };
        go(ended).release(Key::Session(cx.flow.0)).says(Outcome::Ended)
    }

    /// The end of which no link is left.
    fn forgotten(&self, by: End) -> Self {
        // Who was not known here is not known here later either: the next sign-in from there is news again.
        let place = self.place().filter(|_| by != End::Disowned);
        Self::Ended { by, user: self.user(), place, devices: self.devices() }
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
        let (issue, minted) =
            (self.issue.next(&cx.environment.ring), self.minted.next(SigningAlgorithm::EdDsa, None, cx));
        let expires_at = lasts_until(self.auth_time, cx.now, &cx.environment.settings);
        Self { issue, minted, expires_at, no_grace: false, ..self.clone() }
    }

    /// The same after a proof of the password, with the next refresh token.
    fn proved(&self, cx: &Cx<'_, Auth>) -> Self {
        Self { no_grace: true, ..Self { auth_time: cx.now, ..self.clone() }.rotated(cx) }
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

phases! {
    /// Where a session stands.
    pub enum Phase {
        Active = "active",
        Disputable = "disputable" as "ended",
        Ended = "ended",
    }
}

impl Flow for Session {
    const NAME: &'static str = "session";
    const PREFIX: &'static str = "ses";
    // A session that goes on, every few minutes.
    const RETENTION: &'static [Retain<Phase>] = &[
        Retain::Steps { input: "refresh", to: Phase::Active, span: ROUTINE },
        Retain::Steps { input: "seen", to: Phase::Active, span: ROUTINE },
    ];
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Command;
    type Signal = Signal;
    type Outcome = Outcome;

    fn start(asked: &Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        let is_late = asked.arrival.restores.as_ref().is_some_and(|restores| cx.now >= restores.until);
        if lost.is_some() || is_late {
            return stay().says(Outcome::Refused);
        }
        let active = Active {
            user: asked.user,
            fence: asked.fence,
            issue: Seal::new(&cx.environment.ring, cx.salt),
            minted: Minted::first(SigningAlgorithm::EdDsa, None, cx),
            auth_time: cx.now,
            amr: asked.amr.clone(),
            device: asked.device.clone(),
            client_address: asked.client_address.clone(),
            created_at: cx.now,
            expires_at: lasts_until(cx.now, cx.now, &cx.environment.settings),
            place: asked.arrival.place,
            notice: asked.arrival.notice.as_ref().map(|_| Seal::new(&cx.environment.ring, cx.bytes("notice"))),
            device_id: asked.arrival.device.map(|device| device.id),
            devices: asked.devices,
            no_grace: false,
        };
        let (tokens, letter) = (active.tokens(), active.letter(asked.arrival.notice.as_ref()));
        let mut step = go(Self::Active(Box::new(active)))
            .hold(Key::User(asked.user), asked.fence)
            .hold(Key::Devices(asked.user), asked.devices)
            .claim(Key::Session(cx.flow.0));
        if let Some(letter) = letter {
            step = step.send(Outgoing::external(Delivery::Letter(letter)).until(cx.now.after(challenge::NOTICE)));
        }
        if asked.arrival.is_first {
            step = step.write(UserWrite::FirstSignIn { user: asked.user, at: cx.now });
        }
        if let Some((target, by)) = asked.forgets {
            step = step.write(guesses::forgotten(target, by, cx));
        }
        if let Some(SeenDevice { id, is_new }) = asked.arrival.device {
            let (user, at) = (asked.user, cx.now);
            let (user_agent, client_address) = (asked.device.clone(), asked.client_address.clone());
            step = step.write(if is_new {
                DeviceWrite::Add { id, user, user_agent, client_address, at }
            } else {
                DeviceWrite::See { id, user, user_agent, client_address, at }
            });
        }
        if let Some(Restores { deletion, profile, to, .. }) = &asked.arrival.restores {
            let letter = Letter::DeletionCalledOff { to: to.clone(), at: cx.now };
            step = step
                .bump_from(Key::Profile(asked.user), *profile)
                .write(UserWrite::SetDeletion { user: asked.user, flow: None, at: cx.now })
                .tell::<Deletion>(*deletion, &deletion::Signal::Restored)
                .send(Outgoing::external(Delivery::Letter(letter)).until(cx.now.after(challenge::NOTICE)));
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
                    // Whoever has a copy from before the proof gets nothing that came of it; nor does a client end its own
                    // session that lost our reply: it proves the password once more.
                    Standing::Repeated if a.no_grace => stay().says(Outcome::Refused),
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
            // The password that was proved may be out of force by now.
            (Self::Active(_), Input::Asked(Command::StepUp { .. } | Command::ChangePassword { .. }))
                if matches!(lost, Some(Lost(Key::Devices(_)))) =>
            {
                stay().says(Outcome::Refused)
            }
            // The fence moved, now or before the proof was read: the session is one of those that are over.
            (Self::Active(a), Input::Asked(Command::StepUp { fence, .. } | Command::ChangePassword { fence, .. }))
                if lost.is_some() || *fence > a.fence =>
            {
                self.end(End::Fenced, cx)
            }
            // The proof was of the password that this session has replaced since: it proves nothing, and ends nothing.
            (Self::Active(a), Input::Asked(Command::StepUp { fence, .. } | Command::ChangePassword { fence, .. }))
                if *fence < a.fence =>
            {
                stay().says(Outcome::Refused)
            }
            (Self::Active(a), Input::Asked(Command::StepUp { devices, .. })) => {
                let next = a.proved(cx);
                let tokens = next.tokens();
                go(Self::Active(Box::new(next)))
                    .hold(Key::User(a.user), a.fence)
                    .hold(Key::Devices(a.user), *devices)
                    .says(tokens)
            }
            (Self::Active(a), Input::Asked(Command::ChangePassword { devices, password, to, followers, .. })) => {
                let proved = a.proved(cx);
                // Under a new salt no refresh token or cookie from before is this session's any more.
                let issue = Seal { salt: cx.bytes("password changed"), ..proved.issue.clone() };
                let next = Active { fence: a.fence.saturating_add(1), issue, ..proved };
                let tokens = Some(Box::new(next.tokens()));
                let letter = Letter::PasswordChanged { to: to.clone(), at: cx.now };
                go(Self::Active(Box::new(next)))
                    .bump_from(Key::User(a.user), a.fence)
                    .hold(Key::Devices(a.user), *devices)
                    .write(UserWrite::SetPassword { user: a.user, password: password.clone(), at: cx.now })
                    .send(Outgoing::external(Delivery::Letter(letter)).until(cx.now.after(challenge::NOTICE)))
                    .with(followers.fenced())
                    .says(Outcome::PasswordChanged { at: cx.now, tokens })
            }
            (Self::Active(_), Input::Asked(Command::Revoke)) => self.end(End::Revoked, cx),
            (Self::Active(_), Input::Asked(Command::Disowned)) => self.end(End::Disowned, cx),
            (_, Input::Asked(Command::Disown { link, account })) => self.disown(link, account.as_ref(), lost, cx),
            // A browser's cookie does not rotate: pages that load side by side would take each other's turn.
            (Self::Active(a), Input::Asked(Command::Seen(cookie) | Command::Leave(cookie)))
                if !cookie.is_genuine(&cx.environment.ring, &a.issue.salt) =>
            {
                stay().says(Outcome::Garbage)
            }
            (Self::Active(_), Input::Asked(Command::Seen(_))) if lost.is_some() => self.end(End::Fenced, cx),
            (Self::Active(a), Input::Asked(Command::Seen(_))) => {
                let expires_at = a.lasts_until(cx.now, &cx.environment.settings);
                go(Self::Active(Box::new(Active { expires_at, ..(**a).clone() })))
                    .hold(Key::User(a.user), a.fence)
                    .says(Outcome::Seen { expires_at })
            }
            (Self::Active(_), Input::Asked(Command::Leave(_))) => self.end(End::SignedOut, cx),
            (Self::Active(_), Input::Woken) => self.end(End::Expired, cx),
            // Nobody used the link in time.
            (Self::Disputable(d), Input::Woken) => go(self.forgotten(d.by)).says(Outcome::Ended),
            (Self::Active(_), Input::Told(Signal::Fenced)) => self.end(End::Fenced, cx),
            (Self::Active(_), Input::Told(Signal::Crowded)) => self.end(End::Crowded, cx),
            (Self::Active(_), Input::Told(Signal::Revoked)) => self.end(End::Revoked, cx),
            (Self::Active(_), Input::Told(Signal::Disowned)) => self.end(End::Disowned, cx),

            (Self::Disputable(_), Input::Asked(_) | Input::Told(_))
            | (Self::Ended { .. }, Input::Asked(_) | Input::Told(_) | Input::Woken)
            | (_, Input::Answered { .. }) => stay().says(Outcome::Ended),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Active(active) => Some(active.expires_at),
            Self::Disputable(disputable) => Some(disputable.until),
            Self::Ended { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Active(_) => Phase::Active,
            Self::Disputable(_) => Phase::Disputable,
            Self::Ended { .. } => Phase::Ended,
        }
    }

    fn public(&self) -> Public {
        match self {
            Self::Active(a) => Public {
                user: Some(a.user.0),
                subject: a.place.map(|place| known_place(place, a.devices).0),
                shown: serde_json::json!({ "generation": a.issue.n, "amr": a.amr, "expires_at": a.expires_at }),
                ..Public::default()
            },
            Self::Disputable(d) => Public {
                user: Some(d.user.0),
                subject: d.known_place().map(|place| known_place(place, d.link.devices).0),
                shown: serde_json::json!({ "by": d.by }),
                ..Public::default()
            },
            Self::Ended { by, user, place, devices } => Public {
                user: user.map(|user| user.0),
                subject: place.map(|place| known_place(place, *devices).0),
                shown: serde_json::json!({ "by": by }),
                ..Public::default()
            },
        }
    }
}
