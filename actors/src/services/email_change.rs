//! Another address: asking for it, proving it, and taking it back.

use std::sync::Arc;

use cairn_runtime::{Fault, Flow, FlowId, Reply, Snapshot, Timestamp};

use super::password::own_words_of;
use super::session::SignedIn;
use super::typed::{self, Typed};
use super::{BadValue, Caller, FlowReply, Refusal, Services, TRIES};
use crate::acts::guesses::Target;
use crate::directory::User;
use crate::flows::challenge::{LetterProof as _, TypedCode};
use crate::flows::email_change::{
    Account, CHANGES, Command, Confirmer, EmailChange, Later, NewPassword, Outcome, Start,
};
use crate::identity::user_id::UserId;
use crate::instant;
use crate::secrets::credential::{Presented, of};
use crate::secrets::hasher::{Lane, Verdict};
use crate::secrets::password::Password;
use crate::secrets::strength::OwnWords;

/// Who opens the link of a letter to a new address: by what the account is theirs.
#[derive(Clone, Copy, Debug)]
pub enum ConfirmedBy<'a> {
    /// Nothing shows it.
    Nobody,
    /// They are signed in as this user.
    SignedIn(UserId),
    /// They typed the account's password.
    Password(&'a Password),
    /// Their browser has these cookies of flows.
    Browser(&'a [&'a str]),
}

/// Changes of one user that are looked at: one more than there can be.
const MOST: u32 = CHANGES as u32 + 1;
/// Of all that one user has asked for, however it ended, so many are looked at when they ask again.
const ASKED: u32 = 100;

impl Services {
    /// Asks for another address. The answer is the same whether or not the new one has an account. `accept_disposable`:
    /// the person means a disposable address, should it be one.
    ///
    /// # Errors
    /// [`Refusal::Values`], [`Refusal::Credentials`], [`Refusal::SlowDown`], [`Refusal::Mismatch`].
    pub async fn change_email(
        &self,
        caller: &Caller,
        who: &SignedIn,
        email: &str,
        accept_disposable: bool,
        password: &Password,
    ) -> Result<FlowReply, Refusal> {
        let mut members = Typed::default();
        let disposable = self.engine.environment().settings.disposable;
        let address = members.address("/new_email", email, disposable, accept_disposable);
        members.check()?;
        let address = address.ok_or_else(|| Refusal::Values(Vec::new()))?;
        self.prove(caller, who, password).await?;
        let asker = self.asker_of(caller, Some(who.user.id), &[email]).await?;
        if let Some(before) = self.engine.recall::<Outcome>(&asker).await? {
            return Ok(moved(&before));
        }
        if address.canonical() == who.user.address.canonical() {
            let detail = "This is the address that the account has.".to_owned();
            return Err(Refusal::Values(vec![BadValue { pointer: "/new_email", code: "unchanged", detail }]));
        }
        let environment = self.engine.environment();
        let mut waiting = Vec::new();
        let asked = self.directory.flows.of(who.user.id, Some(EmailChange::NAME), ASKED).await?;
        for Snapshot { state, id, .. } in self.engine.read_all::<EmailChange>(asked)? {
            if state.awaits().is_some() {
                waiting.push(id);
            }
            if let Some((_, until)) = state.kept().filter(|(kept, _)| kept.canonical() == address.canonical()) {
                return Err(kept(until, state.changed().is_some()));
            }
        }
        let owner = self.directory.users.by_address(environment.address_key(&address)).await?;
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let from = (environment.address_key(&who.user.address), who.user.number);
        let (user, fence, devices) = (who.user.id, who.user.fence, who.user.devices);
        let start = Start { user, fence, devices, from, address, known: owner.is_some(), waiting, by };
        let reply = self.engine.start::<EmailChange>(asker, start).await?;
        match reply.outcome {
            Outcome::Awaiting { .. } => Ok(moved(&reply)),
            _ => Err(Refusal::SessionEnded),
        }
    }

    /// Sends the letter once more, with the same code and link.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for somebody else's flow, [`Refusal::SlowDown`], [`Refusal::FlowEnded`].
    pub async fn resend_email_change(&self, caller: &Caller, who: &SignedIn, flow: &str) -> Result<FlowReply, Refusal> {
        let seen = self.look::<EmailChange>(flow).await?;
        if seen.user != Some(who.user.id.0) {
            return Err(Refusal::NotFound);
        }
        let owner = match seen.state.awaits() {
            Some((address, _)) => {
                self.directory.users.by_address(self.engine.environment().address_key(address)).await?
            }
            None => None,
        };
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let asker = self.asker(caller, &[flow]).await?;
        let reply = self.engine.call::<EmailChange>(seen.id, asker, Command::Resend(by)).await?;
        FlowReply::awaiting::<EmailChange>(&reply, reply.outcome.of_challenge())
    }

    /// Who asked for a change of address; `None` where there is no such change.
    ///
    /// # Errors
    /// The database is away.
    pub async fn email_change_by(&self, flow: &str) -> Result<Option<UserId>, Refusal> {
        let Ok(id) = Self::id_of::<EmailChange>(flow) else { return Ok(None) };
        Ok(self.find::<EmailChange>(id).await?.map(|seen| seen.state.user()))
    }

    /// Proves the new address by the code of the letter.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not six digits, [`Refusal::WrongCode`], [`Refusal::AddressTaken`],
    /// [`Refusal::FlowEnded`], [`Refusal::SlowDown`].
    pub async fn confirm_email_by_code(
        &self,
        caller: &Caller,
        flow: &str,
        code: &str,
    ) -> Result<(FlowReply, User), Refusal> {
        let parse = || typed::code(code);
        parse()?;
        let Snapshot { state, id, .. } = self.look::<EmailChange>(flow).await?;
        let attempt = match state.awaits() {
            Some((address, _)) => Some(self.attempt_code(address).await?),
            None => None,
        };
        let TypedCode { delivered, from, .. } = self.typed_code(caller, id, parse()?, EmailChange::LETTERS).await?;
        let command = |account| {
            let code = TypedCode { code: parse()?, delivered, from };
            Ok(Command::Enter { code, account })
        };
        let reply = self.decide(caller, id, state.user(), &[flow, code], command).await?;
        let wrong = matches!(reply.outcome, Outcome::WrongCode { .. });
        if let Some(attempt) = attempt.filter(|_| wrong && !reply.repeated) {
            self.has_failed(attempt);
        }
        self.decided(state.user(), reply).await
    }

    /// Proves the new address by the link of the letter, opened by somebody of whom something shows that the account is
    /// theirs.
    ///
    /// # Errors
    /// As [`Services::confirm_email_by_code`]; [`Refusal::Credentials`] when nothing does, or the password is wrong: the
    /// link stays good.
    pub async fn confirm_email_by_link(
        &self,
        caller: &Caller,
        token: &str,
        by: ConfirmedBy<'_>,
    ) -> Result<(FlowReply, User), Refusal> {
        let environment = self.engine.environment();
        let parse = || Presented::parse(&environment.ring, of::EmailChange, token).map_err(|_| Refusal::GARBAGE);
        let link = parse()?;
        let Snapshot { state, id: flow, .. } = self.linked::<EmailChange>(FlowId::from_bytes(link.flow())).await?;
        let user = state.user();
        let mut proved = None;
        // Nobody's password is looked at for a link that opens nothing.
        if let ConfirmedBy::Password(password) = by
            && state.knows_link(&link, &environment)
        {
            let owner = self.directory.users.by_id(user).await?;
            let hash = owner.as_ref().and_then(|owner| owner.password.as_ref());
            let right = self.verify_guarded(caller, Target::flow(flow), Some(user), password, hash).await?;
            proved = Some(Arc::new(right));
        }
        let confirmer = || match (by, &proved) {
            (_, Some(proved)) => Confirmer::Password(Arc::clone(proved)),
            (ConfirmedBy::SignedIn(user), None) => Confirmer::SignedIn(user),
            (ConfirmedBy::Browser(cookies), None) => {
                self.cookie_of_flow(flow, cookies).map_or(Confirmer::Anybody, Confirmer::Browser)
            }
            (ConfirmedBy::Password(_) | ConfirmedBy::Nobody, None) => Confirmer::Anybody,
        };
        let command = |account| Ok(Command::Open { link: parse()?, by: confirmer(), account });
        let reply = self.decide(caller, flow, user, &[token], command).await?;
        self.decided(user, reply).await
    }

    /// The account that the link of a letter to a new address would change, and its present address: told to whoever has
    /// the link, masked by who shows it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn account_of_email_change(&self, token: &str) -> Result<Option<User>, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::EmailChange, token) else { return Ok(None) };
        let found = self.find::<EmailChange>(FlowId::from_bytes(link.flow())).await?;
        match found.filter(|seen| seen.state.knows_link(&link, &environment)) {
            Some(seen) => Ok(self.directory.users.by_id(seen.state.user()).await?),
            None => Ok(None),
        }
    }

    /// Whether the link that took a change of address back may set a new password still.
    ///
    /// # Errors
    /// The database is away.
    pub async fn undo_sets_password(&self, token: &str) -> Result<bool, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, of::UndoEmailChange, token) else { return Ok(false) };
        let found = self.find::<EmailChange>(FlowId::from_bytes(link.flow())).await?;
        let Some(Snapshot { state, .. }) = found else { return Ok(false) };
        let fence = self.directory.users.by_id(state.user()).await?.map(|user| user.fence);
        Ok(state.knows_undo(&link, &environment) && state.may_set_password(fence))
    }

    /// Takes a change back by the link of the letter to the address from before: that address is the account's again,
    /// every later change is undone, every session ends, and a deletion that waits is called off. The password from
    /// before, which a thief may know, is out of force; `new` becomes the password, where it comes along, or when the link
    /// is used once more as long as no other was set.
    ///
    /// # Errors
    /// [`Refusal::FlowEnded`]; [`Refusal::Values`] when the new password is not good.
    pub async fn undo_email_change(
        &self,
        caller: &Caller,
        token: &str,
        new: Option<Password>,
    ) -> Result<(FlowReply, User), Refusal> {
        let environment = self.engine.environment();
        let parse = || Presented::parse(&environment.ring, of::UndoEmailChange, token).map_err(|_| Refusal::GARBAGE);
        let link = parse()?;
        let Snapshot { state, id: flow, .. } = self.linked::<EmailChange>(FlowId::from_bytes(link.flow())).await?;
        let (user, knows) = (state.user(), state.knows_undo(&link, &environment));
        let new = match new {
            // Nothing is hashed for a link that takes nothing back.
            Some(new) if knows => {
                let own = self
                    .directory
                    .users
                    .by_id(user)
                    .await?
                    .map_or_else(|| OwnWords::of([]), |user| own_words_of(&user));
                Some(self.worthy(new, own, "/new_password", Lane::SignIn).await?)
            }
            _ => None,
        };
        let passwords: Vec<&Password> = new.iter().collect();
        let fingerprint = match passwords.as_slice() {
            [] => String::new(),
            some => self.fingerprint(caller, None, some, Lane::SignIn).await?,
        };
        let mut hashed = None;
        let mut used_up = false;
        for _ in 0..TRIES {
            if let Some(new) = &new {
                let state = self.linked::<EmailChange>(flow).await?.state;
                let same = match state.password() {
                    Some(set) => match self.hasher.verify(new, Some(set), flow.bytes()).await? {
                        Verdict::Right(proved) => Some(proved),
                        Verdict::Wrong => None,
                    },
                    None => None,
                };
                hashed = Some(NewPassword { hash: self.hasher.hash(new, Lane::SignIn).await?, same });
            }
            let account = self.account(flow, user).await?;
            let asker = self.asker(caller, &[token, &fingerprint]).await?;
            let command = Command::Undo { link: parse()?, account, password: hashed.take() };
            let reply = self.engine.call::<EmailChange>(flow, asker, command).await?;
            match reply.outcome {
                Outcome::Moved => {}
                // A password was set while this one was hashed: perhaps this very one.
                Outcome::UsedUp if new.is_some() && !used_up => used_up = true,
                _ => return self.decided(user, reply).await,
            }
        }
        Err(Refusal::Fault(Fault::Contended))
    }

    /// Asks the flow with the account as it stands, anew when it has moved meanwhile.
    async fn decide(
        &self,
        caller: &Caller,
        flow: FlowId,
        user: UserId,
        body: &[&str],
        command: impl Fn(Option<Account>) -> Result<Command, Refusal>,
    ) -> Result<Reply<Outcome>, Refusal> {
        for _ in 0..TRIES {
            let account = self.account(flow, user).await?;
            let asker = self.asker(caller, body).await?;
            let reply = self.engine.call::<EmailChange>(flow, asker, command(account)?).await?;
            if reply.outcome != Outcome::Moved {
                return Ok(reply);
            }
        }
        Err(Refusal::Fault(Fault::Contended))
    }

    /// The account as it stands: the address with the number of its claim, and what must be told if it is taken back.
    async fn account(&self, flow: FlowId, user: UserId) -> Result<Option<Account>, Refusal> {
        let Some(user) = self.directory.users.by_id(user).await? else { return Ok(None) };
        let followers = self.followers_of(user.id).await?;
        let changes = self.directory.flows.changes(user.id, MOST).await?;
        let changes = self.engine.read_all::<EmailChange>(changes)?;
        let changes = changes.iter().filter_map(|seen| {
            let changed = seen.state.changed()?;
            Some(Later { flow: seen.id, before: changed.before.clone(), until: changed.until })
        });
        let changes: Vec<Later> = changes.collect();
        let own = changes.iter().find(|change| change.flow == flow).map(|change| change.until);
        // Each can be taken back for as long as the others: the later one ends later.
        let later =
            changes.into_iter().filter(|change| change.flow != flow && own.is_none_or(|own| change.until >= own));
        Ok(Some(Account {
            later: later.collect(),
            address: user.address,
            number: user.number,
            fence: user.fence,
            followers,
            deletion: user.deletion,
        }))
    }

    async fn decided(&self, user: UserId, reply: Reply<Outcome>) -> Result<(FlowReply, User), Refusal> {
        match reply.outcome {
            Outcome::Changed { .. } | Outcome::Undone { .. } => {}
            Outcome::AddressTaken => return Err(Refusal::AddressTaken),
            Outcome::Garbage => return Err(Refusal::GARBAGE),
            Outcome::PasswordNeeded => return Err(Refusal::Credentials),
            Outcome::UsedUp => {
                return Err(Refusal::FlowEnded(
                    "The change is taken back, and a password was set since; ask for a reset to set another one.",
                ));
            }
            // Not at this time, where somebody has changed too often.
            Outcome::TooSoon { at } => return Err(Refusal::SlowDown(at)),
            other => return Err(other.of_challenge().map_or(Refusal::OVER, Refusal::from)),
        }
        let user = self.directory.users.by_id(user).await?.ok_or(Refusal::OVER)?;
        // A repeat says what the first answer said: not to everybody who has the link where the account is by now.
        let seen = self.find::<EmailChange>(reply.flow).await?;
        let shown = seen.and_then(|seen| seen.state.shown(&reply.outcome).cloned());
        let user = match shown {
            Some(address) => User { address, ..user },
            None => user,
        };
        Ok((moved(&reply), user))
    }
}

/// An address of one's own that nobody can have for now; `stands`: the change away from it can still be taken back.
fn kept(until: Timestamp, stands: bool) -> Refusal {
    let until = instant::text(until).unwrap_or_default();
    let day = until.split('T').next().unwrap_or_default();
    let now = if stands { "take the change back with the link in the letter that was sent there, or " } else { "" };
    let detail =
        format!("The account had this address not long ago, and it is kept until {day}: {now}ask for it again then.");
    Refusal::Values(vec![BadValue { pointer: "/new_email", code: "kept", detail }])
}

fn moved(reply: &Reply<Outcome>) -> FlowReply {
    let expires_at = match reply.outcome {
        Outcome::Awaiting { expires_at } => Some(expires_at),
        Outcome::Changed { until, .. } | Outcome::Undone { until, .. } => Some(until),
        _ => None,
    };
    FlowReply::after::<EmailChange>(reply, expires_at)
}
