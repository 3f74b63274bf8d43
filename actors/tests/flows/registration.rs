//! Registration: its table, and what must hold whatever is typed, in whatever order, at whatever time.

use cairn_actors::effects::{Auth, Key, UserWrite, Write};
use cairn_actors::flows::challenge::{Challenge, LetterProof, TypedCode};
use cairn_actors::flows::registration::{self, Command, Outcome, Registration, Start};
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Presented, Purpose, Seal, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::{Failure, Flow, FlowId, Id, Input, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases, json};
use crate::golden;
use crate::letters::{ByLetter, Said, moves};
use crate::table::{self, Ask, Place, after, asked};

pub(crate) const ADDRESS: &str = "Adalbertina.Lovelace@Example.com";
/// All that must show nowhere.
pub(crate) const PERSONAL: [&str; 6] = [ADDRESS, "dalbertina", "ovelace", "Augustina", "Byronella", "the-sealed-hash"];

impl Known for Registration {
    const OVER: &'static [registration::Phase] =
        &[registration::Phase::Done, registration::Phase::Expired, registration::Phase::Ended];
}

type Driven = Driver<Registration>;

pub(crate) fn start(known: bool) -> Start {
    Start {
        address: testing::address(ADDRESS),
        username: Some(testing::username("ada")),
        first_name: Some(testing::person_name("Augustina")),
        last_name: Some(testing::person_name("Byronella")),
        password: SealedHash::from_text("the-sealed-hash".to_owned()),
        known,
        by: testing::STRANGER,
    }
}

fn begun(known: bool) -> Driven {
    let mut driver = Driver::new(7);
    driver.personal = PERSONAL.to_vec();
    driver.start(T0, &start(known));
    driver
}

fn address_key(driver: &Driven) -> Key {
    Key::Address(driver.environment.address_key(&testing::address(ADDRESS)))
}

/// The seals of all letters that the state still knows.
fn seals(driver: &Driven) -> Vec<Seal> {
    match driver.state() {
        Registration::AwaitingCode(awaiting) => awaiting.challenge.issues.clone(),
        Registration::Verified { issue, .. } => vec![issue.clone()],
        _ => vec![Seal::new(&driver.environment.ring, [0; 16])],
    }
}

fn code(driver: &Driven, seal: &Seal) -> Code {
    testing::code(&driver.environment, Purpose::VerifyEmail, driver.flow, seal)
}

fn wrong(driver: &Driven, seals: &[Seal], number: u32) -> Code {
    testing::wrong_code(&driver.environment, Purpose::VerifyEmail, driver.flow, seals, number)
}

fn link(driver: &Driven, seal: &Seal) -> Presented<of::VerifyEmail> {
    testing::presented(&driver.environment, of::VerifyEmail, driver.flow, seal)
}

fn last(driver: &Driven) -> Seal {
    seals(driver).last().unwrap().clone()
}

fn open(link: Presented<of::VerifyEmail>, password: bool) -> Command {
    Command::Open { link, password: password.then(Proved::pretended) }
}

/// The same link in a browser with the cookie of this registration, or of another one.
fn open_here(driver: &Driven, own: bool) -> Command {
    let last = last(driver);
    let flow = if own { driver.flow } else { FlowId(Id::v7(0, [9; 10])) };
    let cookie = testing::presented(&driver.environment, of::FlowCookie, flow, &Seal { n: 0, ..last.clone() });
    Command::OpenHere { link: link(driver, &last), cookie }
}

impl ByLetter for Registration {
    const GOOD_FOR: i64 = 86_400;
    const COUNTED: usize = 1;

    fn begun(is_decoy: bool) -> Driven {
        begun(is_decoy)
    }

    fn with_challenge(&self, challenge: Challenge) -> Self {
        let Self::AwaitingCode(awaiting) = self else { panic!("it waits") };
        let mut awaiting = awaiting.clone();
        awaiting.challenge = challenge;
        Self::AwaitingCode(awaiting)
    }

    fn enter(_driver: &Driven, code: TypedCode) -> Command {
        Command::Enter(code)
    }

    fn open(driver: &Driven, flow: FlowId, seal: &Seal) -> Command {
        open(testing::presented(&driver.environment, of::VerifyEmail, flow, seal), true)
    }

    fn resend() -> Command {
        Command::Resend(testing::STRANGER)
    }

    fn said(outcome: &Outcome) -> Said {
        match (outcome.of_challenge(), outcome) {
            (Some(told), _) => Said::Told(told),
            (None, Outcome::Verified { .. }) => Said::Proved,
            (None, Outcome::Garbage) => Said::Garbage,
            (None, Outcome::Over) => Said::Over,
            (None, _) => Said::Other,
        }
    }

    fn proves(letter: &Letter) -> Option<(&Seal, Timestamp)> {
        if let Letter::RegistrationVerify { seal, expires_at, .. } = letter { Some((seal, *expires_at)) } else { None }
    }
}

/// A state of every phase, and of each the ones in which something else happens.
pub(crate) fn places() -> Vec<Place<Registration>> {
    let place = |name, driver| Place { name, driver };
    let fresh = begun(false);
    let mut resent = begun(false);
    resent.ask(at(60), Command::Resend(testing::STRANGER));
    let mut spent = begun(false);
    for number in 0..5 {
        let wrong = wrong(&spent, &seals(&spent), number);
        spent.ask(at(1), Command::Enter(testing::typed_code(wrong)));
    }
    let mut full = begun(false);
    for number in 1..=5 {
        full.ask(at(60 * number), Command::Resend(testing::STRANGER));
    }
    let mut verified = begun(false);
    let right = code(&verified, &last(&verified));
    verified.ask(at(10), Command::Enter(testing::typed_code(right)));
    let mut worn = verified.clone();
    for number in 0..5 {
        let wrong = wrong(&worn, &seals(&worn), number);
        worn.ask(at(11), Command::Enter(testing::typed_code(wrong)));
    }
    let mut done = verified.clone();
    done.wake(at(10 + 86_400));
    let mut expired = begun(false);
    expired.wake(at(86_400));
    let mut ended = begun(false);
    ended.put(&address_key(&ended), 0);
    let right = code(&ended, &last(&ended));
    ended.ask(at(10), Command::Enter(testing::typed_code(right)));
    vec![
        place("fresh", fresh),
        place("sent again", resent),
        place("five wrong codes", spent),
        place("six letters", full),
        place("decoy", begun(true)),
        place("fresh", verified),
        place("five wrong codes", worn),
        place("a day later", done),
        place("a day later", expired),
        place("the address was taken", ended),
    ]
}

fn asks() -> Vec<Ask<Registration>> {
    let foreign = |driver: &Driven| {
        let elsewhere = Seal { salt: [3; 16], ..last(driver) };
        testing::presented(&driver.environment, of::VerifyEmail, FlowId(Id::v7(0, [9; 10])), &elsewhere)
    };
    let mut asks = vec![
        asked("enter the code", |driver| Command::Enter(testing::typed_code(code(driver, &last(driver))))),
        asked("enter a wrong code", |driver| Command::Enter(testing::typed_code(wrong(driver, &seals(driver), 0)))),
        asked("open the link, with password", |driver| open(link(driver, &last(driver)), true)),
        asked("open the link, without", |driver| open(link(driver, &last(driver)), false)),
        asked("open the link, where it began", |driver| open_here(driver, true)),
        asked("open the link, with another's cookie", |driver| open_here(driver, false)),
        asked("open a link not yet sent", |driver| {
            open(link(driver, &last(driver).next(&driver.environment.ring)), true)
        }),
        asked("open a foreign link", move |driver| open(foreign(driver), true)),
        after("resend within the cool-down", 59, |_| Input::Asked(Command::Resend(testing::STRANGER))),
        after("resend after it", 60, |_| Input::Asked(Command::Resend(testing::STRANGER))),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    for (name, known) in [("unknown address", false), ("known address", true)] {
        let driver = Driven::new(7);
        let step = Registration::start(&start(known), None, &driver.cx(T0));
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
    }
    golden::check("registration.transitions.txt", &table);
}

#[derive(Clone, Debug)]
enum Op {
    Code,
    WrongCode(u32),
    Link(bool),
    LinkHere(bool),
    UnsentLink,
    Resend,
    Wake,
    Answered,
    AddressTaken,
    UsernameTaken,
}

fn wrong_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u32>().prop_map(Op::WrongCode),
        2 => Just(Op::UnsentLink),
        4 => Just(Op::Resend),
        1 => Just(Op::Wake),
        1 => Just(Op::Answered),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Code),
        2 => any::<bool>().prop_map(Op::Link),
        2 => any::<bool>().prop_map(Op::LinkHere),
        1 => Just(Op::AddressTaken),
        1 => Just(Op::UsernameTaken),
        8 => wrong_op(),
    ]
}

/// All seals ever issued, the last one last. `issued` remembers those that the state has forgotten.
fn remember(driver: &Driven, issued: &mut Vec<Seal>) {
    if let Registration::AwaitingCode(awaiting) = driver.state() {
        issued.clone_from(&awaiting.challenge.issues);
    }
}

fn input(driver: &Driven, issued: &[Seal], op: &Op) -> Option<Input<Registration>> {
    let last = issued.last().unwrap();
    Some(Input::Asked(match op {
        Op::Code => Command::Enter(testing::typed_code(code(driver, last))),
        Op::WrongCode(number) => Command::Enter(testing::typed_code(wrong(driver, issued, *number))),
        Op::Link(password) => open(link(driver, last), *password),
        Op::LinkHere(own) => open_here(driver, *own),
        Op::UnsentLink => open(link(driver, &last.next(&driver.environment.ring)), true),
        Op::Resend => Command::Resend(testing::STRANGER),
        Op::Answered => return Some(Input::Answered { tag: "x".to_owned(), result: Err(Failure::Unknown) }),
        Op::Wake | Op::AddressTaken | Op::UsernameTaken => return None,
    }))
}

/// One way through a registration, held against what must be so.
fn drive(known: bool, ops: &[(i64, Op)]) {
    let mut driver = begun(known);
    let (mut now, mut issued) = (T0, Vec::new());
    let mut missed = 0_u8;
    let mut verified: Option<Outcome> = None;
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        remember(&driver, &mut issued);
        match op {
            Op::Wake => {
                driver.wake(now);
                continue;
            }
            // Nobody takes what this registration has claimed itself.
            Op::AddressTaken if verified.is_none() => driver.put(&address_key(&driver), 0),
            Op::UsernameTaken if verified.is_none() => driver.put(&Key::Username(testing::username("ada")), 0),
            _ => {}
        }
        let Some(input) = input(&driver, &issued, op) else { continue };
        driver.wake(now);
        let was = driver.phase();
        let taken = driver.number(&address_key(&driver)).is_some();
        let says = driver.input(now, &input);
        let is_right = matches!(op, Op::Link(true) | Op::LinkHere(true)) || matches!(op, Op::Code) && missed < 5;
        match (was, &says) {
            ("awaiting_code", Outcome::Verified { .. }) => {
                assert!(is_right && !known && !taken, "{op:?} verified");
                assert_eq!(driver.number(&address_key(&driver)), Some(0));
                verified = Some(says.clone());
            }
            ("awaiting_code", Outcome::AddressTaken) => {
                assert!(is_right && !known && taken && driver.phase() == "ended")
            }
            ("awaiting_code", _) if !known => assert!(!is_right, "{op:?} was right and is told {says:?}"),
            ("verified", _) if is_right => assert_eq!(Some(&says), verified.as_ref(), "a repeat gets the same answer"),
            ("verified", Outcome::Verified { .. }) => panic!("{op:?} is no repeat"),
            ("done" | "expired" | "ended", _) => assert_eq!(says, Outcome::Over),
            _ => {}
        }
        missed += u8::from(matches!(says, Outcome::WrongCode { .. }));
    }
    let made: Vec<&Write> = driver.writes.iter().collect();
    assert_eq!(made.len(), usize::from(verified.is_some()), "one user, and only who proved the address");
    if let (Some(Write::User(UserWrite::Create(user))), Some(Outcome::Verified { user: id, .. })) =
        (made.first(), &verified)
    {
        assert_eq!((user.id, user.address.typed(), user.password.as_text()), (*id, ADDRESS, "the-sealed-hash"));
    }
    let is_welcome = |letter: &Letter| matches!(letter, Letter::RegistrationWelcome { .. });
    let welcomes = driver.sent.iter().filter(|sent| is_welcome(&sent.letter)).count();
    assert_eq!(welcomes, made.len(), "one welcome a user");
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn whatever_is_typed_there_is_one_user_and_one_answer(known in prop::bool::weighted(0.2), ops in prop::collection::vec((moves(), op()), 0..24)) {
        drive(known, &ops);
    }
}

#[test]
fn a_username_lost_meanwhile_does_not_cost_the_account() {
    let mut driver = begun(false);
    driver.put(&Key::Username(testing::username("ada")), 0);
    let right = code(&driver, &last(&driver));
    assert!(matches!(driver.ask(at(1), Command::Enter(testing::typed_code(right))), Outcome::Verified { .. }));
    let [Write::User(UserWrite::Create(user))] = driver.writes.as_slice() else { panic!("one user") };
    assert_eq!(user.username, None);
    assert_eq!(driver.number(&Key::User(user.id)), Some(0), "with a fence");
}

#[test]
fn the_password_of_a_link_can_be_checked_until_the_address_is_proved_and_is_gone_then() {
    let mut driver = begun(false);
    assert_eq!(driver.state().password().unwrap().as_text(), "the-sealed-hash");
    let seal = last(&driver);
    let right = link(&driver, &seal);
    assert!(driver.state().knows_link(&right, &driver.environment));
    assert!(!driver.state().knows_link(&link(&driver, &seal.next(&driver.environment.ring)), &driver.environment));
    driver.ask(at(1), open(right, true));
    assert!(driver.state().password().is_none() && driver.state().user().is_some());
    assert!(!json(driver.state()).contains("the-sealed-hash"));
    assert!(driver.state().knows_link(&link(&driver, &seal), &driver.environment));
    driver.wake(at(2 + 86_400));
    assert!(!driver.state().knows_link(&link(&driver, &seal), &driver.environment));
}

#[test]
fn the_guard_of_an_address_shows_no_address() {
    let driver = begun(false);
    let text = <Auth as cairn_runtime::Domain>::guard(&address_key(&driver));
    assert!(text.starts_with("address/") && PERSONAL.iter().all(|secret| !text.contains(secret)));
}
