//! Guarding every place where a secret is tried: one guess at a time, a count of those that failed, and a slow-down that
//! outlives restarts and holds on every node.
//!
//! A failure is committed before the answer goes out and before the next guess at the same target is looked at. Who is
//! slowed down is told so before the secret is looked at, so the right one and a wrong one get the same answer.

use cairn_runtime::store::OutboxRow;
use cairn_runtime::{FlowId, Timestamp};

use super::{Caller, Refusal, Services};
use crate::acts::guesses::{self, CLEARED, FAILED, MOST, Target};
use crate::flows::challenge::TypedCode;
use crate::identity::address::Address;
use crate::identity::user_id::UserId;
use crate::secrets::hasher::{HashFault, Lane, Proved, SealedHash, Turn, Verdict};
use crate::secrets::password::{Code, Password};
use crate::workers::budget;

/// A guess that may be made now. As long as it is held, nobody else guesses at the same target on this node.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts neither as failed nor as right"]
pub struct Attempt {
    turn: Turn,
    target: Target,
    failures: usize,
    /// The same guess as one of all that the devices of its account make.
    of_all_devices: Option<Box<Attempt>>,
}

impl Attempt {
    /// What a success forgets: the failures at this target, if there are any.
    pub(super) fn to_forget(&self) -> Option<Target> {
        (self.failures > 0).then_some(self.target)
    }
}

impl Services {
    /// Waits for the turn to guess at a target, and sees to it that there were not too many failures.
    ///
    /// Say [`Services::failed`] or [`Services::succeeded`] of it before the asker is answered.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] when there were, or when too many wait for this target already.
    pub async fn attempt(&self, target: Target) -> Result<Attempt, Refusal> {
        let environment = self.engine.environment();
        let key = target.key(&environment);
        let turn = match self.hasher.take_turn(key.0).await {
            Err(HashFault::Overloaded) => {
                return Err(Refusal::SlowDown(self.engine.now().after(std::time::Duration::from_secs(1))));
            }
            taken => taken?,
        };
        let mut failures = 0;
        if environment.settings.limits {
            let now = self.engine.now();
            let rule = target.rule(&environment.settings);
            let after = Timestamp(now.0.saturating_sub(i64::try_from(rule.window().as_millis()).unwrap_or(i64::MAX)));
            let failed = self.directory.failures.of(key, after, MOST).await?;
            if let Some(until) = rule.blocked_until(&failed, now) {
                metrics::counter!("cairn_guesses_slowed_total", "of" => target.word()).increment(1);
                return Err(Refusal::SlowDown(until));
            }
            failures = failed.len();
        }
        Ok(Attempt { turn, target, failures, of_all_devices: None })
    }

    /// The same for a target of an account: a device that it knows has a count of its own, and a second one together with
    /// all others that it knows.
    ///
    /// # Errors
    /// As [`Services::attempt`].
    pub async fn attempt_at(&self, target: Target, user: Option<UserId>) -> Result<Attempt, Refusal> {
        let attempt = self.attempt(target).await?;
        // Always in this order, so that no two wait for each other.
        let of_all_devices = match (target, user) {
            (Target::Device(_), Some(user)) => Some(Box::new(self.attempt(Target::Devices(user)).await?)),
            _ => None,
        };
        Ok(Attempt { of_all_devices, ..attempt })
    }

    /// Counts a failure, durably. `user`: whose account it was, when there is one.
    ///
    /// # Errors
    /// The engine's: then the failure may not be counted, and the asker must not learn that it was one.
    pub async fn failed(&self, caller: &Caller, attempt: Attempt, user: Option<UserId>) -> Result<(), Refusal> {
        if !self.engine.environment().settings.limits {
            return Ok(());
        }
        let (target, by) = (attempt.target, self.network_of(caller));
        let also = attempt.of_all_devices.as_ref().map(|all| all.target);
        let asker = self.engine.asker(&caller.trace);
        self.engine.act(FAILED, asker, |_, cx| guesses::failed(target, also, by, user, cx)).await?;
        self.has_failed(attempt);
        Ok(())
    }

    /// Ends an attempt whose failure is on record already, with the step that judged it.
    pub(super) fn has_failed(&self, attempt: Attempt) {
        if self.engine.environment().settings.limits {
            metrics::counter!("cairn_guesses_failed_total", "of" => attempt.target.word()).increment(1);
        }
        // The turn ends here, with the failure on record.
        drop(attempt);
    }

    /// Forgets the caller's own failures at this target: those of other networks stay, and those of all devices together.
    ///
    /// # Errors
    /// The engine's.
    pub async fn succeeded(&self, caller: &Caller, attempt: Attempt) -> Result<(), Refusal> {
        if attempt.failures > 0 {
            let (target, by) = (attempt.target, self.network_of(caller));
            let asker = self.engine.asker(&caller.trace);
            self.engine.act(CLEARED, asker, |_, cx| guesses::cleared(target, by, cx)).await?;
        }
        drop(attempt);
        Ok(())
    }

    /// Checks a password within an attempt. A wrong one is not counted yet.
    ///
    /// # Errors
    /// The hasher's.
    pub(super) async fn verify_in(
        &self,
        attempt: &Attempt,
        password: &Password,
        hash: Option<&SealedHash>,
    ) -> Result<Verdict, Refusal> {
        // However many strangers want in at once, they do not keep out those who are known.
        let lane = match attempt.target {
            Target::Device(_) => Lane::KnownDevice,
            _ => Lane::SignIn,
        };
        Ok(self.hasher.verify_in_turn(&attempt.turn, password, hash, lane).await?)
    }

    /// Checks a password where only right or wrong matters, and counts. `user`: whose it is, when there is one; without
    /// a hash it costs as much and is always wrong.
    ///
    /// # Errors
    /// [`Refusal::Credentials`] when it is wrong, [`Refusal::SlowDown`] when there were too many failures.
    pub async fn verify_guarded(
        &self,
        caller: &Caller,
        target: Target,
        user: Option<UserId>,
        password: &Password,
        hash: Option<&SealedHash>,
    ) -> Result<Proved, Refusal> {
        let attempt = self.attempt_at(target, user).await?;
        match self.verify_in(&attempt, password, hash).await? {
            Verdict::Right(proved) => {
                self.succeeded(caller, attempt).await?;
                Ok(proved)
            }
            Verdict::Wrong => {
                self.failed(caller, attempt, user).await?;
                Err(Refusal::Credentials)
            }
        }
    }

    /// The turn to try one of the codes that were mailed to an address: at most twenty may be wrong a day, over all
    /// flows of the address. Held while the flow judges the code. A wrong one is counted by the flow, in the step that
    /// costs the try.
    ///
    /// A right code clears nothing: it is somebody else's flow as likely as not.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`].
    pub async fn attempt_code(&self, address: &Address) -> Result<Attempt, Refusal> {
        let key = self.engine.environment().address_key(address);
        self.attempt(Target::Codes(key)).await
    }

    /// As [`Services::attempt_code`], of a code that opens an account, by a new password or without one: also at
    /// most thirty may be wrong a day from one network, over all addresses.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`].
    pub(super) async fn attempt_opening_code(
        &self,
        caller: &Caller,
        address: &Address,
    ) -> Result<[Attempt; 2], Refusal> {
        let of_address = self.attempt_code(address).await?;
        // Always in this order, so that no two wait for each other.
        let of_network = self.attempt(Target::ResetCodes(self.network_of(caller))).await?;
        Ok([of_address, of_network])
    }

    /// A code as typed, with what a flow needs to judge it. `kinds`: the letters that carry the code.
    pub(super) async fn typed_code(
        &self,
        caller: &Caller,
        flow: FlowId,
        code: Code,
        kinds: &[&str],
    ) -> Result<TypedCode, Refusal> {
        let deliveries = self.engine.store().deliveries(flow).await?;
        let letters = deliveries.iter().filter(|delivery| kinds.contains(&delivery.kind.as_str()));
        let delivered = letters.into_iter().any(went_out);
        Ok(TypedCode { code, delivered, from: self.network_of(caller) })
    }
}

/// Whether a letter went out, as far as its row tells: it is not dead, nor does it wait for room in its budget. One that
/// is in a mail server's hands at this moment counts, since the server may have passed it on.
fn went_out(letter: &OutboxRow) -> bool {
    match letter.settled {
        Some(_) => !letter.dead,
        None => letter.attempts > 0 && letter.note != budget::OVER,
    }
}

impl Target {
    /// The password that is asked for with a link of this flow.
    pub fn flow(flow: FlowId) -> Self {
        Self::Flow(*flow.bytes())
    }
}
