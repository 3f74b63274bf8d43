//! Changing one's password while signed in.

use cairn_runtime::{FlowId, Reply, Timestamp};

use super::session::{SignedIn, Tokens};
use super::{Caller, Refusal, Services};
use crate::directory::User;
use crate::flows::session::{Command, Outcome, Session};
use crate::secrets::hasher::Lane;
use crate::secrets::password::Password;
use crate::secrets::strength::OwnWords;

impl Services {
    /// Sets another password, the present one proved. Every other session ends in the same commit; this one stays, and no
    /// refresh token or cookie from before is good for it any more. Gives since when, and new tokens.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::Values`], [`Refusal::SlowDown`], [`Refusal::SessionEnded`],
    /// [`Refusal::Mismatch`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        who: &SignedIn,
        current: &Password,
        new: Password,
    ) -> Result<(Timestamp, Tokens), Refusal> {
        let user = &who.user;
        let fingerprint = self.fingerprint(caller, Some(user.id), &[current, &new], Lane::SignIn).await?;
        let asker = self.asker_of(caller, Some(user.id), &[&fingerprint]).await?;
        let target = self.target_of(caller, user).await?;
        if let Some(told) = self.recall_guarded(caller, &asker, target, Some(user.id)).await? {
            return self.changed(told).await;
        }
        self.prove(caller, who, current).await?;
        let password = self.worthy_hash(new, own_words_of(user), "/new_password", Lane::SignIn).await?;
        let followers = self.followers_of(user.id).await?.without(who.session);
        let (fence, devices, to) = (user.fence, user.devices, user.address.clone());
        let command = Command::ChangePassword { fence, devices, password, to, followers };
        let reply = self.engine.call::<Session>(who.session, asker, command).await?;
        self.changed(reply).await
    }

    /// What a change under this key was told before, for a browser that shows the session's cookie from before it: its
    /// answer was lost, or the form was sent twice. Both passwords are proved by it. `None`: there was no such change.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`], or the engine's.
    pub async fn password_changed_before(
        &self,
        caller: &Caller,
        cookie: &str,
        current: &Password,
        new: &Password,
    ) -> Result<Option<(Timestamp, Tokens)>, Refusal> {
        let Some(cookie) = self.session_of(cookie).filter(|_| caller.repeat.is_some()) else { return Ok(None) };
        let found = self.session_with_user(FlowId::from_bytes(cookie.flow())).await?;
        let Some((_, user)) = found.filter(|(session, _)| session.state.active().is_some()) else { return Ok(None) };
        let fingerprint = self.fingerprint(caller, Some(user.id), &[current, new], Lane::SignIn).await?;
        let asker = self.asker_of(caller, Some(user.id), &[&fingerprint]).await?;
        let target = self.target_of(caller, &user).await?;
        match self.recall_guarded(caller, &asker, target, Some(user.id)).await {
            Ok(Some(told)) => self.changed(told).await.map(Some),
            Ok(None) | Err(Refusal::Mismatch) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn changed(&self, reply: Reply<Outcome>) -> Result<(Timestamp, Tokens), Refusal> {
        match reply.outcome {
            Outcome::PasswordChanged { at, tokens: Some(tokens) } => {
                Ok((at, self.tokens(Reply { outcome: *tokens, ..reply }, None).await?))
            }
            // It was the password from before a change that was made meanwhile.
            Outcome::Refused => Err(Refusal::Credentials),
            _ => Err(Refusal::SessionEnded),
        }
    }
}

/// The words of an account that its password may not be made of.
pub(super) fn own_words_of(user: &User) -> OwnWords {
    let username = user.username.as_ref().map(|name| name.as_str());
    let names =
        [&user.first_name, &user.last_name].into_iter().filter_map(|name| name.as_ref().map(|name| name.as_str()));
    OwnWords::of(names.chain(username).chain([user.address.typed()]))
}
