//! Change of address: its table, and what must hold whatever is typed, in whatever order, at whatever time.

mod chain;

use std::sync::{Arc, LazyLock};

use cairn_actors::effects::{DeviceWrite, Key, UserWrite, Write};
use cairn_actors::environment::Environment;
use cairn_actors::flows::challenge::{Challenge, LetterProof, TypedCode};
use cairn_actors::flows::email_change::{
    self, Account, Command, Confirmer, EmailChange, Later, NewPassword, Outcome, Signal, Start,
};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Presented, Purpose, Seal, of};
use cairn_actors::secrets::hasher::{Proved, SealedHash};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::{Flow, FlowId, Id, Input, Lost, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases};
use crate::golden;
use crate::letters::{ByLetter, Said, moves};
use crate::registration::ADDRESS;
use crate::table::{self, Ask, Place, after, asked};

const NEW: &str = "Wilhelmina.Stonebridge@Example.net";
/// All that must show nowhere.
const PERSONAL: [&str; 6] = [ADDRESS, NEW, "dalbertina", "ovelace", "ilhelmina", "tonebridge"];
const WEEK: i64 = 7 * 86_400;
/// The number of the claim on the address from before, as the tests begin.
const NUMBER: i64 = 2;

impl Known for EmailChange {
    const OVER: &'static [email_change::Phase] =
        &[email_change::Phase::Done, email_change::Phase::Expired, email_change::Phase::Ended];
}

type Driven = Driver<EmailChange>;

fn user() -> UserId {
    UserId(Id::v7(1, [1; 10]))
}

fn start(known: bool) -> Start {
    static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| testing::environment(1));
    let from = (ENVIRONMENT.address_key(&testing::address(ADDRESS)), NUMBER);
    Start {
        user: user(),
        fence: 3,
        devices: 7,
        from,
        address: testing::address(NEW),
        known,
        waiting: Vec::new(),
        by: testing::STRANGER,
    }
}

fn key(driver: &Driven, address: &str) -> Key {
    Key::Address(driver.environment.address_key(&testing::address(address)))
}

fn begun(known: bool) -> Driven {
    let mut driver = Driver::new(8);
    driver.personal = PERSONAL.to_vec();
    driver.put(&Key::User(user()), 3);
    driver.put(&Key::Profile(user()), 5);
    driver.put(&Key::Devices(user()), 7);
    driver.put(&key(&driver, ADDRESS), NUMBER);
    if known {
        driver.put(&key(&driver, NEW), 0);
    }
    driver.start(T0, &start(known));
    driver
}

fn seals(driver: &Driven) -> Vec<Seal> {
    match driver.state() {
        EmailChange::AwaitingCode(awaiting) => awaiting.challenge.issues.clone(),
        EmailChange::Changed(changed) => vec![changed.issue.clone()],
        _ => vec![Seal::new(&driver.environment.ring, [0; 16])],
    }
}

fn last(driver: &Driven) -> Seal {
    seals(driver).last().unwrap().clone()
}

fn code(driver: &Driven, seal: &Seal) -> Code {
    testing::code(&driver.environment, Purpose::EmailChange, driver.flow, seal)
}

fn wrong(driver: &Driven, seals: &[Seal], number: u32) -> Code {
    testing::wrong_code(&driver.environment, Purpose::EmailChange, driver.flow, seals, number)
}

fn link(driver: &Driven, seal: &Seal) -> Presented<of::EmailChange> {
    testing::presented(&driver.environment, of::EmailChange, driver.flow, seal)
}

/// The seal of the link that takes the change back, or of one that takes nothing back.
fn undo_seal(driver: &Driven) -> Seal {
    match driver.state() {
        EmailChange::Changed(changed) => changed.undo.clone(),
        EmailChange::Undone(undone) => undone.undo.clone(),
        _ => last(driver),
    }
}

fn undo_link(driver: &Driven, seal: &Seal) -> Presented<of::UndoEmailChange> {
    testing::presented(&driver.environment, of::UndoEmailChange, driver.flow, seal)
}

/// The account as a service would read it, where nothing but this flow has touched it.
fn account(driver: &Driven) -> Account {
    let address = match driver.state() {
        EmailChange::Changed(_) | EmailChange::Done { .. } => testing::address(NEW),
        _ => testing::address(ADDRESS),
    };
    let number = driver.number(&Key::Address(driver.environment.address_key(&address))).unwrap_or_default();
    let followers = testing::following([2, 3].map(|number| FlowId(Id::v7(number, [2; 10]))));
    let fence = driver.number(&Key::User(user())).unwrap_or_default();
    Account { address, number, fence, followers, later: Vec::new(), deletion: None }
}

fn enter(driver: &Driven, code: Code) -> Command {
    Command::Enter { code: testing::typed_code(code), account: Some(account(driver)) }
}

fn open(driver: &Driven, link: Presented<of::EmailChange>) -> Command {
    Command::Open { link, by: Confirmer::SignedIn(user()), account: Some(account(driver)) }
}

fn undo(driver: &Driven, with: impl FnOnce(Account) -> Option<Account>) -> Command {
    Command::Undo { link: undo_link(driver, &undo_seal(driver)), account: with(account(driver)), password: None }
}

/// The cookie of the browser in which a flow was asked for.
fn cookie(driver: &Driven, flow: FlowId) -> Presented<of::FlowCookie> {
    testing::presented(&driver.environment, of::FlowCookie, flow, &Seal { n: 0, ..last(driver) })
}

/// Takes the change back, with one of a few new passwords.
fn with_password(driver: &Driven, which: u8) -> Command {
    let hash = SealedHash::from_text(format!("the-sealed-hash-{which}"));
    let same = driver.state().password().is_some_and(|set| *set == hash).then(Proved::pretended);
    let password = Some(NewPassword { hash, same });
    Command::Undo { link: undo_link(driver, &undo_seal(driver)), account: Some(account(driver)), password }
}

impl ByLetter for EmailChange {
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

    fn enter(driver: &Driven, code: TypedCode) -> Command {
        Command::Enter { code, account: Some(account(driver)) }
    }

    fn open(driver: &Driven, flow: FlowId, seal: &Seal) -> Command {
        open(driver, testing::presented(&driver.environment, of::EmailChange, flow, seal))
    }

    fn resend() -> Command {
        Command::Resend(testing::STRANGER)
    }

    fn said(outcome: &Outcome) -> Said {
        match (outcome.of_challenge(), outcome) {
            (Some(told), _) => Said::Told(told),
            (None, Outcome::Changed { .. }) => Said::Proved,
            (None, Outcome::Garbage) => Said::Garbage,
            (None, Outcome::Over) => Said::Over,
            (None, _) => Said::Other,
        }
    }

    fn proves(letter: &Letter) -> Option<(&Seal, Timestamp)> {
        if let Letter::EmailConfirm { seal, expires_at, .. } = letter { Some((seal, *expires_at)) } else { None }
    }
}

fn with_right_code(driver: &mut Driven, now: Timestamp) -> Outcome {
    let command = enter(driver, code(driver, &last(driver)));
    driver.ask(now, command)
}

fn with_wrong_codes(mut driver: Driven, now: Timestamp) -> Driven {
    for number in 0..5 {
        let command = enter(&driver, wrong(&driver, &seals(&driver), number));
        driver.ask(now, command);
    }
    driver
}

fn taken_back(mut driver: Driven, now: Timestamp) -> Driven {
    let command = undo(&driver, Some);
    driver.ask(now, command);
    driver
}

fn changed() -> Driven {
    let mut driver = begun(false);
    with_right_code(&mut driver, at(10));
    driver
}

/// So many changes that can be taken back besides this one.
fn later(count: u8) -> Vec<Later> {
    (0..count)
        .map(|number| Later {
            flow: FlowId(Id::v7(9, [number; 10])),
            before: testing::address(&format!("somewhere{number}@example.org")),
            until: at(WEEK + i64::from(number)),
        })
        .collect()
}

pub(crate) fn places() -> Vec<Place<EmailChange>> {
    let place = |name, driver| Place { name, driver };
    let mut resent = begun(false);
    resent.ask(at(60), Command::Resend(testing::STRANGER));
    let mut full = begun(false);
    for number in 1..=5 {
        full.ask(at(60 * number), Command::Resend(testing::STRANGER));
    }
    let undone = taken_back(changed(), at(20));
    let mut secured = undone.clone();
    let command = with_password(&secured, 1);
    secured.ask(at(30), command);
    let mut set_since = undone.clone();
    set_since.bump(&Key::User(user()));
    let mut done = changed();
    done.wake(at(10 + WEEK));
    let mut expired = begun(false);
    expired.wake(at(86_400));
    let mut taken = begun(false);
    taken.put(&key(&taken, NEW), 0);
    with_right_code(&mut taken, at(10));
    let mut over = undone.clone();
    over.wake(at(10 + WEEK));
    vec![
        place("fresh", begun(false)),
        place("sent again", resent),
        place("five wrong codes", with_wrong_codes(begun(false), at(1))),
        place("six letters", full),
        place("to an address with an account", begun(true)),
        place("fresh", changed()),
        place("five wrong codes", with_wrong_codes(changed(), at(11))),
        place("ten seconds after the change", undone),
        place("with a new password", secured),
        place("a password was set since", set_since),
        place("a week later", done),
        place("a day later", expired),
        place("somebody was faster", taken),
        place("taken back, and a week later", over),
    ]
}

fn asks() -> Vec<Ask<EmailChange>> {
    let elsewhere = |driver: &Driven| Seal { salt: [3; 16], ..last(driver) };
    let stranger = FlowId(Id::v7(0, [9; 10]));
    let mut asks = vec![
        asked("enter the code", |driver| enter(driver, code(driver, &last(driver)))),
        asked("enter a wrong code", |driver| enter(driver, wrong(driver, &seals(driver), 0))),
        asked("open the link", |driver| open(driver, link(driver, &last(driver)))),
        asked("open a link not yet sent", |driver| {
            open(driver, link(driver, &last(driver).next(&driver.environment.ring)))
        }),
        asked("open a foreign link", move |driver| {
            open(driver, testing::presented(&driver.environment, of::EmailChange, stranger, &elsewhere(driver)))
        }),
        asked("open the link, the account gone", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(user()),
            account: None,
        }),
        asked("open the link, the address its own", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(user()),
            account: Some(Account { address: testing::address(NEW), ..account(driver) }),
        }),
        asked("open the link, after another change", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(user()),
            account: Some(Account { number: account(driver).number + 1, ..account(driver) }),
        }),
        asked("open the link, after twenty changes", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(user()),
            account: Some(Account { later: later(20), ..account(driver) }),
        }),
        asked("open the link, whoever it is", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::Anybody,
            account: Some(account(driver)),
        }),
        asked("open the link, with another's session", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(UserId(Id::v7(7, [7; 10]))),
            account: Some(account(driver)),
        }),
        asked("open the link, with the password", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::Password(Arc::new(Proved::pretended())),
            account: Some(account(driver)),
        }),
        asked("open the link, where it began", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::Browser(cookie(driver, driver.flow)),
            account: Some(account(driver)),
        }),
        asked("open the link, with another flow's cookie", |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::Browser(cookie(driver, FlowId(Id::v7(0, [9; 10])))),
            account: Some(account(driver)),
        }),
        asked("undo", |driver| undo(driver, Some)),
        asked("undo, with a new password", |driver| with_password(driver, 1)),
        asked("undo, with another new password", |driver| with_password(driver, 2)),
        asked("undo, with all that was done since", |driver| {
            let deletion = Some(FlowId(Id::v7(8, [8; 10])));
            undo(driver, |account| Some(Account { later: later(2), deletion, ..account }))
        }),
        asked("undo, the account gone", |driver| undo(driver, |_| None)),
        asked("undo by the link of the change", |driver| Command::Undo {
            link: undo_link(driver, &last(driver)),
            account: Some(account(driver)),
            password: None,
        }),
        after("resend within the cool-down", 59, |_| Input::Asked(Command::Resend(testing::STRANGER))),
        after("resend after it", 60, |_| Input::Asked(Command::Resend(testing::STRANGER))),
        after("told that an earlier one was undone", 1, |_| Input::Told(Signal::Undone)),
        after("told that another was asked for", 1, |_| Input::Told(Signal::Replaced)),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    for (name, known) in [("free address", false), ("address with an account", true)] {
        let driver = Driven::new(8);
        let step = EmailChange::start(&start(known), None, &driver.cx(T0));
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
    }
    let driver = Driven::new(8);
    let again = Start { waiting: vec![FlowId(Id::v7(4, [4; 10]))], ..start(false) };
    for (name, lost) in [("one waits already", None), ("lost user", Some(Lost(Key::User(user()))))] {
        let step = EmailChange::start(&again, lost.as_ref(), &driver.cx(T0));
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
    }
    golden::check("email_change.transitions.txt", &table);
}

#[derive(Clone, Debug)]
enum Op {
    Code,
    WrongCode(u32),
    Link,
    UnsentLink,
    Resend,
    Undo,
    UndoByAnother,
    Wake,
    SignOutEverywhere,
    Taken,
    Gone,
}

fn wrong_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u32>().prop_map(Op::WrongCode),
        2 => Just(Op::UnsentLink),
        1 => Just(Op::UndoByAnother),
        4 => Just(Op::Resend),
        1 => Just(Op::Wake),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Code),
        2 => Just(Op::Link),
        2 => Just(Op::Undo),
        1 => Just(Op::SignOutEverywhere),
        1 => Just(Op::Taken),
        1 => Just(Op::Gone),
        9 => wrong_op(),
    ]
}

fn command(driver: &Driven, issued: &[Seal], op: &Op) -> Option<Command> {
    let last = issued.last().unwrap();
    Some(match op {
        Op::Code => enter(driver, code(driver, last)),
        Op::WrongCode(number) => enter(driver, wrong(driver, issued, *number)),
        Op::Link => open(driver, link(driver, last)),
        Op::UnsentLink => open(driver, link(driver, &last.next(&driver.environment.ring))),
        Op::Resend => Command::Resend(testing::STRANGER),
        Op::Undo => undo(driver, Some),
        Op::UndoByAnother => Command::Undo {
            link: undo_link(driver, &Seal { salt: [3; 16], ..last.clone() }),
            account: Some(account(driver)),
            password: None,
        },
        Op::Wake | Op::SignOutEverywhere | Op::Taken | Op::Gone => return None,
    })
}

fn remember(driver: &Driven, issued: &mut Vec<Seal>) {
    if let EmailChange::AwaitingCode(awaiting) = driver.state() {
        issued.clone_from(&awaiting.challenge.issues);
    }
}

/// One way through a change, held against what must be so.
fn drive(known: bool, ops: &[(i64, Op)]) {
    let mut driver = begun(known);
    let (mut now, mut issued, mut missed) = (T0, Vec::new(), 0_u8);
    let (mut fenced, mut taken, mut gone) = (false, known, false);
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        remember(&driver, &mut issued);
        driver.wake(now);
        match op {
            Op::SignOutEverywhere => {
                driver.bump(&Key::User(user()));
                fenced = true;
            }
            Op::Taken if driver.number(&key(&driver, NEW)).is_none() => {
                driver.put(&key(&driver, NEW), 0);
                taken = true;
            }
            // A deletion ends a fortnight after it is asked for, and no change is made after that.
            Op::Gone if driver.phase() == "awaiting_code" => {
                for key in [Key::User(user()), key(&driver, ADDRESS)] {
                    driver.take_away(&key);
                }
                (fenced, gone) = (true, true);
            }
            _ => {}
        }
        let Some(command) = command(&driver, &issued, op) else { continue };
        let (was, writes) = (driver.phase(), driver.writes.len());
        let says = driver.ask(now, command);
        let right = matches!(op, Op::Link) || matches!(op, Op::Code) && missed < 5;
        match (was, &says) {
            ("awaiting_code", Outcome::Changed { .. }) => {
                assert!(right && !known && !taken && !fenced && !gone);
                assert_eq!(driver.writes.len(), writes + 1);
            }
            ("awaiting_code", Outcome::AddressTaken) => assert!(right && !known && taken),
            ("awaiting_code", Outcome::Over | Outcome::Moved) => assert!(right && !known && (fenced || gone)),
            ("awaiting_code", _) => assert!(!right || known, "{op:?} was right and is told {says:?}"),
            ("changed", Outcome::Undone { .. }) => assert!(matches!(op, Op::Undo)),
            ("changed", Outcome::Changed { .. }) => assert!(right),
            ("changed", _) => assert!(!right && !matches!(op, Op::Undo), "{op:?} was right and is told {says:?}"),
            ("undone", Outcome::Undone { .. }) => assert!(matches!(op, Op::Undo)),
            ("undone", _) => assert!(matches!(says, Outcome::Over | Outcome::Garbage) && !matches!(op, Op::Undo)),
            (_, _) => assert_eq!(says, Outcome::Over),
        }
        assert_eq!(
            driver.writes.len() > writes,
            driver.phase() != was && matches!(driver.phase(), "changed" | "undone"),
            "{op:?} wrote"
        );
        missed += u8::from(matches!(says, Outcome::WrongCode { .. }));
    }
    let written = addresses_written(&driver);
    assert!([&[][..], &[NEW], &[NEW, ADDRESS]].contains(&&written[..]), "{written:?}");
    let changes = written.len();
    the_address_from_before_gets_one_notice(&driver, changes);
    ends_and_leaves_nothing(driver, taken && changes == 0, gone);
}

fn addresses_written(driver: &Driven) -> Vec<&str> {
    let address = |write| match write {
        &Write::User(UserWrite::SetAddress { user: of, ref address, .. }) if of == user() => Some(address.typed()),
        // Taking back calls off whatever deletion waits.
        &Write::User(UserWrite::SetDeletion { user: of, flow: None, .. }) if of == user() => None,
        &Write::Device(DeviceWrite::ForgetAll { user: of }) if of == user() => None,
        &Write::User(UserWrite::SuspendPassword { user: of, .. }) if of == user() => None,
        other => panic!("{other:?} is no write of a change of address"),
    };
    driver.writes.iter().filter_map(address).collect()
}

fn the_address_from_before_gets_one_notice(driver: &Driven, writes: usize) {
    let is_asked = |letter: &Letter| matches!(letter, Letter::EmailKnown { .. } | Letter::EmailConfirm { .. });
    assert!(
        driver.sent.iter().all(|sent| is_asked(&sent.letter) == (sent.letter.to().typed() == NEW)),
        "nothing else goes to an address that is not proved"
    );
    let notices: Vec<_> = driver.sent.iter().filter(|sent| sent.letter.to().typed() != NEW).collect();
    assert_eq!(notices.len(), writes.min(1), "one notice, and it goes to the address from before");
    for notice in notices {
        let Letter::EmailChanged { to, seal, at, expires_at } = &notice.letter else { panic!("{notice:?}") };
        assert_eq!((to.typed(), at.0 + WEEK * 1_000, Some(*expires_at)), (ADDRESS, expires_at.0, notice.expires));
        assert!(driver.state().is_over() || undo_seal(driver) == *seal, "the link in the letter is the one that works");
    }
}

/// Whatever happened: in the end exactly the address that the account has is claimed by it, and by nobody's leave.
fn ends_and_leaves_nothing(mut driver: Driven, taken: bool, gone: bool) {
    while let Some(due) = driver.state().wake_at() {
        driver.wake(due);
    }
    let has = addresses_written(&driver).last().copied().unwrap_or(ADDRESS).to_owned();
    for address in [ADDRESS, NEW] {
        let stands = driver.number(&key(&driver, address)).is_some();
        let others = taken && address == NEW;
        assert_eq!(stands, others || !gone && address == has, "{address} at {}", driver.phase());
    }
    assert!(driver.state().wake_at().is_none());
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn whatever_is_typed_one_address_is_changed_at_most_and_no_claim_is_left(
        known in prop::bool::weighted(0.2),
        ops in prop::collection::vec((moves(), op()), 0..24),
    ) {
        drive(known, &ops);
    }
}

#[test]
fn a_proof_after_the_sessions_were_ended_changes_nothing() {
    let mut driver = begun(false);
    driver.bump(&Key::User(user()));
    assert_eq!(with_right_code(&mut driver, at(10)), Outcome::Over);
    assert_eq!((driver.phase(), driver.writes.len(), driver.number(&key(&driver, NEW))), ("ended", 0, None));
}

#[test]
fn a_proof_that_comes_with_an_outdated_view_of_the_account_is_asked_again() {
    let mut driver = begun(false);
    let before = enter(&driver, code(&driver, &last(&driver)));
    driver.bump(&key(&driver, ADDRESS));
    assert_eq!(driver.ask(at(10), before), Outcome::Moved);
    assert_eq!((driver.phase(), driver.number(&key(&driver, NEW))), ("awaiting_code", None));
    // Another change was faster: this one was asked for before it.
    assert_eq!((with_right_code(&mut driver, at(11)), driver.phase()), (Outcome::Over, "ended"));
    assert_eq!((driver.writes.len(), driver.number(&key(&driver, NEW))), (0, None));
}

#[test]
fn the_address_from_before_is_kept_until_the_week_is_over() {
    let mut driver = changed();
    assert_eq!(driver.number(&key(&driver, ADDRESS)), Some(NUMBER + 1), "what was begun for it is over");
    assert_eq!(driver.number(&key(&driver, NEW)), Some(0));
    assert!(!driver.wake(at(10 + WEEK - 1)));
    assert!(driver.wake(at(10 + WEEK)));
    assert_eq!((driver.number(&key(&driver, ADDRESS)), driver.number(&key(&driver, NEW))), (None, Some(0)));
    let late = undo(&driver, Some);
    assert_eq!(driver.ask(at(11 + WEEK), late), Outcome::Over);
}

#[test]
fn taking_back_moves_every_fence_and_tells_every_session() {
    let driver = taken_back(changed(), at(20));
    let numbers =
        [Key::User(user()), Key::Profile(user()), Key::Devices(user()), key(&driver, ADDRESS), key(&driver, NEW)];
    assert_eq!(numbers.map(|key| driver.number(&key)), [Some(4), Some(7), Some(8), Some(NUMBER + 2), Some(1)]);
    let told: Vec<_> = driver.told.iter().map(|told| (told.kind.as_str(), told.signal.to_string())).collect();
    assert_eq!(told, [("session", "\"fenced\"".to_owned()), ("session", "\"fenced\"".to_owned())]);
    assert_eq!(addresses_written(&driver), [NEW, ADDRESS]);
}

#[test]
fn a_reset_or_a_sign_out_everywhere_does_not_stand_in_the_way_of_taking_back() {
    let mut driver = changed();
    driver.bump(&Key::User(user()));
    driver.bump(&Key::Profile(user()));
    assert_eq!(taken_back(driver, at(20)).phase(), "undone");
}

#[test]
fn links_are_known_by_the_flow_that_sent_them_and_each_for_its_own_purpose() {
    let driver = changed();
    let (proof, back) = (last(&driver), undo_seal(&driver));
    let state = driver.state();
    assert!(state.knows_link(&link(&driver, &proof), &driver.environment));
    assert!(!state.knows_link(&link(&driver, &back), &driver.environment));
    assert!(state.knows_undo(&undo_link(&driver, &back), &driver.environment));
    assert!(!state.knows_undo(&undo_link(&driver, &proof), &driver.environment));
    assert!(state.awaits().is_none());
    assert_eq!(state.changed().map(|changed| changed.before.typed()), Some(ADDRESS));
    let undone = taken_back(driver, at(20));
    assert!(
        undone.state().knows_undo(&undo_link(&undone, &back), &undone.environment),
        "it says the same for its week"
    );
    assert_eq!(begun(false).state().awaits().map(|(address, _)| address.typed()), Some(NEW));
}
