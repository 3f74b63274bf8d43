//! Another address: asking for it, proving it, and taking it back.

use cairn_runtime::store::Row;
use cairn_runtime::{Fault, Flow, FlowId, Reply, Timestamp};

use super::session::SignedIn;
use super::typed::{self, Typed};
use super::{BadValue, Caller, FlowView, Moved, Refusal, Services, TRIES};
use crate::credential::{Presented, of};
use crate::directory::User;
use crate::effects::UserId;
use crate::flows::email_change::{Account, CHANGES, Command, EmailChange, Later, Outcome, Start};
use crate::flows::issue::TypedCode;
use crate::instant;
use crate::password::Password;

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
    ) -> Result<Moved, Refusal> {
        let mut members = Typed::default();
        let disposable = self.engine.world().settings.disposable;
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
        let world = self.engine.world();
        let mut waiting = Vec::new();
        for row in self.directory.flows_of(who.user.id, Some(EmailChange::NAME), ASKED).await? {
            let Ok(state) = decoded(&row) else { continue };
            if state.awaited().is_some() {
                waiting.push(row.id);
            }
            if let Some((_, until)) = state.kept().filter(|(kept, _)| kept.canonical() == address.canonical()) {
                return Err(kept(until, state.changed().is_some()));
            }
        }
        let owner = self.directory.by_address(world.address_key(&address)).await?;
        let by = self.asked_by(caller, owner.as_ref().map(|owner| owner.id));
        let from = (world.address_key(&who.user.address), who.user.number);
        let start =
            Start { user: who.user.id, fence: who.user.fence, from, address, known: owner.is_some(), waiting, by };
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
    pub async fn resend_email_change(&self, caller: &Caller, who: &SignedIn, flow: &str) -> Result<Moved, Refusal> {
        let row = self.row(EmailChange::PREFIX, EmailChange::NAME, flow).await?;
        if row.user != Some(who.user.id.0) {
            return Err(Refusal::NotFound);
        }
        let owner = match decoded(&row)?.awaited() {
            Some(address) => self.directory.by_address(self.engine.world().address_key(address)).await?,
            None => None,
        };
        let by = self.asked_by(caller, owner.map(|owner| owner.id));
        let asker = self.asker(caller, &[flow]).await?;
        let reply = self.engine.call::<EmailChange>(row.id, asker, Command::Resend(by)).await?;
        match reply.outcome {
            Outcome::Awaiting { .. } => Ok(moved(&reply)),
            Outcome::TooSoon { at } => Err(Refusal::SlowDown(at)),
            Outcome::NoMoreLetters => Err(Refusal::NO_MORE_LETTERS),
            _ => Err(Refusal::NOTHING_AWAITED),
        }
    }

    /// Who asked for a change of address; `None` where there is no such change.
    ///
    /// # Errors
    /// The database is away.
    pub async fn email_change_by(&self, flow: &str) -> Result<Option<UserId>, Refusal> {
        match self.row(EmailChange::PREFIX, EmailChange::NAME, flow).await {
            Ok(row) => Ok(row.user.map(UserId)),
            Err(Refusal::NotFound) => Ok(None),
            Err(other) => Err(other),
        }
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
    ) -> Result<(Moved, User), Refusal> {
        let parse = || typed::code(code);
        parse()?;
        let row = self.row(EmailChange::PREFIX, EmailChange::NAME, flow).await?;
        let state = decoded(&row)?;
        let attempt = match state.awaited() {
            Some(address) => Some(self.attempt_code(address).await?),
            None => None,
        };
        let TypedCode { delivered, from, .. } = self.typed_code(caller, row.id, parse()?, &["email.confirm"]).await?;
        let command = |account| {
            let code = TypedCode { code: parse()?, delivered, from };
            Ok(Command::Enter { code, account })
        };
        let reply = self.decide(caller, row.id, state.user(), &[flow, code], command).await?;
        let wrong = matches!(reply.outcome, Outcome::WrongCode { .. });
        if let Some(attempt) = attempt.filter(|_| wrong && !reply.repeated) {
            self.has_failed(attempt);
        }
        self.decided(state.user(), reply).await
    }

    /// Proves the new address by the link of the letter.
    ///
    /// # Errors
    /// As [`Services::confirm_email_by_code`].
    pub async fn confirm_email_by_link(&self, caller: &Caller, token: &str) -> Result<(Moved, User), Refusal> {
        let world = self.engine.world();
        let parse = || Presented::parse(&world.ring, of::EmailChange, token).map_err(|_| Refusal::GARBAGE);
        let (flow, user) = self.changed_by(FlowId::from_bytes(parse()?.flow())).await?;
        let command = |account| Ok(Command::Open { link: parse()?, account });
        let reply = self.decide(caller, flow, user, &[token], command).await?;
        self.decided(user, reply).await
    }

    /// Takes a change back by the link of the letter to the address from before: that address is the account's again,
    /// every later change is undone, every session ends, and a deletion that waits is called off.
    ///
    /// # Errors
    /// [`Refusal::FlowEnded`].
    pub async fn undo_email_change(&self, caller: &Caller, token: &str) -> Result<(Moved, User), Refusal> {
        let world = self.engine.world();
        let parse = || Presented::parse(&world.ring, of::UndoEmailChange, token).map_err(|_| Refusal::GARBAGE);
        let (flow, user) = self.changed_by(FlowId::from_bytes(parse()?.flow())).await?;
        let command = |account| Ok(Command::Undo { link: parse()?, account });
        let reply = self.decide(caller, flow, user, &[token], command).await?;
        self.decided(user, reply).await
    }

    async fn changed_by(&self, flow: FlowId) -> Result<(FlowId, UserId), Refusal> {
        let row = self.engine.store().load(flow).await?.filter(|row| row.kind == EmailChange::NAME);
        let row = row.ok_or(Refusal::GARBAGE)?;
        Ok((flow, decoded(&row)?.user()))
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
        let Some(user) = self.directory.by_id(user).await? else { return Ok(None) };
        let sessions = self.sessions_of(user.id).await?;
        let changes = self.directory.changes(user.id, MOST).await?;
        let changes = changes.iter().filter_map(|row| {
            let state = decoded(row).ok()?;
            let changed = state.changed()?;
            Some(Later { flow: row.id, before: changed.before.clone(), until: changed.until })
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
            sessions,
            deletion: user.deletion,
        }))
    }

    async fn decided(&self, user: UserId, reply: Reply<Outcome>) -> Result<(Moved, User), Refusal> {
        match reply.outcome {
            Outcome::Changed { .. } | Outcome::Undone { .. } => {}
            Outcome::WrongCode { tries_left } => return Err(Refusal::WrongCode { tries_left }),
            Outcome::AddressTaken => return Err(Refusal::AddressTaken),
            Outcome::TooSoon { at } => return Err(Refusal::SlowDown(at)),
            Outcome::OnlyTheLink => return Err(Refusal::ONLY_THE_LINK),
            Outcome::Garbage => return Err(Refusal::GARBAGE),
            Outcome::Over | Outcome::Moved | Outcome::Awaiting { .. } | Outcome::NoMoreLetters => {
                return Err(Refusal::OVER);
            }
        }
        let user = self.directory.by_id(user).await?.ok_or(Refusal::OVER)?;
        // A repeat says what the first answer said: not to everybody who has the link where the account is by now.
        let row = self.engine.store().load(reply.flow).await?;
        let shown = row.and_then(|row| decoded(&row).ok()).and_then(|state| state.shown(&reply.outcome).cloned());
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

fn decoded(row: &Row) -> Result<EmailChange, Refusal> {
    serde_json::from_str(&row.state).map_err(|_| Refusal::Fault(Fault::Quarantined))
}

fn moved(reply: &Reply<Outcome>) -> Moved {
    let expires_at = match reply.outcome {
        Outcome::Awaiting { expires_at } => Some(expires_at),
        Outcome::Changed { until, .. } | Outcome::Undone { until, .. } => Some(until),
        _ => None,
    };
    let flow = FlowView::of(EmailChange::PREFIX, EmailChange::NAME, reply, expires_at);
    Moved { flow, method: reply.method }
}
