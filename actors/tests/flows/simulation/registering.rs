//! People who register: addresses and usernames that several want at once, letters sent again, codes right, wrong and
//! sent again, links with and without the password.

use cairn_actors::effects::Auth;
use cairn_actors::flows::registration::{Command, Outcome, Registration, Start};
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::FlowId;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::people::{Asked as Any, People, Plan, presented, recent, state, victim};
use super::post::{Mail, text};

/// A registration that somebody began, and the hash of what they typed.
pub(super) struct Began {
    flow: FlowId,
    password: SealedHash,
}

#[derive(Clone, Debug)]
pub(super) enum Asked {
    Register { password: SealedHash },
    Resend,
    Enter { flow: FlowId },
    Open { proved: bool },
}

impl People {
    pub(super) fn plan_registration(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let lot = desk.rng.below(100);
        Some(match lot {
            0..32 => self.register(desk),
            32..45 => {
                let flow = recent(&self.registrations, desk.rng)?.flow;
                let order = Order::call::<Registration>("resend", flow, || Command::Resend(testing::STRANGER));
                Plan::at_once(Any::Registration(Asked::Resend), order)
            }
            45..52 => {
                let flow = victim(&self.registrations)?.flow;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                let asked = Asked::Enter { flow };
                Plan::at_once(Any::Registration(asked), enter(flow, code))
            }
            52..75 => {
                let mail = self.post.recent(Purpose::VerifyEmail, desk.rng)?;
                let asked = Asked::Enter { flow: mail.flow };
                Plan::at_once(Any::Registration(asked), enter(mail.flow, mail.code))
            }
            75..82 => {
                let mail = self.post.recent(Purpose::VerifyEmail, desk.rng)?;
                self.open_here(desk, mail)?
            }
            _ => {
                let mail = self.post.recent(Purpose::VerifyEmail, desk.rng)?;
                let typed = self.registrations.iter().find(|began| began.flow == mail.flow)?.password.clone();
                let knows = desk.rng.chance(850);
                let proved = knows && self.is_password_of(desk, mail.flow, &typed);
                let (environment, link) = (self.environment.clone(), mail.link);
                let order = Order::call::<Registration>("open", mail.flow, move || Command::Open {
                    link: presented(&environment, of::VerifyEmail, &link),
                    password: proved.then(Proved::pretended),
                });
                let asked = Asked::Open { proved };
                Plan::hashed(Any::Registration(asked), order, desk.rng)
            }
        })
    }

    /// The link is opened in a browser that began a registration: mostly this one.
    fn open_here(&self, desk: &mut Desk<'_, Auth>, mail: Mail) -> Option<Plan> {
        let began = if desk.rng.chance(800) { mail.flow } else { recent(&self.registrations, desk.rng)?.flow };
        let seal = desk.store.inspect(|tables| state::<Registration>(tables, began)?.cookie())?;
        let cookie = text(&self.environment, Purpose::FlowCookie, began, &seal);
        let (environment, link) = (self.environment.clone(), mail.link);
        let order = Order::call::<Registration>("open here", mail.flow, move || Command::OpenHere {
            link: presented(&environment, of::VerifyEmail, &link),
            cookie: presented(&environment, of::FlowCookie, &cookie),
        });
        let asked = Asked::Open { proved: began == mail.flow };
        Some(Plan::at_once(Any::Registration(asked), order))
    }

    /// As the service checks the password of a link: against the flow's own hash, later the user's.
    fn is_password_of(&self, desk: &Desk<'_, Auth>, flow: FlowId, typed: &SealedHash) -> bool {
        let Some(state) = desk.store.inspect(|tables| state::<Registration>(tables, flow)) else { return false };
        let ledger = self.ledger.borrow();
        let users = state.user().and_then(|user| Some(&ledger.users.get(&user)?.password));
        state.password().or(users) == Some(typed)
    }

    fn register(&mut self, desk: &mut Desk<'_, Auth>) -> Plan {
        let password = self.new_password();
        let address = self.some_address(desk);
        let ledger = self.ledger.borrow();
        let known = ledger.by_address.contains_key(&self.environment.address_key(&address));
        let name = format!("nick.{}", ledger.by_username.len() as u64 + desk.rng.below(3));
        let username =
            (desk.rng.chance(600) && !ledger.by_username.contains_key(&name)).then(|| testing::username(&name));
        let asked = Asked::Register { password: password.clone() };
        let order = Order::start::<Registration>("register", move || Start {
            address: address.clone(),
            username: username.clone(),
            first_name: Some(testing::person_name("Givenname")),
            last_name: Some(testing::person_name("Familyname")),
            password: password.clone(),
            known,
            by: testing::STRANGER,
        });
        Plan::hashed(Any::Registration(asked), order, desk.rng)
    }

    /// Why a proof that is shown now must not be taken.
    pub(super) fn registration_doom(&self, asked: &Asked) -> Option<String> {
        match asked {
            Asked::Register { .. } | Asked::Resend => None,
            Asked::Enter { flow } => self.spent(*flow),
            Asked::Open { proved, .. } => {
                (!proved).then(|| "it was proved neither by password nor by cookie".to_owned())
            }
        }
    }

    /// Five codes were wrong, and this is one more.
    pub(super) fn spent(&self, flow: FlowId) -> Option<String> {
        let missed = self.ledger.borrow().letters.get(&flow)?.missed;
        (missed >= 5).then(|| format!("{missed} codes had been wrong"))
    }

    pub(super) fn hear_registration(
        &mut self,
        asked: &Asked,
        told: &Told,
        doom: Option<String>,
    ) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        self.ledger.borrow().count("registration", &outcome);
        match (asked, &outcome) {
            (Asked::Register { password }, Outcome::Awaiting { .. }) => {
                self.registrations.push(Began { flow: told.flow, password: password.clone() });
                Ok(Heard::Moved)
            }
            (Asked::Register { .. }, _) => Err("a start awaits".to_owned()),
            (
                Asked::Resend,
                Outcome::Awaiting { .. } | Outcome::TooSoon { .. } | Outcome::NoMoreLetters | Outcome::Over,
            ) => Ok(Heard::Anything),
            (Asked::Enter { .. } | Asked::Open { .. }, Outcome::Verified { user, .. }) => {
                if let Some(why) = doom {
                    return Err(why);
                }
                match self.ledger.borrow().verified.get(&told.flow) {
                    Some(made) if made == user => Ok(Heard::Anything),
                    made => Err(format!("its user is {made:?}")),
                }
            }
            (Asked::Enter { .. }, Outcome::WrongCode { .. } | Outcome::AddressTaken) => Ok(Heard::Moved),
            (Asked::Open { .. }, Outcome::AddressTaken) => Ok(Heard::Moved),
            (Asked::Enter { .. } | Asked::Open { .. }, Outcome::Over) => self.over(told.flow),
            (Asked::Enter { .. }, Outcome::OnlyTheLink) => Ok(Heard::Anything),
            (Asked::Open { .. }, Outcome::Garbage | Outcome::PasswordNeeded) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }
}

fn enter(flow: FlowId, code: String) -> Order<Auth> {
    Order::call::<Registration>("enter", flow, move || {
        Command::Enter(testing::typed_code(Code::parse(&code).expect("six digits")))
    })
}
