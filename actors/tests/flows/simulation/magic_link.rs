//! People who sign in by a letter: they ask for one, and use its code or its link, in the browser that asked or another,
//! some of them twice, or two at once.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::magic_link::{Account, Arrival, Command, Entry, MagicLink, Outcome, Start};
use cairn_actors::flows::session;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, Seal, of};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::{IssuedTokens, Ledger};
use super::people::{Common, SignedIn, number, person, presented, recent, state, victim};
use super::post::text;
use super::rows::View;

#[derive(Default)]
pub(super) struct MagicLinks {
    begun: Vec<FlowId>,
    /// Which letter began which session.
    sessions: BTreeMap<FlowId, FlowId>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Ask,
    Resend,
    Prove { flow: FlowId, by_code: bool, is_decoy: bool },
}

/// How somebody proves the address.
enum Proof {
    Code(String),
    Link(String),
}

impl SimulatedFlow for MagicLinks {
    const NAME: &'static str = MagicLink::NAME;
    const WAYS: &'static [&'static str] = &[
        "told SignedIn",
        "told Elsewhere",
        "told OnlyTheLink",
        "came to be done",
        "came to be expired",
        "came to be ended",
    ];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        Some(match desk.rng.below(100) {
            0..34 => ask(common, desk)?,
            34..40 => {
                let flow = *recent(&self.begun, desk.rng)?;
                let order = Order::call::<MagicLink>("resend", flow, || Command::Resend(testing::STRANGER));
                Plan::at_once(Asked::Resend, order)
            }
            40..50 => {
                let flow = *victim(&self.begun)?;
                let code = format!("{:06}", desk.rng.below(1_000_000));
                prove(common, desk, flow, Proof::Code(code))
            }
            _ => {
                let mail = common.post.recent(Purpose::MagicLink, desk.rng)?;
                let proof = if desk.rng.chance(500) { Proof::Code(mail.code) } else { Proof::Link(mail.link) };
                prove(common, desk, mail.flow, proof)
            }
        })
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        match asked {
            Asked::Ask | Asked::Resend => None,
            Asked::Prove { is_decoy: true, .. } => Some("nobody has the address".to_owned()),
            Asked::Prove { flow, by_code: true, .. } => common.ledger.spent(*flow),
            Asked::Prove { .. } => None,
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        match (asked, outcome) {
            (Asked::Ask, Outcome::Awaiting { .. }) => {
                self.begun.push(told.flow);
                Ok(Heard::Moved)
            }
            (Asked::Ask, _) => Err("a start awaits".to_owned()),
            (
                Asked::Resend,
                Outcome::Awaiting { .. } | Outcome::TooSoon { .. } | Outcome::NoMoreLetters | Outcome::Over,
            ) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::SignedIn { session, tokens, .. }) => {
                if self.sessions.get(&told.flow) != Some(&session) {
                    return Err(format!("it began {:?}, not {session}", self.sessions.get(&told.flow)));
                }
                let session::Outcome::Tokens { user, issue, minted, .. } = *tokens else {
                    return Err("it gave no tokens".to_owned());
                };
                common.good_tokens(session, &IssuedTokens { issue, minted }, doom)?;
                if common.sessions.iter().all(|held| held.flow != session) {
                    common.sessions.push(SignedIn { flow: session, user });
                }
                Ok(Heard::Anything)
            }
            (Asked::Prove { by_code: true, .. }, Outcome::WrongCode { .. }) => Ok(Heard::Moved),
            (Asked::Prove { by_code: true, .. }, Outcome::OnlyTheLink) => Ok(Heard::Anything),
            (Asked::Prove { by_code: false, .. }, Outcome::Garbage | Outcome::Elsewhere) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Moved | Outcome::Unprepared) => Ok(Heard::Anything),
            (Asked::Prove { flow, .. }, Outcome::Over) if self.sessions.contains_key(flow) => Ok(Heard::Anything),
            (Asked::Prove { .. }, Outcome::Over) => common.over(told.flow),
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// One session a letter, begun in the commit that uses it up, under the fence that stood when it was asked for.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let flow = step.event.flow;
        let outcome: Outcome = step.says();
        match (&outcome, step.writes) {
            (Outcome::SignedIn { session, .. }, []) => {
                if step.line.rows.iter().skip(1).all(|row| row.id != *session) {
                    ledger.complain(format!("{flow} signed in, and {session} did not begin with it"));
                }
                if let Some(before) = self.sessions.insert(flow, *session) {
                    ledger.complain(format!("{flow} began {before} and {session}"));
                }
            }
            // For the address, and for the network that tries to get in.
            (Outcome::WrongCode { .. }, _) => ledger.missed(step, 2),
            (Outcome::Awaiting { .. }, []) => ledger.wrote(step.event),
            (_, writes @ [_, ..]) => {
                ledger.complain(format!("the magic link {flow} said {outcome:?} and wrote {writes:?}"));
            }
            _ => {}
        }
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, _flow: FlowId) -> Option<Reading> {
        match letter {
            Letter::MagicLinkSignIn { to, seal, .. } => {
                Some(Reading::with(Purpose::MagicLink, seal, !ledger.owners(to).is_empty()))
            }
            _ => None,
        }
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let is_over = |state: &MagicLink| {
            matches!(state, MagicLink::Done { .. } | MagicLink::Expired { .. } | MagicLink::Ended { .. })
        };
        let state = view.read(row, is_over);
        let session = self.sessions.get(&row.id);
        let right = match (&state, session) {
            (MagicLink::SignedIn(signed_in), Some(session)) => signed_in.session == *session,
            (MagicLink::Done { .. }, Some(_)) => true,
            (MagicLink::AwaitingCode(_) | MagicLink::Expired { .. } | MagicLink::Ended { .. }, None) => true,
            _ => false,
        };
        if !right {
            view.complain(format!("the magic link {} is {}, and began {session:?}", row.id, row.phase));
        }
    }
}

fn ask(common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
    // Now and then an address that nobody has.
    let somebody = common.somebody(desk.rng).filter(|_| desk.rng.chance(850));
    let has = somebody.and_then(|user| Some(common.ledger.users.get(&user)?.address.clone()));
    let address = has.unwrap_or_else(|| person(common.ledger.addresses() + desk.rng.below(3)));
    let address_key = common.environment.address_key(&address);
    let account = common.ledger.by_address.get(&address_key).copied().and_then(|user| {
        let read = |key: Key| desk.store.inspect(|tables| number(tables, &key));
        Some(Account { user, fence: read(Key::User(user))?, number: read(Key::Address(address_key))? })
    });
    let order =
        Order::start::<MagicLink>("ask", move || Start { address: address.clone(), account, by: testing::STRANGER });
    Some(Plan::at_once(Asked::Ask, order))
}

fn prove(common: &Common, desk: &mut Desk<'_, Auth>, flow: FlowId, proof: Proof) -> Plan<Asked> {
    let state = desk.store.inspect(|tables| state::<MagicLink>(tables, flow));
    let user = state.as_ref().and_then(MagicLink::user);
    let read = |key: Key| desk.store.inspect(|tables| number(tables, &key));
    let entry = user.and_then(|user| {
        // A service would call a deletion off that waits; here such an account is left alone.
        let account = common.ledger.users.get(&user).filter(|account| account.deletion.is_none())?;
        let address = common.environment.address_key(&account.address);
        Some((user, read(Key::User(user))?, read(Key::Devices(user))?, address, read(Key::Address(address))?))
    });
    let salt = state.as_ref().and_then(|state| match state {
        MagicLink::AwaitingCode(awaiting) => awaiting.challenge.last().cloned(),
        MagicLink::SignedIn(signed_in) => Some(signed_in.issue.clone()),
        _ => None,
    });
    let cookie = salt.map(|seal| text(&common.environment, Purpose::FlowCookie, flow, &Seal { n: 0, ..seal }));
    // Some read the letter in another browser.
    let cookie = cookie.filter(|_| desk.rng.chance(700));
    let by_code = matches!(proof, Proof::Code(_));
    let environment = common.environment.clone();
    let order = Order::call::<MagicLink>("prove", flow, move || {
        let start = |(user, fence, devices, address, number)| {
            let start = session::Start {
                user,
                fence,
                devices,
                amr: vec!["email".to_owned()],
                device: None,
                client_address: None,
                arrival: session::Arrival::default(),
                forgets: None,
            };
            Entry { start, address, number }
        };
        let browser = cookie.as_ref().map(|cookie| presented(&environment, of::FlowCookie, cookie));
        let arrival = Box::new(Arrival { entry: entry.map(start), browser });
        match &proof {
            Proof::Code(code) => {
                let code = testing::typed_code(Code::parse(code).expect("six digits"));
                Command::Enter { code, arrival }
            }
            Proof::Link(link) => {
                Command::Open { link: presented(&environment, of::MagicLink, link), arrival, here_only: true }
            }
        }
    });
    Plan::hashed(Asked::Prove { flow, by_code, is_decoy: user.is_none() }, order, desk.rng)
}
