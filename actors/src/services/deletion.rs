//! Deleting one's account, and having it back by signing in.

use cairn_runtime::{Fault, FlowId, Snapshot, Timestamp};

use super::session::SignedIn;
use super::{Caller, FlowReply, FlowView, Refusal, Services, TRIES};
use crate::directory::User;
use crate::flows::deletion::{Deletion, Outcome, Start};
use crate::secrets::password::Password;

impl Services {
    /// Has an account deleted. Every session ends at once; a sign-in within fourteen days has the account back.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], also when the password was changed or the session ended meanwhile; [`Refusal::SlowDown`],
    /// [`Refusal::SessionEnded`].
    pub async fn delete_account(
        &self,
        caller: &Caller,
        who: &SignedIn,
        password: &Password,
    ) -> Result<FlowReply, Refusal> {
        self.prove(caller, who, password).await?;
        let mut user = who.user.clone();
        for _ in 0..TRIES {
            let start = Start {
                user: user.id,
                fence: user.fence,
                devices: user.devices,
                profile: user.version,
                address: user.address,
                username: user.username,
                followers: self.followers_of(user.id).await?,
            };
            let asker = self.engine.asker(&caller.trace);
            let reply = self.engine.start::<Deletion>(asker, start).await?;
            if let Outcome::Waiting { until } = reply.outcome {
                let flow = FlowView::after::<Deletion>(&reply, Some(until));
                return Ok(FlowReply { flow, method: reply.method });
            }
            // The profile moved while the password was checked: by the same hand as likely as not. What moved the fence
            // has ended the session, or changed the password that was proved here.
            user = match self.directory.users.by_id(user.id).await? {
                Some(now) if now.fence == who.user.fence && now.devices == who.user.devices => now,
                Some(_) => return Err(Refusal::Credentials),
                None => return Err(Refusal::SessionEnded),
            };
        }
        Err(Refusal::Fault(Fault::Contended))
    }

    /// The deletion that waits for an account, and when the account goes.
    pub(super) async fn leaves_at(&self, user: &User) -> Result<Option<(FlowId, Timestamp)>, Refusal> {
        let Some(deletion) = user.deletion else { return Ok(None) };
        let goes = match self.find::<Deletion>(deletion).await {
            Ok(Some(Snapshot { state: Deletion::Waiting(waiting), .. })) => waiting.until,
            Ok(Some(Snapshot { state: Deletion::Done { .. }, .. })) => Timestamp(i64::MIN),
            // What the operator has set aside deletes nobody meanwhile.
            Ok(_) | Err(Refusal::Fault(Fault::Quarantined)) => Timestamp(i64::MAX),
            Err(other) => return Err(other),
        };
        Ok(Some((deletion, goes)))
    }

    /// Until when the account of a session's cookie can be had back, where it waits for its deletion. The session has
    /// ended by it: this is for whoever asked twice.
    ///
    /// # Errors
    /// Only that the database is away.
    pub async fn deletion_behind(&self, cookie: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(cookie) = self.session_of(cookie) else { return Ok(None) };
        let found = self.session_with_user(FlowId::from_bytes(cookie.flow())).await?;
        let Some((Snapshot { state: session, .. }, user)) = found else { return Ok(None) };
        // Where a session has ended there is no salt any more: the tag has shown that the cookie was ours.
        let genuine = session
            .active()
            .is_none_or(|active| cookie.is_genuine(&self.engine.environment().ring, &active.issue.salt));
        let Some(flow) = user.deletion.filter(|_| genuine) else { return Ok(None) };
        Ok(match self.find::<Deletion>(flow).await?.map(|seen| seen.state) {
            Some(Deletion::Waiting(waiting)) => Some(waiting.until),
            _ => None,
        })
    }
}
