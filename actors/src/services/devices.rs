//! The devices that an account knows: which there are, and forgetting them.

use cairn_runtime::{FlowId, Id, Timestamp};

use super::session::SignedIn;
use super::{Caller, Refusal, Services};
use crate::acts::devices::{self, FORGET_DEVICE};
use crate::flows::session::{Command, Session};
use crate::identity::device::Device;
use crate::identity::user_id::UserId;

/// A device as its user sees it.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// Its id, `dev_…`.
    pub id: String,
    /// The user agent of the last sign-in, as it said it.
    pub user_agent: Option<String>,
    /// The address that the last sign-in came from.
    pub client_address: Option<String>,
    /// When a sign-in first came from it.
    pub first_seen_at: Timestamp,
    /// When a sign-in last came from it.
    pub last_seen_at: Timestamp,
    /// The session that asks was begun with it.
    pub current: bool,
}

impl Services {
    /// The devices that the account of whoever is signed in knows, last seen first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn devices(&self, who: &SignedIn) -> Result<Vec<DeviceView>, Refusal> {
        let known = self.directory.devices.of(who.user.id).await?;
        let views = known.into_iter().map(|known| DeviceView {
            id: known.id.text(Device::PREFIX),
            user_agent: known.user_agent,
            client_address: known.client_address,
            first_seen_at: known.first_seen_at,
            last_seen_at: known.last_seen_at,
            current: who.device == Some(known.id),
        });
        Ok(views.collect())
    }

    /// Has the account of whoever is signed in forget a device: its next sign-in is one of an unknown device. Its
    /// sessions go on unless they are to end with it. One that was forgotten already is told the same.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for what is no device's id; the engine's.
    pub async fn forget_device(
        &self,
        caller: &Caller,
        who: &SignedIn,
        device: &str,
        ends_sessions: bool,
    ) -> Result<(), Refusal> {
        let device = Id::parse(Device::PREFIX, device).ok_or(Refusal::NotFound)?;
        let sessions = if ends_sessions { self.sessions_with(who.user.id, device).await? } else { Vec::new() };
        self.forget(caller, who.user.id, device, &sessions).await?;
        for session in sessions {
            // They are told in the commit; this only has them over before the answer.
            let asker = self.engine.asker(&caller.trace);
            if let Err(why) = self.engine.call::<Session>(session, asker, Command::Revoke).await {
                tracing::debug!(%why, "a session of a device that was forgotten ends a little later");
            }
        }
        Ok(())
    }

    /// Forgets the device whose proof the caller shows, whoever is signed in there: what is left on it proves nothing.
    ///
    /// # Errors
    /// The engine's.
    pub async fn forget_shown_device(&self, caller: &Caller) -> Result<(), Refusal> {
        let environment = self.engine.environment();
        let shown =
            caller.device_proof.as_deref().and_then(|proof| Device::parse(&environment, proof, self.engine.now()));
        match shown {
            Some(device) => self.forget(caller, device.user(), device.id(), &[]).await,
            None => Ok(()),
        }
    }

    async fn forget(&self, caller: &Caller, user: UserId, device: Id, sessions: &[FlowId]) -> Result<(), Refusal> {
        // Nothing is written for what is not there: whoever asks at random leaves no trace.
        if !sessions.is_empty() || self.directory.devices.knows(user, device).await? {
            let asker = self.engine.asker(&caller.trace);
            self.engine.act(FORGET_DEVICE, asker, |_, _| devices::forget(user, device, sessions)).await?;
        }
        Ok(())
    }

    /// The living sessions that were begun with a device.
    async fn sessions_with(&self, user: UserId, device: Id) -> Result<Vec<FlowId>, Refusal> {
        let living = self.living(user).await?;
        let with =
            living.iter().filter(|seen| seen.state.active().is_some_and(|active| active.device_id == Some(device)));
        Ok(with.map(|seen| seen.id).collect())
    }
}
