//! A user's sessions: which there are, ending them, and proving again who one is.

use cairn_runtime::{Fault, Flow, FlowId, Timestamp};

use super::session::{SignedIn, Tokens};
use super::{Caller, Refusal, Services};
use crate::acts::guesses::Target;
use crate::acts::sessions as acts;
use crate::credential::{Presented, of};
use crate::effects::{Key, UserId};
use crate::flows::session::{Command, Outcome, Session};
use crate::password::Password;

/// How many sessions of one user are looked at: no setting lets there be more.
const MOST: u32 = 1_000;

/// A session as its user sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its id, `ses_…`.
    pub id: String,
    /// The user agent, as it said it.
    pub device: Option<String>,
    /// The address that it was begun from.
    pub client_address: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last carried on.
    pub last_used_at: Timestamp,
    /// It is the one that asks.
    pub current: bool,
}

impl Services {
    /// A user's sessions that are still good, last used first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sessions(&self, who: &SignedIn) -> Result<Vec<SessionView>, Refusal> {
        let now = self.engine.now();
        let rows = self.directory.sessions(who.user.id, MOST).await?;
        let views = rows.into_iter().filter_map(|row| {
            let state: Session = serde_json::from_str(&row.state).ok()?;
            let active = state.active()?;
            (active.fence == who.user.fence && active.expires_at > now).then(|| SessionView {
                id: row.id.0.text(Session::PREFIX),
                device: active.device.clone(),
                client_address: active.client_address.clone(),
                created_at: active.created_at,
                last_used_at: row.touched_at,
                current: row.id == who.session,
            })
        });
        Ok(views.collect())
    }

    /// The ids of a user's sessions that have not ended.
    pub(super) async fn sessions_of(&self, user: UserId) -> Result<Vec<FlowId>, Refusal> {
        Ok(self.directory.sessions(user, MOST).await?.into_iter().map(|row| row.id).collect())
    }

    /// Ends one of the user's sessions. One that has ended already is told the same.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for what is no session, or somebody else's.
    pub async fn revoke_session(&self, caller: &Caller, who: &SignedIn, session: &str) -> Result<(), Refusal> {
        let row = self.row(Session::PREFIX, Session::NAME, session).await?;
        if row.user != Some(who.user.id.0) {
            return Err(Refusal::NotFound);
        }
        self.engine.call::<Session>(row.id, self.engine.asker(&caller.trace), Command::Revoke).await?;
        Ok(())
    }

    /// Ends the session of a new-device letter. The link says the same as often as it is opened.
    ///
    /// # Errors
    /// [`Refusal::FlowEnded`] for what is no such link.
    pub async fn disown_session(&self, caller: &Caller, token: &str) -> Result<(), Refusal> {
        let link = Presented::parse(&self.engine.world().ring, of::EndSession, token).map_err(|_| Refusal::GARBAGE)?;
        let flow = FlowId::from_bytes(link.flow());
        let asker = self.asker(caller, &[token]).await?;
        match self.engine.call::<Session>(flow, asker, Command::Disown(link)).await {
            Ok(reply) if reply.outcome == Outcome::Garbage => Err(Refusal::GARBAGE),
            Ok(_) => Ok(()),
            Err(Fault::NotFound) => Err(Refusal::GARBAGE),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends every session of the user whose access token this is, the present one too. A repeat under the same key is
    /// known by the token's subject: its session is over by then.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] when the token is not good and nothing was done under this key before.
    pub async fn sign_out_everywhere(&self, caller: &Caller, token: &str) -> Result<(), Refusal> {
        let claims = self.claims_of(token)?;
        let user = UserId::parse(&claims.sub).ok_or(Refusal::SessionEnded)?;
        // Of this session: under a key of an earlier one nobody is told that this one has ended.
        let asker = self.asker_of(caller, Some(user), &[&claims.sid]).await?;
        if self.engine.recall::<()>(&asker).await?.is_some() {
            return Ok(());
        }
        if let Err(refusal) = self.signed_in(token).await {
            // Perhaps by this very request, which came twice at once.
            return self.engine.recall::<()>(&asker).await?.map(|_| ()).ok_or(refusal);
        }
        let sessions = self.sessions_of(user).await?;
        let act = |lost: Option<&Key>| acts::sign_out_everywhere(user, &sessions, lost);
        self.engine.act(acts::SIGN_OUT_EVERYWHERE, asker, |lost, _| act(lost)).await?;
        Ok(())
    }

    /// Proves again who one is, for what is sensitive: new tokens with a fresh `auth_time`.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::SlowDown`], [`Refusal::SessionEnded`].
    pub async fn step_up(&self, caller: &Caller, who: &SignedIn, password: &Password) -> Result<Tokens, Refusal> {
        self.prove(caller, who, password).await?;
        let command = Command::StepUp { fence: who.user.fence };
        // A repeat under the same key gets the same tokens; its password was checked like the first one's.
        let asker = self.asker_of(caller, Some(who.user.id), &[&who.claims.sid]).await?;
        let reply = self.engine.call::<Session>(who.session, asker, command).await?;
        if reply.outcome == Outcome::Refused {
            // It was the password from before a change that was made meanwhile.
            return Err(Refusal::Credentials);
        }
        self.tokens(reply, None).await
    }

    /// Checks the password of somebody who is signed in, and counts.
    pub(super) async fn prove(&self, caller: &Caller, who: &SignedIn, password: &Password) -> Result<(), Refusal> {
        let (user, hash) = (who.user.id, who.user.password.as_ref());
        let target = self.target_of(caller, user);
        self.verify_guarded(caller, target, Some(user), password, hash).await.map(|_| ())
    }

    /// What the guesses at the password of somebody who is signed in are counted by: a browser that is known to them has
    /// a count of its own, so that whoever has stolen a token cannot lock them out there.
    pub(super) fn target_of(&self, caller: &Caller, user: UserId) -> Target {
        match self.known_device(caller, user) {
            Some(device) => Target::Device(device.key(&self.engine.world())),
            None => Target::User(user),
        }
    }
}
