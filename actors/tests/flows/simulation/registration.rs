//! People who register: addresses and usernames that several want at once, letters sent again, codes right, wrong and
//! sent again, links with and without the password.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, UserWrite, Write};
use cairn_actors::flows::challenge::LetterProof;
use cairn_actors::flows::registration::{Command, Outcome, Registration, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::{Common, presented, recent, state, victim};
use super::post::{Mail, text};
use super::rows::View;

/// A registration that somebody began, and the hash of what they typed.
struct Begun {
    flow: FlowId,
    password: SealedHash,
}

#[derive(Default)]
pub(super) struct Registrations {
    begun: Vec<Begun>,
    /// Who came of which registration.
    verified: BTreeMap<FlowId, UserId>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Register { password: SealedHash },
    Resend,
    Enter { flow: FlowId },
    Open { proved: bool },
}

impl SimulatedFlow for Registrations {
    const NAME: &'static str = Registration::NAME;
    const WAYS: &'static [&'static str] = &[
        "told Verified",
        "told AddressTaken",
        "told OnlyTheLink",
        "told PasswordNeeded",
        "told TooSoon",
        "came to be done",
        "came to be expired",
    ];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let lot = desk.rng.below(100);
        Some(match lot {
            0..32 => register(common, desk),
            32..45 => {
                let flow = recent(&self.begun, desk.rng)?.flow;
                let order = Order::call::<Registration>("resend", flow, || Command::Resend(testing::STRANGER));
                Plan::at_once(Asked::Resend, order)
            }
            45..52 => {
                let flow = victim(&self.begun)?.flow;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                let asked = Asked::Enter { flow };
                Plan::at_once(asked, enter(flow, code))
            }
            52..75 => {
                let mail = common.post.recent(Purpose::VerifyEmail, desk.rng)?;
                let asked = Asked::Enter { flow: mail.flow };
                Plan::at_once(asked, enter(mail.flow, mail.code))
            }
            75..82 => {
                let mail = common.post.recent(Purpose::VerifyEmail, desk.rng)?;
                self.open_here(common, desk, mail)?
            }
            _ => {
                let mail = common.post.recent(Purpose::VerifyEmail, desk.rng)?;
                let typed = self.begun.iter().find(|began| began.flow == mail.flow)?.password.clone();
                let knows = desk.rng.chance(850);
                let proved = knows && is_password_of(common, desk, mail.flow, &typed);
                let (environment, link) = (common.environment.clone(), mail.link);
                let order = Order::call::<Registration>("open", mail.flow, move || Command::Open {
                    link: presented(&environment, of::VerifyEmail, &link),
                    password: proved.then(Proved::pretended),
                });
                let asked = Asked::Open { proved };
                Plan::hashed(asked, order, desk.rng)
            }
        })
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        match asked {
            Asked::Register { .. } | Asked::Resend => None,
            Asked::Enter { flow } => common.ledger.spent(*flow),
            Asked::Open { proved, .. } => {
                (!proved).then(|| "it was proved neither by password nor by cookie".to_owned())
            }
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        match (asked, &outcome) {
            (Asked::Register { password }, Outcome::Awaiting { .. }) => {
                self.begun.push(Begun { flow: told.flow, password: password.clone() });
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
                match self.verified.get(&told.flow) {
                    Some(made) if made == user => Ok(Heard::Anything),
                    made => Err(format!("its user is {made:?}")),
                }
            }
            (Asked::Enter { .. }, Outcome::WrongCode { .. } | Outcome::AddressTaken) => Ok(Heard::Moved),
            (Asked::Open { .. }, Outcome::AddressTaken) => Ok(Heard::Moved),
            (Asked::Enter { .. } | Asked::Open { .. }, Outcome::Over) => common.over(told.flow),
            (Asked::Enter { .. }, Outcome::OnlyTheLink) => Ok(Heard::Anything),
            (Asked::Open { .. }, Outcome::Garbage | Outcome::PasswordNeeded) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// One user a registration, and none that is not proved.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let flow = step.event.flow;
        let outcome: Outcome = step.says();
        match (&outcome, step.writes) {
            (Outcome::Verified { user, .. }, [(_, Write::User(UserWrite::Create(new)))]) if new.id == *user => {
                if self.verified.insert(flow, *user).is_some() {
                    ledger.complain(format!("the registration {flow} made a second user"));
                }
                ledger.created(new);
            }
            (Outcome::WrongCode { .. }, _) => ledger.missed(step, 1),
            (Outcome::Verified { .. }, writes) | (_, writes @ [_, ..]) => {
                ledger.complain(format!("the registration {flow} said {outcome:?} and wrote {writes:?}"));
            }
            (Outcome::Awaiting { .. }, []) => ledger.wrote(step.event),
            _ => {}
        }
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, _flow: FlowId) -> Option<Reading> {
        match letter {
            Letter::RegistrationVerify { seal, .. } => Some(Reading::with(Purpose::VerifyEmail, seal, true)),
            Letter::RegistrationKnown { to } | Letter::RegistrationWelcome { to } => {
                Some(Reading::plain(!ledger.owners(to).is_empty()))
            }
            _ => None,
        }
    }

    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        vec![("registration.welcome", self.verified.len())]
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let is_over = |state: &Registration| {
            matches!(state, Registration::Done { .. } | Registration::Expired | Registration::Ended)
        };
        let user = view.read(row, is_over).user();
        let made = self.verified.get(&row.id).copied();
        let was = |user| view.ledger.users.contains_key(&user) || view.ledger.gone.contains_key(&user);
        if user != made || user.is_some_and(|user| !was(user)) {
            view.complain(format!("the registration {} has the user {user:?}, and made {made:?}", row.id));
        }
    }
}

impl Registrations {
    /// The link is opened in a browser that began a registration: mostly this one.
    fn open_here(&self, common: &Common, desk: &mut Desk<'_, Auth>, mail: Mail) -> Option<Plan<Asked>> {
        let began = if desk.rng.chance(800) { mail.flow } else { recent(&self.begun, desk.rng)?.flow };
        let seal = desk.store.inspect(|tables| state::<Registration>(tables, began)?.cookie())?;
        let cookie = text(&common.environment, Purpose::FlowCookie, began, &seal);
        let (environment, link) = (common.environment.clone(), mail.link);
        let order = Order::call::<Registration>("open here", mail.flow, move || Command::OpenHere {
            link: presented(&environment, of::VerifyEmail, &link),
            cookie: presented(&environment, of::FlowCookie, &cookie),
        });
        let asked = Asked::Open { proved: began == mail.flow };
        Some(Plan::at_once(asked, order))
    }
}

/// As the service checks the password of a link: against the flow's own hash, later the user's.
fn is_password_of(common: &Common, desk: &Desk<'_, Auth>, flow: FlowId, typed: &SealedHash) -> bool {
    let Some(state) = desk.store.inspect(|tables| state::<Registration>(tables, flow)) else { return false };
    let ledger = &common.ledger;
    let users = state.user().and_then(|user| Some(&ledger.users.get(&user)?.password));
    state.password().or(users) == Some(typed)
}

fn register(common: &mut Common, desk: &mut Desk<'_, Auth>) -> Plan<Asked> {
    let password = common.new_password();
    let address = common.some_address(desk.rng);
    let ledger = &common.ledger;
    let known = ledger.by_address.contains_key(&common.environment.address_key(&address));
    let name = format!("nick.{}", ledger.by_username.len() as u64 + desk.rng.below(3));
    let username = (desk.rng.chance(600) && !ledger.by_username.contains_key(&name)).then(|| testing::username(&name));
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
    Plan::hashed(asked, order, desk.rng)
}

fn enter(flow: FlowId, code: String) -> Order<Auth> {
    Order::call::<Registration>("enter", flow, move || {
        Command::Enter(testing::typed_code(Code::parse(&code).expect("six digits")))
    })
}
