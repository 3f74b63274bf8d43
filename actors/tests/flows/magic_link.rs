//! Magic link: its table, and what must hold whatever is typed, in whatever order, at whatever time.

use cairn_actors::effects::Key;
use cairn_actors::flows::challenge::{Challenge, LetterProof as _, TypedCode};
use cairn_actors::flows::magic_link::{self, Account, Arrival, Command, Entry, MagicLink, Outcome, Start};
use cairn_actors::flows::session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Presented, Purpose, Seal, of};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::{Flow, FlowId, Id, Input, Timestamp};

use crate::driver::{Driver, Known, T0, at};
use crate::golden;
use crate::letters::{ByLetter, Said};
use crate::registration::{ADDRESS, PERSONAL};
use crate::table::{self, Ask, Place, after, asked};

impl Known for MagicLink {
    const OVER: &'static [magic_link::Phase] =
        &[magic_link::Phase::Done, magic_link::Phase::Expired, magic_link::Phase::Ended];
}

type Driven = Driver<MagicLink>;

/// The numbers of the claim on the address, of the fence and of the devices, as the tests begin.
const NUMBER: i64 = 4;
const FENCE: i64 = 3;
const DEVICES: i64 = 7;

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn start(known: bool) -> Start {
    let account = Account { user: user(), fence: FENCE, number: NUMBER };
    Start { address: testing::address(ADDRESS), account: known.then_some(account), by: testing::STRANGER }
}

fn address_key(driver: &Driven) -> Key {
    Key::Address(driver.environment.address_key(&testing::address(ADDRESS)))
}

fn begun(known: bool) -> Driven {
    let mut driver = Driver::new(9);
    driver.personal = PERSONAL.to_vec();
    if known {
        driver.put(&Key::User(user()), FENCE);
        driver.put(&Key::Devices(user()), DEVICES);
        driver.put(&address_key(&driver), NUMBER);
    }
    driver.start(T0, &start(known));
    driver
}

fn seals(driver: &Driven) -> Vec<Seal> {
    match driver.state() {
        MagicLink::AwaitingCode(awaiting) => awaiting.challenge.issues.clone(),
        MagicLink::SignedIn(signed_in) => vec![signed_in.issue.clone()],
        _ => vec![Seal::new(&driver.environment.ring, [0; 16])],
    }
}

fn last(driver: &Driven) -> Seal {
    seals(driver).last().unwrap().clone()
}

fn code(driver: &Driven, seal: &Seal) -> Code {
    testing::code(&driver.environment, Purpose::MagicLink, driver.flow, seal)
}

fn wrong(driver: &Driven, number: u32) -> Code {
    testing::wrong_code(&driver.environment, Purpose::MagicLink, driver.flow, &seals(driver), number)
}

fn link(driver: &Driven, seal: &Seal) -> Presented<of::MagicLink> {
    testing::presented(&driver.environment, of::MagicLink, driver.flow, seal)
}

/// The cookie of the browser that asked for the letter.
fn cookie(driver: &Driven) -> Presented<of::FlowCookie> {
    testing::presented(&driver.environment, of::FlowCookie, driver.flow, &Seal { n: 0, ..last(driver) })
}

/// What a session of the account begins with, as it was read now.
fn entry(driver: &Driven) -> Option<Entry> {
    let fence = driver.number(&Key::User(user())).unwrap_or(-1);
    let devices = driver.number(&Key::Devices(user())).unwrap_or(-1);
    let number = driver.number(&address_key(driver)).unwrap_or(-1);
    let start = session::Start {
        user: user(),
        fence,
        devices,
        amr: vec!["email".to_owned()],
        device: None,
        client_address: None,
        arrival: session::Arrival::default(),
        forgets: None,
    };
    let address = driver.environment.address_key(&testing::address(ADDRESS));
    Some(Entry { start, address, number })
}

fn arrival(driver: &Driven, here: bool) -> Box<Arrival> {
    Box::new(Arrival { entry: entry(driver), browser: here.then(|| cookie(driver)) })
}

fn enter(driver: &Driven, code: Code) -> Command {
    Command::Enter { code: testing::typed_code(code), arrival: arrival(driver, true) }
}

fn open(driver: &Driven, link: Presented<of::MagicLink>, here: bool, here_only: bool) -> Command {
    Command::Open { link, arrival: arrival(driver, here), here_only }
}

fn with_right_code(driver: &mut Driven, now: Timestamp) -> Outcome {
    let command = enter(driver, code(driver, &last(driver)));
    driver.ask(now, command)
}

impl ByLetter for MagicLink {
    const GOOD_FOR: i64 = 900;
    /// For the address and for the network.
    const COUNTED: usize = 2;

    fn begun(is_decoy: bool) -> Driven {
        begun(!is_decoy)
    }

    fn with_challenge(&self, challenge: Challenge) -> Self {
        let Self::AwaitingCode(awaiting) = self else { panic!("it waits") };
        let mut awaiting = awaiting.clone();
        awaiting.challenge = challenge;
        Self::AwaitingCode(awaiting)
    }

    fn enter(driver: &Driven, code: TypedCode) -> Command {
        Command::Enter { code, arrival: arrival(driver, true) }
    }

    fn open(driver: &Driven, flow: FlowId, seal: &Seal) -> Command {
        open(driver, testing::presented(&driver.environment, of::MagicLink, flow, seal), true, true)
    }

    fn resend() -> Command {
        Command::Resend(testing::STRANGER)
    }

    fn said(outcome: &Outcome) -> Said {
        match (outcome.of_challenge(), outcome) {
            (Some(told), _) => Said::Told(told),
            (None, Outcome::SignedIn { .. }) => Said::Proved,
            (None, Outcome::Garbage) => Said::Garbage,
            (None, Outcome::Over) => Said::Over,
            (None, _) => Said::Other,
        }
    }

    fn proves(letter: &Letter) -> Option<(&Seal, Timestamp)> {
        if let Letter::MagicLinkSignIn { seal, expires_at, .. } = letter { Some((seal, *expires_at)) } else { None }
    }
}

pub(crate) fn places() -> Vec<Place<MagicLink>> {
    let place = |name, driver| Place { name, driver };
    let mut full = begun(true);
    for number in 1..=5 {
        full.ask(at(60 * number), Command::Resend(testing::STRANGER));
    }
    let mut missed = begun(true);
    for number in 0..5 {
        let command = enter(&missed, wrong(&missed, number));
        missed.ask(at(1), command);
    }
    let mut signed_in = begun(true);
    with_right_code(&mut signed_in, at(10));
    let mut done = signed_in.clone();
    done.wake(at(10 + 30));
    let mut expired = begun(true);
    expired.wake(at(900));
    let mut ended = begun(true);
    ended.bump(&Key::User(user()));
    with_right_code(&mut ended, at(10));
    vec![
        place("fresh", begun(true)),
        place("five wrong codes", missed),
        place("six letters", full),
        place("nobody's address", begun(false)),
        place("fresh", signed_in),
        place("half a minute later", done),
        place("a quarter of an hour later", expired),
        place("signed out everywhere meanwhile", ended),
    ]
}

fn asks() -> Vec<Ask<MagicLink>> {
    let foreign = |driver: &Driven| {
        let elsewhere = Seal { salt: [3; 16], ..last(driver) };
        testing::presented(&driver.environment, of::MagicLink, FlowId(Id::v7(0, [9; 10])), &elsewhere)
    };
    let mut asks = vec![
        asked("enter the code", |driver| enter(driver, code(driver, &last(driver)))),
        asked("enter the code in another browser", |driver| Command::Enter {
            code: testing::typed_code(code(driver, &last(driver))),
            arrival: arrival(driver, false),
        }),
        asked("enter the code, with nothing looked up", |driver| Command::Enter {
            code: testing::typed_code(code(driver, &last(driver))),
            arrival: Box::new(Arrival { entry: None, browser: None }),
        }),
        asked("enter a wrong code", |driver| enter(driver, wrong(driver, 0))),
        asked("open the link here", |driver| open(driver, link(driver, &last(driver)), true, true)),
        asked("open the link in another browser", |driver| open(driver, link(driver, &last(driver)), false, true)),
        asked("open the link by a program", |driver| open(driver, link(driver, &last(driver)), false, false)),
        asked("open a link not yet sent", |driver| {
            open(driver, link(driver, &last(driver).next(&driver.environment.ring)), true, true)
        }),
        asked("open a foreign link", move |driver| open(driver, foreign(driver), true, true)),
        after("resend within the cool-down", 59, |_| Input::Asked(Command::Resend(testing::STRANGER))),
        after("resend after it", 60, |_| Input::Asked(Command::Resend(testing::STRANGER))),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    for (name, known) in [("known address", true), ("unknown address", false)] {
        let driver = Driven::new(9);
        let step = MagicLink::start(&start(known), None, &driver.cx(T0));
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
    }
    golden::check("magic_link.transitions.txt", &table);
}

/// What moves between the letter and its use → what becomes of it.
#[test]
fn a_letter_from_before_the_account_moved_signs_nobody_in() {
    let moves: [fn(&mut Driven); 3] = [
        |driver| driver.bump(&Key::User(user())),
        |driver| driver.bump(&address_key(driver)),
        |driver| driver.take_away(&Key::User(user())),
    ];
    for moves in moves {
        let mut driver = begun(true);
        moves(&mut driver);
        assert_eq!(with_right_code(&mut driver, at(10)), Outcome::Over);
        assert_eq!((driver.phase(), driver.writes.len()), ("ended", 0));
    }
}

#[test]
fn what_moves_while_the_letter_is_used_is_asked_anew_and_then_over() {
    for key in [Key::User(user()), address_key(&begun(true))] {
        let mut driver = begun(true);
        let command = enter(&driver, code(&driver, &last(&driver)));
        driver.bump(&key);
        assert_eq!(driver.ask(at(10), command), Outcome::Moved, "{key:?}");
        assert_eq!(driver.phase(), "awaiting_code");
        assert_eq!(with_right_code(&mut driver, at(11)), Outcome::Over);
    }
}

#[test]
fn a_letter_to_an_address_that_the_account_has_no_more_signs_nobody_in_though_the_numbers_are_alike() {
    let mut driver = begun(true);
    let Entry { start, number, .. } = entry(&driver).unwrap();
    let address = driver.environment.address_key(&testing::address("elsewhere@example.org"));
    let arrival = Box::new(Arrival { entry: Some(Entry { start, address, number }), browser: None });
    let command = Command::Enter { code: testing::typed_code(code(&driver, &last(&driver))), arrival };
    assert_eq!((driver.ask(at(1), command), driver.phase()), (Outcome::Over, "ended"));
}

#[test]
fn devices_that_are_forgotten_meanwhile_are_no_reason_to_refuse() {
    let mut driver = begun(true);
    let command = enter(&driver, code(&driver, &last(&driver)));
    driver.bump(&Key::Devices(user()));
    assert_eq!(driver.ask(at(10), command), Outcome::Moved);
    assert!(matches!(with_right_code(&mut driver, at(11)), Outcome::SignedIn { .. }));
}

#[test]
fn a_link_alone_signs_in_only_where_the_letter_was_asked_for() {
    let mut driver = begun(true);
    let seal = last(&driver);
    let elsewhere = open(&driver, link(&driver, &seal), false, true);
    assert_eq!(driver.ask(at(1), elsewhere), Outcome::Elsewhere);
    assert_eq!((driver.phase(), driver.version), ("awaiting_code", 1), "and stays good");
    let here = open(&driver, link(&driver, &seal), true, true);
    assert!(matches!(driver.ask(at(2), here), Outcome::SignedIn { .. }));
}

#[test]
fn the_same_answer_comes_again_for_half_a_minute_where_the_letter_was_asked_for_and_nowhere_else() {
    let mut driver = begun(true);
    let seal = last(&driver);
    let first = with_right_code(&mut driver, at(1));
    let here = open(&driver, link(&driver, &seal), true, true);
    assert_eq!(driver.ask(at(2), here), first);
    for command in [
        open(&driver, link(&driver, &seal), false, false),
        open(&driver, link(&driver, &seal), false, true),
        Command::Enter { code: testing::typed_code(code(&driver, &seal)), arrival: arrival(&driver, false) },
    ] {
        assert_eq!(driver.ask(at(3), command), Outcome::Over);
    }
    // Used elsewhere, it is told to nobody once more: whoever asked has not signed in.
    let mut other = begun(true);
    let seal_of_other = last(&other);
    let elsewhere =
        Command::Enter { code: testing::typed_code(code(&other, &seal_of_other)), arrival: arrival(&other, false) };
    assert!(matches!(other.ask(at(1), elsewhere), Outcome::SignedIn { .. }));
    assert_eq!(with_right_code(&mut other, at(2)), Outcome::Over);
    driver.wake(at(31));
    let late = open(&driver, link(&driver, &seal), true, true);
    assert_eq!(driver.ask(at(31), late), Outcome::Over);
}

#[test]
fn a_right_proof_for_which_nothing_was_looked_up_changes_nothing() {
    let mut driver = begun(true);
    let seal = last(&driver);
    let nothing = || Box::new(Arrival { entry: None, browser: None });
    let typed = || testing::typed_code(code(&driver, &seal));
    assert!(driver.state().knows_code(&typed(), driver.flow, &driver.environment));
    let unsent = TypedCode { delivered: false, ..typed() };
    assert!(!driver.state().knows_code(&unsent, driver.flow, &driver.environment), "no letter went out");
    let by_code = Command::Enter { code: typed(), arrival: nothing() };
    let by_link = Command::Open { link: link(&driver, &seal), arrival: nothing(), here_only: false };
    for command in [by_code, by_link] {
        assert_eq!(driver.ask(at(1), command), Outcome::Unprepared);
    }
    assert_eq!((driver.phase(), driver.version), ("awaiting_code", 1));
}

#[test]
fn an_entry_of_another_account_signs_nobody_in() {
    let mut driver = begun(true);
    let Entry { start, address, number } = entry(&driver).unwrap();
    let start = session::Start { user: UserId(Id::v7(5, [5; 10])), ..start };
    let arrival = Box::new(Arrival { entry: Some(Entry { start, address, number }), browser: Some(cookie(&driver)) });
    let command = Command::Enter { code: testing::typed_code(code(&driver, &last(&driver))), arrival };
    assert_eq!(driver.ask(at(1), command), Outcome::Over);
    assert_eq!(driver.phase(), "ended");
}
