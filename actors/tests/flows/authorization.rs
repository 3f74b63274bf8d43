//! Authorization: its table, and what must hold whoever asks, in whatever order, at whatever time.

mod fences;
mod property;
mod requests;
mod rules;

use cairn_actors::effects::Key;
use cairn_actors::flows::authorization::{
    self, Asking, Authorization, Browser, Claims, Command, Consenting, End, Exchange, LONGEST_INTERVAL, Outcome,
    Policy, Remembered, ResponseMode, SignIn, Signal, Start, Tokens, UNCLAIMED, Who,
};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::access::{Access, Wish};
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::pkce::{Challenge, Verifier};
use cairn_actors::oauth::scope::Scope;
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::credential::{OfPurpose, Presented, Seal, UserCode, of};
use cairn_actors::testing;
use cairn_runtime::{Flow, Id, Input, Lost, Timestamp};

use crate::driver::{Driver, Known, T0, at, cases, json};
use crate::golden;
use crate::table::{self, Ask, Place, after, asked, if_any};

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "https://client.example/cb";
const STATE: &str = "the-state-of-the-client";
const NONCE: &str = "the-nonce-of-the-client";

impl Known for Authorization {
    const OVER: &'static [authorization::Phase] = &[authorization::Phase::Ended];
}

type Driven = Driver<Authorization>;

fn client(number: u8) -> ClientId {
    ClientId(Id::v7(2, [number; 10]))
}

fn user(number: u8) -> UserId {
    UserId(Id::v7(1, [number; 10]))
}

fn session(number: u8) -> Id {
    Id::v7(3, [number; 10])
}

fn who(number: u8) -> Who {
    Who {
        user: user(number),
        fence: 3,
        session: session(number),
        session_fence: 0,
        auth_time: at(-100),
        amr: vec!["pwd".to_owned()],
    }
}

fn by(number: u8) -> SignIn {
    known(number, Remembered::Nothing)
}

fn known(number: u8, remembered: Remembered) -> SignIn {
    SignIn { who: who(number), remembered }
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn uri(text: &str) -> AbsoluteUri {
    AbsoluteUri::parse(text).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    device: bool,
    offline: bool,
    policy: Policy,
    /// The person is asked, whatever they consented to before.
    asks: bool,
}

const BROWSER: Kind = Kind { device: false, offline: false, policy: Policy::Rotate, asks: false };
const DEVICE: Kind = Kind { device: true, ..BROWSER };

fn browser() -> Browser {
    Browser {
        redirect_uri: uri(REDIRECT),
        challenge: Some(Challenge::parse(CHALLENGE).unwrap()),
        nonce: Some(NONCE.to_owned()),
        state: Some(STATE.to_owned()),
        response_mode: ResponseMode::Query,
        not_before: None,
        asks: false,
        claims: Claims::default(),
    }
}

fn start(kind: Kind) -> Start {
    start_with(kind, None)
}

/// A request of a client in whose browser somebody may be signed in.
fn start_with(kind: Kind, entry: Option<SignIn>) -> Start {
    let scope = scope(if kind.offline { "offline_access openid profile" } else { "openid profile" });
    Start {
        client: client(1),
        client_fence: 0,
        access_ttl: None,
        access: Access { scope, resource: vec![uri("https://api.example/")] },
        refresh: kind.policy,
        way: if kind.device {
            Asking::Device
        } else {
            Asking::Browser { way: Box::new(Browser { asks: kind.asks, ..browser() }), entry }
        },
    }
}

/// The guards of a client that is registered and two users who are signed in.
fn guarded(mut driver: Driven) -> Driven {
    driver.put(&Key::Client(client(1)), 0);
    for number in [1, 2] {
        driver.put(&Key::User(user(number)), 3);
        driver.put(&Key::Session(session(number)), 0);
    }
    driver
}

fn begun(kind: Kind) -> Driven {
    begun_with(kind, None)
}

fn begun_with(kind: Kind, entry: Option<SignIn>) -> Driven {
    let mut driver = guarded(Driver::new(9));
    driver.start(T0, &start_with(kind, entry));
    driver
}

/// The seal of the present state, or any once it is over.
fn issue(driver: &Driven) -> Seal {
    match driver.state().grant() {
        Some(grant) => grant.issue.clone(),
        None => Seal::new(&driver.environment.ring, [1; 16]),
    }
}

fn presented<P: OfPurpose>(driver: &Driven, purpose: P, n: u32) -> Presented<P> {
    testing::presented(&driver.environment, purpose, driver.flow, &Seal { n, ..issue(driver) })
}

fn foreign<P: OfPurpose>(driver: &Driven, purpose: P) -> Presented<P> {
    testing::presented(&driver.environment, purpose, driver.flow, &Seal::new(&driver.environment.ring, [0x66; 16]))
}

fn user_code(driver: &Driven) -> UserCode {
    testing::user_code(&driver.environment, driver.flow, &Seal { n: 0, ..issue(driver) })
}

fn exchange(driver: &Driven) -> Exchange {
    Exchange {
        code: presented(driver, of::AuthorizationCode, 0),
        client: client(1),
        verifier: Some(Verifier::parse(VERIFIER.to_owned()).unwrap()),
        redirect_uri: Some(uri(REDIRECT)),
        wish: Wish::default(),
    }
}

fn poll(driver: &Driven, hasty: bool) -> Command {
    Command::Poll { code: presented(driver, of::DeviceCode, 0), client: client(1), hasty }
}

/// The refresh token so many generations before the present one.
fn refresh(driver: &Driven, back: i64, wish: Wish) -> Command {
    let n = u32::try_from((i64::from(issue(driver).n) - back).max(0)).unwrap();
    Command::Refresh { token: presented(driver, of::RefreshToken, n), client: client(1), wish }
}

/// The same, where there is one.
fn older(driver: &Driven, back: u32, wish: Wish) -> Option<Command> {
    match driver.state() {
        Authorization::Active(active) if active.grant.issue.n < back => None,
        _ => Some(refresh(driver, i64::from(back), wish)),
    }
}

fn sign_in(driver: &mut Driven, now: Timestamp, kind: Kind, number: u8) -> Outcome {
    let command = if kind.device {
        Command::Claim { code: user_code(driver), by: by(number) }
    } else {
        Command::SignIn(by(number))
    };
    driver.ask(now, command)
}

fn consent(number: u8) -> Command {
    Command::Consent { user: user(number), scope: scope("offline_access openid profile"), how: Consenting::First }
}

fn redeem(driver: &mut Driven, now: Timestamp, kind: Kind) -> Outcome {
    let command = if kind.device { poll(driver, false) } else { Command::Exchange(exchange(driver)) };
    driver.ask(now, command)
}

fn signed_in(kind: Kind) -> Driven {
    let mut driver = begun(kind);
    sign_in(&mut driver, at(10), kind, 1);
    driver
}

/// Nobody came for ten minutes.
fn lapsed() -> Driven {
    let mut driver = begun(BROWSER);
    driver.wake(at(i64::try_from(UNCLAIMED).unwrap()));
    driver
}

fn consented(kind: Kind) -> Driven {
    let mut driver = signed_in(kind);
    driver.ask(at(20), consent(1));
    driver
}

fn active(kind: Kind) -> Driven {
    let mut driver = consented(kind);
    redeem(&mut driver, at(30), kind);
    driver
}

fn refreshed(kind: Kind, times: i64) -> Driven {
    let mut driver = active(kind);
    for time in 1..=times {
        let command = refresh(&driver, 0, Wish::default());
        driver.ask(at(100 * time), command);
    }
    driver
}

fn tokens(says: Outcome) -> Tokens {
    match says {
        Outcome::Tokens(tokens) => *tokens,
        other => panic!("{other:?} are no tokens"),
    }
}

pub(crate) fn places() -> Vec<Place<Authorization>> {
    let place = |name, driver| Place { name, driver };
    let mut slowest = begun(DEVICE);
    for _ in 0..11 {
        let command = poll(&slowest, true);
        slowest.ask(at(1), command);
    }
    let mut denied = signed_in(DEVICE);
    denied.ask(at(11), Command::Deny { user: Some(user(1)) });
    vec![
        place("browser", begun(BROWSER)),
        place("device", begun(DEVICE)),
        place("device in a hurry", slowest),
        place("browser, left alone", lapsed()),
        place("browser, must be asked", begun(Kind { asks: true, ..BROWSER })),
        place("browser", signed_in(BROWSER)),
        place("device", signed_in(DEVICE)),
        place("browser", consented(BROWSER)),
        place("browser, no consent needed", begun_with(BROWSER, Some(known(1, Remembered::NotNeeded)))),
        place("device", consented(DEVICE)),
        place("browser", active(BROWSER)),
        place("device", active(DEVICE)),
        place("refreshed twice, rotate", refreshed(BROWSER, 2)),
        place("refreshed twice, stable", refreshed(Kind { policy: Policy::Stable, ..BROWSER }, 2)),
        place("refreshed twice, offline", refreshed(Kind { offline: true, ..BROWSER }, 2)),
        place("denied", denied),
    ]
}

fn asks() -> Vec<Ask<Authorization>> {
    let with = |change: fn(&Driven, &mut Exchange)| {
        move |driver: &Driven| {
            let mut asked = exchange(driver);
            change(driver, &mut asked);
            Command::Exchange(asked)
        }
    };
    let narrow = || Wish { scope: Some(scope("openid")), resource: vec![] };
    let wide = || Wish { scope: Some(scope("admin")), resource: vec![] };
    let revoke = |driver: &Driven, n: u32| presented(driver, of::RefreshToken, n);
    let mut asks = vec![
        asked("sign in", |_| Command::SignIn(by(1))),
        asked("sign in as another", |_| Command::SignIn(by(2))),
        asked("claim by the user code", |driver| Command::Claim { code: user_code(driver), by: by(1) }),
        asked("claim by it as another", |driver| Command::Claim { code: user_code(driver), by: by(2) }),
        asked("claim by another code", |driver| Command::Claim {
            code: testing::user_code(&driver.environment, driver.flow, &Seal { n: 7, ..issue(driver) }),
            by: by(1),
        }),
        asked("consent", |_| consent(1)),
        asked("consent to a part", |_| Command::Consent {
            user: user(1),
            scope: scope("openid admin"),
            how: Consenting::First,
        }),
        asked("consent as another", |_| consent(2)),
        asked("consent once more", |_| Command::Consent {
            user: user(1),
            scope: scope("openid profile"),
            how: Consenting::Again { number: 4, scope: scope("email"), resources: vec![] },
        }),
        asked("consent that is not kept", |_| Command::Consent {
            user: user(1),
            scope: scope("openid profile"),
            how: Consenting::NotKept,
        }),
        asked("sign in, consented before", |_| Command::SignIn(known(1, Remembered::Given(4)))),
        asked("sign in, no consent needed", |_| Command::SignIn(known(1, Remembered::NotNeeded))),
        asked("deny", |_| Command::Deny { user: Some(user(1)) }),
        asked("deny as another", |_| Command::Deny { user: Some(user(2)) }),
        asked("deny as nobody", |_| Command::Deny { user: None }),
        asked("exchange", with(|_, _| {})),
        after("exchange, at 29 s", 29, |driver| Input::Asked(Command::Exchange(exchange(driver)))),
        after("exchange, at 30 s", 30, |driver| Input::Asked(Command::Exchange(exchange(driver)))),
        asked("exchange, no redirect URI", with(|_, asked| asked.redirect_uri = None)),
        asked(
            "exchange, another redirect URI",
            with(|_, asked| asked.redirect_uri = Some(uri("https://client.example/CB"))),
        ),
        asked("exchange by another client", with(|_, asked| asked.client = client(2))),
        asked(
            "exchange by another verifier",
            with(|_, asked| asked.verifier = Some(Verifier::parse("x".repeat(43)).unwrap())),
        ),
        asked("exchange without a verifier", with(|_, asked| asked.verifier = None)),
        asked(
            "exchange for a part",
            with(|_, asked| asked.wish = Wish { scope: Some(scope("openid")), resource: vec![] }),
        ),
        asked("exchange for another resource", with(|_, asked| asked.wish.resource = vec![uri("urn:other")])),
        asked("exchange of a foreign code", with(|driver, asked| asked.code = foreign(driver, of::AuthorizationCode))),
        asked(
            "exchange of a later generation",
            with(|driver, asked| asked.code = presented(driver, of::AuthorizationCode, 1)),
        ),
        asked("poll", |driver| poll(driver, false)),
        after("poll, at 29 s", 29, |driver| Input::Asked(poll(driver, false))),
        after("poll, at 30 s", 30, |driver| Input::Asked(poll(driver, false))),
        asked("poll too soon", |driver| poll(driver, true)),
        asked("poll by another client", |driver| Command::Poll {
            code: presented(driver, of::DeviceCode, 0),
            client: client(2),
            hasty: false,
        }),
        asked("poll with a foreign code", |driver| Command::Poll {
            code: foreign(driver, of::DeviceCode),
            client: client(1),
            hasty: false,
        }),
        asked("poll with a later generation", |driver| Command::Poll {
            code: presented(driver, of::DeviceCode, 1),
            client: client(1),
            hasty: true,
        }),
        asked("refresh by the present token", |driver| refresh(driver, 0, Wish::default())),
        asked("refresh for a part", move |driver| refresh(driver, 0, narrow())),
        asked("refresh for more", move |driver| refresh(driver, 0, wide())),
        if_any("refresh by the one before, at 29 s", 29, move |driver| older(driver, 1, wide())),
        if_any("refresh by the one before, at 30 s", 30, |driver| older(driver, 1, Wish::default())),
        if_any("refresh by an older one", 1, |driver| older(driver, 2, Wish::default())),
        asked("refresh by one not yet issued", |driver| refresh(driver, -1, Wish::default())),
        asked("refresh by a foreign one", |driver| Command::Refresh {
            token: foreign(driver, of::RefreshToken),
            client: client(1),
            wish: Wish::default(),
        }),
        asked("refresh by another client", |driver| Command::Refresh {
            token: presented(driver, of::RefreshToken, issue(driver).n),
            client: client(2),
            wish: Wish::default(),
        }),
        asked("revoke by the present token", move |driver| Command::Revoke {
            token: revoke(driver, issue(driver).n),
            client: client(1),
        }),
        asked("revoke by the first one", move |driver| Command::Revoke { token: revoke(driver, 0), client: client(1) }),
        asked("revoke by one not yet issued", move |driver| Command::Revoke {
            token: revoke(driver, 9),
            client: client(1),
        }),
        asked("revoke by another client", move |driver| Command::Revoke {
            token: revoke(driver, 0),
            client: client(2),
        }),
        asked("leave", |_| Command::Leave),
        after("told that the fence moved", 1, |_| Input::Told(Signal::Fenced)),
        after("told that the client is deleted", 1, |_| Input::Told(Signal::ClientDeleted)),
        after("told that consent is revoked", 1, |_| Input::Told(Signal::ConsentRevoked)),
    ];
    asks.extend(table::common());
    asks
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut table = table::print(&places(), &asks());
    let entry = |remembered| Some(known(1, remembered));
    let asks = Kind { asks: true, ..BROWSER };
    for (name, start) in [
        ("browser", start(BROWSER)),
        ("device", start(DEVICE)),
        ("somebody is signed in", start_with(BROWSER, entry(Remembered::Nothing))),
        ("somebody is signed in, consented before", start_with(BROWSER, entry(Remembered::Given(4)))),
        ("somebody is signed in, no consent needed", start_with(BROWSER, entry(Remembered::NotNeeded))),
        ("the same, and asks for it", start_with(asks, entry(Remembered::NotNeeded))),
    ] {
        let driver = Driven::new(9);
        let decide = |lost: Option<&Lost<Authorization>>| Authorization::start(&start, lost, &driver.cx(T0));
        let step = decide(None);
        table.push_str(&format!("\nstart, {name}\n  {}\n", table::line(&step)));
        table.push_str(&table::losses(&step, decide));
    }
    golden::check("authorization.transitions.txt", &table);
}
