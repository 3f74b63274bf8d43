//! People who change their address, mostly to one that others want too, and people who take a change back by the link
//! in the letter to the address from before: one, or several of a chain, while a deletion waits or sessions are begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_actors::effects::{Auth, DeviceWrite, Key, UserWrite, Write};
use cairn_actors::flows::email_change::{Account, Command, Confirmer, EmailChange, Later, Outcome, Start};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::Proved;
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Domain, Flow, FlowId, Timestamp};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::{Common, number, presented, recent, state, victim};
use super::post::Mail;
use super::rows::View;

#[derive(Default)]
pub(super) struct AddressChanges {
    wanted: Vec<Wanted>,
    /// All changes that were asked for, and those that were proved.
    asked_for: BTreeSet<FlowId>,
    proved: BTreeMap<FlowId, Change>,
}

/// A change of address that somebody asked for.
struct Wanted {
    flow: FlowId,
    user: UserId,
    fence: i64,
    from: (Digest, i64),
}

/// How a change of address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It can be taken back: the address from before is kept for that.
    Standing,
    /// It was taken back, and keeps what it had taken for a while.
    Undone,
    /// An earlier one was taken back, and this with it: whether or not it has heard of that, it keeps what it had taken
    /// for a while.
    Overtaken,
    /// It keeps nothing.
    Over,
}

/// A change of address that was proved.
#[derive(Debug)]
struct Change {
    user: UserId,
    before: Address,
    after: Address,
    /// The number of the claim on the address from before.
    number: i64,
    until: Timestamp,
    stage: Stage,
    /// Its place among all commits.
    place: usize,
}

#[derive(Debug)]
pub(super) enum Asked {
    Change { user: UserId, fence: i64, from: (Digest, i64) },
    Resend,
    Prove { flow: FlowId, by_code: bool },
    Undo { flow: FlowId, forged: bool },
}

impl SimulatedFlow for AddressChanges {
    const NAME: &'static str = EmailChange::NAME;
    const WAYS: &'static [&'static str] = &[
        "told Changed",
        "told Undone",
        "told AddressTaken",
        "told Moved",
        "told OnlyTheLink",
        "told TooSoon",
        "came to be done",
        "came to be ended",
        "came to be expired",
        "replaced one that waited",
        "took later ones back with it",
        "called a deletion off",
    ];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        match desk.rng.below(100) {
            0..32 => self.change(common, desk),
            32..37 => {
                let flow = recent(&self.wanted, desk.rng)?.flow;
                let order = Order::call::<EmailChange>("resend", flow, || Command::Resend(testing::STRANGER));
                Some(Plan::at_once(Asked::Resend, order))
            }
            37..43 => {
                let flow = victim(&self.wanted)?.flow;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                Some(self.enter(common, desk, flow, code))
            }
            43..60 => {
                let mail = some_mail(common, desk, Purpose::EmailChange)?;
                Some(self.enter(common, desk, mail.flow, mail.code))
            }
            60..82 => {
                let mail = some_mail(common, desk, Purpose::EmailChange)?;
                let (environment, link, account) =
                    (common.environment.clone(), mail.link, self.account(common, desk, mail.flow));
                let order = Order::call::<EmailChange>("open", mail.flow, move || Command::Open {
                    link: presented(&environment, of::EmailChange, &link),
                    by: Confirmer::Password(Arc::new(Proved::pretended())),
                    account: account.clone(),
                });
                let asked = Asked::Prove { flow: mail.flow, by_code: false };
                Some(late(asked, order, desk))
            }
            _ => {
                let mail = some_mail(common, desk, Purpose::UndoEmailChange)?;
                // Rather the first of a chain than the last.
                if self.is_last(mail.flow) && desk.rng.chance(700) {
                    return None;
                }
                let forged = desk.rng.chance(30);
                let link = if forged { common.forged(Purpose::UndoEmailChange, mail.flow) } else { mail.link };
                let (environment, account) = (common.environment.clone(), self.account(common, desk, mail.flow));
                let order = Order::call::<EmailChange>("undo", mail.flow, move || Command::Undo {
                    link: presented(&environment, of::UndoEmailChange, &link),
                    account: account.clone(),
                    password: None,
                });
                Some(late(Asked::Undo { flow: mail.flow, forged }, order, desk))
            }
        }
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        let ledger = &common.ledger;
        match asked {
            Asked::Resend => None,
            Asked::Change { user, fence, .. } => {
                let present = ledger.fence(*user);
                (present != Some(*fence)).then(|| format!("the fence was read at {fence}, and was at {present:?}"))
            }
            Asked::Prove { flow, by_code } => {
                let wanted = self.wanted.iter().find(|wanted| wanted.flow == *flow)?;
                let present = ledger.fence(wanted.user);
                let done = self.proved.get(flow);
                let moved = done.is_none() && present != Some(wanted.fence);
                let moved =
                    moved.then(|| format!("it was asked for at {}, and the fence is {present:?}", wanted.fence));
                let has = ledger.users.get(&wanted.user).map(|account| (account.address_key, account.number));
                let faster = (done.is_none() && has != Some(wanted.from))
                    .then(|| format!("it was asked for at {:?}, and the address is at {has:?}", wanted.from));
                let moved = moved.or(faster);
                let undone = done.filter(|change| change.stage != Stage::Standing && change.stage != Stage::Overtaken);
                let undone = undone.map(|change| format!("it was {:?}", change.stage));
                moved.or(undone).or_else(|| by_code.then(|| ledger.spent(*flow)).flatten())
            }
            Asked::Undo { forged: true, .. } => Some("the link is forged".to_owned()),
            Asked::Undo { flow, .. } => match self.proved.get(flow) {
                Some(change) if matches!(change.stage, Stage::Standing | Stage::Undone) => None,
                change => Some(format!("it was {:?}", change.map(|change| change.stage))),
            },
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        let ledger = &common.ledger;
        ledger.count(Self::NAME, &outcome);
        let stage = self.proved.get(&told.flow).map(|change| (change.user, change.until, change.stage));
        match (asked, &outcome) {
            (Asked::Change { user, fence, from }, Outcome::Awaiting { .. }) => match doom {
                Some(why) => Err(why),
                None => {
                    self.wanted.push(Wanted { flow: told.flow, user: *user, fence: *fence, from: *from });
                    Ok(Heard::Moved)
                }
            },
            (Asked::Change { .. }, Outcome::Over) => Ok(Heard::Anything),
            (Asked::Change { .. }, _) => Err("a start awaits".to_owned()),
            (
                Asked::Resend,
                Outcome::Awaiting { .. } | Outcome::TooSoon { .. } | Outcome::NoMoreLetters | Outcome::Over,
            ) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Changed { user, until }) => match (doom, stage) {
                (Some(why), _) => Err(why),
                (None, Some((of, since, _))) if (of, since) == (*user, *until) => Ok(Heard::Anything),
                (None, stage) => Err(format!("it is {stage:?}")),
            },
            (Asked::Undo { .. }, Outcome::Undone { user, .. }) => match (doom, stage) {
                (Some(why), _) => Err(why),
                // By the time that this is heard it may be over.
                (None, Some((of, _, Stage::Undone | Stage::Over))) if of == *user => Ok(Heard::Anything),
                (None, stage) => Err(format!("it is {stage:?}")),
            },
            (Asked::Prove { by_code: true, .. }, Outcome::WrongCode { .. }) => Ok(Heard::Moved),
            (Asked::Prove { .. }, Outcome::AddressTaken) => Ok(Heard::Moved),
            (Asked::Prove { by_code: true, .. }, Outcome::OnlyTheLink)
            | (Asked::Prove { by_code: false, .. } | Asked::Undo { forged: true, .. }, Outcome::Garbage)
            | (Asked::Prove { .. }, Outcome::TooSoon { .. })
            | (Asked::Prove { .. } | Asked::Undo { .. }, Outcome::Moved) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Over) if stage.is_some_and(|(.., stage)| stage == Stage::Undone) => {
                Ok(Heard::Anything)
            }
            (Asked::Prove { .. } | Asked::Undo { .. }, Outcome::Over)
                if stage.is_some_and(|(.., stage)| stage == Stage::Overtaken) =>
            {
                Ok(Heard::Anything)
            }
            (Asked::Prove { .. } | Asked::Undo { .. }, Outcome::Over) => common.over(told.flow),
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// One change a flow, under the fence it was asked for under; taken back, it and all that came after it are over.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let event = step.event;
        let outcome: Outcome = step.says();
        let held = ledger.held(step);
        let flow = event.flow;
        let is_over = step.line.rows.first().is_some_and(|row| row.wake_at.is_none());
        match (event.name.as_str(), &outcome, step.writes) {
            ("change_email" | "resend", Outcome::Awaiting { .. }, []) => {
                self.asked_for.insert(flow);
                ledger.wrote(event);
            }
            ("enter", Outcome::WrongCode { .. }, _) => ledger.missed(step, 1),
            ("enter" | "open", Outcome::AddressTaken, []) => {}
            (
                "enter" | "open",
                Outcome::Changed { user, until },
                [(_, Write::User(UserWrite::SetAddress { user: of, address, address_key, .. }))],
            ) if user == of => {
                if held.user.map(|(user, _)| user) != Some(*user) {
                    ledger.complain(format!("email_change {flow} changed the address of {user:?} without their fence"));
                }
                self.changed_address(ledger, step, (*user, *until), (address, *address_key));
            }
            (
                "undo",
                Outcome::Undone { user, until },
                [
                    // The password from before may be the thief's.
                    (_, Write::User(UserWrite::SuspendPassword { user: suspended, .. })),
                    (_, Write::Device(DeviceWrite::ForgetAll { user: whose })),
                    (_, Write::User(UserWrite::SetDeletion { user: for_whom, flow: None, .. })),
                    (_, Write::User(UserWrite::SetAddress { user: of, address_key, .. })),
                ],
            ) if [of, for_whom, whose, suspended].iter().all(|one| *one == user) => {
                self.took_back(ledger, step, (*user, *until), *address_key);
            }
            ("enter" | "open", Outcome::Over, []) => {}
            ("undo", Outcome::Over, []) => {
                let owed = self
                    .proved
                    .get(&flow)
                    .is_some_and(|change| change.stage == Stage::Standing && ledger.users.contains_key(&change.user));
                if owed {
                    ledger.complain(format!("email_change {flow} could be taken back, and was not"));
                }
            }
            ("undone", Outcome::Over, []) => {
                if self.proved.get(&flow).is_none_or(|change| change.stage == Stage::Standing) {
                    ledger.complain(format!("email_change {flow} was told that an earlier one was taken back"));
                }
            }
            ("replaced", Outcome::Over, []) if !self.proved.contains_key(&flow) => {
                ledger.note("email_change replaced one that waited");
            }
            ("woken", Outcome::Over, []) => {}
            (name, _, writes) => {
                ledger.complain(format!("email_change {flow} took {name}, said {outcome:?} and wrote {writes:?}"));
            }
        }
        if is_over {
            self.gives_back(ledger, flow);
        }
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading> {
        match letter {
            Letter::EmailConfirm { seal, .. } => {
                Some(Reading::with(Purpose::EmailChange, seal, self.asked_for.contains(&flow)))
            }
            Letter::EmailKnown { to } => Some(Reading::plain(!ledger.owners(to).is_empty())),
            Letter::EmailChanged { to, seal, .. } => {
                let is_known = self.proved.get(&flow).is_some_and(|change| change.before == *to);
                Some(Reading::with(Purpose::UndoEmailChange, seal, is_known))
            }
            _ => None,
        }
    }

    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        vec![("email.changed", self.proved.len())]
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let is_over = |state: &EmailChange| {
            matches!(state, EmailChange::Done { .. } | EmailChange::Expired { .. } | EmailChange::Ended { .. })
        };
        let state = view.read(row, is_over);
        let known = self.proved.get(&row.id);
        let right = match (&state, known.map(|change| change.stage)) {
            (EmailChange::Changed(changed), Some(Stage::Standing | Stage::Overtaken)) => known.is_some_and(|change| {
                (&changed.before, &changed.address, changed.number) == (&change.before, &change.after, change.number)
                    && (changed.user, changed.until) == (change.user, change.until)
            }),
            (EmailChange::Undone(undone), Some(Stage::Overtaken)) if undone.overtaken => {
                known.is_some_and(|change| (undone.user, &undone.address) == (change.user, &change.after))
            }
            (EmailChange::Undone(undone), Some(Stage::Undone)) if !undone.overtaken => known.is_some_and(|change| {
                (undone.user, &undone.address, undone.until) == (change.user, &change.after, change.until)
            }),
            (EmailChange::Done { user } | EmailChange::Ended { user }, Some(Stage::Over)) => {
                known.is_some_and(|change| change.user == *user)
            }
            (EmailChange::AwaitingCode(_) | EmailChange::Expired { .. } | EmailChange::Ended { .. }, None) => true,
            _ => false,
        };
        if !right {
            view.complain(format!("the change {} is {}, and is known as {known:?}", row.id, row.phase));
        }
    }

    /// The address from before is kept while a change can be taken back, and what was taken for a while after that.
    fn keys(&self, view: &mut View<'_>) {
        let key = |address| Key::Address(view.ledger.environment.address_key(address));
        for change in self.proved.values() {
            match change.stage {
                Stage::Standing => view.has(&key(&change.before), change.number),
                Stage::Undone | Stage::Overtaken => {
                    // How often it was raised after it had been lost is nobody's business.
                    let key = key(&change.after);
                    let present = view.tables.guards.get(&Auth::guard(&key)).copied();
                    view.has(&key, present.unwrap_or_default().max(1));
                }
                Stage::Over => {}
            }
        }
    }
}

impl AddressChanges {
    fn change(&self, common: &Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        // Rather somebody who has just changed theirs, so that there is a chain to be taken back.
        let again = self.proved.values().rev().find(|change| change.stage == Stage::Standing).map(|c| c.user);
        let again = again.filter(|_| desk.rng.chance(500)).into_iter().flat_map(|user| common.sessions_of(user));
        let again: Option<(UserId, i64)> = again.into_iter().find_map(|session| Common::in_session(desk, session));
        let (user, fence) = again.or_else(|| common.signed_in(desk))?;
        let address = common.some_address(desk.rng);
        let address_key = common.environment.address_key(&address);
        let ledger = &common.ledger;
        let account = ledger.users.get(&user)?;
        if account.address_key == address_key {
            return None;
        }
        let from = (account.address_key, account.number);
        let known = ledger.by_address.contains_key(&address_key);
        // Some are not seen: who asks twice at once.
        let mut waiting: Vec<FlowId> =
            self.wanted.iter().filter(|wanted| wanted.user == user).map(|wanted| wanted.flow).collect();
        waiting.retain(|flow| !ledger.is_finished(*flow) && desk.rng.chance(700));
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        let order = Order::start::<EmailChange>("change", move || Start {
            user,
            fence,
            devices,
            from,
            address: address.clone(),
            known,
            waiting: waiting.clone(),
            by: testing::STRANGER,
        });
        Some(Plan::hashed(Asked::Change { user, fence, from }, order, desk.rng))
    }

    fn enter(&self, common: &Common, desk: &mut Desk<'_, Auth>, flow: FlowId, code: String) -> Plan<Asked> {
        let account = self.account(common, desk, flow);
        let order = Order::call::<EmailChange>("enter", flow, move || Command::Enter {
            code: testing::typed_code(Code::parse(&code).expect("six digits")),
            account: account.clone(),
        });
        late(Asked::Prove { flow, by_code: true }, order, desk)
    }

    /// The account as a service reads it for a flow. By the time that the order is given, it may have moved.
    fn account(&self, common: &Common, desk: &mut Desk<'_, Auth>, flow: FlowId) -> Option<Account> {
        let user = self.wanted.iter().find(|wanted| wanted.flow == flow)?.user;
        let ledger = &common.ledger;
        let account = ledger.users.get(&user)?;
        let sessions = common.some_sessions_of(user, desk.rng);
        let (number, changes) = desk.store.inspect(|tables| {
            let flows = self.proved.iter().filter(|(_, change)| change.user == user).map(|(flow, _)| *flow);
            let changes: Vec<Later> = flows
                .filter_map(|flow| {
                    let state = state::<EmailChange>(tables, flow)?;
                    let changed = state.changed()?;
                    Some(Later { flow, before: changed.before.clone(), until: changed.until })
                })
                .collect();
            (number(tables, &Key::Address(account.address_key)), changes)
        });
        let own = changes.iter().find(|change| change.flow == flow).map(|change| change.until);
        let later =
            changes.into_iter().filter(|change| change.flow != flow && own.is_none_or(|own| change.until >= own));
        Some(Account {
            address: account.address.clone(),
            number: number.unwrap_or_default(),
            fence: account.fence,
            followers: testing::following(sessions),
            later: later.collect(),
            deletion: account.deletion,
        })
    }

    fn changed_address(
        &mut self,
        ledger: &mut Ledger,
        step: &Step<'_>,
        (user, until): (UserId, Timestamp),
        (after, after_key): (&Address, Digest),
    ) {
        let number = ledger.users.get(&user).map_or(0, |account| account.number);
        let Some(before) = ledger.moves_to(user, after, after_key, 0) else {
            return ledger.complain(format!("email_change {} changed the address of nobody", step.event.flow));
        };
        let (stage, place) = (Stage::Standing, ledger.place());
        let change = Change { user, before, after: after.clone(), number: number + 1, until, stage, place };
        if self.proved.insert(step.event.flow, change).is_some() {
            ledger.complain(format!("email_change {} changed the address a second time", step.event.flow));
        }
        ledger.profiled(step, user);
    }

    fn took_back(&mut self, ledger: &mut Ledger, step: &Step<'_>, (user, until): (UserId, Timestamp), to: Digest) {
        let flow = step.event.flow;
        let Some(change) = self.proved.get_mut(&flow).filter(|change| change.user == user) else {
            return ledger.complain(format!("email_change {flow} took back what it had not changed"));
        };
        let stage = std::mem::replace(&mut change.stage, Stage::Undone);
        change.until = until;
        let (before, number, place) = (change.before.clone(), change.number, change.place);
        if stage != Stage::Standing {
            ledger.complain(format!("email_change {flow} took a change back that was {stage:?} by then"));
        }
        if to != ledger.environment.address_key(&before) {
            ledger.complain(format!("email_change {flow} took back to another address than the one from before"));
        }
        let mut later = 0;
        for change in self.proved.values_mut() {
            if change.user == user && change.place > place && change.stage == Stage::Standing {
                change.stage = Stage::Overtaken;
                later += 1;
            }
        }
        if later > 0 {
            ledger.note("email_change took later ones back with it");
        }
        if ledger.moves_to(user, &before, to, number + 1).is_none() {
            ledger.complain(format!("email_change {flow} took back the address of nobody"));
        }
        ledger.fenced(step, user);
        ledger.forgot_devices(step, user);
        ledger.profiled(step, user);
        let deletion = ledger.users.get_mut(&user).and_then(|account| account.deletion.take());
        if let Some(deletion) = deletion {
            ledger.note("email_change called a deletion off");
            ledger.called_off.insert(deletion);
        }
    }

    /// A change of address is over, and what it kept goes to whoever may want it.
    fn gives_back(&mut self, ledger: &mut Ledger, flow: FlowId) {
        let Some(change) = self.proved.get_mut(&flow) else { return };
        let freed = match std::mem::replace(&mut change.stage, Stage::Over) {
            Stage::Standing => change.before.clone(),
            Stage::Undone | Stage::Overtaken => change.after.clone(),
            Stage::Over => return,
        };
        ledger.freed.push(freed);
    }

    /// Whether a change can be taken back, and nobody has changed the address since.
    fn is_last(&self, flow: FlowId) -> bool {
        self.proved.get(&flow).is_some_and(|change| {
            let mut others = self.proved.values().filter(|other| other.user == change.user);
            change.stage == Stage::Standing && others.all(|other| other.place <= change.place)
        })
    }
}

/// A letter, rather of a flow that goes on.
fn some_mail(common: &Common, desk: &mut Desk<'_, Auth>, purpose: Purpose) -> Option<Mail> {
    let mut mail = common.post.recent(purpose, desk.rng)?;
    for _ in 0..3 {
        if common.ledger.is_finished(mail.flow) {
            mail = common.post.recent(purpose, desk.rng)?;
        }
    }
    Some(mail)
}

/// Between the page that reads and the commit lies some time, now and then a lot.
fn late(asked: Asked, order: Order<Auth>, desk: &mut Desk<'_, Auth>) -> Plan<Asked> {
    if desk.rng.chance(400) { Plan::hashed(asked, order, desk.rng) } else { Plan::at_once(asked, order) }
}
