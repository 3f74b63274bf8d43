//! A user's sessions: which there are, ending them, and proving again who one is.

use cairn_runtime::{Fault, FlowId, Snapshot, Timestamp};

use super::password::own_words_of;
use super::session::{SignedIn, Tokens};
use super::{Caller, Refusal, Services, TRIES};
use crate::acts::guesses::Target;
use crate::acts::sessions as acts;
use crate::directory::User;
use crate::effects::Key;
use crate::flows::session::{Account, Command, Outcome, Session};
use crate::followers::Followers;
use crate::identity::user_id::UserId;
use crate::secrets::credential::{Presented, of};
use crate::secrets::hasher::Lane;
use crate::secrets::password::Password;

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

/// What the link of a new-device letter has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disowned {
    /// It has set a new password; else the one from before is out of force.
    pub password_set: bool,
    /// It can set one now.
    pub sets_password: bool,
}

impl Services {
    /// A user's sessions that are still good, last used first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sessions(&self, who: &SignedIn) -> Result<Vec<SessionView>, Refusal> {
        let views = self.living(who.user.id).await?.into_iter().filter_map(|seen| {
            let active = seen.state.active().filter(|active| active.fence == who.user.fence)?;
            Some(SessionView {
                id: seen.text(),
                device: active.device.clone(),
                client_address: active.client_address.clone(),
                created_at: active.created_at,
                last_used_at: seen.touched_at,
                current: seen.id == who.session,
            })
        });
        Ok(views.collect())
    }

    /// A user's sessions as they stand, those that ended by themselves among them, last used first.
    pub(super) async fn living(&self, user: UserId) -> Result<Vec<Snapshot<Session>>, Refusal> {
        Ok(self.engine.read_all(self.directory.sessions.of(user, MOST).await?)?)
    }

    /// What of a user is told when their fence moves, at most a thousand: the others find out when they next come.
    pub(super) async fn followers_of(&self, user: UserId) -> Result<Followers, Refusal> {
        Ok(self.directory.flows.followers(user, MOST).await?)
    }

    /// Ends one of the user's sessions. One that has ended already is told the same.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for what is no session, or somebody else's.
    pub async fn revoke_session(&self, caller: &Caller, who: &SignedIn, session: &str) -> Result<(), Refusal> {
        let seen = self.find::<Session>(Self::id_of::<Session>(session)?).await?.ok_or(Refusal::NotFound)?;
        if seen.user != Some(who.user.id.0) {
            return Err(Refusal::NotFound);
        }
        self.engine.call::<Session>(seen.id, self.engine.asker(&caller.trace), Command::Revoke).await?;
        Ok(())
    }

    /// Whoever holds the link of a new-device letter did not sign in: every session of that device and place ends, what
    /// is known of the account from before counts no more, and the password is put out of force, or becomes the new one.
    /// The link says the same as often as it is used.
    ///
    /// # Errors
    /// [`Refusal::FlowEnded`] for what is no such link, and for a new password where the link sets none (any more);
    /// [`Refusal::Values`] for one that is not good enough; [`Refusal::Mismatch`].
    pub async fn disown_session(
        &self,
        caller: &Caller,
        token: &str,
        new_password: Option<Password>,
    ) -> Result<Disowned, Refusal> {
        let environment = self.engine.environment();
        let parse = || Presented::parse(&environment.ring, of::EndSession, token).map_err(|_| Refusal::GARBAGE);
        let flow = FlowId::from_bytes(parse()?.flow());
        let fingerprint = match &new_password {
            Some(new) => self.fingerprint(caller, None, &[new], Lane::SignIn).await?,
            None => String::new(),
        };
        let asker = self.asker(caller, &[token, &fingerprint]).await?;
        if let Some(told) = self.recall_guarded::<Outcome>(caller, &asker, Target::flow(flow), None).await? {
            let state = self.session_state(flow).await?;
            self.end_disowned(caller, &state).await?;
            return disowned(told.outcome);
        }
        let state = self.session_state(flow).await?;
        let is_to_set = new_password.is_some();
        let link = state.link().filter(|link| parse().is_ok_and(|shown| shown.proves(&environment.ring, &link.seal)));
        let user = match state.user() {
            Some(user) => self.directory.users.by_id(user).await?,
            None => None,
        };
        let new_password = match new_password.zip(user.as_ref().filter(|_| link.is_some())) {
            Some((new, user)) => {
                let new = self.worthy(new, own_words_of(user), "/new_password", Lane::SignIn).await?;
                Some((self.hasher.hash(&new, Lane::SignIn).await?, new))
            }
            None => None,
        };
        let mut user = user;
        for _ in 0..TRIES {
            let account = match &user {
                Some(user) => Some(Account {
                    devices: user.devices,
                    to: user.address.clone(),
                    others: self.concerned(&state).await?.into_iter().filter(|other| *other != flow).collect(),
                    password: new_password.as_ref().map(|(hash, _)| hash.clone()),
                }),
                None => None,
            };
            let command = Command::Disown { link: parse()?, account };
            let reply = match self.engine.call::<Session>(flow, asker.clone(), command).await {
                Err(Fault::NotFound | Fault::Ended) => return Err(Refusal::GARBAGE),
                reply => reply?,
            };
            match (reply.outcome, &new_password) {
                (Outcome::Moved, _) => {
                    user = match user {
                        Some(user) => self.directory.users.by_id(user.id).await?,
                        None => None,
                    };
                }
                (Outcome::UsedUp, Some((_, typed))) => {
                    // The same password once more, whose answer was lost or whose button was pressed twice: perhaps while
                    // this one was hashed.
                    if let Some(before) = user {
                        user = self.directory.users.by_id(before.id).await?;
                    }
                    let hash = user.as_ref().and_then(|user| user.password.as_ref());
                    let owner = user.as_ref().map(|user| user.id);
                    let is_sets = self.session_state(flow).await?.link().is_some_and(|link| link.has_set_password());
                    let hash = hash.filter(|_| is_sets);
                    self.verify_guarded(caller, Target::flow(flow), owner, typed, hash).await.map_err(
                        |why| match why {
                            Refusal::Credentials => Refusal::SETS_NO_PASSWORD,
                            other => other,
                        },
                    )?;
                    return Ok(Disowned { password_set: true, sets_password: false });
                }
                (outcome, _) => {
                    let told = disowned(outcome)?;
                    if is_to_set && !told.password_set {
                        // The account is gone, or an older release has ended the session.
                        return Err(Refusal::SETS_NO_PASSWORD);
                    }
                    // Read once more: a sign-in may have been committed between the list and the step, none after it.
                    let state = self.session_state(flow).await?;
                    self.end_disowned(caller, &state).await?;
                    let now = self.engine.now();
                    let sets_password = state.link().is_some_and(|link| link.may_set_password(now));
                    return Ok(Disowned { sets_password, ..told });
                }
            }
        }
        Err(Refusal::Fault(Fault::Contended))
    }

    async fn session_state(&self, flow: FlowId) -> Result<Session, Refusal> {
        Ok(self.linked::<Session>(flow).await?.state)
    }

    /// The living sessions of the device and the place that the link of a session is about.
    async fn concerned(&self, state: &Session) -> Result<Vec<FlowId>, Refusal> {
        let Some((link, user)) = state.link().zip(state.user()) else { return Ok(Vec::new()) };
        let living = self.living(user).await?;
        let concerned = living.iter().filter(|seen| seen.state.active().is_some_and(|active| link.concerns(active)));
        Ok(concerned.map(|seen| seen.id).collect())
    }

    /// Ends before the answer what the step has told to end.
    async fn end_disowned(&self, caller: &Caller, state: &Session) -> Result<(), Refusal> {
        for session in self.concerned(state).await? {
            let asker = self.engine.asker(&caller.trace);
            match self.engine.call::<Session>(session, asker, Command::Disowned).await {
                Ok(_) | Err(Fault::NotFound | Fault::Ended) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Ends every session of the user whose access token this is, the present one too. A repeat under the same key is
    /// known by the token's subject: its session is over by then.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] when the token is not good and nothing was done under this key before.
    pub async fn sign_out_everywhere(&self, caller: &Caller, token: &str) -> Result<(), Refusal> {
        let claims = self.claims_of(token).await?;
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
        let followers = self.followers_of(user).await?;
        let act = |lost: Option<&Key>| acts::sign_out_everywhere(user, &followers, lost);
        self.engine.act(acts::SIGN_OUT_EVERYWHERE, asker, |lost, _| act(lost)).await?;
        Ok(())
    }

    /// Proves again who one is, for what is sensitive: new tokens with a fresh `auth_time`.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::SlowDown`], [`Refusal::SessionEnded`].
    pub async fn step_up(&self, caller: &Caller, who: &SignedIn, password: &Password) -> Result<Tokens, Refusal> {
        self.prove(caller, who, password).await?;
        let command = Command::StepUp { fence: who.user.fence, devices: who.user.devices };
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
        let target = self.target_of(caller, &who.user).await?;
        self.verify_guarded(caller, target, Some(user), password, hash).await.map(|_| ())
    }

    /// What the guesses at the password of somebody who is signed in are counted by: a device that is known to them has
    /// a count of its own, so that whoever has stolen a token cannot lock them out there.
    pub(super) async fn target_of(&self, caller: &Caller, user: &User) -> Result<Target, Refusal> {
        Ok(match self.known_device(caller.device_proof.as_deref(), user).await? {
            Some(device) => Target::Device(device.key(&self.engine.environment())),
            None => Target::User(user.id),
        })
    }
}

fn disowned(outcome: Outcome) -> Result<Disowned, Refusal> {
    match outcome {
        Outcome::Disowned { password_set } => Ok(Disowned { password_set, sets_password: false }),
        // An older release ended it.
        Outcome::Ended => Ok(Disowned { password_set: false, sets_password: false }),
        Outcome::UsedUp => Err(Refusal::SETS_NO_PASSWORD),
        _ => Err(Refusal::GARBAGE),
    }
}
