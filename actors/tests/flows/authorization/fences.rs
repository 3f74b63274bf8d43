//! The fences of a grant one by one: nothing that has lost one comes to life again.

use cairn_actors::effects::{Auth, ConsentWrite, Write};
use cairn_runtime::Domain as _;

use super::*;

/// What moves one of the four fences.
type Moves = fn(&mut Driven);

const REASONS: [(Moves, End); 4] = [
    (|driver| driver.bump(&Key::User(user(1))), End::Fenced),
    (|driver| driver.take_away(&Key::Session(session(1))), End::Fenced),
    (|driver| driver.bump(&Key::Client(client(1))), End::ClientDeleted),
    (|driver| driver.bump(&Key::Consent(user(1), client(1))), End::ConsentRevoked),
];

fn of_consent() -> Key {
    Key::Consent(user(1), client(1))
}

fn again(number: i64, words: &str) -> Command {
    let how = Consenting::Again { number, scope: scope(words), resources: vec![] };
    Command::Consent { user: user(1), scope: scope("openid profile"), how }
}

/// The scopes of the consents that were kept.
fn written(driver: &Driven) -> Vec<String> {
    let scopes = driver.writes.iter().map(|write| match write {
        Write::Consent(ConsentWrite::Give { user: by, client: to, scope, .. }) => {
            assert_eq!((*by, *to), (user(1), client(1)));
            scope.to_string()
        }
        other => panic!("{other:?} is not this flow's to write"),
    });
    scopes.collect()
}

#[test]
fn no_code_is_redeemed_and_no_token_given_past_any_of_the_four_fences() {
    for (moves, by) in REASONS {
        for kind in [BROWSER, DEVICE] {
            let mut driver = consented(kind);
            moves(&mut driver);
            assert_eq!(redeem(&mut driver, at(30), kind), Outcome::Ended { by }, "a code");
            let mut driver = active(kind);
            moves(&mut driver);
            assert_eq!(redeem(&mut driver, at(31), kind), Outcome::Ended { by }, "the repeat of an exchange");
            let mut driver = refreshed(kind, 1);
            moves(&mut driver);
            let command = refresh(&driver, 1, Wish::default());
            assert_eq!(driver.clone().ask(at(101), command), Outcome::Ended { by }, "the repeat of a refresh");
            let command = refresh(&driver, 0, Wish::default());
            assert_eq!(driver.ask(at(102), command), Outcome::Ended { by }, "a refresh");
        }
    }
}

#[test]
fn a_client_that_is_registered_again_gets_nothing_of_what_its_namesake_was_granted() {
    let moves = |driver: &mut Driven| driver.bump(&Key::Client(client(1)));
    for kind in [BROWSER, DEVICE] {
        for waits in [begun(kind), signed_in(kind)] {
            let mut driver = waits;
            moves(&mut driver);
            assert_eq!(sign_in(&mut driver, at(20), kind, 1), Outcome::Ended { by: End::ClientDeleted });
            assert!(driver.guards.keys().all(|key| !key.starts_with("user_code/")), "its code is free");
        }
        let mut driver = signed_in(kind);
        moves(&mut driver);
        assert_eq!(driver.ask(at(20), consent(1)), Outcome::Ended { by: End::ClientDeleted });
        let mut driver = guarded(Driven::new(9));
        moves(&mut driver);
        assert_eq!(driver.start(T0, &start(kind)), Outcome::Refused, "by what was read before");
        assert!(driver.state.is_none() && driver.guards.keys().all(|key| !key.starts_with("user_code/")));
        driver.start(T0, &Start { client_fence: 1, ..start(kind) });
        assert!(matches!(sign_in(&mut driver, at(20), kind, 1), Outcome::SignedIn { .. }), "asked anew, it may");
    }
    let mut driver = lapsed();
    moves(&mut driver);
    assert_eq!(sign_in(&mut driver, at(900), BROWSER, 1), Outcome::Ended { by: End::ClientDeleted });
}

#[test]
fn a_consent_that_is_taken_back_and_given_again_brings_no_older_grant_to_life() {
    let mut older = active(BROWSER);
    assert_eq!(older.number(&of_consent()), Some(0), "its fence is there from the first consent on");
    older.bump(&of_consent());

    let mut guards = older.guards.clone();
    let mut newer = Driven::new(10);
    newer.among(&mut guards, |newer| {
        let as_before = || start_with(BROWSER, Some(known(1, Remembered::Given(0))));
        assert_eq!(newer.start(at(40), &as_before()), Outcome::Refused, "what was remembered is no more");
        assert!(newer.state.is_none());
        newer.start(at(40), &start_with(BROWSER, Some(by(1))));
        for from_before in [consent(1), again(0, "email")] {
            assert_eq!(newer.ask(at(41), from_before), Outcome::Refused, "it must be read again");
        }
        assert!(matches!(newer.ask(at(42), again(1, "")), Outcome::CodeIssued { .. }));
        assert!(matches!(redeem(newer, at(43), BROWSER), Outcome::Tokens(_)));
    });
    assert_eq!(guards.get(&Auth::guard(&of_consent())), Some(&1));

    older.guards = guards;
    let command = refresh(&older, 0, Wish::default());
    assert_eq!(older.ask(at(44), command), Outcome::Ended { by: End::ConsentRevoked });
}

#[test]
fn what_is_consented_to_is_kept_with_the_code_and_adds_to_what_was() {
    let first = consented(BROWSER);
    assert_eq!(written(&first), ["openid profile"]);
    let mut second = signed_in(BROWSER);
    second.put(&of_consent(), 4);
    assert!(matches!(second.ask(at(20), again(4, "email openid")), Outcome::CodeIssued { .. }));
    assert_eq!(written(&second), ["email openid profile"]);
    let mut partly = signed_in(BROWSER);
    let how = Consenting::First;
    partly.ask(at(20), Command::Consent { user: user(1), scope: scope("admin openid"), how });
    assert_eq!(written(&partly), ["openid"], "never more than was asked for");
    let mut own = signed_in(BROWSER);
    own.ask(at(20), Command::Consent { user: user(1), scope: scope("openid"), how: Consenting::NotKept });
    assert_eq!((own.phase(), own.number(&of_consent())), ("consented", None));
    assert!(own.writes.is_empty());
}

#[test]
fn of_two_first_consents_at_once_the_second_is_read_again() {
    let mut driver = signed_in(BROWSER);
    driver.put(&of_consent(), 0);
    assert_eq!(driver.ask(at(20), consent(1)), Outcome::Refused);
    assert_eq!((driver.phase(), driver.version), ("signed_in", 2));
    assert!(matches!(driver.ask(at(21), again(0, "openid")), Outcome::CodeIssued { .. }));
}

#[test]
fn a_signal_that_comes_late_spares_what_began_anew() {
    // They were signed in here, their fence moved, and they signed in again before the signal came.
    let mut driver = signed_in(BROWSER);
    driver.bump(&Key::User(user(1)));
    let anew = SignIn { who: Who { fence: 4, ..who(1) }, remembered: Remembered::Nothing };
    driver.ask(at(20), Command::SignIn(anew));
    for (second, command) in [(21, None), (22, Some(consent(1))), (23, Some(Command::Exchange(exchange(&driver))))] {
        if let Some(command) = command {
            driver.ask(at(second), command);
        }
        let before = driver.version;
        assert_eq!(driver.input(at(second), &Input::Told(Signal::Fenced)), Outcome::Nothing);
        assert_eq!(driver.version, before);
    }
    assert_eq!(driver.input(at(24), &Input::Told(Signal::ConsentRevoked)), Outcome::Nothing, "of the one before");
    driver.bump(&of_consent());
    assert_eq!(driver.input(at(25), &Input::Told(Signal::ConsentRevoked)), Outcome::Ended { by: End::ConsentRevoked });
}

#[test]
fn a_signal_ends_what_has_lost_its_fence() {
    for (moves, by) in REASONS {
        for kind in [BROWSER, DEVICE] {
            for reached in [consented(kind), active(kind), refreshed(kind, 2)] {
                let (mut driver, now) = (reached.clone(), reached.touched);
                moves(&mut driver);
                assert_eq!(driver.input(now, &Input::Told(Signal::Fenced)), Outcome::Ended { by });
            }
        }
    }
    let mut offline = active(Kind { offline: true, ..BROWSER });
    offline.take_away(&Key::Session(session(1)));
    assert_eq!(offline.input(at(31), &Input::Told(Signal::Fenced)), Outcome::Nothing, "it outlives its session");
    let mut own = begun_with(BROWSER, Some(known(1, Remembered::NotNeeded)));
    assert_eq!(own.input(at(1), &Input::Told(Signal::ConsentRevoked)), Outcome::Ended { by: End::ConsentRevoked });
}
