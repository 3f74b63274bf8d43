//! A forgotten password: asking for a letter, and setting a new one with what stands in it.

use cairn_runtime::{Fault, FlowId, Reply, Snapshot};

use super::password::own_words_of;
use super::typed::{self, bad};
use super::{Caller, FlowReply, Refusal, Services};
use crate::acts::guesses::Target;
use crate::flows::challenge::{LetterProof as _, TypedCode};
use crate::flows::recovery::{Command, NewPassword, Outcome, Recovery, Start};
use crate::followers::Followers;
use crate::identity::address::Address;
use crate::secrets::credential::{Presented, of};
use crate::secrets::hasher::{Lane, Verdict};
use crate::secrets::password::Password;
use crate::secrets::strength::OwnWords;

/// What proves the address.
enum Proof {
    Code(TypedCode),
    Link(Presented<of::ResetPassword>),
}

impl Services {
    /// Asks for a letter that lets a new password be set. The answer is the same whether or not the address has an
    /// account; nothing is mailed where it has none.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not an address, [`Refusal::Mismatch`], or the engine's.
    pub async fn request_reset(&self, caller: &Caller, email: &str) -> Result<FlowReply, Refusal> {
        let address = Address::parse(email).map_err(|why| bad("/email", &why))?;
        let asker = self.asker(caller, &[email]).await?;
        let owner = self.directory.users.by_address(self.engine.environment().address_key(&address)).await?;
        let number = owner.as_ref().map_or(0, |owner| owner.number);
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let start = Start { address, user: owner.map(|owner| owner.id), number, by };
        let reply = self.engine.start::<Recovery>(asker, start).await?;
        Ok(moved(&reply))
    }

    /// Sends the letter once more, with the same code and link.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] within the cool-down, [`Refusal::FlowEnded`] after the fifth or when nothing is awaited.
    pub async fn resend_reset(&self, caller: &Caller, flow: &str) -> Result<FlowReply, Refusal> {
        let asker = self.asker(caller, &[flow]).await?;
        let Snapshot { state, id, .. } = self.look::<Recovery>(flow).await?;
        let owner = match state.user().filter(|_| caller.device_proof.is_some()) {
            Some(user) => self.directory.users.by_id(user).await?,
            None => None,
        };
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let reply = self.engine.call::<Recovery>(id, asker, Command::Resend(by)).await?;
        FlowReply::awaiting::<Recovery>(&reply, reply.outcome.of_challenge())
    }

    /// Sets a new password by the code of the letter.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not six digits or no good password, [`Refusal::WrongCode`],
    /// [`Refusal::FlowEnded`], [`Refusal::SlowDown`].
    pub async fn confirm_reset_by_code(
        &self,
        caller: &Caller,
        flow: &str,
        code: &str,
        password: Password,
    ) -> Result<FlowReply, Refusal> {
        typed::code(code)?;
        password.check_length().map_err(|why| bad("/new_password", &why))?;
        let Snapshot { state, id, .. } = self.look::<Recovery>(flow).await?;
        // Codes are lined up and counted by the address whose flow this is, over all its flows.
        let attempt = match &state {
            Recovery::AwaitingCode(awaiting) => Some(self.attempt_opening_code(caller, &awaiting.address).await?),
            _ => None,
        };
        let typed = self.typed_code(caller, id, typed::code(code)?, Recovery::LETTERS).await?;
        let reply = if state.knows_code(&typed, id, &self.engine.environment()) {
            let password = self.worthy(password, own_words(&state), "/new_password", Lane::SignIn).await?;
            let TypedCode { delivered, from, .. } = typed;
            let proof = || Ok(Proof::Code(TypedCode { code: typed::code(code)?, delivered, from }));
            self.confirm(caller, id, &[flow, code], &password, proof).await?
        } else {
            self.disprove(caller, id, &[flow, code], &password, Proof::Code(typed)).await?
        };
        let wrong = matches!(reply.outcome, Outcome::WrongCode { .. });
        if let Some(attempts) = attempt.filter(|_| wrong && !reply.repeated) {
            attempts.into_iter().for_each(|attempt| self.has_failed(attempt));
        }
        confirmed(reply)
    }

    /// Sets a new password by the link of the letter.
    ///
    /// # Errors
    /// As [`Services::confirm_reset_by_code`].
    pub async fn confirm_reset_by_link(
        &self,
        caller: &Caller,
        token: &str,
        password: Password,
    ) -> Result<FlowReply, Refusal> {
        let environment = self.engine.environment();
        let parse = || Presented::parse(&environment.ring, of::ResetPassword, token);
        let link = parse().map_err(|_| Refusal::GARBAGE)?;
        password.check_length().map_err(|why| bad("/new_password", &why))?;
        let flow = FlowId::from_bytes(link.flow());
        let state = self.linked::<Recovery>(flow).await?.state;
        if !state.knows_link(&link, &environment) {
            // The flow says which kind of nothing it is.
            return confirmed(self.disprove(caller, flow, &[token], &password, Proof::Link(link)).await?);
        }
        let words = match (&state, state.user()) {
            // The link proves the address: to whoever holds it, no name of the account is a secret.
            (Recovery::AwaitingCode(_), Some(user)) => {
                self.directory.users.by_id(user).await?.map_or_else(|| own_words(&state), |user| own_words_of(&user))
            }
            _ => own_words(&state),
        };
        let password = self.worthy(password, words, "/new_password", Lane::SignIn).await?;
        let proof = || parse().map(Proof::Link).map_err(|_| Refusal::GARBAGE);
        confirmed(self.confirm(caller, flow, &[token], &password, proof).await?)
    }

    /// Asks the flow with a code or link that is not right. The password that came with it is neither judged nor hashed,
    /// unless the same request under the same key was taken for a right one before.
    async fn disprove(
        &self,
        caller: &Caller,
        flow: FlowId,
        body: &[&str],
        password: &Password,
        proof: Proof,
    ) -> Result<Reply<Outcome>, Refusal> {
        let mut asker = self.asker(caller, body).await?;
        if let Err(Fault::Mismatch) = self.engine.recall::<Outcome>(&asker).await {
            let fingerprint = self.fingerprint(caller, None, &[password], Lane::SignIn).await?;
            asker = self.asker(caller, &[body, &[&fingerprint]].concat()).await?;
            let target = Target::flow(asker.input.starts());
            if let Some(before) = self.recall_guarded(caller, &asker, target, None).await? {
                return Ok(before);
            }
        }
        let nothing = NewPassword { hash: None, same: None, followers: Followers::default() };
        let reply = self.engine.call::<Recovery>(flow, asker, command(proof, nothing)).await?;
        // It has become right since the row was read; asked again, it is.
        if reply.outcome == Outcome::Unhashed { Err(Refusal::Fault(Fault::Contended)) } else { Ok(reply) }
    }

    /// Asks the flow, and once more when it was reset while this password was hashed: perhaps with this very one.
    async fn confirm(
        &self,
        caller: &Caller,
        flow: FlowId,
        body: &[&str],
        password: &Password,
        proof: impl Fn() -> Result<Proof, Refusal>,
    ) -> Result<Reply<Outcome>, Refusal> {
        let fingerprint = self.fingerprint(caller, None, &[password], Lane::SignIn).await?;
        let asker = self.asker(caller, &[body, &[&fingerprint]].concat()).await?;
        // Of this key and caller: nobody slows down somebody else who has the same flow's letter.
        let target = Target::flow(asker.input.starts());
        if let Some(before) = self.recall_guarded(caller, &asker, target, None).await? {
            return Ok(before);
        }
        let new = self.new_password(flow, password).await?;
        let reply = self.engine.call::<Recovery>(flow, asker.clone(), command(proof()?, new)).await?;
        if reply.outcome != Outcome::UsedUp {
            return Ok(reply);
        }
        let new = self.new_password(flow, password).await?;
        Ok(self.engine.call::<Recovery>(flow, asker, command(proof()?, new)).await?)
    }

    /// Hashes a new password, and looks whether it is the one that the flow has set already. Both always cost the same.
    async fn new_password(&self, flow: FlowId, password: &Password) -> Result<NewPassword, Refusal> {
        let state = self.engine.look::<Recovery>(flow).await?.state;
        // Somebody waits who has shown a link or a code: not behind those who register.
        let verdict = self.hasher.verify(password, state.password(), flow.bytes());
        let (verdict, hash) = tokio::join!(verdict, self.hasher.hash(password, Lane::SignIn));
        let same = match verdict? {
            Verdict::Right(proved) => Some(proved),
            Verdict::Wrong => None,
        };
        let hash = hash?;
        let followers = match state.user() {
            Some(user) => self.followers_of(user).await?,
            None => Followers::default(),
        };
        Ok(NewPassword { hash: Some(hash), same, followers })
    }
}

fn command(proof: Proof, password: NewPassword) -> Command {
    match proof {
        Proof::Code(code) => Command::Enter { code, password },
        Proof::Link(link) => Command::Open { link, password },
    }
}

/// The words that whoever asks has typed: those of the account stay unsaid until the address is proved.
fn own_words(state: &Recovery) -> OwnWords {
    match state {
        Recovery::AwaitingCode(awaiting) => OwnWords::of([awaiting.address.typed()]),
        _ => OwnWords::of([]),
    }
}

fn moved(reply: &Reply<Outcome>) -> FlowReply {
    let expires_at = match reply.outcome {
        Outcome::Awaiting { expires_at } => Some(expires_at),
        Outcome::Done { until, .. } => Some(until),
        _ => None,
    };
    FlowReply::after::<Recovery>(reply, expires_at)
}

fn confirmed(reply: Reply<Outcome>) -> Result<FlowReply, Refusal> {
    match reply.outcome {
        Outcome::Done { .. } => Ok(moved(&reply)),
        Outcome::UsedUp => {
            Err(Refusal::FlowEnded("This has set another password already; ask for a new letter to set one more."))
        }
        Outcome::Garbage => Err(Refusal::GARBAGE),
        other => Err(other.of_challenge().map_or(Refusal::OVER, Refusal::from)),
    }
}
