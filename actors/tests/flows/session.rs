//! Session: its table, and what each of its ends and letters must say.

mod model;

use cairn_actors::effects::{DeviceWrite, Key, UserWrite, Write};
use cairn_actors::environment::Settings;
use cairn_actors::flows::session::{
    self, Account, Active, Arrival, Command, End, Link, Notice, Outcome, Restores, SeenDevice, Session, Signal, Start,
    known_place,
};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Presented, Seal, of};
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_runtime::{Flow, FlowId, Id, Input, Lost};

use crate::driver::{Driver, Known, T0, at};
use crate::golden;
use crate::registration::ADDRESS;
use crate::table::{self, Ask, Place, after, asked, if_any};

const MONTH: i64 = 30 * 86_400;
const GRACE: i64 = 30;
const PERSONAL: [&str; 5] = ["Browser of Ada", "192.0.2.44", "Firefox on Linux", "dalbertina", "the-sealed-hash"];
const PLACE: Digest = Digest([9; 32]);
/// The number of the account's devices.
const DEVICES: i64 = 6;
const WEEK: i64 = 7 * 86_400;

impl Known for Session {
    const OVER: &'static [session::Phase] = &[session::Phase::Ended];
}

type Driven = Driver<Session>;

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn start() -> Start {
    Start {
        user: user(),
        fence: 3,
        devices: DEVICES,
        amr: vec!["pwd".to_owned()],
        device: Some(PERSONAL[0].to_owned()),
        client_address: Some(PERSONAL[1].to_owned()),
        arrival: Arrival { place: Some(PLACE), device: Some(device(true)), ..Arrival::default() },
        forgets: None,
    }
}

fn device(is_new: bool) -> SeenDevice {
    SeenDevice { id: Id::v7(4, [4; 10]), is_new }
}

/// The account, as whoever uses the link of the letter finds it.
fn account(devices: i64, password: Option<&str>) -> Option<Account> {
    let password = password.map(|hash| SealedHash::from_text(hash.to_owned()));
    Some(Account { devices, to: testing::address(ADDRESS), others: vec![FlowId(Id::v7(6, [6; 10]))], password })
}

/// The link is used by the owner of the account as it is now.
fn disown(driver: &Driven, own: bool, password: Option<&str>) -> Command {
    let devices = driver.number(&Key::Devices(user())).unwrap_or_default();
    Command::Disown { link: end_link(driver, own), account: account(devices, password) }
}

/// A sign-in from where nobody has signed in before, as one too many.
fn start_with_news() -> Start {
    let notice = Notice {
        to: testing::address(ADDRESS),
        device: PERSONAL[2].to_owned(),
        client_address: PERSONAL[1].to_owned(),
    };
    let crowded = vec![FlowId(Id::v7(2, [2; 10])), FlowId(Id::v7(3, [3; 10]))];
    let arrival = Arrival { notice: Some(notice), crowded, ..start().arrival };
    Start { arrival, ..start() }
}

fn started(settings: Settings, start: &Start) -> Driven {
    let mut driver = Driver::with(7, settings);
    driver.personal = PERSONAL.to_vec();
    driver.put(&Key::User(user()), 3);
    driver.put(&Key::Devices(user()), DEVICES);
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
        Session::Disputable(_) | Session::Ended { .. } => Seal::new(&driver.environment.ring, [1; 16]),
    };
    let n = u32::try_from((i64::from(present.n) - back).max(0)).unwrap();
    testing::presented(&driver.environment, of::RefreshToken, driver.flow, &Seal { n, ..present })
}

/// The same, where there is one.
fn older(driver: &Driven, back: u32) -> Option<Presented<of::RefreshToken>> {
    match driver.state() {
        Session::Active(active) if active.issue.n < back => None,
        _ => Some(token(driver, i64::from(back))),
    }
}

fn foreign(driver: &Driven) -> Presented<of::RefreshToken> {
    let seal = Seal { n: 0, ..Seal::new(&driver.environment.ring, [0x66; 16]) };
    testing::presented(&driver.environment, of::RefreshToken, driver.flow, &seal)
}

/// The cookie of the browser that signed in, or of another one.
fn cookie(driver: &Driven, own: bool) -> Presented<of::SessionCookie> {
    let salt = match driver.state() {
        Session::Active(active) if own => active.issue.salt,
        _ => [0x77; 16],
    };
    testing::presented(&driver.environment, of::SessionCookie, driver.flow, &Seal::new(&driver.environment.ring, salt))
}

/// The link of the new-device letter, or one that was never sent.
fn end_link(driver: &Driven, own: bool) -> Presented<of::EndSession> {
    let seal = driver.state().link().filter(|_| own).map(|link| link.seal);
    let seal = seal.unwrap_or_else(|| Seal::new(&driver.environment.ring, [0x66; 16]));
    testing::presented(&driver.environment, of::EndSession, driver.flow, &seal)
}

/// Another password, the old one proved while the user's fence had this number.
fn change_password(fence: i64) -> Command {
    let password = SealedHash::from_text("the-sealed-hash".to_owned());
    let to = testing::address(ADDRESS);
    Command::ChangePassword {
        fence,
        devices: DEVICES,
        password,
        to,
        followers: testing::following([FlowId(Id::v7(2, [2; 10]))]),
    }
}

fn step_up(fence: i64) -> Command {
    Command::StepUp { fence, devices: DEVICES }
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
            let link = disown(&driver, true, None);
            driver.ask(at(1), link);
            driver
        }),
        place("by the link in the letter, with a new password", {
            let mut driver = with_news();
            let link = disown(&driver, true, Some("the-sealed-hash-2"));
            driver.ask(at(1), link);
            driver
        }),
        place("from a new device, signed out", {
            let mut driver = with_news();
            let present = token(&driver, 0);
            driver.ask(at(1), Command::SignOut(present));
            driver
        }),
        place("from a new device, over and forgotten", {
            let mut driver = with_news();
            let present = token(&driver, 0);
            driver.ask(at(1), Command::SignOut(present));
            assert!(driver.wake(at(1 + MONTH)));
            driver
        }),
        place("after a step-up", {
            let mut driver = begun();
            driver.ask(at(100), Command::StepUp { fence: 3, devices: DEVICES });
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
        asked("step up", |driver| step_up(fence(driver))),
        asked("step up, proved with the one before", |driver| step_up(fence(driver) - 1)),
        asked("step up, proved after the fence moved", |driver| step_up(fence(driver) + 1)),
        asked("change the password", |driver| change_password(fence(driver))),
        asked("change it, proved with the one before", |driver| change_password(fence(driver) - 1)),
        asked("revoke", |_| Command::Revoke),
        asked("disown by the link of the letter", |driver| disown(driver, true, None)),
        asked("disown with a new password", |driver| disown(driver, true, Some("the-sealed-hash-3"))),
        if_any("disown with a new password, after a week", WEEK, |driver| {
            Some(disown(driver, true, Some("the-sealed-hash-3")))
        }),
        asked("disown by another link", |driver| disown(driver, false, None)),
        asked("disown where the account is gone", |driver| Command::Disown {
            link: end_link(driver, true),
            account: None,
        }),
        asked("disowned with another", |_| Command::Disowned),
        asked("seen with the cookie", |driver| Command::Seen(cookie(driver, true))),
        asked("seen with another cookie", |driver| Command::Seen(cookie(driver, false))),
        asked("leave with the cookie", |driver| Command::Leave(cookie(driver, true))),
        asked("leave with another cookie", |driver| Command::Leave(cookie(driver, false))),
        after("told that the fence moved", 1, |_| Input::Told(Signal::Fenced)),
        after("told that there are too many", 1, |_| Input::Told(Signal::Crowded)),
        after("told that its device is not known", 1, |_| Input::Told(Signal::Disowned)),
        after("told that its device is forgotten", 1, |_| Input::Told(Signal::Revoked)),
    ];
    asks.extend(table::common());
    asks
}

fn known_device() -> Start {
    Start { arrival: Arrival { device: Some(device(false)), ..start().arrival }, ..start() }
}

/// A sign-in to an account that was to be deleted.
fn comes_back() -> Start {
    let deletion = FlowId(Id::v7(8, [8; 10]));
    let restores = Some(Restores { deletion, until: at(60), profile: 5, to: testing::address(ADDRESS) });
    Start { arrival: Arrival { restores, ..start().arrival }, ..start() }
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
        ("start with a device that is known", known_device(), None),
        ("start, a deletion is called off", comes_back(), None),
        ("start, lost user", start_with_news(), Some(Lost(Key::User(user())))),
        ("start, lost devices", start(), Some(Lost(Key::Devices(user())))),
        ("start, lost profile", comes_back(), Some(Lost(Key::Profile(user())))),
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
    driver.put(&Key::Devices(user()), DEVICES);
    assert_eq!(driver.start(T0, &start()), Outcome::Refused);
    assert!(driver.state.is_none() && driver.guards.len() == 2);
}

#[test]
fn a_sign_in_that_began_before_a_link_was_used_leaves_nothing() {
    let mut driver = Driven::new(7);
    driver.put(&Key::User(user()), 3);
    driver.put(&Key::Devices(user()), DEVICES + 1);
    assert_eq!(driver.start(T0, &start()), Outcome::Refused);
    assert!(driver.state.is_none() && driver.writes.is_empty());
}

#[test]
fn a_sign_in_that_calls_a_deletion_off_writes_so_tells_the_deletion_and_writes_a_letter() {
    let mut driver = Driven::new(7);
    driver.put(&Key::User(user()), 3);
    driver.put(&Key::Devices(user()), DEVICES);
    driver.put(&Key::Profile(user()), 5);
    assert!(matches!(driver.start(T0, &comes_back()), Outcome::Tokens { .. }));
    assert_eq!(driver.number(&Key::Profile(user())), Some(6));
    assert!(
        matches!(driver.writes.last(), Some(Write::User(UserWrite::SetDeletion { flow: None, .. }))),
        "{:?}",
        driver.writes
    );
    let [sent] = &driver.sent[..] else { panic!("one letter, not {:?}", driver.sent) };
    assert!(matches!(&sent.letter, Letter::DeletionCalledOff { to, at: T0 } if to.typed() == ADDRESS));
    let told: Vec<_> = driver.told.iter().map(|told| (told.kind.as_str(), told.signal.to_string())).collect();
    assert_eq!(told, [("deletion", "\"restored\"".to_owned())]);

    // The profile moved: somebody else has called it off, or asked for another.
    let mut late = Driven::new(7);
    late.put(&Key::User(user()), 3);
    late.put(&Key::Devices(user()), DEVICES);
    late.put(&Key::Profile(user()), 6);
    assert_eq!((late.start(T0, &comes_back()), late.writes.len()), (Outcome::Refused, 0));
    // The account is to be gone by now.
    late.put(&Key::Profile(user()), 5);
    assert_eq!((late.start(at(60), &comes_back()), late.writes.len()), (Outcome::Refused, 0));
}

#[test]
fn each_end_says_why() {
    let why = |name: &str| {
        let place = places().into_iter().find(|place| place.name == name).unwrap();
        match place.driver.state() {
            Session::Ended { by, .. } => *by,
            Session::Disputable(disputable) => disputable.by,
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
    let link = testing::presented(&driver.environment, of::EndSession, driver.flow, seal);
    for wrong in [
        end_link(&driver, false),
        testing::presented(&driver.environment, of::EndSession, driver.flow, &seal.next(&driver.environment.ring)),
    ] {
        let account = account(DEVICES, None);
        assert_eq!(driver.ask(at(1), Command::Disown { link: wrong, account }), Outcome::Garbage);
    }
    let account = account(DEVICES, None);
    let disowned = Outcome::Disowned { password_set: false };
    assert_eq!(driver.ask(at(2), Command::Disown { link, account }), disowned);
    assert_eq!(
        driver.told.iter().map(|told| told.signal.to_string()).collect::<Vec<_>>(),
        ["\"crowded\"", "\"crowded\"", "\"disowned\""]
    );
}

#[test]
fn where_nobody_was_told_of_a_device_no_link_ends_the_session() {
    let mut driver = begun();
    assert!(driver.sent.is_empty());
    let link = disown(&driver, true, None);
    assert_eq!(driver.ask(at(1), link), Outcome::Garbage);
    assert_eq!(driver.phase(), "active");
}

#[test]
fn the_link_puts_the_password_out_of_force_once_and_says_the_same_from_then_on() {
    let mut driver = with_news();
    let link = disown(&driver, true, None);
    assert_eq!(driver.ask(at(1), link), Outcome::Disowned { password_set: false });
    assert_eq!(driver.number(&Key::Devices(user())), Some(DEVICES + 1));
    let suspended = |driver: &Driven| {
        driver.writes.iter().filter(|write| matches!(write, Write::User(UserWrite::SuspendPassword { .. }))).count()
    };
    assert!(driver.writes.iter().any(|write| matches!(write, Write::Device(DeviceWrite::ForgetAll { .. }))));
    let (version, again) = (driver.version, disown(&driver, true, None));
    assert_eq!(driver.ask(at(2), again), Outcome::Disowned { password_set: false });
    assert_eq!((suspended(&driver), driver.version), (1, version), "nothing is written twice");
}

#[test]
fn the_link_of_a_session_that_has_ended_by_itself_does_the_same() {
    let mut driver = with_news();
    let present = token(&driver, 0);
    driver.ask(at(1), Command::SignOut(present));
    let link = disown(&driver, true, None);
    assert_eq!(driver.ask(at(2), link), Outcome::Disowned { password_set: false });
    let suspended = driver.writes.iter().any(|write| matches!(write, Write::User(UserWrite::SuspendPassword { .. })));
    assert!(suspended, "whoever it was knows it");
    assert_eq!(driver.told.last().map(|told| told.signal.to_string()).as_deref(), Some("\"disowned\""));
    assert_eq!(driver.state().public().subject, None, "and the place is news again");
    let Session::Disputable(disputable) = driver.state() else { panic!("it has ended") };
    assert_eq!(disputable.by, End::SignedOut, "history says how it ended");
}

#[test]
fn the_link_sets_one_new_password_for_seven_days_unless_it_was_set_otherwise_since() {
    let used = || {
        let mut driver = with_news();
        let link = disown(&driver, true, None);
        driver.ask(at(1), link);
        driver
    };
    let set = |driver: &mut Driven, now: i64| {
        let command = disown(driver, true, Some("the-sealed-hash-2"));
        driver.ask(at(now), command)
    };
    let mut driver = used();
    assert_eq!(set(&mut driver, WEEK - 1), Outcome::Disowned { password_set: true });
    assert!(matches!(driver.writes.last(), Some(Write::User(UserWrite::SetPassword { .. }))), "{:?}", driver.writes);
    assert!(matches!(driver.sent.last().map(|sent| &sent.letter), Some(Letter::PasswordChanged { .. })));
    assert_eq!(driver.number(&Key::Devices(user())), Some(DEVICES + 2));
    assert_eq!(set(&mut driver, WEEK - 1), Outcome::UsedUp, "one");
    let again = disown(&driver, true, None);
    assert_eq!(driver.ask(at(WEEK), again), Outcome::Disowned { password_set: true });

    assert_eq!(set(&mut used(), WEEK), Outcome::UsedUp, "too late");
    let mut reset = used();
    reset.bump(&Key::Devices(user()));
    assert_eq!((set(&mut reset, 2), reset.writes.len()), (Outcome::UsedUp, used().writes.len()), "a reset was faster");
}

#[test]
fn a_link_concerns_the_sessions_of_its_device_and_of_its_place_from_before_it_was_used() {
    let active = |id: u8, place: u8, devices: i64| {
        let Session::Active(active) = begun().state().clone() else { panic!("it lives") };
        let (device_id, place) = (Some(Id::from_bytes([id; 16])), Some(Digest([place; 32])));
        Active { device_id, place, devices, ..*active }
    };
    let Session::Active(first) = with_news().state().clone() else { panic!("it lives") };
    let known = Session::Active(Box::new(Active { notice: first.notice, ..active(1, 1, DEVICES) }));
    let link: Link = known.link().unwrap();
    assert!(link.concerns(&active(1, 2, DEVICES)) && link.concerns(&active(2, 1, DEVICES)));
    assert!(!link.concerns(&active(2, 2, DEVICES)), "another device in another place");
    assert!(!link.concerns(&active(1, 1, DEVICES + 1)), "its owner is back");
    assert!(link.concerns(&active(1, 1, DEVICES - 1)), "it was there before");
    let nowhere = Link { device_id: None, place: None, ..link };
    assert!(
        !nowhere.concerns(&Active { device_id: None, place: None, ..active(1, 1, DEVICES) }),
        "unknown is not the same"
    );
}

#[test]
fn no_place_is_known_under_another_number() {
    assert_eq!(known_place(PLACE, 0), PLACE, "as older releases have it");
    let all: std::collections::BTreeSet<_> =
        [0, 1, 2, 255, 256, i64::MAX].map(|number| known_place(PLACE, number)).into();
    assert_eq!(all.len(), 6);
}

#[test]
fn a_first_sign_in_is_written_down_and_no_news() {
    let first = Start { arrival: Arrival { is_first: true, ..start().arrival }, ..start() };
    let driver = started(Settings::default(), &first);
    assert!(
        matches!(driver.writes[..], [Write::User(UserWrite::FirstSignIn { user: of, at: T0 }), Write::Device(DeviceWrite::Add { .. })] if of == user())
    );
    assert!(driver.sent.is_empty());
}

#[test]
fn a_change_of_password_keeps_the_session_that_made_it_and_no_other() {
    let (mut one, mut other) = (begun(), Driver::<Session>::new(9));
    let mut guards = std::mem::take(&mut one.guards);
    other.among(&mut guards, |other| other.start(at(1), &start()));
    let changed = one.among(&mut guards, |one| one.ask(at(2), change_password(3)));
    assert!(matches!(changed, Outcome::PasswordChanged { at: when, .. } if when == at(2)), "{changed:?}");
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
        (Outcome::Refused, 2),
        "a proof of the password from before counts for nothing"
    );
    assert_eq!(one.phase(), "active", "and ends nothing");
}

#[test]
fn a_change_of_the_password_makes_refresh_tokens_and_cookies_from_before_worthless_at_once() {
    let mut driver = refreshed(2);
    let (present, before, oldest) = (token(&driver, 0), token(&driver, 1), token(&driver, 2));
    let (browser, copied) = (cookie(&driver, true), cookie(&driver, true));
    let says = driver.ask(at(201), change_password(3));
    let Outcome::PasswordChanged { at: when, tokens: Some(tokens) } = says else { panic!("{says:?}") };
    let Outcome::Tokens { issue, minted, auth_time, .. } = *tokens else { panic!("{tokens:?}") };
    assert_eq!((when, issue.n, minted.generation, auth_time), (at(201), 3, 3, at(201)));
    for stale in [present, before, oldest] {
        assert_eq!(driver.ask(at(202), Command::Refresh(stale)), Outcome::Garbage);
    }
    assert_eq!(driver.ask(at(202), Command::Seen(browser)), Outcome::Garbage);
    assert_eq!(driver.ask(at(202), Command::Leave(copied)), Outcome::Garbage);
    assert_eq!(driver.phase(), "active", "whoever has a copy is out, and cannot even end it");
    let (present, browser) = (token(&driver, 0), cookie(&driver, true));
    assert!(matches!(driver.ask(at(203), Command::Seen(browser)), Outcome::Seen { .. }));
    assert!(matches!(driver.ask(at(203), Command::Refresh(present)), Outcome::Tokens { .. }));
}

#[test]
fn proving_again_who_one_is_gives_fresh_tokens_and_the_ones_before_get_none_of_them() {
    let stepped = || {
        let mut driver = begun();
        let before = token(&driver, 0);
        let says = driver.ask(at(700), step_up(3));
        let Outcome::Tokens { issue, minted, auth_time, .. } = says else { panic!("{says:?}") };
        assert_eq!((issue.n, minted.generation, minted.at, auth_time), (1, 1, at(700), at(700)));
        (driver, before)
    };
    let (mut driver, before) = stepped();
    assert_eq!(driver.ask(at(700), Command::Refresh(before)), Outcome::Refused, "at once");
    let (again, present) = (token(&driver, 1), token(&driver, 0));
    assert_eq!(driver.ask(at(700 + GRACE - 1), Command::Refresh(again)), Outcome::Refused);
    assert_eq!(driver.phase(), "active", "a client that has lost our reply proves the password once more");
    assert!(matches!(driver.ask(at(700 + GRACE), Command::Refresh(present)), Outcome::Tokens { .. }));
    let (mut driver, before) = stepped();
    assert_eq!(driver.ask(at(700 + GRACE), Command::Refresh(before)), Outcome::Ended, "somebody has a copy");
    // A refresh after it has its grace again.
    let (mut driver, _) = stepped();
    let (shown, again) = (token(&driver, 0), token(&driver, 0));
    let next = driver.ask(at(710), Command::Refresh(shown));
    assert_eq!(driver.ask(at(711), Command::Refresh(again)), next);
}

#[test]
fn a_password_that_was_put_out_of_force_meanwhile_proves_nothing_and_ends_nothing() {
    let mut driver = begun();
    driver.bump(&Key::Devices(user()));
    assert_eq!(driver.ask(at(1), step_up(3)), Outcome::Refused);
    assert_eq!(driver.ask(at(1), change_password(3)), Outcome::Refused);
    assert_eq!((driver.phase(), driver.number(&Key::User(user()))), ("active", Some(3)));
    let present = token(&driver, 0);
    assert!(matches!(driver.ask(at(2), Command::Refresh(present)), Outcome::Tokens { .. }), "another device's stays");
}

#[test]
fn a_token_of_another_flow_with_the_same_generation_is_garbage() {
    let mut driver = refreshed(1);
    let Session::Active(active) = driver.state() else { panic!("it lives") };
    let other = FlowId(Id::v7(5, [5; 10]));
    let elsewhere = testing::presented(
        &driver.environment,
        of::RefreshToken,
        other,
        &Seal { salt: [5; 16], ..active.issue.clone() },
    );
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
            assert_eq!(kept, ["by", "devices", "phase", "place", "user"], "{}", place.name);
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
