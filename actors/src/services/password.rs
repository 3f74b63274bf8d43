//! Changing one's password while signed in.

use cairn_runtime::{Fault, Reply, Timestamp};

use super::passwords::worthy;
use super::session::SignedIn;
use super::{Caller, Refusal, Services, first, unambiguous};
use crate::directory::User;
use crate::effects::UserId;
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
        let asker = self.asker_of(caller, Some(user.id), &[&self.print(caller, user.id, current, &new).await?]);
        if asker.repeatable {
            // Whoever finds both passwords right here has guessed as well as anywhere.
            let attempt = self.attempt(self.target_of(caller, user.id)).await?;
            match self.engine.recall::<Outcome>(&asker).await {
                Ok(Some(Reply { outcome: Outcome::PasswordChanged { at }, .. })) => return Ok(at),
                Ok(Some(_)) => return Err(Refusal::SessionEnded),
                Ok(None) => drop(attempt),
                Err(Fault::Mismatch) => {
                    self.failed(caller, attempt, Some(user.id)).await?;
                    return Err(Refusal::Mismatch);
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        self.prove(caller, who, current).await?;
        let new = worthy(new, own_words_of(user), "/new_password").await?;
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

    /// What tells this change from another under the same key, the passwords being all there is to tell it by. It is as
    /// dear to guess at as the hash of a password that is kept, and made only where there is a key.
    async fn print(
        &self,
        caller: &Caller,
        user: UserId,
        current: &Password,
        new: &Password,
    ) -> Result<String, Refusal> {
        let Some(repeat) = &caller.repeat else { return Ok(String::new()) };
        let salt = self.engine.world().digest("idempotent passwords", &unambiguous(&[&user.text(), &repeat.key]));
        let print = self.hasher.print(current, new, first(&salt.0)).await?;
        Ok(print.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The words of an account that its password may not be made of.
pub(super) fn own_words_of(user: &User) -> OwnWords {
    let username = user.username.as_ref().map(|name| name.as_str());
    let names =
        [&user.first_name, &user.last_name].into_iter().filter_map(|name| name.as_ref().map(|name| name.as_str()));
    OwnWords::of(names.chain(username).chain([user.address.typed()]))
}
