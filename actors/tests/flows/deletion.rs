//! Deletion: its table, and what is left when it has run its course, or was called off.

use cairn_actors::effects::{Auth, Key, UserWrite, Write};
use cairn_actors::flows::deletion::{self, Deletion, Outcome, Signal, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::testing;
use cairn_runtime::{Domain, Flow, FlowId, Id, Input, Lost, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases};
use crate::golden;
use crate::letters::moves;
use crate::registration::ADDRESS;
use crate::table::{self, Ask, Place, after};

/// All that must show nowhere.
const PERSONAL: [&str; 4] = [ADDRESS, "dalbertina", "ovelace", "ada-of-old"];
const FORTNIGHT: i64 = 14 * 86_400;

impl Known for Deletion {
    const OVER: &'static [deletion::Phase] = &[deletion::Phase::Restored, deletion::Phase::Done];
}

type Driven = Driver<Deletion>;

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn session() -> FlowId {
    FlowId(Id::v7(2, [2; 10]))
}

fn start(named: bool) -> Start {
    Start {
        user: user(),
        fence: 3,
        devices: 7,
        profile: 5,
        address: testing::address(ADDRESS),
        username: named.then(|| testing::username("ada-of-old")),
        followers: testing::following([session()]),
    }
}

fn keys(driver: &Driven) -> [Key; 4] {
    let address = driver.environment.address_key(&testing::address(ADDRESS));
    [Key::User(user()), Key::Profile(user()), Key::Address(address), Key::Username(testing::username("ada-of-old"))]
}

/// An account that nobody deletes yet.
fn account(named: bool) -> Driven {
    let mut driver = Driver::new(8);
    driver.personal = PERSONAL.to_vec();
    for (key, number) in keys(&driver).into_iter().zip([3, 5, 0, 0]).take(if named { 4 } else { 3 }) {
        driver.put(&key, number);
    }
    driver.put(&Key::Devices(user()), 7);
    driver
}

fn begun(named: bool) -> Driven {
    let mut driver = account(named);
    driver.start(T0, &start(named));
    driver
}

pub(crate) fn places() -> Vec<Place<Deletion>> {
    let place = |name, driver| Place { name, driver };
    let mut restored = begun(true);
    restored.input(at(60), &Input::Told(Signal::Restored));
    let mut done = begun(true);
    done.wake(at(FORTNIGHT));
    vec![
        place("fresh", begun(true)),
        place("of somebody without a username", begun(false)),
        place("after a sign-in", restored),
        place("a fortnight later", done),
    ]
}

fn asks() -> Vec<Ask<Deletion>> {
    let mut asks = vec![after("told that the owner is back", 1, |_| Input::Told(Signal::Restored))];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    let driver = Driven::new(8);
    for (name, lost) in [
        ("start", None),
        ("start, lost user", Some(Lost(Key::User(user())))),
        ("start, lost profile", Some(Lost(Key::Profile(user())))),
        ("start, lost devices", Some(Lost(Key::Devices(user())))),
    ] {
        let step = Deletion::start(&start(true), lost.as_ref(), &driver.cx(T0));
        table.push_str(&format!("\n{name}\n  {}\n", table::line(&step)));
    }
    golden::check("deletion.transitions.txt", &table);
}

#[test]
fn every_session_ends_in_the_commit_that_asks_for_it_and_one_letter_says_when() {
    let driver = begun(true);
    assert_eq!(keys(&driver).map(|key| driver.number(&key)), [Some(4), Some(6), Some(0), Some(0)]);
    let told: Vec<_> = driver.told.iter().map(|told| (told.to, told.signal.to_string())).collect();
    assert_eq!(told, [(session(), "\"fenced\"".to_owned())]);
    let [sent] = &driver.sent[..] else { panic!("one letter, not {:?}", driver.sent) };
    let Letter::DeletionAsked { to, until } = &sent.letter else { panic!("{sent:?}") };
    assert_eq!((to.typed(), *until, sent.expires), (ADDRESS, at(FORTNIGHT), Some(at(FORTNIGHT))));
    assert!(
        matches!(driver.writes[..], [Write::User(UserWrite::SetDeletion { flow: Some(flow), .. })] if flow == driver.flow)
    );
}

#[test]
fn a_deletion_that_was_asked_for_while_the_account_moved_leaves_nothing() {
    for key in &keys(&account(true))[..2] {
        let mut driver = account(true);
        driver.bump(key);
        let before = driver.guards.clone();
        assert_eq!(driver.start(T0, &start(true)), Outcome::Moved);
        assert!(driver.state.is_none() && driver.guards == before, "{key:?}");
    }
}

#[test]
fn nothing_survives_its_end_but_the_raised_number_of_the_profile() {
    for named in [true, false] {
        let mut driver = begun(named);
        assert!(!driver.wake(at(FORTNIGHT - 1)));
        assert!(driver.wake(at(FORTNIGHT)));
        let left: Vec<_> = driver.guards.clone().into_iter().collect();
        assert_eq!(left, [(Auth::guard(&Key::Profile(user())), 7)]);
        assert!(matches!(driver.writes.last(), Some(Write::User(UserWrite::Delete { user: of })) if *of == user()));
        assert_eq!(driver.input(at(FORTNIGHT + 1), &Input::Told(Signal::Restored)), Outcome::Over, "too late");
        assert_eq!(driver.writes.len(), 2);
    }
}

#[test]
fn told_that_a_sign_in_has_called_it_off_it_writes_nothing_and_is_not_woken_again() {
    let mut driver = begun(true);
    let (guards, writes) = (driver.guards.clone(), driver.writes.len());
    assert_eq!(driver.input(at(FORTNIGHT - 1), &Input::Told(Signal::Restored)), Outcome::Restored);
    assert_eq!((driver.phase(), driver.writes.len()), ("restored", writes), "the sign-in has written it");
    assert_eq!(driver.guards, guards);
    assert!(!driver.wake(at(2 * FORTNIGHT)));
}

#[test]
fn woken_after_the_profile_moved_it_deletes_nothing() {
    let mut driver = begun(true);
    driver.bump(&Key::Profile(user()));
    let (guards, writes) = (driver.guards.clone(), driver.writes.len());
    assert!(driver.wake(at(FORTNIGHT)));
    assert_eq!((driver.phase(), driver.writes.len()), ("restored", writes));
    assert_eq!(driver.guards, guards);
}

#[derive(Clone, Debug)]
enum Op {
    Told,
    Moves,
    SignOutEverywhere,
    Wake,
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Told),
        1 => Just(Op::Moves),
        2 => Just(Op::SignOutEverywhere),
        2 => Just(Op::Wake),
        3 => Just(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_account_is_gone_if_and_only_if_nobody_came_back_and_nobody_changed_it(
        named in any::<bool>(),
        ops in prop::collection::vec((moves(), op()), 0..16),
    ) {
        let (mut driver, mut now, mut called_off, mut moved) = (begun(named), T0, false, false);
        for (seconds, op) in ops {
            let days = if matches!(op, Op::Wait) { 5 * 86_400 } else { 0 };
            now = Timestamp(now.0 + (seconds + days) * 1_000);
            driver.wake(now);
            let waits = driver.phase() == "waiting";
            match op {
                Op::Told => {
                    driver.input(now, &Input::Told(Signal::Restored));
                    called_off |= waits;
                }
                Op::Moves => {
                    driver.bump(&Key::Profile(user()));
                    moved |= waits;
                }
                Op::SignOutEverywhere => driver.bump(&Key::User(user())),
                Op::Wake | Op::Wait => {}
            }
        }
        driver.wake(at(100 * 86_400));
        let gone = !called_off && !moved;
        prop_assert_eq!(driver.phase() == "done", gone);
        let deletes = driver.writes.iter().filter(|write| matches!(write, Write::User(UserWrite::Delete { .. }))).count();
        prop_assert_eq!(deletes, usize::from(gone));
        let [of_user, profile, address, username] = keys(&driver).map(|key| driver.number(&key).is_some());
        prop_assert_eq!((of_user, address, username, profile), (!gone, !gone, !gone && named, true));
    }
}
