//! A second reading of a session's rules, that every sequence of inputs is held against.

use std::collections::BTreeMap;

use cairn_actors::effects::{Key, UserWrite, Write};
use cairn_actors::environment::Settings;
use cairn_actors::flows::session::{Command, Outcome, Session, Signal, known_place};
use cairn_runtime::{Flow, Input, Timestamp};
use proptest::prelude::*;

use super::{
    DEVICES, Driven, GRACE, MONTH, PLACE, change_password, cookie, disown, foreign, start_with_news, started, step_up,
    token, user,
};
use crate::driver::{T0, at, cases, json, seconds};
use crate::letters::moves;

/// How long the link of a letter counts after the session has ended.
const KEPT: std::time::Duration = seconds(2_592_000);

#[derive(Clone, Debug)]
enum Op {
    Refresh(i64),
    RefreshForeign,
    SignOut(i64),
    /// Proved with the fence as it is, or as it was one move ago.
    StepUp(bool),
    ChangePassword(bool),
    Revoke,
    Disown(bool),
    Seen(bool),
    Leave(bool),
    Fence,
    Told(bool),
    Wake,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => Just(Op::Refresh(0)),
        6 => Just(Op::Refresh(1)),
        1 => (-2..4_i64).prop_map(Op::Refresh),
        1 => Just(Op::RefreshForeign),
        1 => (-2..4_i64).prop_map(Op::SignOut),
        4 => prop::bool::weighted(0.9).prop_map(Op::StepUp),
        3 => prop::bool::weighted(0.9).prop_map(Op::ChangePassword),
        2 => prop::bool::weighted(0.9).prop_map(|wrong| Op::Disown(!wrong)),
        3 => prop::bool::weighted(0.8).prop_map(Op::Seen),
        2 => prop::bool::weighted(0.2).prop_map(Op::Leave),
        1 => any::<bool>().prop_map(Op::Told),
        1 => Just(Op::Revoke),
        1 => Just(Op::Fence),
        2 => Just(Op::Wake),
    ]
}

/// The rules, read once more: all that they depend on is a few numbers.
struct Model {
    /// The generation, and since when.
    n: i64,
    rotated: Timestamp,
    /// When the person last proved who they are.
    proved: Timestamp,
    expires: Timestamp,
    /// The number that the session holds, and the one that the user's fence has.
    fence: i64,
    number: i64,
    passwords: usize,
    /// The generation from which on the present salt counts.
    salted: i64,
    /// The present token came of a proof of the password.
    no_grace: bool,
    /// The link of the letter has been used.
    disowned: bool,
    /// The session ended because its device was not known.
    forgotten: bool,
    /// After the end: until when the link counts.
    kept: Option<Timestamp>,
    /// Nobody used it until then.
    link_gone: bool,
    over: bool,
    grace: i64,
    /// How long it lasts at most, in seconds.
    most: u64,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Next,
    Same,
    Changed,
    Seen,
    Refused,
    Ended,
    Garbage,
    Disowned,
}

impl Model {
    fn new(grace: i64, most: u64) -> Self {
        let expires = at(MONTH).min(T0.after(seconds(most)));
        let (rotated, proved) = (T0, T0);
        let (salted, no_grace, disowned, forgotten, kept, link_gone) = (0, false, false, false, None, false);
        let (fence, number, passwords, over) = (3, 3, 0, false);
        Self {
            n: 0,
            rotated,
            proved,
            expires,
            fence,
            number,
            passwords,
            salted,
            no_grace,
            disowned,
            forgotten,
            kept,
            link_gone,
            over,
            grace,
            most,
        }
    }

    /// What is not the owner's ends nothing; whatever else comes to a session that is over finds it over.
    fn ends(&mut self, ours: bool) -> Expected {
        if !self.over && !ours {
            return Expected::Garbage;
        }
        self.over = true;
        Expected::Ended
    }

    /// A month from now, and not longer than any session from when the password was typed.
    fn lasts(&mut self, now: Timestamp) {
        self.expires = now.after(seconds(2_592_000)).min(self.proved.after(seconds(self.most)));
    }

    fn rotates(&mut self, now: Timestamp) -> Expected {
        (self.n, self.rotated, self.no_grace) = (self.n + 1, now, false);
        self.lasts(now);
        Expected::Next
    }

    fn refresh(&mut self, shown: i64, now: Timestamp) -> Expected {
        if self.over {
            return Expected::Ended;
        }
        if shown > self.n {
            return Expected::Garbage;
        }
        // The tests' tokens are of the present salt, so an older one is one of ours.
        let is_repeat = shown == self.n - 1 && now.0 < self.rotated.0 + self.grace * 1_000;
        if is_repeat && self.no_grace {
            return Expected::Refused;
        }
        if self.fence != self.number || !(shown == self.n || is_repeat) {
            return self.ends(true);
        }
        if is_repeat { Expected::Same } else { self.rotates(now) }
    }

    /// A password was proved while the user's fence had this number.
    fn refuses(&mut self, proved_at: i64) -> Option<Expected> {
        if !self.over && proved_at < self.fence {
            return Some(Expected::Refused);
        }
        (self.over || proved_at != self.fence || self.fence != self.number).then(|| self.ends(true))
    }

    fn step_up(&mut self, proved_at: i64, now: Timestamp) -> Expected {
        if let Some(refused) = self.refuses(proved_at) {
            return refused;
        }
        self.proved = now;
        let next = self.rotates(now);
        self.no_grace = true;
        next
    }

    /// The link of the letter: after the session as well, and whatever else ended it.
    fn disown(&mut self, own: bool) -> Expected {
        if self.link_gone {
            return Expected::Ended;
        }
        if !own {
            return Expected::Garbage;
        }
        self.forgotten = true;
        self.disowned = true;
        self.over = true;
        Expected::Disowned
    }

    fn change_password(&mut self, proved_at: i64, now: Timestamp) -> Expected {
        if let Some(refused) = self.refuses(proved_at) {
            return refused;
        }
        self.number += 1;
        self.fence = self.number;
        self.passwords += 1;
        self.proved = now;
        self.rotates(now);
        self.no_grace = true;
        self.salted = self.n;
        Expected::Changed
    }

    fn seen(&mut self, ours: bool, now: Timestamp) -> Expected {
        if self.over || !ours {
            return if self.over { Expected::Ended } else { Expected::Garbage };
        }
        if self.fence != self.number {
            return self.ends(true);
        }
        self.lasts(now);
        Expected::Seen
    }

    /// What it comes to, for an input at an instant.
    fn expects(&mut self, driver: &Driven, op: &Op, now: Timestamp) -> Expected {
        let shown = |back: i64| i64::from(token(driver, back).generation());
        match *op {
            Op::Refresh(back) => self.refresh(shown(back), now),
            Op::RefreshForeign if self.over => Expected::Ended,
            Op::RefreshForeign => Expected::Garbage,
            Op::SignOut(back) => self.ends(shown(back) <= self.n),
            Op::StepUp(fresh) => self.step_up(self.number - i64::from(!fresh), now),
            Op::ChangePassword(fresh) => self.change_password(self.number - i64::from(!fresh), now),
            Op::Disown(own) => self.disown(own),
            Op::Leave(own) => self.ends(own),
            Op::Seen(own) => self.seen(own, now),
            Op::Revoke | Op::Told(_) => self.ends(true),
            Op::Fence | Op::Wake => unreachable!("nobody asks for it"),
        }
    }
}

fn input(driver: &Driven, op: &Op) -> Option<Input<Session>> {
    let number = driver.number(&Key::User(user())).unwrap();
    let proved_at = |fresh: bool| number - i64::from(!fresh);
    Some(Input::Asked(match *op {
        Op::Refresh(back) => Command::Refresh(token(driver, back)),
        Op::RefreshForeign => Command::Refresh(foreign(driver)),
        Op::SignOut(back) => Command::SignOut(token(driver, back)),
        Op::StepUp(fresh) => step_up(proved_at(fresh)),
        Op::ChangePassword(fresh) => change_password(proved_at(fresh)),
        Op::Revoke => Command::Revoke,
        Op::Disown(own) => disown(driver, own, None),
        Op::Seen(own) => Command::Seen(cookie(driver, own)),
        Op::Leave(own) => Command::Leave(cookie(driver, own)),
        Op::Told(fenced) => return Some(Input::Told(if fenced { Signal::Fenced } else { Signal::Crowded })),
        Op::Fence | Op::Wake => return None,
    }))
}

/// One way through a session, held against the second reading of its rules.
fn drive(grace: i64, most: u64, ops: &[(i64, Op)]) {
    let settings = Settings {
        refresh_grace: seconds(u64::try_from(grace).unwrap()),
        session_max: seconds(most),
        ..Settings::default()
    };
    let mut driver = started(settings, &start_with_news());
    let (mut model, mut now) = (Model::new(grace, most), T0);
    let mut answers: BTreeMap<u32, String> = BTreeMap::new();
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        let seen = now.max(driver.touched);
        let forgets = model.kept.is_some_and(|kept| seen >= kept) && !model.link_gone;
        assert_eq!(driver.wake(now), !model.over && seen >= model.expires || forgets);
        model.link_gone |= forgets;
        model.over |= seen >= model.expires;
        model.kept = model.kept.or(model.over.then(|| seen.after(KEPT)));
        if matches!(op, Op::Fence) {
            driver.bump(&Key::User(user()));
            model.number += 1;
        }
        if let Some(input) = input(&driver, op) {
            let before = driver.version;
            let (was_over, was_disowned) = (model.over, model.disowned);
            let expected = model.expects(&driver, op, seen);
            let says = driver.input(now, &input);
            model.kept = model.kept.or(model.over.then(|| seen.after(KEPT)));
            let quiet = match expected {
                Expected::Disowned => was_disowned,
                Expected::Same | Expected::Refused | Expected::Garbage => true,
                _ => was_over,
            };
            assert_eq!(driver.version == before, quiet, "{op:?}: {says:?}, expected {expected:?}");
            is_as_expected(&says, &expected, &model, &mut answers);
        }
        let phase = if model.link_gone { "ended" } else { "disputable" };
        assert_eq!(driver.phase(), if model.over { phase } else { "active" });
        assert_eq!(driver.number(&Key::User(user())), Some(model.number));
        let fence = driver.number(&Key::Session(driver.flow.0));
        assert_eq!(fence, (!model.over).then_some(0), "the session's fence stands for as long as it lives");
        let known = (!model.forgotten).then_some(known_place(PLACE, DEVICES).0);
        assert_eq!(
            driver.state().public().subject,
            known,
            "a place is known as long as the row is kept, unless disowned"
        );
        let passwords =
            driver.writes.iter().filter(|write| matches!(write, Write::User(UserWrite::SetPassword { .. }))).count();
        let of_link = 2 * usize::from(model.disowned);
        assert_eq!((passwords, driver.writes.len()), (model.passwords, 1 + model.passwords + of_link));
        assert_eq!(driver.number(&Key::Devices(user())), Some(DEVICES + i64::from(model.disowned)));
        assert_eq!(driver.sent.len(), 1 + model.passwords, "the notice of the device, and one of each password");
    }
}

fn is_as_expected(says: &Outcome, expected: &Expected, model: &Model, answers: &mut BTreeMap<u32, String>) {
    match says {
        Outcome::Tokens { issue, minted, expires_at, user: of, auth_time } => {
            assert!(matches!(expected, Expected::Same | Expected::Next), "{says:?}, expected {expected:?}");
            assert_eq!(i64::from(issue.n), model.n);
            assert_eq!(minted.generation, issue.n);
            assert_eq!((*of, *auth_time, minted.at), (user(), model.proved, model.rotated));
            assert_eq!(minted.until, model.rotated.after(seconds(300)));
            assert_eq!(*expires_at, model.expires);
            let told = json(&(issue, minted, auth_time));
            let same = answers.entry(issue.n).or_insert_with(|| told.clone());
            assert_eq!(told, *same, "one generation, one answer");
        }
        Outcome::PasswordChanged { tokens, .. } => {
            assert_eq!(*expected, Expected::Changed);
            is_as_expected(tokens.as_deref().expect("it gives tokens"), &Expected::Next, model, answers);
        }
        Outcome::Disowned { password_set: false } => assert_eq!(*expected, Expected::Disowned),
        Outcome::Disowned { .. } | Outcome::Moved | Outcome::UsedUp => panic!("{says:?}"),
        Outcome::Seen { expires_at } => assert_eq!((expected, *expires_at), (&Expected::Seen, model.expires)),
        Outcome::Ended => assert_eq!(*expected, Expected::Ended),
        Outcome::Garbage => assert_eq!(*expected, Expected::Garbage),
        Outcome::Refused => assert_eq!(*expected, Expected::Refused),
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn every_sequence_goes_as_the_rules_say(
        grace in prop_oneof![Just(GRACE), Just(0), Just(3_600)],
        most in prop_oneof![Just(31_536_000), Just(150_000)],
        ops in prop::collection::vec((moves(), op()), 0..30),
    ) {
        drive(grace, most, &ops);
    }
}
