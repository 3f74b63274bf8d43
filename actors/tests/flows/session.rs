//! Session: its table, and what each of its ends and letters must say.

mod model;

use cairn_actors::credential::{Presented, Seal, of};
use cairn_actors::effects::{Digest, Key, Letter, UserId, Write};
use cairn_actors::flows::session::{Arrival, Command, End, Notice, Outcome, Session, Signal, Start};
use cairn_actors::hasher::SealedHash;
use cairn_actors::testing;
use cairn_actors::world::Settings;
use cairn_runtime::{Flow, FlowId, Id, Input, Lost};

use crate::driver::{Driver, Known, T0, at};
use crate::golden;
use crate::registration::ADDRESS;
use crate::table::{self, Ask, Place, after, asked, if_any};

const MONTH: i64 = 30 * 86_400;
const GRACE: i64 = 30;
const PERSONAL: [&str; 5] = ["Browser of Ada", "192.0.2.44", "Firefox on Linux", "dalbertina", "the-sealed-hash"];
const PLACE: Digest = Digest([9; 32]);

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
        arrival: Arrival { place: Some(PLACE), ..Arrival::default() },
        forgets: None,
    }
}

/// A sign-in from where nobody has signed in before, as one too many.
fn start_with_news() -> Start {
    let notice = Notice {
        to: testing::address(ADDRESS),
        device: PERSONAL[2].to_owned(),
        client_address: PERSONAL[1].to_owned(),
    };
    let crowded = vec![FlowId(Id::v7(2, [2; 10])), FlowId(Id::v7(3, [3; 10]))];
    Start { arrival: Arrival { place: Some(PLACE), notice: Some(notice), is_first: false, crowded }, ..start() }
}

fn started(settings: Settings, start: &Start) -> Driven {
    let mut driver = Driver::with(7, settings);
    driver.personal = PERSONAL.to_vec();
    driver.put(&Key::User(user()), 3);
    driver.start(T0, start);
    driver
}

fn begun_with(settings: Settings) -> Driven {
    started(settings, &start())
}

fn with_news() -> Driven {
    started(Settings::default(), &start_with_news())
}

fn begun() -> Driven {
    begun_with(Settings::default())
}

/// The refresh token so many generations before the present one, or after it.
fn token(driver: &Driven, back: i64) -> Presented<of::RefreshToken> {
    let present = match driver.state() {
        Session::Active(active) => active.issue.clone(),
        Session::Ended { .. } => Seal::new(&driver.world.ring, [1; 16]),
    };
    let n = u32::try_from((i64::from(present.n) - back).max(0)).unwrap();
    testing::presented(&driver.world, of::RefreshToken, driver.flow, &Seal { n, ..present })
}

/// The same, where there is one.
fn older(driver: &Driven, back: u32) -> Option<Presented<of::RefreshToken>> {
    match driver.state() {
        Session::Active(active) if active.issue.n < back => None,
        _ => Some(token(driver, i64::from(back))),
    }
}

fn foreign(driver: &Driven) -> Presented<of::RefreshToken> {
    let seal = Seal { n: 0, ..Seal::new(&driver.world.ring, [0x66; 16]) };
    testing::presented(&driver.world, of::RefreshToken, driver.flow, &seal)
}

/// The cookie of the browser that signed in, or of another one.
fn cookie(driver: &Driven, own: bool) -> Presented<of::SessionCookie> {
    let salt = match driver.state() {
        Session::Active(active) if own => active.issue.salt,
        _ => [0x77; 16],
    };
    testing::presented(&driver.world, of::SessionCookie, driver.flow, &Seal::new(&driver.world.ring, salt))
}

/// The link of the new-device letter, or one that was never sent.
fn end_link(driver: &Driven, own: bool) -> Presented<of::EndSession> {
    let seal = match driver.state() {
        Session::Active(active) if own => active.notice.clone(),
        _ => None,
    };
    let seal = seal.unwrap_or_else(|| Seal::new(&driver.world.ring, [0x66; 16]));
    testing::presented(&driver.world, of::EndSession, driver.flow, &seal)
}

/// Another password, the old one proved while the user's fence had this number.
fn change_password(fence: i64) -> Command {
    let password = SealedHash::from_text("the-sealed-hash".to_owned());
    let to = testing::address(ADDRESS);
    Command::ChangePassword { fence, password, to, others: vec![FlowId(Id::v7(2, [2; 10]))] }
}

/// The number that the session holds.
fn fence(driver: &Driven) -> i64 {
    driver.state().active().map_or(3, |active| active.fence)
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
        place("from a new device", with_news()),
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
        place("by its user", ended(&mut |driver| drop(driver.ask(at(1), Command::Revoke)))),
        place("by the link in the letter", {
            let mut driver = with_news();
            let link = end_link(&driver, true);
            driver.ask(at(1), Command::Disown(link));
            driver
        }),
        place("by its like", ended(&mut |driver| drop(driver.input(at(1), &Input::Told(Signal::Crowded))))),
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
        asked("step up", |driver| Command::StepUp { fence: fence(driver) }),
        asked("step up, proved with the one before", |driver| Command::StepUp { fence: fence(driver) - 1 }),
        asked("step up, proved after the fence moved", |driver| Command::StepUp { fence: fence(driver) + 1 }),
        asked("change the password", |driver| change_password(fence(driver))),
        asked("change it, proved with the one before", |driver| change_password(fence(driver) - 1)),
        asked("revoke", |_| Command::Revoke),
        asked("disown by the link of the letter", |driver| Command::Disown(end_link(driver, true))),
        asked("disown by another link", |driver| Command::Disown(end_link(driver, false))),
        asked("seen with the cookie", |driver| Command::Seen(cookie(driver, true))),
        asked("seen with another cookie", |driver| Command::Seen(cookie(driver, false))),
        asked("leave with the cookie", |driver| Command::Leave(cookie(driver, true))),
        asked("leave with another cookie", |driver| Command::Leave(cookie(driver, false))),
        after("told that the fence moved", 1, |_| Input::Told(Signal::Fenced)),
        after("told that there are too many", 1, |_| Input::Told(Signal::Crowded)),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    let driver = Driven::new(7);
    let first = || Start { arrival: Arrival { is_first: true, ..start().arrival }, ..start() };
    for (name, asked, lost) in [
        ("start", start(), None),
        ("start, the first of this user", first(), None),
        ("start from a new device, one too many", start_with_news(), None),
        ("start, lost user", start_with_news(), Some(Lost(Key::User(user())))),
    ] {
        let step = Session::start(&asked, lost.as_ref(), &driver.cx(T0));
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

#[test]
fn each_end_says_why() {
    let why = |name: &str| {
        let place = places().into_iter().find(|place| place.name == name).unwrap();
        match place.driver.state() {
            Session::Ended { by, .. } => *by,
            Session::Active(_) => panic!("{name} has not ended"),
        }
    };
    assert_eq!(why("signed out"), End::SignedOut);
    assert_eq!(why("by its time"), End::Expired);
    assert_eq!(why("by its misuse"), End::Reused);
    assert_eq!(why("by the fence"), End::Fenced);
    assert_eq!(why("by its user"), End::Revoked);
    assert_eq!(why("by the link in the letter"), End::Disowned);
    assert_eq!(why("by its like"), End::Crowded);
}

#[test]
fn a_letter_about_a_new_device_says_from_where_and_carries_the_link_that_ends_the_session() {
    let mut driver = with_news();
    let [sent] = &driver.sent[..] else { panic!("one letter, not {:?}", driver.sent) };
    let Letter::SessionNewDevice { to, seal, device, client_address, at: when } = &sent.letter else {
        panic!("{sent:?}")
    };
    assert_eq!((to.typed(), device.as_str(), client_address.as_str()), (ADDRESS, PERSONAL[2], PERSONAL[1]));
    assert_eq!(*when, T0);
    assert_ne!(seal.salt, driver.state().active().unwrap().issue.salt, "its link says nothing about the tokens");
    let link = testing::presented(&driver.world, of::EndSession, driver.flow, seal);
    for wrong in [
        end_link(&driver, false),
        testing::presented(&driver.world, of::EndSession, driver.flow, &seal.next(&driver.world.ring)),
    ] {
        assert_eq!(driver.ask(at(1), Command::Disown(wrong)), Outcome::Garbage);
    }
    assert_eq!(driver.ask(at(2), Command::Disown(link)), Outcome::Ended);
    assert_eq!(
        driver.told.iter().map(|told| told.signal.to_string()).collect::<Vec<_>>(),
        ["\"crowded\"", "\"crowded\""]
    );
}

#[test]
fn where_nobody_was_told_of_a_device_no_link_ends_the_session() {
    let mut driver = begun();
    assert!(driver.sent.is_empty());
    let link = end_link(&driver, true);
    assert_eq!(driver.ask(at(1), Command::Disown(link)), Outcome::Garbage);
    assert_eq!(driver.phase(), "active");
}

#[test]
fn a_first_sign_in_is_written_down_and_no_news() {
    let first = Start { arrival: Arrival { is_first: true, ..start().arrival }, ..start() };
    let driver = started(Settings::default(), &first);
    assert!(matches!(driver.writes[..], [Write::FirstSignIn { user: of, at: T0 }] if of == user()));
    assert!(driver.sent.is_empty());
}

#[test]
fn a_change_of_password_keeps_the_session_that_made_it_and_no_other() {
    let (mut one, mut other) = (begun(), Driver::<Session>::new(9));
    let mut guards = std::mem::take(&mut one.guards);
    other.among(&mut guards, |other| other.start(at(1), &start()));
    let changed = one.among(&mut guards, |one| one.ask(at(2), change_password(3)));
    assert_eq!(changed, Outcome::PasswordChanged { at: at(2) });
    let goes_on = one.among(&mut guards, |one| {
        let token = token(one, 0);
        one.ask(at(3), Command::Refresh(token))
    });
    assert!(matches!(goes_on, Outcome::Tokens { .. }), "{goes_on:?}");
    // It has not heard of it, and is over all the same.
    let over = other.among(&mut guards, |other| {
        let token = token(other, 0);
        other.ask(at(3), Command::Refresh(token))
    });
    assert_eq!((over, other.phase()), (Outcome::Ended, "ended"));
    let late = one.among(&mut guards, |one| one.ask(at(4), change_password(3)));
    assert_eq!(
        (late, one.writes.len()),
        (Outcome::Refused, 1),
        "a proof of the password from before counts for nothing"
    );
    assert_eq!(one.phase(), "active", "and ends nothing");
}

#[test]
fn proving_again_who_one_is_gives_fresh_tokens_and_the_ones_before_are_replaced() {
    let mut driver = begun();
    let before = token(&driver, 0);
    let says = driver.ask(at(700), Command::StepUp { fence: 3 });
    let Outcome::Tokens { issue, minted, auth_time, .. } = says else { panic!("{says:?}") };
    assert_eq!((issue.n, minted.generation, minted.at, auth_time), (1, 1, at(700), at(700)));
    assert_eq!(driver.ask(at(700 + GRACE), Command::Refresh(before)), Outcome::Ended, "somebody has a copy");
}

#[test]
fn a_token_of_another_flow_with_the_same_generation_is_garbage() {
    let mut driver = refreshed(1);
    let Session::Active(active) = driver.state() else { panic!("it lives") };
    let other = FlowId(Id::v7(5, [5; 10]));
    let elsewhere =
        testing::presented(&driver.world, of::RefreshToken, other, &Seal { salt: [5; 16], ..active.issue.clone() });
    assert_eq!(driver.ask(at(101), Command::Refresh(elsewhere)), Outcome::Garbage);
}

#[test]
fn an_ended_session_still_says_whose_it_was_and_nothing_else_of_them() {
    for place in places() {
        let state = place.driver.state();
        assert_eq!(state.public().user, Some(user().0), "{}", place.name);
        if let Session::Ended { .. } = state {
            let kept = serde_json::to_value(state).unwrap();
            let kept: Vec<&String> = kept.as_object().unwrap().keys().collect();
            assert_eq!(kept, ["by", "phase", "place", "user"], "{}", place.name);
        }
    }
}

#[test]
fn an_end_that_an_older_release_wrote_names_nobody() {
    let old: Session = serde_json::from_str(r#"{"phase":"ended","by":"expired"}"#).unwrap();
    assert_eq!((old.user(), old.public().user), (None, None));
    let old: Session = serde_json::from_str(r#"{"phase":"ended","by":"expired","user":null}"#).unwrap();
    assert_eq!(old.public().subject, None);
}
