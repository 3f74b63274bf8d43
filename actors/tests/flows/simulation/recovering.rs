//! People who forgot their password: they ask for a letter, prove the address by it, and set another; some of them
//! twice, or two at once.

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::recovery::{Command, NewPassword, Outcome, Recovery, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::FlowId;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::people::{Asked as Any, People, Plan, number, presented, recent, state, victim};

#[derive(Clone, Debug)]
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

impl People {
    pub(super) fn plan_recovery(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        Some(match desk.rng.below(100) {
            0..34 => self.recover(desk)?,
            34..42 => {
                let flow = *recent(&self.recoveries, desk.rng)?;
                let order = Order::call::<Recovery>("resend", flow, || Command::Resend(testing::STRANGER));
                Plan::at_once(Any::Recovery(Asked::Resend), order)
            }
            42..50 => {
                let flow = *victim(&self.recoveries)?;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                self.prove(desk, flow, Proof::Code(code))
            }
            _ => {
                let mail = self.post.recent(Purpose::ResetPassword, desk.rng)?;
                let proof = if desk.rng.chance(500) { Proof::Code(mail.code) } else { Proof::Link(mail.link) };
                self.prove(desk, mail.flow, proof)
            }
        })
    }

    fn recover(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        // Now and then an address that nobody has, or has not yet, or has no more.
        let somebody = self.somebody(desk.rng).filter(|_| desk.rng.chance(600));
        let has = somebody.and_then(|user| Some(self.ledger.borrow().users.get(&user)?.address.clone()));
        let address = match (has, self.ledger.borrow().addresses()) {
            (Some(address), _) => address,
            (None, 0) => return None,
            (None, so_far) => {
                let rare = desk.rng.chance(250);
                let person =
                    if rare { so_far + desk.rng.below(3) } else { so_far.saturating_sub(1 + desk.rng.below(6)) };
                testing::address(&format!("Person.{person}@example.org"))
            }
        };
        let address_key = self.environment.address_key(&address);
        let user = self.ledger.borrow().by_address.get(&address_key).copied();
        let number = desk.store.inspect(|tables| number(tables, &Key::Address(address_key))).unwrap_or(0);
        let order = Order::start::<Recovery>("recover", move || Start {
            address: address.clone(),
            user,
            number,
            by: testing::STRANGER,
        });
        Some(Plan::at_once(Any::Recovery(Asked::Recover), order))
    }

    fn prove(&mut self, desk: &mut Desk<'_, Auth>, flow: FlowId, proof: Proof) -> Plan {
        let state = desk.store.inspect(|tables| state::<Recovery>(tables, flow));
        let set = state.as_ref().and_then(Recovery::password).cloned();
        // Once it is set, some type the same again, because they have lost our answer.
        let again = set.filter(|_| desk.rng.chance(500));
        let same = again.is_some();
        let password = again.unwrap_or_else(|| self.new_password());
        let (by_code, user) = (matches!(proof, Proof::Code(_)), state.and_then(|state| state.user()));
        let asked = Asked::Prove { flow, by_code, password: password.clone(), user };
        let environment = self.environment.clone();
        // Most are told that they are over; the fence alone ends them all.
        let sessions: Vec<FlowId> = user
            .map(|user| self.sessions_of(user))
            .unwrap_or_default()
            .into_iter()
            .filter(|_| desk.rng.chance(600))
            .collect();
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
        Plan::hashed(Any::Recovery(asked), order, desk.rng)
    }

    /// Why a proof that is shown now must not be taken.
    pub(super) fn recovery_doom(&self, asked: &Asked) -> Option<String> {
        match asked {
            Asked::Recover | Asked::Resend => None,
            Asked::Prove { user: None, .. } => Some("nobody has the address".to_owned()),
            Asked::Prove { flow, by_code: true, .. } => self.spent(*flow),
            Asked::Prove { .. } => None,
        }
    }

    pub(super) fn hear_recovery(&mut self, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        self.ledger.borrow().count("recovery", &outcome);
        match (asked, &outcome) {
            (Asked::Recover, Outcome::Awaiting { .. }) => {
                self.recoveries.push(told.flow);
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
                match self.ledger.borrow().resets.get(&told.flow) {
                    Some((of, set)) if (of, set) == (user, password) => Ok(Heard::Anything),
                    set => Err(format!("what it set is {set:?}, not {}", password.as_text())),
                }
            }
            (Asked::Prove { by_code: true, .. }, Outcome::WrongCode { .. }) => Ok(Heard::Moved),
            (Asked::Prove { by_code: true, .. }, Outcome::OnlyTheLink) => Ok(Heard::Anything),
            (Asked::Prove { by_code: false, .. }, Outcome::Garbage) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Over) => self.over(told.flow),
            (Asked::Prove { .. }, Outcome::UsedUp) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }
}
