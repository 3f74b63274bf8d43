//! Any course of a grant, held against what must be so: fences of user, session, client and consent are known from what
//! was done, not from the table of guards.

use cairn_actors::effects::{ConsentWrite, Write};
use proptest::prelude::*;

use super::*;
use crate::letters::moves;

/// For how long a repeat of the exchange gets the same answer, in milliseconds.
const GRACE: i64 = 30_000;

/// What a service may find of a consent, or the person's answer to being asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Consented {
    Never,
    NotNeeded,
    Kept,
}

#[derive(Clone, Debug)]
enum Op {
    /// `stale`: by numbers from before.
    SignIn(u8, Consented, bool),
    Consent(u8, Consented, bool),
    Deny(Option<u8>),
    Redeem(bool),
    RedeemBadly(u8),
    Poll(bool),
    Refresh(i64),
    RefreshByAnother,
    RefreshForMore,
    Revoke(u8),
    Leave,
    Fence(u8),
    EndSession(u8),
    DeleteClient,
    TakeBack(u8),
    Told(Signal),
    Wake,
}

fn somebody() -> impl Strategy<Value = u8> {
    prop_oneof![5 => Just(1_u8), 1 => Just(2)]
}

fn remembered() -> impl Strategy<Value = Consented> {
    prop_oneof![3 => Just(Consented::Never), 1 => Just(Consented::NotNeeded), 2 => Just(Consented::Kept)]
}

fn op() -> impl Strategy<Value = Op> {
    let stale = || prop::bool::weighted(0.15);
    prop_oneof![
        8 => (somebody(), remembered(), stale()).prop_map(|(number, known, stale)| Op::SignIn(number, known, stale)),
        8 => (somebody(), remembered(), stale()).prop_map(|(number, known, stale)| Op::Consent(number, known, stale)),
        1 => prop::option::of(1..3_u8).prop_map(Op::Deny),
        8 => prop::bool::weighted(0.2).prop_map(Op::Redeem),
        4 => (0..5_u8).prop_map(Op::RedeemBadly),
        3 => any::<bool>().prop_map(Op::Poll),
        10 => Just(Op::Refresh(0)),
        4 => Just(Op::Refresh(1)),
        1 => (-1..4_i64).prop_map(Op::Refresh),
        1 => Just(Op::RefreshByAnother),
        1 => Just(Op::RefreshForMore),
        1 => (1..3_u8).prop_map(Op::Revoke),
        1 => Just(Op::Leave),
        1 => (1..3_u8).prop_map(Op::Fence),
        1 => (1..3_u8).prop_map(Op::EndSession),
        1 => Just(Op::DeleteClient),
        1 => (1..3_u8).prop_map(Op::TakeBack),
        2 => prop_oneof![4 => Just(Signal::Fenced), 1 => Just(Signal::ClientDeleted), 4 => Just(Signal::ConsentRevoked)]
            .prop_map(Op::Told),
        2 => Just(Op::Wake),
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    let policy = prop_oneof![3 => Just(Policy::Rotate), 1 => Just(Policy::Stable)];
    (any::<bool>(), any::<bool>(), policy, prop::bool::weighted(0.2)).prop_map(|(device, offline, policy, asks)| Kind {
        device,
        offline,
        policy,
        asks,
    })
}

/// The fences as what was done has left them.
struct Fences {
    users: [i64; 3],
    /// How many sessions of each have ended.
    sessions: [u8; 3],
    client: i64,
    consents: [Option<i64>; 3],
}

/// Under which numbers somebody signed in and consented.
#[derive(Clone, Debug)]
struct Begun {
    number: u8,
    who: Who,
    /// The consent's; `None`: none was kept, or not yet.
    consent: Option<i64>,
}

impl Fences {
    fn new() -> Self {
        Self { users: [3; 3], sessions: [0; 3], client: 0, consents: [None, Some(4), None] }
    }

    fn session(&self, number: u8) -> Id {
        session(number + 8 * self.sessions[usize::from(number)])
    }

    fn who(&self, number: u8) -> Who {
        Who { fence: self.users[usize::from(number)], session: self.session(number), ..who(number) }
    }

    /// Somebody, as a service finds them now, or found them a while ago.
    fn sign_in(&self, number: u8, known: Consented, stale: bool) -> SignIn {
        let mut who = self.who(number);
        let consent = self.consents[usize::from(number)];
        let stale_consent = stale && known == Consented::Kept;
        who.fence -= i64::from(stale && !stale_consent);
        let remembered = match (known, consent) {
            (Consented::NotNeeded, _) => Remembered::NotNeeded,
            (Consented::Kept, Some(consent)) => Remembered::Given(consent - i64::from(stale)),
            (Consented::Kept, None) if stale => Remembered::Given(0),
            (Consented::Kept, None) | (Consented::Never, _) => Remembered::Nothing,
        };
        SignIn { who, remembered }
    }

    fn consenting(&self, number: u8, known: Consented, stale: bool) -> Consenting {
        let scope = scope("email");
        match (known, self.consents[usize::from(number)]) {
            (Consented::NotNeeded, _) => Consenting::NotKept,
            (_, None) if stale => Consenting::Again { number: 0, scope, resources: vec![] },
            (_, None) => Consenting::First,
            (Consented::Never, Some(_)) if stale => Consenting::First,
            (_, Some(consent)) => Consenting::Again { number: consent - i64::from(stale), scope, resources: vec![] },
        }
    }

    /// Why nothing may be given under these numbers any more.
    fn moved(&self, begun: &Begun, is_offline: bool) -> Vec<End> {
        let number = usize::from(begun.number);
        let mut moved = Vec::new();
        if self.users[number] != begun.who.fence || !is_offline && self.session(begun.number) != begun.who.session {
            moved.push(End::Fenced);
        }
        if self.client != 0 {
            moved.push(End::ClientDeleted);
        }
        if begun.consent.is_some() && self.consents[number] != begun.consent {
            moved.push(End::ConsentRevoked);
        }
        moved
    }

    #[track_caller]
    fn stand(&self, begun: &Begun, is_offline: bool, what: &str) {
        let moved = self.moved(begun, is_offline);
        assert!(moved.is_empty(), "{what} under {begun:?}: {moved:?}");
    }
}

/// A grant, and what is known of it.
struct Course {
    kind: Kind,
    driver: Driven,
    fences: Fences,
    begun: Option<Begun>,
    /// What was told with each generation of tokens.
    told: Vec<String>,
    /// When the code was answered, and for what.
    answered: Option<(Timestamp, bool)>,
    code: Option<String>,
    writes: usize,
}

impl Course {
    fn new(kind: Kind, entry: Option<(Consented, bool)>) -> Option<Self> {
        let fences = Fences::new();
        let mut driver = guarded(Driver::new(9));
        driver.put(&Key::Consent(user(1), client(1)), 4);
        let is_stale = entry.is_some_and(|(_, stale)| stale);
        let entry = entry.filter(|_| !kind.device).map(|(known, stale)| fences.sign_in(1, known, stale));
        let says = driver.start(T0, &start_with(kind, entry.clone()));
        let mut course =
            Self { kind, driver, fences, begun: None, told: Vec::new(), answered: None, code: None, writes: 0 };
        if says == Outcome::Refused {
            assert!(course.driver.state.is_none() && is_stale);
            return None;
        }
        if let Some(entry) = entry {
            course.signed_in(&entry, &says);
        }
        Some(course)
    }

    /// A sign-in took effect: nobody is asked only where nobody need be.
    fn signed_in(&mut self, by: &SignIn, says: &Outcome) {
        let number = 1 + u8::from(by.who.user == user(2));
        let mut begun = Begun { number, who: by.who.clone(), consent: None };
        match says {
            Outcome::SignedIn { .. } => {
                assert!(self.kind.device || self.kind.asks || by.remembered == Remembered::Nothing);
            }
            _ => {
                assert!(!self.kind.device && !self.kind.asks && by.remembered != Remembered::Nothing);
                if let Remembered::Given(consent) = by.remembered {
                    begun.consent = Some(consent);
                }
            }
        }
        self.fences.stand(&begun, false, "a sign-in");
        self.begun = Some(begun);
    }

    /// Somebody consented just now: what is kept of it is written with it.
    fn consented(&mut self, how: &Consenting) {
        let begun = self.begun.as_mut().expect("nobody signed in");
        let place = usize::from(begun.number);
        let granted = self.driver.state().grant().unwrap().access.scope.clone();
        let expected = match how {
            Consenting::NotKept => None,
            Consenting::First => {
                assert_eq!(self.fences.consents[place], None, "it was not the first");
                self.fences.consents[place] = Some(0);
                begun.consent = Some(0);
                Some(granted)
            }
            Consenting::Again { number, scope, .. } => {
                begun.consent = Some(*number);
                Some(granted.or(scope))
            }
        };
        let begun = begun.clone();
        self.fences.stand(&begun, false, "a consent");
        let written = self.driver.writes.get(self.writes..).unwrap_or_default();
        match (written, expected) {
            ([], None) => {}
            ([Write::Consent(ConsentWrite::Give { user, client: to, scope, .. })], Some(expected)) => {
                assert_eq!((*user, *to, scope), (begun.who.user, client(1), &expected));
            }
            (written, expected) => panic!("{how:?} wrote {written:?}, not {expected:?}"),
        }
        self.writes = self.driver.writes.len();
    }

    /// Does what others do; whether it was that.
    fn other(&mut self, now: Timestamp, op: &Op) -> bool {
        let (driver, fences) = (&mut self.driver, &mut self.fences);
        match op {
            Op::Fence(number) => {
                driver.bump(&Key::User(user(*number)));
                fences.users[usize::from(*number)] += 1;
            }
            Op::EndSession(number) => {
                driver.take_away(&Key::Session(fences.session(*number)));
                fences.sessions[usize::from(*number)] += 1;
                // They sign in again, which is another session.
                driver.put(&Key::Session(fences.session(*number)), 0);
            }
            Op::DeleteClient => {
                driver.bump(&Key::Client(client(1)));
                fences.client += 1;
            }
            Op::TakeBack(number) => {
                driver.bump(&Key::Consent(user(*number), client(1)));
                let consent = &mut fences.consents[usize::from(*number)];
                *consent = consent.map(|number| number + 1);
            }
            Op::Told(signal) => self.told_signal(now, signal),
            Op::Wake => {}
            _ => return false,
        }
        true
    }

    /// A signal ends what has lost its fence, and nothing that began anew.
    fn told_signal(&mut self, now: Timestamp, signal: &Signal) {
        let was = self.driver.phase();
        self.driver.input(now, &Input::Told(signal.clone()));
        let is_offline = self.kind.offline && was != "signed_in";
        let moved = self.begun.as_ref().map_or(Vec::new(), |begun| self.fences.moved(begun, is_offline));
        let ends = match (signal, was) {
            (_, "ended") => return,
            (Signal::ClientDeleted, _) => true,
            (Signal::Fenced, "signed_in" | "consented" | "active") => !moved.is_empty(),
            (Signal::ConsentRevoked, "consented" | "active") => {
                !moved.is_empty() || self.begun.as_ref().is_some_and(|begun| begun.consent.is_none())
            }
            (Signal::Fenced | Signal::ConsentRevoked, _) => false,
        };
        assert_eq!(self.driver.phase() == "ended", ends, "told {signal:?} while {was}, with {moved:?}");
    }

    fn command(&self, op: &Op, by: Option<&SignIn>, how: Option<&Consenting>) -> Command {
        let (driver, kind) = (&self.driver, self.kind);
        match op {
            Op::SignIn(..) if kind.device => Command::Claim { code: user_code(driver), by: by.unwrap().clone() },
            Op::SignIn(..) => Command::SignIn(by.unwrap().clone()),
            Op::Consent(number, ..) => Command::Consent {
                user: user(*number),
                scope: scope("offline_access openid profile"),
                how: how.unwrap().clone(),
            },
            Op::Deny(number) => Command::Deny { user: number.map(user) },
            Op::Redeem(_) if kind.device => poll(driver, false),
            Op::Redeem(narrow) => Command::Exchange(Exchange {
                wish: Wish { scope: narrow.then(|| scope("openid")), resource: vec![] },
                ..exchange(driver)
            }),
            Op::RedeemBadly(how) => {
                let mut asked = exchange(driver);
                match how {
                    0 => asked.client = client(2),
                    1 => asked.verifier = Some(Verifier::parse("x".repeat(43)).unwrap()),
                    2 => asked.verifier = None,
                    3 => asked.code = foreign(driver, of::AuthorizationCode),
                    _ => {
                        let code = presented(driver, of::DeviceCode, 0);
                        return Command::Poll { code, client: client(2), hasty: true };
                    }
                }
                Command::Exchange(asked)
            }
            Op::Poll(hasty) => poll(driver, *hasty),
            Op::Refresh(back) => refresh(driver, *back, Wish::default()),
            Op::RefreshByAnother => Command::Refresh {
                token: presented(driver, of::RefreshToken, issue(driver).n),
                client: client(2),
                wish: Wish::default(),
            },
            Op::RefreshForMore => refresh(driver, 0, Wish { scope: Some(scope("admin")), resource: vec![] }),
            Op::Revoke(number) => {
                Command::Revoke { token: presented(driver, of::RefreshToken, 0), client: client(*number) }
            }
            Op::Leave => Command::Leave,
            Op::Fence(_) | Op::EndSession(_) | Op::DeleteClient | Op::TakeBack(_) | Op::Told(_) | Op::Wake => {
                panic!("that is nobody's command")
            }
        }
    }

    fn ask(&mut self, now: Timestamp, op: &Op) {
        let by = match op {
            Op::SignIn(number, known, stale) => Some(self.fences.sign_in(*number, *known, *stale)),
            _ => None,
        };
        let how = match op {
            Op::Consent(number, known, stale) => Some(self.fences.consenting(*number, *known, *stale)),
            _ => None,
        };
        let (was, before) = (self.driver.phase(), self.driver.version);
        let command = self.command(op, by.as_ref(), how.as_ref());
        let says = self.driver.ask(now, command);
        let moved = self.driver.version > before;
        match (&says, &by, &how) {
            (Outcome::SignedIn { .. }, Some(by), _) => self.signed_in(by, &says),
            (Outcome::CodeIssued { .. } | Outcome::DeviceApproved, Some(by), _) if moved => self.signed_in(by, &says),
            (Outcome::CodeIssued { .. } | Outcome::DeviceApproved, _, Some(how)) if moved => self.consented(how),
            (Outcome::CodeIssued { .. } | Outcome::DeviceApproved, ..) => {
                assert_eq!(was, "consented");
            }
            (Outcome::Tokens(tokens), ..) => self.handed(now.max(self.driver.touched), was, before, op, tokens),
            (Outcome::Ended { by }, ..) if moved => self.ended(self.driver.touched, was, op, *by),
            _ => {}
        }
        match (&says, op) {
            (Outcome::CodeIssued { issue, back, .. }, _) => {
                assert!(!self.kind.device && issue.n == 0);
                assert_eq!((back.redirect_uri.as_str(), back.state.as_deref()), (REDIRECT, Some(STATE)));
                assert_eq!(*self.code.get_or_insert_with(|| json(issue)), json(issue), "there is one code");
                if let Op::SignIn(number, ..) | Op::Consent(number, ..) = op {
                    assert_eq!(self.begun.as_ref().unwrap().number, *number, "the code of another");
                }
            }
            (Outcome::DeviceApproved, _) => assert!(self.kind.device),
            (Outcome::Pending { .. }, _) => assert!(!moved && self.kind.device),
            (Outcome::SlowDown { interval }, _) => {
                assert!(*interval <= LONGEST_INTERVAL && matches!(op, Op::Poll(true)));
            }
            (_, Op::RedeemBadly(_) | Op::RefreshByAnother | Op::Revoke(2)) => {
                assert!(!moved, "{op:?} uses nothing up and ends nothing");
            }
            (_, Op::Deny(Some(number))) if matches!(was, "signed_in" | "consented") => {
                let is_theirs = self.begun.as_ref().unwrap().number == *number;
                assert_eq!(matches!(says, Outcome::Denied { .. }), is_theirs);
            }
            _ => {}
        }
    }

    /// Tokens were told: the next, or those of before to who asked for them before.
    fn handed(&mut self, now: Timestamp, was: &str, before: u64, op: &Op, tokens: &Tokens) {
        let begun = self.begun.as_ref().expect("nobody signed in");
        assert_eq!((tokens.user, tokens.client, tokens.session), (begun.who.user, client(1), begun.who.session));
        self.fences.stand(begun, self.kind.offline, "tokens");
        let generation = tokens.minted.generation as usize;
        assert_eq!(generation == 0 && !self.kind.device, tokens.nonce.is_some(), "a nonce with the first tokens");
        match self.told.get(generation) {
            Some(same) => {
                assert_eq!((same, self.driver.version), (&json(tokens), before), "one generation, one answer");
                assert_eq!(generation + 1, self.told.len(), "an older answer than the last");
            }
            None => {
                assert_eq!(generation, self.told.len(), "no generation is left out");
                self.told.push(json(tokens));
            }
        }
        assert_eq!(tokens.issue.n as usize, if self.kind.policy == Policy::Stable { 0 } else { generation });
        let narrow = matches!(op, Op::Redeem(true)) && !self.kind.device;
        match (was, self.answered) {
            ("consented", None) => self.answered = Some((now, narrow)),
            ("active", Some((at, first))) => {
                let repeats = matches!(op, Op::Redeem(_) | Op::Poll(_));
                let in_time = generation == 0 && now.0 < at.0 + GRACE && narrow == first;
                assert!(!repeats || in_time, "a code is answered once, at {at:?} and not at {now:?}");
                assert!(repeats || generation > 0);
            }
            other => panic!("tokens while {other:?}"),
        }
    }

    /// It ended by a command: for the reason that there was.
    fn ended(&self, now: Timestamp, was: &str, op: &Op, by: End) {
        let is_offline = self.kind.offline && matches!(was, "consented" | "active");
        let begun = self.begun.as_ref().filter(|_| !matches!(was, "requested" | "lapsed"));
        let mut reasons = match begun {
            Some(begun) => self.fences.moved(begun, is_offline),
            None if self.fences.client > 0 => vec![End::ClientDeleted],
            None => Vec::new(),
        };
        match op {
            Op::Revoke(1) | Op::Leave => reasons = vec![End::Revoked],
            Op::Redeem(narrow) if was == "active" => {
                let (at, first) = self.answered.expect("it is active");
                let asked = *narrow && !self.kind.device;
                if now.0 >= at.0 + GRACE || asked != first || self.told.len() > 1 {
                    reasons = vec![End::CodeReused];
                }
            }
            Op::Poll(_) if was == "active" => reasons.push(End::CodeReused),
            Op::Refresh(_) => reasons.push(End::Reused),
            _ => {}
        }
        assert!(reasons.contains(&by), "{op:?} while {was} ended by {by:?}, not {reasons:?}");
    }

    /// What must be so at any time.
    fn looks_right(&self) {
        let (driver, state) = (&self.driver, self.driver.state());
        let claimed = driver.guards.keys().any(|key| key.starts_with("user_code/"));
        let undecided = self.kind.device && matches!(driver.phase(), "requested" | "signed_in");
        assert_eq!((claimed, state.public().subject.is_some()), (undecided, undecided), "the user code");
        assert_eq!(driver.writes.len(), self.writes, "nothing else is written");
        assert!(driver.sent.is_empty() && driver.told.is_empty());
        let text = json(state);
        let hidden: &[&str] = match driver.phase() {
            "ended" => &[STATE, NONCE, REDIRECT, CHALLENGE],
            "active" if self.told.len() > 1 => &[STATE, NONCE],
            "active" => &[STATE],
            _ => &[],
        };
        assert!(hidden.iter().all(|secret| !text.contains(secret)), "{text}");
        if matches!(driver.phase(), "requested" | "lapsed") {
            let persons = [user(1).0, user(2).0, self.fences.session(1), self.fences.session(2)];
            assert!(persons.iter().all(|id| !text.contains(json(id).trim_matches('"'))), "{text}");
            assert!(state.public().user.is_none() && state.who().is_none());
        }
    }
}

/// One way through a grant.
fn drive(kind: Kind, entry: Option<(Consented, bool)>, ops: &[(i64, Op)]) {
    let Some(mut course) = Course::new(kind, entry) else { return };
    let mut now = T0;
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        let was = course.driver.phase();
        if course.driver.wake(now) {
            let waits = !kind.device && matches!(was, "requested" | "signed_in");
            assert_eq!(course.driver.phase(), if waits { "lapsed" } else { "ended" }, "what is late is too late");
            course.driver.wake(now);
            course.looks_right();
        }
        if matches!(course.driver.phase(), "requested" | "lapsed") {
            course.begun = None;
        }
        if !course.other(now, op) {
            course.ask(now, op);
        }
        course.looks_right();
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn whoever_asks_a_code_is_answered_once_and_nothing_outlives_a_fence(
        kind in kinds(),
        entry in prop::option::weighted(0.4, (remembered(), prop::bool::weighted(0.1))),
        ops in prop::collection::vec((moves(), op()), 0..30),
    ) {
        drive(kind, entry, &ops);
    }

    #[test]
    fn a_grant_that_came_as_far_as_its_tokens_keeps_the_same_promises(
        kind in kinds(),
        known in remembered(),
        ops in prop::collection::vec((0..40_i64, op()), 0..30),
    ) {
        let lead = [(1, Op::SignIn(1, Consented::Never, false)), (1, Op::Consent(1, known, false)), (1, Op::Redeem(false))];
        let all: Vec<_> = lead.into_iter().chain(ops).collect();
        drive(kind, None, &all);
    }
}
