//! People who forgot their password: they ask for a letter, prove the address by it, and set another; some of them
//! twice, or two at once.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, DeviceWrite, Key, UserWrite, Write};
use cairn_actors::flows::recovery::{Command, NewPassword, Outcome, Recovery, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Domain, Flow, FlowId, Guard};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::{Common, number, person, presented, recent, state, victim};
use super::rows::View;

#[derive(Default)]
pub(super) struct Recoveries {
    begun: Vec<FlowId>,
    /// Which recovery set which password.
    resets: BTreeMap<FlowId, (UserId, SealedHash)>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Recover,
    Resend,
    Prove { flow: FlowId, by_code: bool, password: SealedHash, user: Option<UserId> },
}

/// How somebody proves the address.
enum Proof {
    Code(String),
    Link(String),
}

impl SimulatedFlow for Recoveries {
    const NAME: &'static str = Recovery::NAME;
    const WAYS: &'static [&'static str] =
        &["told Done", "told UsedUp", "told OnlyTheLink", "came to be done", "came to be expired"];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        Some(match desk.rng.below(100) {
            0..34 => recover(common, desk)?,
            34..42 => {
                let flow = *recent(&self.begun, desk.rng)?;
                let order = Order::call::<Recovery>("resend", flow, || Command::Resend(testing::STRANGER));
                Plan::at_once(Asked::Resend, order)
            }
            42..50 => {
                let flow = *victim(&self.begun)?;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                prove(common, desk, flow, Proof::Code(code))
            }
            _ => {
                let mail = common.post.recent(Purpose::ResetPassword, desk.rng)?;
                let proof = if desk.rng.chance(500) { Proof::Code(mail.code) } else { Proof::Link(mail.link) };
                prove(common, desk, mail.flow, proof)
            }
        })
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        match asked {
            Asked::Recover | Asked::Resend => None,
            Asked::Prove { user: None, .. } => Some("nobody has the address".to_owned()),
            Asked::Prove { flow, by_code: true, .. } => common.ledger.spent(*flow),
            Asked::Prove { .. } => None,
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        match (asked, &outcome) {
            (Asked::Recover, Outcome::Awaiting { .. }) => {
                self.begun.push(told.flow);
                Ok(Heard::Moved)
            }
            (Asked::Recover, _) => Err("a start awaits".to_owned()),
            (
                Asked::Resend,
                Outcome::Awaiting { .. } | Outcome::TooSoon { .. } | Outcome::NoMoreLetters | Outcome::Over,
            ) => Ok(Heard::Anything),
            (Asked::Prove { password, .. }, Outcome::Done { user, .. }) => {
                if let Some(why) = doom {
                    return Err(why);
                }
                match self.resets.get(&told.flow) {
                    Some((of, set)) if (of, set) == (user, password) => Ok(Heard::Anything),
                    set => Err(format!("what it set is {set:?}, not {}", password.as_text())),
                }
            }
            (Asked::Prove { by_code: true, .. }, Outcome::WrongCode { .. }) => Ok(Heard::Moved),
            (Asked::Prove { by_code: true, .. }, Outcome::OnlyTheLink) => Ok(Heard::Anything),
            (Asked::Prove { by_code: false, .. }, Outcome::Garbage) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Over) => common.over(told.flow),
            (Asked::Prove { .. }, Outcome::UsedUp) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// One password a recovery, with the fence moved in the same commit.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let flow = step.event.flow;
        let outcome: Outcome = step.says();
        match (&outcome, step.writes) {
            (
                Outcome::Done { user, .. },
                [
                    (_, Write::User(UserWrite::SetPassword { user: of, password, .. })),
                    (_, Write::Device(DeviceWrite::ForgetAll { user: whose })),
                ],
            ) if of == user && whose == user => {
                if self.resets.insert(flow, (*user, password.clone())).is_some() {
                    ledger.complain(format!("the recovery {flow} set a second password"));
                }
                letters_end(ledger, step, *user);
                ledger.set_password(step, *user, password);
                ledger.forgot_devices(step, *user);
            }
            // For the address, and for the network that tries to set passwords.
            (Outcome::WrongCode { .. }, _) => ledger.missed(step, 2),
            (Outcome::Done { .. }, writes) | (_, writes @ [_, ..]) => {
                ledger.complain(format!("the recovery {flow} said {outcome:?} and wrote {writes:?}"));
            }
            (Outcome::Awaiting { .. }, []) => ledger.wrote(step.event),
            _ => {}
        }
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading> {
        match letter {
            Letter::RecoveryReset { to, seal, .. } => {
                Some(Reading::with(Purpose::ResetPassword, seal, !ledger.owners(to).is_empty()))
            }
            Letter::PasswordChanged { to, .. } => Some(Reading::plain(ledger.set_password_of(flow, to))),
            _ => None,
        }
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let is_over = |state: &Recovery| {
            matches!(state, Recovery::Done { .. } | Recovery::Expired { .. } | Recovery::Ended { .. })
        };
        let state = view.read(row, is_over);
        let set = self.resets.get(&row.id);
        let right = match (&state, set) {
            (Recovery::Reset(reset), Some((user, hash))) => (&reset.user, &reset.password) == (user, hash),
            (Recovery::Done { user }, Some((of, _))) => user == of,
            (Recovery::AwaitingCode(_) | Recovery::Expired { .. } | Recovery::Ended { .. }, None) => true,
            _ => false,
        };
        if !right {
            view.complain(format!("the recovery {} is {}, and has set {set:?}", row.id, row.phase));
        }
    }
}

/// A letter was used up, and with it every other that was sent before to the address that the account has: by the
/// number of the claim on it.
fn letters_end(ledger: &mut Ledger, step: &Step<'_>, user: UserId) {
    let has = ledger.users.get(&user).map(|account| Auth::guard(&Key::Address(account.address_key)));
    let by = step.line.guards.iter().find_map(|guard| match guard {
        Guard::Bump(key, Some(_)) if key.starts_with("address/") => Some(key),
        _ => None,
    });
    if by != has.as_ref() {
        ledger.complain(format!("the recovery {} counted on {by:?}, and {user:?} has {has:?}", step.event.flow));
    }
    if let Some(account) = ledger.users.get_mut(&user) {
        account.number += 1;
    }
}

fn recover(common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
    // Now and then an address that nobody has, or has not yet, or has no more.
    let somebody = common.somebody(desk.rng).filter(|_| desk.rng.chance(600));
    let has = somebody.and_then(|user| Some(common.ledger.users.get(&user)?.address.clone()));
    let address = match (has, common.ledger.addresses()) {
        (Some(address), _) => address,
        (None, 0) => return None,
        (None, so_far) => {
            let rare = desk.rng.chance(250);
            let number = if rare { so_far + desk.rng.below(3) } else { so_far.saturating_sub(1 + desk.rng.below(6)) };
            person(number)
        }
    };
    let address_key = common.environment.address_key(&address);
    let user = common.ledger.by_address.get(&address_key).copied();
    let number = desk.store.inspect(|tables| number(tables, &Key::Address(address_key))).unwrap_or(0);
    let order = Order::start::<Recovery>("recover", move || Start {
        address: address.clone(),
        user,
        number,
        by: testing::STRANGER,
    });
    Some(Plan::at_once(Asked::Recover, order))
}

fn prove(common: &mut Common, desk: &mut Desk<'_, Auth>, flow: FlowId, proof: Proof) -> Plan<Asked> {
    let state = desk.store.inspect(|tables| state::<Recovery>(tables, flow));
    let set = state.as_ref().and_then(Recovery::password).cloned();
    // Once it is set, some type the same again, because they have lost our answer.
    let again = set.filter(|_| desk.rng.chance(500));
    let same = again.is_some();
    let password = again.unwrap_or_else(|| common.new_password());
    let (by_code, user) = (matches!(proof, Proof::Code(_)), state.and_then(|state| state.user()));
    let asked = Asked::Prove { flow, by_code, password: password.clone(), user };
    let environment = common.environment.clone();
    let sessions = user.map(|user| common.some_sessions_of(user, desk.rng)).unwrap_or_default();
    let order = Order::call::<Recovery>("prove", flow, move || {
        let password = NewPassword {
            hash: Some(password.clone()),
            same: same.then(Proved::pretended),
            followers: testing::following(sessions.clone()),
        };
        match &proof {
            Proof::Code(code) => {
                let code = testing::typed_code(Code::parse(code).expect("six digits"));
                Command::Enter { code, password }
            }
            Proof::Link(link) => Command::Open { link: presented(&environment, of::ResetPassword, link), password },
        }
    });
    Plan::hashed(asked, order, desk.rng)
}
