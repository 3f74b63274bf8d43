//! Browsers: who is signed in by a cookie, and what stands behind the links of letters that tell of something done.
//!
//! What must stay true: a cookie opens nothing that its own flow did not give; a session's cookie dies with its session,
//! with the fence of its user, and with the key that it was written under.

use cairn_runtime::{Fault, FlowId, Snapshot};

use super::session::SignedIn;
use super::{Caller, Refusal, Services};
use crate::flows::challenge::LinkState;
use crate::flows::email_change::EmailChange;
use crate::flows::session::{Command, Outcome, Session, Used};
use crate::identity::user_id::UserId;
use crate::secrets::credential::{self, Presented, Purpose, Seal, Token, of};

/// Somebody who is signed in by a session's cookie.
#[derive(Clone, Debug)]
pub struct Browsing {
    /// Who, and in which session.
    pub who: SignedIn,
    /// The session was carried on just now: its cookie may live as long as it once more.
    pub carried_on: bool,
}

impl Services {
    /// What the link that takes a change of address back would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn undo_link(&self, token: &str) -> Result<LinkState, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::UndoEmailChange, token) else {
            return Ok(LinkState::Garbage);
        };
        let found = self.find::<EmailChange>(FlowId::from_bytes(link.flow())).await?;
        Ok(match found.map(|seen| seen.state) {
            Some(EmailChange::Changed(c)) if link.proves(&environment.ring, &c.undo) => LinkState::Good,
            Some(EmailChange::Undone(_)) => LinkState::Done,
            Some(EmailChange::Done { .. }) => LinkState::Expired,
            Some(EmailChange::Ended { .. }) => LinkState::Overtaken,
            Some(EmailChange::Changed(_) | EmailChange::AwaitingCode(_) | EmailChange::Expired { .. }) | None => {
                LinkState::Garbage
            }
        })
    }

    /// What the link of a new-device letter would find. It changes nothing, however often it is asked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session_link(&self, token: &str) -> Result<LinkState, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::EndSession, token) else {
            return Ok(LinkState::Garbage);
        };
        let found = self.find::<Session>(FlowId::from_bytes(link.flow())).await?;
        Ok(match found.map(|seen| seen.state) {
            Some(session) => match session.link() {
                Some(known) if !link.proves(&environment.ring, &known.seal) => LinkState::Garbage,
                // The session may have ended by itself: whoever began it knows the password all the same.
                Some(known) if known.used.is_none() => LinkState::Good,
                Some(_) => LinkState::Done,
                // Ended by an older release, which kept nothing to hold the link against.
                None if session.active().is_none() => LinkState::Done,
                None => LinkState::Garbage,
            },
            None => LinkState::Garbage,
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
        let user = self.directory.users.by_id(user).await?;
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
        let (device, amr, proved_at) = (active.device_id, active.amr.clone(), active.auth_time);
        let who = SignedIn { user, session: flow, device, claims, amr, proved_at };
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
