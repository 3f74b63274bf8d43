//! Session: its table, and a second reading of its rules that every sequence of inputs is held against.

use std::collections::BTreeMap;

use cairn_actors::credential::{Presented, Purpose, Seal};
use cairn_actors::effects::{Key, UserId};
use cairn_actors::flows::session::{Command, End, Outcome, Session, Signal, Start};
use cairn_actors::testing;
use cairn_actors::world::Settings;
use cairn_runtime::{Flow, FlowId, Id, Input, Lost, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases, json, seconds};
use crate::golden;
use crate::registration::moves;
use crate::table::{self, Ask, Place, after, asked, if_any};

const MONTH: i64 = 30 * 86_400;
const GRACE: i64 = 30;
const PERSONAL: [&str; 2] = ["Browser of Ada", "192.0.2.44"];

impl Known for Session {
    const PHASES: &'static [(&'static str, bool)] = &[("active", false), ("ended", true)];

    fn tag(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::Ended { .. } => "ended",
        }
    }
}

type Driven = Driver<Session>;

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn start() -> Start {
    Start {
        user: user(),
        fence: 3,
        amr: vec!["pwd".to_owned()],
        device: Some(PERSONAL[0].to_owned()),
        client_address: Some(PERSONAL[1].to_owned()),
    }
}

fn begun_with(settings: Settings) -> Driven {
    let mut driver = Driver::with(7, settings);
    driver.personal = PERSONAL.to_vec();
    driver.put(&Key::User(user()), 3);
    driver.start(T0, &start());
    driver
}

fn begun() -> Driven {
    begun_with(Settings::default())
}

/// The refresh token so many generations before the present one, or after it.
fn token(driver: &Driven, back: i64) -> Presented {
    let present = match driver.state() {
        Session::Active(active) => active.issue.clone(),
        Session::Ended { .. } => Seal::new(&driver.world.ring, [1; 16]),
    };
    let n = u32::try_from((i64::from(present.n) - back).max(0)).unwrap();
    testing::presented(&driver.world, Purpose::RefreshToken, driver.flow, &Seal { n, ..present })
}

/// The same, where there is one.
fn older(driver: &Driven, back: u32) -> Option<Presented> {
    match driver.state() {
        Session::Active(active) if active.issue.n < back => None,
        _ => Some(token(driver, i64::from(back))),
    }
}

fn foreign(driver: &Driven) -> Presented {
    let seal = Seal { n: 0, ..Seal::new(&driver.world.ring, [0x66; 16]) };
    testing::presented(&driver.world, Purpose::RefreshToken, driver.flow, &seal)
}

fn refreshed(times: i64) -> Driven {
    let mut driver = begun();
    for time in 1..=times {
        let present = token(&driver, 0);
        driver.ask(at(100 * time), Command::Refresh(present));
    }
    driver
}

pub(crate) fn places() -> Vec<Place<Session>> {
    let ended = |by: &mut dyn FnMut(&mut Driven)| {
        let mut driver = begun();
        by(&mut driver);
        driver
    };
    let place = |name, driver| Place { name, driver };
    vec![
        place("just begun", begun()),
        place("refreshed twice", refreshed(2)),
        place(
            "signed out",
            ended(&mut |driver| {
                let present = token(driver, 0);
                driver.ask(at(1), Command::SignOut(present));
            }),
        ),
        place("by its time", ended(&mut |driver| assert!(driver.wake(at(MONTH))))),
        place("by its misuse", {
            let mut driver = refreshed(2);
            let oldest = token(&driver, 2);
            driver.ask(at(201), Command::Refresh(oldest));
            driver
        }),
        place(
            "by the fence",
            ended(&mut |driver| {
                driver.input(at(1), &Input::Told(Signal::Fenced));
            }),
        ),
    ]
}

fn asks() -> Vec<Ask<Session>> {
    let mut asks = vec![
        asked("refresh by the present token", |driver| Command::Refresh(token(driver, 0))),
        if_any("refresh by the one before, at 29 s", GRACE - 1, |driver| older(driver, 1).map(Command::Refresh)),
        if_any("refresh by the one before, at 30 s", GRACE, |driver| older(driver, 1).map(Command::Refresh)),
        if_any("refresh by an older one", 1, |driver| older(driver, 2).map(Command::Refresh)),
        asked("refresh by one not yet issued", |driver| Command::Refresh(token(driver, -1))),
        asked("refresh by a foreign one", |driver| Command::Refresh(foreign(driver))),
        asked("sign out by the present token", |driver| Command::SignOut(token(driver, 0))),
        if_any("sign out by the one before", 31, |driver| older(driver, 1).map(Command::SignOut)),
        if_any("sign out by an older one", 1, |driver| older(driver, 2).map(Command::SignOut)),
        asked("sign out by one not yet issued", |driver| Command::SignOut(token(driver, -1))),
        asked("sign out by a foreign one", |driver| Command::SignOut(foreign(driver))),
        after("told that the fence moved", 1, |_| Input::Told(Signal::Fenced)),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    let driver = Driven::new(7);
    for (name, lost) in [("start", None), ("start, lost user", Some(Lost(Key::User(user()))))] {
        let step = Session::start(&start(), lost.as_ref(), &driver.cx(T0));
        table.push_str(&format!("\n{name}\n  {}\n", table::line(&step)));
    }
    golden::check("session.transitions.txt", &table);
}

#[test]
fn a_sign_in_whose_fence_moved_meanwhile_leaves_nothing() {
    let mut driver = Driven::new(7);
    driver.put(&Key::User(user()), 4);
    assert_eq!(driver.start(T0, &start()), Outcome::Refused);
    assert!(driver.state.is_none() && driver.guards.len() == 1);
}

#[derive(Clone, Debug)]
enum Op {
    Refresh(i64),
    RefreshForeign,
    SignOut(i64),
    Fence,
    Told,
    Wake,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => Just(Op::Refresh(0)),
        6 => Just(Op::Refresh(1)),
        1 => (-2..4_i64).prop_map(Op::Refresh),
        1 => Just(Op::RefreshForeign),
        1 => (-2..4_i64).prop_map(Op::SignOut),
        1 => Just(Op::Fence),
        1 => Just(Op::Told),
        2 => Just(Op::Wake),
    ]
}

/// The rules, read once more: all that they depend on is four numbers.
struct Model {
    n: i64,
    rotated: Timestamp,
    fence_moved: bool,
    over: bool,
    grace: i64,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Next,
    Same,
    Ended,
    Garbage,
}

impl Model {
    fn refresh(&mut self, shown: i64, now: Timestamp) -> Expected {
        if self.over {
            return Expected::Ended;
        }
        if shown > self.n {
            return Expected::Garbage;
        }
        let is_repeat = shown == self.n - 1 && now.0 < self.rotated.0 + self.grace * 1_000;
        if self.fence_moved || !(shown == self.n || is_repeat) {
            self.over = true;
            return Expected::Ended;
        }
        if is_repeat {
            return Expected::Same;
        }
        self.n += 1;
        self.rotated = now;
        Expected::Next
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn every_sequence_goes_as_the_rules_say(
        grace in prop_oneof![Just(GRACE), Just(0), Just(3_600)],
        ops in prop::collection::vec((moves(), op()), 0..30),
    ) {
        let grace_span = seconds(u64::try_from(grace).unwrap());
        let mut driver = begun_with(Settings { refresh_grace: grace_span, ..Settings::default() });
        let mut model = Model { n: 0, rotated: T0, fence_moved: false, over: false, grace };
        let mut answers: BTreeMap<u32, String> = BTreeMap::new();
        let mut now = T0;
        for (seconds, op) in ops {
            now = Timestamp(now.0 + seconds * 1_000);
            let seen = now.max(driver.touched);
            if driver.wake(now) {
                prop_assert!(!model.over);
                model.over = true;
            }
            let before = driver.version;
            match op {
                Op::Refresh(back) => {
                    let present = token(&driver, back);
                    let shown = i64::from(present.generation());
                    let shown = if model.over { model.n } else { shown };
                    let says = driver.ask(now, Command::Refresh(present));
                    let expected = model.refresh(shown, seen);
                    match says {
                        Outcome::Tokens { ref issue, ref minted, expires_at, user: of, auth_time } => {
                            prop_assert_eq!(i64::from(issue.n), model.n);
                            prop_assert_eq!(minted.generation, issue.n);
                            prop_assert_eq!((of, auth_time, minted.at), (user(), T0, model.rotated));
                            prop_assert_eq!(minted.until, model.rotated.after(crate::driver::seconds(300)));
                            prop_assert_eq!(expires_at, model.rotated.after(crate::driver::seconds(30 * 86_400)));
                            let same = answers.entry(issue.n).or_insert_with(|| json(&says));
                            prop_assert_eq!(&json(&says), same, "one generation, one answer");
                            prop_assert_eq!(driver.version == before, expected == Expected::Same, "a repeat writes nothing");
                            prop_assert!(matches!(expected, Expected::Same | Expected::Next));
                        }
                        Outcome::Ended => prop_assert_eq!(expected, Expected::Ended),
                        Outcome::Garbage => prop_assert_eq!(expected, Expected::Garbage),
                        Outcome::Refused => prop_assert!(false, "only a sign-in is refused"),
                    }
                }
                Op::RefreshForeign => {
                    let token = foreign(&driver);
                    let says = driver.ask(now, Command::Refresh(token));
                    prop_assert_eq!(says, if model.over { Outcome::Ended } else { Outcome::Garbage });
                    prop_assert_eq!(driver.version, before);
                }
                Op::SignOut(back) => {
                    let token = token(&driver, back);
                    let ours = model.over || i64::from(token.generation()) <= model.n;
                    let says = driver.ask(now, Command::SignOut(token));
                    prop_assert_eq!(says, if ours { Outcome::Ended } else { Outcome::Garbage });
                    model.over |= ours;
                }
                Op::Fence => {
                    driver.bump(&Key::User(user()));
                    model.fence_moved = true;
                }
                Op::Told => {
                    prop_assert_eq!(driver.input(now, &Input::Told(Signal::Fenced)), Outcome::Ended);
                    model.over = true;
                }
                Op::Wake => {}
            }
            prop_assert_eq!(driver.phase() == "ended", model.over);
            let fence = driver.number(&Key::Session(driver.flow.0));
            prop_assert_eq!(fence, (!model.over).then_some(0), "the session's fence stands for as long as it lives");
        }
    }
}

#[test]
fn each_end_says_why() {
    let why = |name: &str| {
        let place = places().into_iter().find(|place| place.name == name).unwrap();
        match place.driver.state() {
            Session::Ended { by } => *by,
            Session::Active(_) => panic!("{name} has not ended"),
        }
    };
    assert_eq!(why("signed out"), End::SignedOut);
    assert_eq!(why("by its time"), End::Expired);
    assert_eq!(why("by its misuse"), End::Reused);
    assert_eq!(why("by the fence"), End::Fenced);
}

#[test]
fn a_token_of_another_flow_with_the_same_generation_is_garbage() {
    let mut driver = refreshed(1);
    let Session::Active(active) = driver.state() else { panic!("it lives") };
    let other = FlowId(Id::v7(5, [5; 10]));
    let elsewhere = testing::presented(
        &driver.world,
        Purpose::RefreshToken,
        other,
        &Seal { salt: [5; 16], ..active.issue.clone() },
    );
    assert_eq!(driver.ask(at(101), Command::Refresh(elsewhere)), Outcome::Garbage);
}
