//! People who change their address, mostly to one that others want too, and people who take a change back by the link
//! in the letter to the address from before: one, or several of a chain, while a deletion waits or sessions are begun.

use std::sync::Arc;

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::email_change::{Account, Command, Confirmer, EmailChange, Later, Outcome, Start};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::Proved;
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::FlowId;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::ledger::Stage;
use super::people::{Asked as Any, People, Plan, number, presented, recent, state, victim};
use super::post::Mail;

/// A change of address that somebody asked for.
pub(super) struct Wanted {
    flow: FlowId,
    user: UserId,
    fence: i64,
    from: (Digest, i64),
}

#[derive(Clone, Debug)]
pub(super) enum Asked {
    Change { user: UserId, fence: i64, from: (Digest, i64) },
    Resend,
    Prove { flow: FlowId, by_code: bool },
    Undo { flow: FlowId, forged: bool },
}

impl People {
    pub(super) fn plan_change(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        match desk.rng.below(100) {
            0..32 => self.change(desk),
            32..37 => {
                let flow = recent(&self.changes, desk.rng)?.flow;
                let order = Order::call::<EmailChange>("resend", flow, || Command::Resend(testing::STRANGER));
                Some(Plan::at_once(Any::Change(Asked::Resend), order))
            }
            37..43 => {
                let flow = victim(&self.changes)?.flow;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                Some(self.enter(desk, flow, code))
            }
            43..60 => {
                let mail = self.some_mail(desk, Purpose::EmailChange)?;
                Some(self.enter(desk, mail.flow, mail.code))
            }
            60..82 => {
                let mail = self.some_mail(desk, Purpose::EmailChange)?;
                let (environment, link, account) = (self.environment.clone(), mail.link, self.account(desk, mail.flow));
                let order = Order::call::<EmailChange>("open", mail.flow, move || Command::Open {
                    link: presented(&environment, of::EmailChange, &link),
                    by: Confirmer::Password(Arc::new(Proved::pretended())),
                    account: account.clone(),
                });
                let asked = Asked::Prove { flow: mail.flow, by_code: false };
                Some(late(asked, order, desk))
            }
            _ => {
                let mail = self.some_mail(desk, Purpose::UndoEmailChange)?;
                // Rather the first of a chain than the last.
                if self.ledger.borrow().is_last(mail.flow) && desk.rng.chance(700) {
                    return None;
                }
                let forged = desk.rng.chance(30);
                let link = if forged { self.forged(Purpose::UndoEmailChange, mail.flow) } else { mail.link };
                let (environment, account) = (self.environment.clone(), self.account(desk, mail.flow));
                let order = Order::call::<EmailChange>("undo", mail.flow, move || Command::Undo {
                    link: presented(&environment, of::UndoEmailChange, &link),
                    account: account.clone(),
                    password: None,
                });
                Some(late(Asked::Undo { flow: mail.flow, forged }, order, desk))
            }
        }
    }

    /// A letter, rather of a flow that goes on.
    fn some_mail(&self, desk: &mut Desk<'_, Auth>, purpose: Purpose) -> Option<Mail> {
        let mut mail = self.post.recent(purpose, desk.rng)?;
        for _ in 0..3 {
            if self.ledger.borrow().is_finished(mail.flow) {
                mail = self.post.recent(purpose, desk.rng)?;
            }
        }
        Some(mail)
    }

    fn change(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        // Rather somebody who has just changed theirs, so that there is a chain to be taken back.
        let again =
            self.ledger.borrow().moves.values().rev().find(|change| change.stage == Stage::Standing).map(|c| c.user);
        let again = again.filter(|_| desk.rng.chance(500)).into_iter().flat_map(|user| self.sessions_of(user));
        let again: Option<(UserId, i64)> = again.into_iter().find_map(|session| Self::in_session(desk, session));
        let (user, fence) = again.or_else(|| self.signed_in(desk))?;
        let address = self.some_address(desk);
        let address_key = self.environment.address_key(&address);
        let ledger = self.ledger.borrow();
        let account = ledger.users.get(&user)?;
        if account.address_key == address_key {
            return None;
        }
        let from = (account.address_key, account.number);
        let known = ledger.by_address.contains_key(&address_key);
        // Some are not seen: who asks twice at once.
        let mut waiting: Vec<FlowId> =
            self.changes.iter().filter(|wanted| wanted.user == user).map(|wanted| wanted.flow).collect();
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
        Some(Plan::hashed(Any::Change(Asked::Change { user, fence, from }), order, desk.rng))
    }

    /// Mostly an address that nobody has had, and always one that others try for as well; now and then one that was
    /// given back, or any.
    pub(super) fn some_address(&self, desk: &mut Desk<'_, Auth>) -> Address {
        let ledger = self.ledger.borrow();
        let so_far = ledger.addresses();
        match desk.rng.below(100) {
            0..12 => testing::address(&format!("Person.{}@example.org", desk.rng.below(so_far + 1))),
            12..24 if !ledger.freed.is_empty() => recent(&ledger.freed, desk.rng).cloned().expect("there is one"),
            _ => testing::address(&format!("Person.{}@example.org", so_far + desk.rng.below(4))),
        }
    }

    fn enter(&self, desk: &mut Desk<'_, Auth>, flow: FlowId, code: String) -> Plan {
        let account = self.account(desk, flow);
        let order = Order::call::<EmailChange>("enter", flow, move || Command::Enter {
            code: testing::typed_code(Code::parse(&code).expect("six digits")),
            account: account.clone(),
        });
        late(Asked::Prove { flow, by_code: true }, order, desk)
    }

    /// The account as a service reads it for a flow. By the time that the order is given, it may have moved.
    fn account(&self, desk: &mut Desk<'_, Auth>, flow: FlowId) -> Option<Account> {
        let user = self.changes.iter().find(|wanted| wanted.flow == flow)?.user;
        let ledger = self.ledger.borrow();
        let account = ledger.users.get(&user)?;
        let mut sessions = self.sessions_of(user);
        sessions.retain(|_| desk.rng.chance(600));
        let (number, changes) = desk.store.inspect(|tables| {
            let flows = ledger.moves.iter().filter(|(_, change)| change.user == user).map(|(flow, _)| *flow);
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

    /// Why what is asked now must not be granted.
    pub(super) fn change_doom(&self, asked: &Asked) -> Option<String> {
        let ledger = self.ledger.borrow();
        match asked {
            Asked::Resend => None,
            Asked::Change { user, fence, .. } => {
                let present = ledger.fence(*user);
                (present != Some(*fence)).then(|| format!("the fence was read at {fence}, and was at {present:?}"))
            }
            Asked::Prove { flow, by_code } => {
                let wanted = self.changes.iter().find(|wanted| wanted.flow == *flow)?;
                let present = ledger.fence(wanted.user);
                let done = ledger.moves.get(flow);
                let moved = done.is_none() && present != Some(wanted.fence);
                let moved =
                    moved.then(|| format!("it was asked for at {}, and the fence is {present:?}", wanted.fence));
                let has = ledger.users.get(&wanted.user).map(|account| (account.address_key, account.number));
                let faster = (done.is_none() && has != Some(wanted.from))
                    .then(|| format!("it was asked for at {:?}, and the address is at {has:?}", wanted.from));
                let moved = moved.or(faster);
                let undone = done.filter(|change| change.stage != Stage::Standing && change.stage != Stage::Overtaken);
                let undone = undone.map(|change| format!("it was {:?}", change.stage));
                moved.or(undone).or_else(|| by_code.then(|| self.spent(*flow)).flatten())
            }
            Asked::Undo { forged: true, .. } => Some("the link is forged".to_owned()),
            Asked::Undo { flow, .. } => match ledger.moves.get(flow) {
                Some(change) if matches!(change.stage, Stage::Standing | Stage::Undone) => None,
                change => Some(format!("it was {:?}", change.map(|change| change.stage))),
            },
        }
    }

    pub(super) fn hear_change(&mut self, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        let ledger = self.ledger.borrow();
        ledger.count("email_change", &outcome);
        let stage = ledger.moves.get(&told.flow).map(|change| (change.user, change.until, change.stage));
        match (asked, &outcome) {
            (Asked::Change { user, fence, from }, Outcome::Awaiting { .. }) => match doom {
                Some(why) => Err(why),
                None => {
                    self.changes.push(Wanted { flow: told.flow, user: *user, fence: *fence, from: *from });
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
            (Asked::Prove { .. } | Asked::Undo { .. }, Outcome::Over) => {
                drop(ledger);
                self.over(told.flow)
            }
            _ => Err("that answers another question".to_owned()),
        }
    }
}

/// Between the page that reads and the commit lies some time, now and then a lot.
fn late(asked: Asked, order: Order<Auth>, desk: &mut Desk<'_, Auth>) -> Plan {
    if desk.rng.chance(400) {
        Plan::hashed(Any::Change(asked), order, desk.rng)
    } else {
        Plan::at_once(Any::Change(asked), order)
    }
}
