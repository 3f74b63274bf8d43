//! Recovery: its table, and what must hold whatever is typed, in whatever order, at whatever time.

use cairn_actors::effects::{DeviceWrite, Key, UserWrite, Write};
use cairn_actors::flows::challenge::{Challenge, LetterProof, TypedCode};
use cairn_actors::flows::recovery::{self, Command, NewPassword, Outcome, Recovery, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Presented, Purpose, Seal, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::{Flow, FlowId, Id, Input, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases};
use crate::golden;
use crate::letters::{ByLetter, Said, moves};
use crate::registration::{ADDRESS, PERSONAL};
use crate::table::{self, Ask, Place, after, asked};

impl Known for Recovery {
    const OVER: &'static [recovery::Phase] = &[recovery::Phase::Done, recovery::Phase::Expired, recovery::Phase::Ended];
}

type Driven = Driver<Recovery>;

/// The number of the claim on the address, as the tests begin.
const NUMBER: i64 = 4;

fn session() -> FlowId {
    FlowId(Id::v7(2, [2; 10]))
}

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn start(known: bool) -> Start {
    Start {
        address: testing::address(ADDRESS),
        user: known.then(user),
        number: if known { NUMBER } else { 0 },
        by: testing::STRANGER,
    }
}

fn address_key(driver: &Driven) -> Key {
    Key::Address(driver.environment.address_key(&testing::address(ADDRESS)))
}

fn begun(known: bool) -> Driven {
    let mut driver = Driver::new(8);
    driver.personal = PERSONAL.to_vec();
    if known {
        driver.put(&Key::User(user()), 3);
        driver.put(&Key::Devices(user()), 7);
        driver.put(&address_key(&driver), NUMBER);
    }
    driver.start(T0, &start(known));
    driver
}

fn seals(driver: &Driven) -> Vec<Seal> {
    match driver.state() {
        Recovery::AwaitingCode(awaiting) => awaiting.challenge.issues.clone(),
        Recovery::Reset(reset) => vec![reset.issue.clone()],
        _ => vec![Seal::new(&driver.environment.ring, [0; 16])],
    }
}

fn last(driver: &Driven) -> Seal {
    seals(driver).last().unwrap().clone()
}

fn code(driver: &Driven, seal: &Seal) -> Code {
    testing::code(&driver.environment, Purpose::ResetPassword, driver.flow, seal)
}

fn wrong(driver: &Driven, seals: &[Seal], number: u32) -> Code {
    testing::wrong_code(&driver.environment, Purpose::ResetPassword, driver.flow, seals, number)
}

fn link(driver: &Driven, seal: &Seal) -> Presented<of::ResetPassword> {
    testing::presented(&driver.environment, of::ResetPassword, driver.flow, seal)
}

/// The hash of one of a few passwords, with the proof that a hasher would make of it.
fn password(driver: &Driven, which: u8) -> NewPassword {
    let hash = SealedHash::from_text(format!("the-sealed-hash-{which}"));
    let same = driver.state().password().is_some_and(|set| *set == hash).then(Proved::pretended);
    NewPassword { hash: Some(hash), same, followers: testing::following([session()]) }
}

fn enter(driver: &Driven, code: Code, which: u8) -> Command {
    Command::Enter { code: testing::typed_code(code), password: password(driver, which) }
}

fn open(driver: &Driven, link: Presented<of::ResetPassword>, which: u8) -> Command {
    Command::Open { link, password: password(driver, which) }
}

impl ByLetter for Recovery {
    const GOOD_FOR: i64 = 3_600;
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
        Command::Enter { code, password: password(driver, 1) }
    }

    fn open(driver: &Driven, flow: FlowId, seal: &Seal) -> Command {
        open(driver, testing::presented(&driver.environment, of::ResetPassword, flow, seal), 1)
    }

    fn resend() -> Command {
        Command::Resend(testing::STRANGER)
    }

    fn said(outcome: &Outcome) -> Said {
        match (outcome.of_challenge(), outcome) {
            (Some(told), _) => Said::Told(told),
            (None, Outcome::Done { .. }) => Said::Proved,
            (None, Outcome::Garbage) => Said::Garbage,
            (None, Outcome::Over) => Said::Over,
            (None, _) => Said::Other,
        }
    }

    fn proves(letter: &Letter) -> Option<(&Seal, Timestamp)> {
        if let Letter::RecoveryReset { seal, expires_at, .. } = letter { Some((seal, *expires_at)) } else { None }
    }
}

fn with_right_code(driver: &mut Driven, now: Timestamp) -> Outcome {
    let command = enter(driver, code(driver, &last(driver)), 1);
    driver.ask(now, command)
}

fn with_wrong_codes(mut driver: Driven, now: Timestamp) -> Driven {
    for number in 0..5 {
        let command = enter(&driver, wrong(&driver, &seals(&driver), number), 1);
        driver.ask(now, command);
    }
    driver
}

pub(crate) fn places() -> Vec<Place<Recovery>> {
    let place = |name, driver| Place { name, driver };
    let mut resent = begun(true);
    resent.ask(at(60), Command::Resend(testing::STRANGER));
    let mut full = begun(true);
    for number in 1..=5 {
        full.ask(at(60 * number), Command::Resend(testing::STRANGER));
    }
    let mut reset = begun(true);
    with_right_code(&mut reset, at(10));
    let mut done = reset.clone();
    done.wake(at(10 + 86_400));
    let mut expired = begun(true);
    expired.wake(at(3_600));
    let mut ended = begun(true);
    ended.take_away(&Key::User(user()));
    with_right_code(&mut ended, at(10));
    vec![
        place("fresh", begun(true)),
        place("sent again", resent),
        place("five wrong codes", with_wrong_codes(begun(true), at(1))),
        place("six letters", full),
        place("nobody's address", begun(false)),
        place("fresh", reset.clone()),
        place("five wrong codes", with_wrong_codes(reset, at(11))),
        place("a day later", done),
        place("an hour later", expired),
        place("the account is gone", ended),
    ]
}

fn asks() -> Vec<Ask<Recovery>> {
    let foreign = |driver: &Driven| {
        let elsewhere = Seal { salt: [3; 16], ..last(driver) };
        testing::presented(&driver.environment, of::ResetPassword, FlowId(Id::v7(0, [9; 10])), &elsewhere)
    };
    let mut asks = vec![
        asked("enter the code", |driver| enter(driver, code(driver, &last(driver)), 1)),
        asked("enter the code, another password", |driver| enter(driver, code(driver, &last(driver)), 2)),
        asked("enter a wrong code", |driver| enter(driver, wrong(driver, &seals(driver), 0), 1)),
        asked("open the link", |driver| open(driver, link(driver, &last(driver)), 1)),
        asked("open the link, another password", |driver| open(driver, link(driver, &last(driver)), 2)),
        asked("open a link not yet sent", |driver| {
            open(driver, link(driver, &last(driver).next(&driver.environment.ring)), 1)
        }),
        asked("open a foreign link", move |driver| open(driver, foreign(driver), 1)),
        after("resend within the cool-down", 59, |_| Input::Asked(Command::Resend(testing::STRANGER))),
        after("resend after it", 60, |_| Input::Asked(Command::Resend(testing::STRANGER))),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    for (name, known) in [("known address", true), ("unknown or unverified address", false)] {
        let driver = Driven::new(8);
        let step = Recovery::start(&start(known), None, &driver.cx(T0));
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
    }
    golden::check("recovery.transitions.txt", &table);
}

#[derive(Clone, Debug)]
enum Op {
    Code(u8),
    WrongCode(u32),
    Link(u8),
    UnsentLink,
    Resend,
    Wake,
    SignOutEverywhere,
    Move,
    /// To another address and back again, or another letter was used: the claim is another than it was.
    MoveAndReturn,
}

fn wrong_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u32>().prop_map(Op::WrongCode),
        2 => Just(Op::UnsentLink),
        4 => Just(Op::Resend),
        1 => Just(Op::Wake),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (1..3_u8).prop_map(Op::Code),
        2 => (1..3_u8).prop_map(Op::Link),
        1 => Just(Op::SignOutEverywhere),
        1 => Just(Op::Move),
        1 => Just(Op::MoveAndReturn),
        8 => wrong_op(),
    ]
}

fn command(driver: &Driven, issued: &[Seal], op: &Op) -> Option<Command> {
    let last = issued.last().unwrap();
    Some(match op {
        Op::Code(which) => enter(driver, code(driver, last), *which),
        Op::WrongCode(number) => enter(driver, wrong(driver, issued, *number), 1),
        Op::Link(which) => open(driver, link(driver, last), *which),
        Op::UnsentLink => open(driver, link(driver, &last.next(&driver.environment.ring)), 1),
        Op::Resend => Command::Resend(testing::STRANGER),
        Op::Wake | Op::SignOutEverywhere | Op::Move | Op::MoveAndReturn => return None,
    })
}

fn remember(driver: &Driven, issued: &mut Vec<Seal>) {
    if let Recovery::AwaitingCode(awaiting) = driver.state() {
        issued.clone_from(&awaiting.challenge.issues);
    }
}

/// One way through a recovery, held against what must be so.
fn drive(known: bool, ops: &[(i64, Op)]) {
    let mut driver = begun(known);
    let (mut now, mut issued) = (T0, Vec::new());
    let (mut missed, mut moved) = (0_u8, false);
    let mut set: Option<(u8, Outcome)> = None;
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        remember(&driver, &mut issued);
        driver.wake(now);
        match op {
            Op::SignOutEverywhere => driver.bump(&Key::User(user())),
            Op::Move => {
                driver.take_away(&address_key(&driver));
                moved = true;
            }
            Op::MoveAndReturn => {
                driver.bump(&address_key(&driver));
                moved = true;
            }
            _ => {}
        }
        let Some(command) = command(&driver, &issued, op) else { continue };
        let (was, fence) = (driver.phase(), driver.number(&Key::User(user())));
        let number = driver.number(&address_key(&driver));
        let says = driver.ask(now, command);
        let right = match op {
            Op::Code(which) if missed < 5 => Some(*which),
            Op::Link(which) => Some(*which),
            _ => None,
        };
        match (was, &says, right) {
            ("awaiting_code", Outcome::Done { user: of, .. }, Some(which)) => {
                assert!(known && !moved && *of == user());
                assert_eq!(driver.number(&Key::User(user())), fence.map(|number| number + 1), "the fence moved by one");
                let raised = driver.number(&address_key(&driver));
                assert_eq!(raised, number.map(|number| number + 1), "no letter from before is good any more");
                set = Some((which, says.clone()));
            }
            ("awaiting_code", Outcome::Over, Some(_)) => assert!(known && moved && driver.phase() == "ended"),
            ("awaiting_code", Outcome::WrongCode { .. } | Outcome::Garbage, Some(_)) => assert!(!known),
            ("awaiting_code", _, Some(_)) => panic!("{op:?} was right and is told {says:?}"),
            ("reset", _, Some(which)) => match set.as_ref().unwrap() {
                (first, answer) if *first == which => assert_eq!(says, *answer, "a repeat gets the same answer"),
                _ => assert_eq!(says, Outcome::UsedUp, "another password"),
            },
            (_, Outcome::Done { .. } | Outcome::UsedUp, _) => panic!("{op:?} was not right"),
            ("done" | "expired" | "ended", _, _) => assert_eq!(says, Outcome::Over),
            _ => {}
        }
        if was != "reset" || right.is_none() {
            assert!(was == "awaiting_code" && right.is_some() || driver.number(&Key::User(user())) == fence);
            assert!(was == "awaiting_code" && right.is_some() || driver.number(&address_key(&driver)) == number);
        }
        missed += u8::from(matches!(says, Outcome::WrongCode { .. }));
    }
    let hashes: Vec<_> = driver
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::User(UserWrite::SetPassword { user: of, password, .. }) if *of == user() => {
                Some(password.as_text().to_owned())
            }
            Write::Device(DeviceWrite::ForgetAll { user: of }) if *of == user() => None,
            other => panic!("{other:?} is no write of a recovery"),
        })
        .collect();
    let expected: Vec<_> = set.iter().map(|(which, _)| format!("the-sealed-hash-{which}")).collect();
    assert_eq!(hashes, expected, "one password, and the one that was proved for");
    let told: Vec<_> = driver.told.iter().map(|told| (told.to, told.signal.to_string())).collect();
    let expected: Vec<_> = set.iter().map(|_| (session(), "\"fenced\"".to_owned())).collect();
    assert_eq!(told, expected, "every session is told once that it is over");
    let is_notice = |letter: &Letter| matches!(letter, Letter::PasswordChanged { .. });
    let notices = driver.sent.iter().filter(|sent| is_notice(&sent.letter)).count();
    assert_eq!(notices * 2, driver.writes.len(), "one notice a password");
    let none = if known { &driver.to_nobody } else { &driver.sent };
    assert!(none.is_empty(), "an owner is written to, and nobody gets as many letters where there is none");
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn whatever_is_typed_one_password_is_set_and_the_fence_moves_with_it(
        known in prop::bool::weighted(0.8),
        ops in prop::collection::vec((moves(), op()), 0..24),
    ) {
        drive(known, &ops);
    }
}

#[test]
fn the_proof_of_the_same_password_counts_for_nothing_before_one_is_set() {
    let mut driver = begun(true);
    let seal = last(&driver);
    let hash = || SealedHash::from_text("the-sealed-hash-1".to_owned());
    let proved = |link| {
        let password =
            NewPassword { hash: Some(hash()), same: Some(Proved::pretended()), followers: testing::following([]) };
        Command::Open { link, password }
    };
    let elsewhere = link(&driver, &seal.next(&driver.environment.ring));
    assert_eq!(driver.ask(at(1), proved(elsewhere)), Outcome::Garbage);
    assert!(driver.writes.is_empty());
    let right = link(&driver, &seal);
    assert!(matches!(driver.ask(at(2), proved(right)), Outcome::Done { .. }));
    assert_eq!(driver.writes.len(), 2, "whatever the person had before, it is set");
}

#[test]
fn a_password_that_was_not_hashed_is_never_set_and_costs_nothing_by_a_right_proof() {
    let mut driver = begun(true);
    let seal = last(&driver);
    let nothing = || NewPassword { hash: None, same: None, followers: testing::following([]) };
    let right = link(&driver, &seal);
    assert_eq!(driver.ask(at(1), Command::Open { link: right, password: nothing() }), Outcome::Unhashed);
    let right = || testing::typed_code(code(&driver, &seal));
    assert!(driver.state().knows_code(&right(), driver.flow, &driver.environment));
    let unsent = TypedCode { delivered: false, ..right() };
    assert!(
        !driver.state().knows_code(&unsent, driver.flow, &driver.environment),
        "no code is right that nobody was sent"
    );
    let command = Command::Enter { code: right(), password: nothing() };
    assert_eq!(driver.ask(at(2), command), Outcome::Unhashed);
    assert_eq!((driver.phase(), driver.writes.len()), ("awaiting_code", 0));
    for left in (0..5).rev() {
        let guess = || testing::typed_code(wrong(&driver, std::slice::from_ref(&seal), left.into()));
        assert!(!driver.state().knows_code(&guess(), driver.flow, &driver.environment));
        let command = Command::Enter { code: guess(), password: nothing() };
        assert_eq!(driver.ask(at(3), command), Outcome::WrongCode { tries_left: left });
    }
    assert!(
        !driver.state().knows_code(&testing::typed_code(code(&driver, &seal)), driver.flow, &driver.environment),
        "spent"
    );
}

#[test]
fn an_account_that_no_longer_has_the_address_is_not_reset_through_it() {
    let mut driver = begun(true);
    driver.take_away(&address_key(&driver));
    assert_eq!(with_right_code(&mut driver, at(10)), Outcome::Over);
    assert_eq!((driver.phase(), driver.writes.len()), ("ended", 0));
    assert_eq!(driver.number(&Key::User(user())), Some(3), "and nobody is signed out");
}

#[test]
fn an_account_that_left_the_address_and_came_back_is_not_reset_by_a_letter_from_before() {
    let mut driver = begun(true);
    driver.bump(&address_key(&driver));
    assert_eq!(with_right_code(&mut driver, at(10)), Outcome::Over);
    assert_eq!((driver.phase(), driver.writes.len(), driver.told.len()), ("ended", 0, 0));
}

#[test]
fn a_recovery_that_an_older_release_began_counts_on_an_address_that_never_moved() {
    let mut row = serde_json::to_value(begun(true).state()).unwrap();
    row.as_object_mut().unwrap().remove("number").expect("it is written");
    let Recovery::AwaitingCode(awaiting) = serde_json::from_value(row).unwrap() else { panic!("it waits") };
    assert_eq!(awaiting.number, 0);
}

#[test]
fn a_sign_out_everywhere_does_not_stand_in_the_way_of_a_reset() {
    let mut driver = begun(true);
    driver.bump(&Key::User(user()));
    assert!(matches!(with_right_code(&mut driver, at(10)), Outcome::Done { .. }));
    assert_eq!(driver.number(&Key::User(user())), Some(5));
}

#[test]
fn the_new_hash_is_kept_for_repeats_and_gone_after_a_day() {
    let mut driver = begun(true);
    assert!(driver.state().password().is_none());
    with_right_code(&mut driver, at(10));
    assert_eq!(driver.state().password().unwrap().as_text(), "the-sealed-hash-1");
    let seal = last(&driver);
    assert!(driver.state().knows_link(&link(&driver, &seal), &driver.environment));
    assert_eq!(driver.state().phase(), recovery::Phase::Reset);
    driver.wake(at(10 + 86_400));
    assert!(driver.state().password().is_none());
    assert!(!driver.state().knows_link(&link(&driver, &seal), &driver.environment));
    assert_eq!((driver.state().phase(), driver.state().user()), (recovery::Phase::Done, Some(user())));
}
