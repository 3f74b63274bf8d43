//! Changing one's password while signed in.

use cairn_runtime::{Reply, Timestamp};

use super::session::SignedIn;
use super::{Caller, Refusal, Services};
use crate::directory::User;
use crate::flows::session::{Command, Outcome, Session};
use crate::hasher::Lane;
use crate::password::Password;
use crate::strength::OwnWords;

impl Services {
    /// Sets another password, the present one proved. Every other session ends in the same commit; this one stays.
    /// Gives since when.
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
    ) -> Result<Timestamp, Refusal> {
        let user = &who.user;
        let fingerprint = self.fingerprint(caller, Some(user.id), &[current, &new], Lane::SignIn).await?;
        let asker = self.asker_of(caller, Some(user.id), &[&fingerprint]).await?;
        let target = self.target_of(caller, user.id);
        match self.recall_guarded(caller, &asker, target, Some(user.id)).await?.map(|told: Reply<Outcome>| told.outcome)
        {
            Some(Outcome::PasswordChanged { at }) => return Ok(at),
            Some(_) => return Err(Refusal::SessionEnded),
            None => {}
        }
        self.prove(caller, who, current).await?;
        let new = self.worthy(new, own_words_of(user), "/new_password", Lane::SignIn).await?;
        let password = self.hasher.hash(&new, Lane::SignIn).await?;
        let sessions = self.sessions_of(user.id).await?;
        let others = sessions.into_iter().filter(|session| *session != who.session).collect();
        let command = Command::ChangePassword { fence: user.fence, password, to: user.address.clone(), others };
        let reply = self.engine.call::<Session>(who.session, asker, command).await?;
        match reply.outcome {
            Outcome::PasswordChanged { at } => Ok(at),
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
