//! Signing in by a letter: asking for it, and signing in with what stands in it.

use cairn_runtime::{Fault, FlowId, Reply, Snapshot};

use super::entry::{Arriving, Entry};
use super::session::Tokens;
use super::typed::{self, bad};
use super::{Caller, FlowReply, Refusal, Services, TRIES};
use crate::directory::User;
use crate::flows::challenge::{LetterProof as _, TypedCode};
use crate::flows::magic_link::{self, Account, Arrival, Command, MagicLink, Outcome, Start};
use crate::identity::address::Address;
use crate::identity::device::Device;
use crate::identity::user_id::UserId;
use crate::secrets::credential::{Presented, of};

/// Who opens the link of a letter.
#[derive(Clone, Copy, Debug)]
pub enum OpenedBy<'a> {
    /// A program that was given it.
    Program,
    /// A browser with these cookies of flows: it counts only in the one that asked for the letter.
    Browser(&'a [&'a str]),
}

impl Services {
    /// Whether anybody may sign in by a letter (`CAIRN_MAGIC_LINK`).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when nobody may.
    pub fn magic_link_is_on(&self) -> Result<(), Refusal> {
        if self.engine.environment().settings.magic_link { Ok(()) } else { Err(Refusal::NotFound) }
    }

    /// Asks for a letter that signs in. The answer is the same whether or not the address has an account; nothing is mailed
    /// where it has none.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not an address, [`Refusal::Mismatch`], or the engine's.
    pub async fn request_magic_link(&self, caller: &Caller, email: &str) -> Result<FlowReply, Refusal> {
        let address = Address::parse(email).map_err(|why| bad("/email", &why))?;
        let asker = self.asker(caller, &[email]).await?;
        let owner = self.directory.users.by_address(self.engine.environment().address_key(&address)).await?;
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let account = owner.map(|owner| Account { user: owner.id, fence: owner.fence, number: owner.number });
        let reply = self.engine.start::<MagicLink>(asker, Start { address, account, by }).await?;
        FlowReply::awaiting::<MagicLink>(&reply, reply.outcome.of_challenge())
    }

    /// Sends the letter once more, with the same code and link.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] within the cool-down, [`Refusal::FlowEnded`] after the fifth or when nothing is awaited.
    pub async fn resend_magic_link(&self, caller: &Caller, flow: &str) -> Result<FlowReply, Refusal> {
        let asker = self.asker(caller, &[flow]).await?;
        let Snapshot { state, id, .. } = self.look::<MagicLink>(flow).await?;
        let owner = match state.user().filter(|_| caller.device_proof.is_some()) {
            Some(user) => self.directory.users.by_id(user).await?,
            None => None,
        };
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let reply = self.engine.call::<MagicLink>(id, asker, Command::Resend(by)).await?;
        FlowReply::awaiting::<MagicLink>(&reply, reply.outcome.of_challenge())
    }

    /// Signs in with the code of the letter. `cookies`: those of flows that the browser shows.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not six digits, [`Refusal::WrongCode`], [`Refusal::FlowEnded`],
    /// [`Refusal::SlowDown`].
    pub async fn sign_in_by_code(
        &self,
        caller: &Caller,
        flow: &str,
        code: &str,
        cookies: &[&str],
    ) -> Result<Tokens, Refusal> {
        let parse = || typed::code(code);
        parse()?;
        let Snapshot { state, id, .. } = self.look::<MagicLink>(flow).await?;
        let attempts = match state.awaits() {
            Some((address, _)) => Some(self.attempt_opening_code(caller, address).await?),
            None => None,
        };
        let typed = self.typed_code(caller, id, parse()?, MagicLink::LETTERS).await?;
        let is_right = state.knows_code(&typed, id, &self.engine.environment());
        let TypedCode { delivered, from, .. } = typed;
        let command = |entry| {
            let code = TypedCode { code: parse()?, delivered, from };
            let browser = self.cookie_of_flow(id, cookies);
            Ok(Command::Enter { code, arrival: Box::new(Arrival { entry, browser }) })
        };
        let user = state.user().filter(|_| is_right);
        let signed_in =
            self.sign_in_by_letter(caller, id, user, state.awaits().is_some(), &[flow, code], command).await;
        if let (Err(Refusal::WrongCode { .. }), Some(attempts)) = (&signed_in, attempts) {
            attempts.into_iter().for_each(|attempt| self.has_failed(attempt));
        }
        signed_in
    }

    /// Signs in with the link of the letter.
    ///
    /// # Errors
    /// [`Refusal::FlowEnded`]; [`Refusal::Credentials`] in another browser than the one that asked for the letter: the
    /// link stays good.
    pub async fn sign_in_by_link(&self, caller: &Caller, token: &str, by: OpenedBy<'_>) -> Result<Tokens, Refusal> {
        let environment = self.engine.environment();
        let parse = || Presented::parse(&environment.ring, of::MagicLink, token).map_err(|_| Refusal::GARBAGE);
        let link = parse()?;
        let Snapshot { state, id, .. } = self.linked::<MagicLink>(FlowId::from_bytes(link.flow())).await?;
        let is_right = state.knows_link(&link, &environment);
        let (cookies, here_only) = match by {
            OpenedBy::Program => (&[][..], false),
            OpenedBy::Browser(cookies) => (cookies, true),
        };
        let command = |entry| {
            let browser = self.cookie_of_flow(id, cookies);
            Ok(Command::Open { link: parse()?, arrival: Box::new(Arrival { entry, browser }), here_only })
        };
        let user = state.user().filter(|_| is_right);
        self.sign_in_by_letter(caller, id, user, state.awaits().is_some(), &[token], command).await
    }

    /// The device that signs in by a letter, and whether the account knows it. By the flow and not by chance: a repeat, on
    /// any node and after a crash, finds the same one.
    async fn device_of_letter(&self, caller: &Caller, flow: FlowId, user: &User) -> Result<(Device, bool), Refusal> {
        let known = self.known_device(caller.device_proof.as_deref(), user).await?;
        let seed = self.engine.environment().digest("device of a magic link", flow.bytes()).0;
        Ok((known.unwrap_or_else(|| Device::new(user.id, user.devices, seed)), known.is_some()))
    }

    /// Asks the flow with what a session begins with, anew when the account has moved meanwhile. `user`: who is signed in
    /// if the proof holds; nothing is looked up where it does not. `is_awaited`: it has signed nobody in yet.
    async fn sign_in_by_letter(
        &self,
        caller: &Caller,
        flow: FlowId,
        user: Option<UserId>,
        is_awaited: bool,
        body: &[&str],
        command: impl Fn(Option<magic_link::Entry>) -> Result<Command, Refusal>,
    ) -> Result<Tokens, Refusal> {
        for _ in 0..TRIES {
            let user = match user {
                // Whose account is gone is signed in by nothing.
                Some(user) => Some(self.directory.users.by_id(user).await?.ok_or(Refusal::OVER)?),
                None => None,
            };
            let (mut entry, mut follows) = (None, None);
            if let Some(user) = user.as_ref().filter(|_| is_awaited) {
                let (device, is_known) = self.device_of_letter(caller, flow, user).await?;
                let by = Entry { user, amr: &["email"], device, is_known, forgets: None };
                // Whoever comes late finds nobody.
                let arriving = self.arriving(caller, by).await?.ok_or(Refusal::OVER)?;
                let Arriving { start, crowded, restored: _, device } = arriving;
                let address = self.engine.environment().address_key(&user.address);
                entry = Some(magic_link::Entry { start, address, number: user.number });
                follows = Some((crowded, device));
            }
            let asker = self.asker(caller, body).await?;
            let reply = self.engine.call::<MagicLink>(flow, asker, command(entry)?).await?;
            match reply.outcome {
                Outcome::Moved => {}
                Outcome::SignedIn { session, tokens, restored } => {
                    let Reply { version, phase, method, repeated, .. } = reply;
                    let begun = Reply { flow: session, outcome: *tokens, version, phase, method, repeated };
                    let (crowded, device) = match (follows, &user) {
                        // What is told once more under its key has made its room.
                        (Some((_, device)), _) if repeated => (Vec::new(), device),
                        (Some(follows), _) => follows,
                        (None, Some(user)) => (Vec::new(), self.device_of_letter(caller, flow, user).await?.0),
                        (None, None) => return self.tokens(begun, None).await,
                    };
                    let tokens = self.tokens(begun, user).await?;
                    self.make_room(caller, &crowded).await;
                    let device = device.proof(&self.engine.environment(), self.engine.now());
                    return Ok(Tokens { restored, device: Some(device), ..tokens });
                }
                // It has become right since the row was read; asked again, it is.
                Outcome::Unprepared => break,
                Outcome::Elsewhere => return Err(Refusal::Credentials),
                Outcome::Garbage => return Err(Refusal::GARBAGE),
                other => return Err(other.of_challenge().map_or(Refusal::OVER, Refusal::from)),
            }
        }
        Err(Refusal::Fault(Fault::Contended))
    }
}
