//! The end of every sign-in: somebody has proved who they are, by whatever means, and a session begins.
//!
//! What must stay true: no session begins on a proof from before the account's fence moved; whatever is told about a new
//! device, room among sessions and an account that was to be deleted is in the commit that begins the session.

use cairn_runtime::{Asker, FlowId, Reply};

use super::arrival::agent;
use super::{Caller, Refusal, Services};
use crate::acts::guesses::Target;
use crate::directory::User;
use crate::flows::session::{Outcome, Session, Start};
use crate::identity::device::Device;
use crate::secrets::digest::Digest;

/// Somebody who has proved who they are.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Who, as read before the proof was looked at: a session begins only while the fence is where it was then.
    pub(super) user: &'a User,
    /// How they proved it (RFC 8176).
    pub(super) amr: &'a [&'a str],
    /// The device that they come from.
    pub(super) device: Device,
    /// Whether the account knows the device.
    pub(super) is_known: bool,
    /// The failed guesses that their success makes forgotten, and of which network.
    pub(super) forgets: Option<(Target, Digest)>,
}

/// A session that is about to begin, and what follows once it has.
#[derive(Debug)]
pub(super) struct Arriving {
    /// What opens the session.
    pub(super) start: Start,
    /// Sessions for which there is no room any more once it has begun.
    pub(super) crowded: Vec<FlowId>,
    /// The account was to be deleted, and this sign-in calls that off.
    pub(super) restored: bool,
    /// The device that is known from then on.
    pub(super) device: Device,
}

/// What became of a sign-in.
#[derive(Debug)]
pub(super) enum Entered {
    /// A session has begun.
    Begun {
        /// The session's tokens.
        reply: Box<Reply<Outcome>>,
        /// The account was to be deleted, and this sign-in has called that off.
        restored: bool,
        /// The proof by which the device is known from now on.
        device: String,
        /// Sessions for which there is no room any more: they are told in the commit, and over at once by
        /// [`Services::make_room`].
        crowded: Vec<FlowId>,
    },
    /// The account moved while the proof was looked at: it must be proved again.
    Moved,
    /// The account is to be gone by now: whoever comes late finds nobody.
    Gone,
}

impl Services {
    /// What a session begins with for somebody who has proved who they are; `None`: the account is to be gone by now.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn arriving(&self, caller: &Caller, entry: Entry<'_>) -> Result<Option<Arriving>, Refusal> {
        let Entry { user, amr, device, is_known, forgets } = entry;
        let leaves = self.leaves_at(user).await?;
        if leaves.is_some_and(|(_, until)| until <= self.engine.now()) {
            return Ok(None);
        }
        let arrival = self.arrival(caller, user, &device, is_known, leaves).await?;
        let (crowded, restored) = (arrival.crowded.clone(), arrival.restores.is_some());
        let start = Start {
            user: user.id,
            fence: user.fence,
            devices: user.devices,
            amr: amr.iter().map(|method| (*method).to_owned()).collect(),
            device: agent(caller),
            client_address: Some(caller.address.to_canonical().to_string()),
            arrival,
            forgets,
        };
        Ok(Some(Arriving { start, crowded, restored, device }))
    }

    /// Begins a session for somebody who has proved who they are. `asker`: the identity of the step that begins it.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn enter(&self, caller: &Caller, entry: Entry<'_>, asker: Asker) -> Result<Entered, Refusal> {
        let Some(arriving) = self.arriving(caller, entry).await? else { return Ok(Entered::Gone) };
        let Arriving { start, crowded, restored, device } = arriving;
        let reply = self.engine.start::<Session>(asker, start).await?;
        if reply.outcome == Outcome::Refused {
            return Ok(Entered::Moved);
        }
        let device = device.proof(&self.engine.environment(), self.engine.now());
        Ok(Entered::Begun { reply: Box::new(reply), restored, device, crowded })
    }
}
