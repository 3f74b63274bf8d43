//! Browsers: what ties a flow to the browser that began it, where such a flow stands for its pages, and who is signed in
//! by a cookie.
//!
//! What must stay true: a cookie opens nothing that its own flow did not give; a session's cookie dies with its session,
//! with the fence of its user, and with the key that it was written under.

use cairn_runtime::{Fault, Flow, FlowId, Id, Snapshot, Timestamp};

use super::registration::{self, Mail, MailState};
use super::session::SignedIn;
use super::{Caller, FlowView, Refusal, Services};
use crate::address::Address;
use crate::credential::{self, OfPurpose, Presented, Purpose, Seal, Token, of};
use crate::effects::{Auth, UserId};
use crate::flows::challenge::{Challenge, Checked};
use crate::flows::email_change::EmailChange;
use crate::flows::recovery::Recovery;
use crate::flows::registration::Registration;
use crate::flows::session::{Command, Outcome, Session, Used};

/// A flow as its own browser may see it.
#[derive(Clone, Debug)]
pub struct OpenFlow {
    /// The flow.
    pub flow: FlowView,
    /// To which address the letters go, while one is awaited.
    pub address: Option<Address>,
    /// Where the last letter is; for a reset always as if it were on its way.
    pub mail: Mail,
    /// How many wrong codes it still takes; with none, only the link works.
    pub tries_left: u8,
    /// From when on another letter may be asked for; `None`: there are no more.
    pub next_letter: Option<Timestamp>,
    /// When the last letter was asked for.
    pub issued_at: Option<Timestamp>,
}

/// What the link of a letter would find, were its button pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is awaited.
    Good,
    /// It has done what it was for.
    Done,
    /// Nobody used it in time.
    Expired,
    /// Something else came first: somebody else proved the address, or another reset came.
    Overtaken,
    /// It is none of ours, or was forgotten.
    Garbage,
}

/// Somebody who is signed in by a session's cookie.
#[derive(Clone, Debug)]
pub struct Browsing {
    /// Who, and in which session.
    pub who: SignedIn,
    /// The session was carried on just now: its cookie may live as long as it once more.
    pub carried_on: bool,
}

/// Credentials of one cookie, at most: several flows may be on their way in one browser.
pub const FLOWS_A_COOKIE: usize = 4;

/// A flow that a page waits for, as it stands.
enum Waiting {
    Registration(Snapshot<Registration>),
    Recovery(Snapshot<Recovery>),
    EmailChange(Snapshot<EmailChange>),
}

impl Waiting {
    /// What the browser that began the flow is told apart by; `None` where the flow has ended.
    fn cookie(&self) -> Option<Seal> {
        match self {
            Self::Registration(seen) => seen.state.cookie(),
            Self::Recovery(seen) => seen.state.cookie(),
            Self::EmailChange(seen) => seen.state.cookie(),
        }
    }

    /// The address whose proof is awaited, and the letters that were sent there.
    fn awaited(&self) -> Option<(&Address, &Challenge)> {
        match self {
            Self::Registration(Snapshot { state: Registration::AwaitingCode(a), .. }) => Some((&a.address, &a.letters)),
            Self::Recovery(Snapshot { state: Recovery::AwaitingCode(a), .. }) => Some((&a.address, &a.letters)),
            Self::EmailChange(Snapshot { state: EmailChange::AwaitingCode(a), .. }) => Some((&a.address, &a.letters)),
            _ => None,
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Registration(_) => Registration::PREFIX,
            Self::Recovery(_) => Recovery::PREFIX,
            Self::EmailChange(_) => EmailChange::PREFIX,
        }
    }

    fn has_ended(&self) -> bool {
        self.view().expires_at.is_none()
    }

    fn view(&self) -> FlowView {
        match self {
            Self::Registration(seen) => FlowView::of(seen),
            Self::Recovery(seen) => FlowView::of(seen),
            Self::EmailChange(seen) => FlowView::of(seen),
        }
    }
}

impl Services {
    /// The cookie for the browser that has just begun a flow. Only the handler that began it may ask.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or the database is away.
    pub async fn flow_cookie(&self, flow: &str) -> Result<Token, Refusal> {
        let prefixes = [Registration::PREFIX, Recovery::PREFIX, EmailChange::PREFIX];
        let id = prefixes.iter().find_map(|prefix| Id::parse(prefix, flow));
        let id = FlowId(id.ok_or(Refusal::NotFound)?);
        let seal = self.waiting(id).await?.and_then(|flow| flow.cookie()).ok_or(Refusal::NotFound)?;
        let ring = &self.engine.environment().ring;
        credential::render(ring, Purpose::FlowCookie, *id.bytes(), &seal).ok_or(Refusal::NotFound)
    }

    /// The flow that one of these cookies began: the one that is named, else the newest of the kind that the prefix says.
    /// `None` when no cookie is good for it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begun(&self, cookies: &[&str], prefix: &str, flow: Option<&str>) -> Result<Option<OpenFlow>, Refusal> {
        let environment = self.engine.environment();
        let wanted = match flow {
            Some(text) => match Id::parse(prefix, text) {
                Some(id) => Some(id),
                None => return Ok(None),
            },
            None => None,
        };
        let presented =
            cookies.iter().filter_map(|cookie| Presented::parse(&environment.ring, of::FlowCookie, cookie).ok());
        for cookie in presented.take(FLOWS_A_COOKIE) {
            let id = FlowId::from_bytes(cookie.flow());
            if wanted.is_some_and(|wanted| wanted != id.0) {
                continue;
            }
            let flow = match self.waiting(id).await {
                // What the operator has set aside keeps nobody from the other flows of their browser.
                Err(Refusal::Fault(Fault::Quarantined | Fault::Defect(_))) if wanted.is_none() => continue,
                found => found?,
            };
            let Some(flow) = flow.filter(|flow| flow.prefix() == prefix) else { continue };
            // Where a flow has ended there is no salt to hold the cookie against, and nothing to be shown but the end.
            let genuine = match flow.cookie() {
                Some(seal) => cookie.is_genuine(&environment.ring, &seal.salt),
                None => flow.has_ended(),
            };
            if genuine {
                return self.view(&flow).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The flow that a page waits for, by its id; `None` where none is, or an operator has ended it.
    async fn waiting(&self, flow: FlowId) -> Result<Option<Waiting>, Refusal> {
        let Some(row) = self.engine.store().load(flow).await? else { return Ok(None) };
        let read = match row.kind.as_str() {
            Registration::NAME => self.engine.read(row).map(Waiting::Registration),
            Recovery::NAME => self.engine.read(row).map(Waiting::Recovery),
            EmailChange::NAME => self.engine.read(row).map(Waiting::EmailChange),
            _ => return Ok(None),
        };
        match read {
            Ok(waiting) => Ok(Some(waiting)),
            Err(Fault::Ended) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    async fn view(&self, flow: &Waiting) -> Result<OpenFlow, Refusal> {
        let cooldown = self.engine.environment().settings.resend_cooldown;
        let awaited = flow.awaited();
        Ok(OpenFlow {
            flow: flow.view(),
            address: awaited.map(|(address, _)| address.clone()),
            mail: match flow {
                Waiting::Registration(seen) => self.mail(seen, registration::LETTERS).await?,
                Waiting::EmailChange(seen) => self.mail(seen, &["email.confirm", "email.known"]).await?,
                // Only where an account has the address is there a letter at all: where it is would tell.
                Waiting::Recovery(seen) => Mail {
                    state: MailState::Queued,
                    at: awaited.map_or(seen.touched_at, |(_, issues)| issues.issued_at),
                    over_budget: false,
                },
            },
            tries_left: awaited.map_or(0, |(_, issues)| issues.tries_left()),
            next_letter: awaited
                .filter(|(_, issues)| issues.may_send_another())
                .map(|(_, issues)| issues.issued_at.after(cooldown)),
            issued_at: awaited.map(|(_, issues)| issues.issued_at),
        })
    }

    /// What a verification link would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn verification_link(&self, token: &str) -> Result<Standing, Refusal> {
        self.standing(of::VerifyEmail, token, |flow: &Registration, link, environment| match flow {
            Registration::AwaitingCode(a) => judged(a.letters.check_link(link, environment)),
            Registration::Verified { .. } if !flow.knows_link(link, environment) => Standing::Garbage,
            // What is over keeps no salt: the tag has shown that the link was ours.
            Registration::Verified { .. } | Registration::Done { .. } => Standing::Done,
            Registration::Expired => Standing::Expired,
            Registration::Ended => Standing::Overtaken,
        })
        .await
    }

    /// The registration of this link, where one of the cookies is the one of the browser that began it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn began_here(&self, token: &str, cookies: &[&str]) -> Result<Option<OpenFlow>, Refusal> {
        let ring = &self.engine.environment().ring;
        let Ok(link) = Presented::parse(ring, of::VerifyEmail, token) else { return Ok(None) };
        let flow = Id::from_bytes(link.flow()).text(Registration::PREFIX);
        self.begun(cookies, Registration::PREFIX, Some(&flow)).await
    }

    /// Which address a verification link proves, told to whoever has the link: it came to that address.
    ///
    /// # Errors
    /// The database is away.
    pub async fn verification_address(&self, token: &str) -> Result<Option<Address>, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::VerifyEmail, token) else { return Ok(None) };
        Ok(match self.find(FlowId::from_bytes(link.flow())).await?.map(|seen| seen.state) {
            Some(Registration::AwaitingCode(a))
                if matches!(a.letters.check_link(&link, &environment), Checked::Right(_)) =>
            {
                Some(a.address)
            }
            _ => None,
        })
    }

    /// What a reset link would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reset_link(&self, token: &str) -> Result<Standing, Refusal> {
        self.standing(of::ResetPassword, token, |flow: &Recovery, link, environment| match flow {
            Recovery::AwaitingCode(a) => judged(a.letters.check_link(link, environment)),
            Recovery::Reset(_) if !flow.knows_link(link, environment) => Standing::Garbage,
            Recovery::Reset(_) | Recovery::Done { .. } => Standing::Done,
            Recovery::Expired { .. } => Standing::Expired,
            Recovery::Ended { .. } => Standing::Overtaken,
        })
        .await
    }

    /// Whose password a reset link sets, told to whoever has the link: it came to that address.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reset_address(&self, token: &str) -> Result<Option<Address>, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::ResetPassword, token) else { return Ok(None) };
        Ok(match self.find(FlowId::from_bytes(link.flow())).await?.map(|seen| seen.state) {
            Some(Recovery::AwaitingCode(a))
                if matches!(a.letters.check_link(&link, &environment), Checked::Right(_)) =>
            {
                Some(a.address)
            }
            _ => None,
        })
    }

    /// What the link of a letter to a new address would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn email_change_link(&self, token: &str) -> Result<Standing, Refusal> {
        self.standing(of::EmailChange, token, |flow: &EmailChange, link, environment| match flow {
            EmailChange::AwaitingCode(a) => judged(a.letters.check_link(link, environment)),
            EmailChange::Changed(_) | EmailChange::Done { .. } => Standing::Done,
            EmailChange::Expired { .. } => Standing::Expired,
            EmailChange::Undone(_) | EmailChange::Ended { .. } => Standing::Overtaken,
        })
        .await
    }

    /// What the link that takes a change of address back would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn undo_link(&self, token: &str) -> Result<Standing, Refusal> {
        self.standing(of::UndoEmailChange, token, |flow: &EmailChange, link, environment| match flow {
            EmailChange::Changed(c) if link.proves(&environment.ring, &c.undo) => Standing::Good,
            EmailChange::Undone(_) => Standing::Done,
            EmailChange::Done { .. } => Standing::Expired,
            EmailChange::Ended { .. } => Standing::Overtaken,
            EmailChange::Changed(_) | EmailChange::AwaitingCode(_) | EmailChange::Expired { .. } => Standing::Garbage,
        })
        .await
    }

    /// What the link of a new-device letter would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session_link(&self, token: &str) -> Result<Standing, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::EndSession, token) else { return Ok(Standing::Garbage) };
        let found = self.find::<Session>(FlowId::from_bytes(link.flow())).await?;
        Ok(match found.map(|seen| seen.state) {
            Some(session) => match session.link() {
                Some(known) if !link.proves(&environment.ring, &known.seal) => Standing::Garbage,
                // The session may have ended by itself: whoever began it knows the password all the same.
                Some(known) if known.used.is_none() => Standing::Good,
                Some(_) => Standing::Done,
                // Ended by an older release, which kept nothing to hold the link against.
                None if session.active().is_none() => Standing::Done,
                None => Standing::Garbage,
            },
            None => Standing::Garbage,
        })
    }

    /// Whether the link of a new-device letter can set a new password now, once it has put the one from before out of
    /// force. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session_link_sets_password(&self, token: &str) -> Result<bool, Refusal> {
        let environment = self.engine.environment();
        let Ok(shown) = Presented::parse(&environment.ring, of::EndSession, token) else { return Ok(false) };
        let found = self.find::<Session>(FlowId::from_bytes(shown.flow())).await?;
        let Some(Snapshot { state, .. }) = found else { return Ok(false) };
        let Some((link, user)) = state.link().zip(state.user()) else { return Ok(false) };
        if !shown.proves(&environment.ring, &link.seal) || !link.may_set_password(self.engine.now()) {
            return Ok(false);
        }
        // A password that was set since by other means is not this link's to replace.
        let user = self.directory.by_id(user).await?;
        Ok(user.is_some_and(|user| link.used == Some(Used::Disowned { devices: user.devices })))
    }

    /// Whose account the link of a letter acts on: one that changes an address, takes a change back, or ends a session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn user_of_link(&self, token: &str) -> Result<Option<UserId>, Refusal> {
        let environment = self.engine.environment();
        let ring = &environment.ring;
        let change = Presented::parse(ring, of::EmailChange, token).map(|link| link.flow());
        let change = change.or_else(|_| Presented::parse(ring, of::UndoEmailChange, token).map(|link| link.flow()));
        if let Ok(change) = change {
            let found = self.find::<EmailChange>(FlowId::from_bytes(change)).await?;
            return Ok(found.map(|seen| seen.state.user()));
        }
        let Ok(link) = Presented::parse(ring, of::EndSession, token) else { return Ok(None) };
        let found = self.find::<Session>(FlowId::from_bytes(link.flow())).await?;
        Ok(found.and_then(|seen| seen.state.user()))
    }

    async fn standing<P: OfPurpose, F: Flow<Domain = Auth>>(
        &self,
        purpose: P,
        token: &str,
        judge: impl FnOnce(&F, &Presented<P>, &crate::environment::Environment) -> Standing,
    ) -> Result<Standing, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, purpose, token) else { return Ok(Standing::Garbage) };
        let found = self.find::<F>(FlowId::from_bytes(link.flow())).await?;
        Ok(found.map_or(Standing::Garbage, |seen| judge(&seen.state, &link, &environment)))
    }

    /// The cookie of a session, to be kept by the browser that signed in. It does not rotate: it is the same text for as
    /// long as the session lives.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`], or the database is away.
    pub async fn session_cookie(&self, session: &str) -> Result<Token, Refusal> {
        let id = Self::id_of::<Session>(session).map_err(|_| Refusal::SessionEnded)?;
        let Snapshot { state, .. } = self.find::<Session>(id).await?.ok_or(Refusal::SessionEnded)?;
        let active = state.active().ok_or(Refusal::SessionEnded)?;
        let seal = Seal { n: 0, ..active.issue.clone() };
        let token = credential::render(&self.engine.environment().ring, Purpose::SessionCookie, *id.bytes(), &seal);
        token.ok_or(Refusal::SessionEnded)
    }

    /// Who is signed in by a session's cookie: it is genuine, its session lives, and the fence of its user is where
    /// it was at the sign-in.
    ///
    /// # Errors
    /// Only that the database is away: whatever else is wrong with it, nobody is signed in.
    pub async fn browsing(&self, caller: &Caller, cookie: &str) -> Result<Option<Browsing>, Refusal> {
        let environment = self.engine.environment();
        let Some(cookie) = self.session_of(cookie) else { return Ok(None) };
        let flow = FlowId::from_bytes(cookie.flow());
        let Some((seen, user)) = self.session_with_user(flow).await? else { return Ok(None) };
        let Some(active) = seen.state.active() else { return Ok(None) };
        let now = self.engine.now();
        let good = cookie.is_genuine(&environment.ring, &active.issue.salt)
            && active.user == user.id
            && active.fence == user.fence;
        if !good {
            return Ok(None);
        }
        let claims = super::session::claims(&environment, flow, &user, &active.minted, active.auth_time);
        // A step now and then carries the session on: often enough that it does not run out under somebody's hands, and
        // so seldom that reading pages writes nothing.
        let mut carried_on = false;
        let left = active.expires_at.since(now);
        let gains = active.lasts_until(now, &environment.settings) > active.expires_at;
        if gains && left < environment.settings.session_ttl.mul_f32(0.75) {
            let asker = self.engine.asker(&caller.trace);
            match self.engine.call::<Session>(flow, asker, Command::Seen(cookie)).await {
                Ok(reply) => carried_on = matches!(reply.outcome, Outcome::Seen { .. }),
                Err(why) => tracing::debug!(%why, "a session could not be carried on; the next page tries again"),
            }
        }
        let (device, amr) = (active.device_id, active.amr.clone());
        let who = SignedIn { user, session: flow, device, claims, amr };
        Ok(Some(Browsing { who, carried_on }))
    }

    /// Ends the session of a cookie. Anything else ends nothing, and is told the same.
    ///
    /// # Errors
    /// Only the engine's.
    pub async fn leave(&self, caller: &Caller, cookie: &str) -> Result<(), Refusal> {
        let Some(cookie) = self.session_of(cookie) else { return Ok(()) };
        let flow = FlowId::from_bytes(cookie.flow());
        let asker = self.engine.asker(&caller.trace);
        match self.engine.call::<Session>(flow, asker, Command::Leave(cookie)).await {
            Ok(_) | Err(Fault::NotFound | Fault::Ended) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether a text is the cookie of a session that this instance began. Whether the session lives is not asked.
    pub fn is_session_cookie(&self, cookie: &str) -> bool {
        self.session_of(cookie).is_some()
    }

    pub(super) fn session_of(&self, cookie: &str) -> Option<Presented<of::SessionCookie>> {
        let cookie = Presented::parse(&self.engine.environment().ring, of::SessionCookie, cookie).ok()?;
        (cookie.generation() == 0).then_some(cookie)
    }
}

fn judged(judged: Checked<'_>) -> Standing {
    match judged {
        Checked::Right(_) => Standing::Good,
        Checked::Wrong | Checked::Spent => Standing::Garbage,
    }
}
