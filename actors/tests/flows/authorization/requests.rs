//! What comes before the tokens: somebody who is signed in already, requests that were left alone, and exchanges that are
//! repeated.

use cairn_actors::environment::Settings;
use cairn_actors::flows::authorization::{PATIENCE, RESUMES, Way};

use super::*;
use crate::driver::seconds;

fn span(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap()
}

fn proved(at: Timestamp, remembered: Remembered) -> SignIn {
    SignIn { who: Who { auth_time: at, ..who(1) }, remembered }
}

fn asking(change: impl Fn(&mut Browser), entry: Option<SignIn>) -> Start {
    let mut way = browser();
    change(&mut way);
    Start { way: Asking::Browser { way: Box::new(way), entry }, ..start(BROWSER) }
}

fn started(asked: &Start) -> (Driven, Outcome) {
    let mut driver = guarded(Driven::new(9));
    driver.put(&Key::Consent(user(1), client(1)), 4);
    let says = driver.start(T0, asked);
    (driver, says)
}

#[test]
fn who_is_signed_in_and_has_consented_gets_the_code_with_the_very_request() {
    for remembered in [Remembered::Given(4), Remembered::NotNeeded] {
        let (mut driver, says) = started(&start_with(BROWSER, Some(known(1, remembered))));
        let Outcome::CodeIssued { session: of, back, expires_at, .. } = says else { panic!("{says:?}") };
        assert_eq!((driver.phase(), driver.version), ("consented", 1), "in one commit");
        assert_eq!((of, back.state.as_deref(), expires_at), (session(1), Some(STATE), at(60)));
        assert!(driver.writes.is_empty(), "nothing new is kept");
        assert_eq!(tokens(redeem(&mut driver, at(1), BROWSER)).user, user(1));
    }
    let (driver, says) = started(&start_with(BROWSER, Some(by(1))));
    assert_eq!((driver.phase(), says), ("signed_in", Outcome::SignedIn { expires_at: at(span(PATIENCE)) }));
}

#[test]
fn a_request_of_somebody_whose_fence_has_moved_leaves_nothing_behind() {
    let keys = [Key::User(user(1)), Key::Session(session(1)), Key::Client(client(1)), Key::Consent(user(1), client(1))];
    for key in keys {
        let mut driver = guarded(Driven::new(9));
        driver.put(&Key::Consent(user(1), client(1)), 4);
        driver.bump(&key);
        let says = driver.start(T0, &start_with(BROWSER, Some(known(1, Remembered::Given(4)))));
        assert_eq!(says, Outcome::Refused, "{key:?}");
        assert!(driver.state.is_none());
    }
}

#[test]
fn a_client_that_wants_the_person_to_be_asked_has_them_asked_whatever_is_known() {
    for remembered in [Remembered::Given(4), Remembered::NotNeeded] {
        let (mut driver, says) = started(&asking(|way| way.asks = true, Some(known(1, remembered))));
        assert!(matches!(says, Outcome::SignedIn { .. }));
        assert!(matches!(driver.ask(at(1), Command::SignIn(known(1, remembered))), Outcome::SignedIn { .. }));
        let how = Consenting::NotKept;
        let says = driver.ask(at(2), Command::Consent { user: user(1), scope: scope("openid profile"), how });
        assert!(matches!(says, Outcome::CodeIssued { .. }));
    }
    let mut device = begun(DEVICE);
    device.put(&Key::Consent(user(1), client(1)), 4);
    let claim = Command::Claim { code: user_code(&device), by: known(1, Remembered::Given(4)) };
    assert!(matches!(device.ask(at(1), claim), Outcome::SignedIn { .. }), "one sees which device one lets in");
}

#[test]
fn a_sign_in_that_is_older_than_the_client_takes_must_be_proved_anew() {
    let late = |way: &mut Browser| way.not_before = Some(at(-50));
    let old = || known(1, Remembered::NotNeeded);
    let (driver, says) = started(&asking(late, Some(old())));
    assert_eq!(says, Outcome::TooOld);
    assert!(driver.state.is_none(), "the request begins without it");
    let (mut driver, _) = started(&asking(late, None));
    assert_eq!(driver.ask(at(1), Command::SignIn(old())), Outcome::TooOld);
    let just_before = proved(Timestamp(at(-50).0 - 1), Remembered::NotNeeded);
    assert_eq!(driver.ask(at(2), Command::SignIn(just_before)), Outcome::TooOld);
    assert_eq!((driver.phase(), driver.version), ("requested", 1));
    let anew = proved(at(-50), Remembered::NotNeeded);
    assert!(matches!(driver.ask(at(3), Command::SignIn(anew)), Outcome::CodeIssued { .. }));
    assert_eq!(tokens(redeem(&mut driver, at(4), BROWSER)).auth_time, at(-50));
}

#[test]
fn a_request_that_was_left_alone_knows_nobody_and_is_taken_up_by_who_signs_in() {
    let mut driver = signed_in(BROWSER);
    assert!(driver.wake(at(10 + span(PATIENCE))));
    let text = json(driver.state());
    for of_a_person in [json(&user(1)), json(&session(1)), "pwd".to_owned(), at(-100).0.to_string()] {
        assert!(!text.contains(of_a_person.trim_matches('"')), "{text}");
    }
    assert_eq!((driver.phase(), driver.state().public().user), ("lapsed", None));
    assert_eq!(driver.ask(at(3_000), consent(1)), Outcome::NotYours);
    assert_eq!(driver.ask(at(3_000), Command::Exchange(exchange(&driver))), Outcome::Garbage);
    assert!(matches!(sign_in(&mut driver, at(80_000), BROWSER, 2), Outcome::SignedIn { .. }));
    let Outcome::CodeIssued { back, .. } = driver.ask(at(80_001), consent(2)) else { panic!("they consented") };
    assert_eq!(back.state.as_deref(), Some(STATE), "the client knows it again");
    assert_eq!(tokens(redeem(&mut driver, at(80_002), BROWSER)).user, user(2));
}

#[test]
fn a_request_that_was_left_alone_ends_after_a_day_or_by_a_no() {
    let unclaimed = span(UNCLAIMED);
    let mut late = lapsed();
    assert!(!late.wake(at(unclaimed + span(RESUMES) - 1)));
    assert_eq!(sign_in(&mut late, at(unclaimed + span(RESUMES)), BROWSER, 1), Outcome::Ended { by: End::Expired });
    let mut denied = lapsed();
    let Outcome::Denied { back: Some(back) } = denied.ask(at(700), Command::Deny { user: None }) else { panic!("no") };
    assert_eq!((back.state.as_deref(), denied.phase()), (Some(STATE), "ended"));
    for device in [begun(DEVICE), signed_in(DEVICE)] {
        let mut device = device;
        device.wake(at(unclaimed));
        assert_eq!(device.phase(), "ended", "a device asks anew");
    }
}

#[test]
fn a_repeat_of_the_exchange_within_the_grace_gets_the_same_answer() {
    for kind in [BROWSER, DEVICE] {
        let mut driver = consented(kind);
        let first = redeem(&mut driver, at(30), kind);
        assert!(matches!(first, Outcome::Tokens(_)));
        for second in [30, 45, 59] {
            assert_eq!(redeem(&mut driver, at(second), kind), first, "nonce and all");
            assert_eq!(driver.version, 4, "nothing is written");
        }
        assert_eq!(redeem(&mut driver, at(60), kind), Outcome::Ended { by: End::CodeReused });
    }
}

#[test]
fn a_repeat_of_the_exchange_asks_for_the_same_by_the_same_client() {
    let narrow = |driver: &Driven| {
        let wish = Wish { scope: Some(scope("openid")), resource: vec![] };
        Command::Exchange(Exchange { wish, ..exchange(driver) })
    };
    let mut driver = consented(BROWSER);
    let command = narrow(&driver);
    let first = driver.ask(at(30), command);
    assert_eq!(driver.ask(at(31), narrow(&driver)), first);
    let other = Exchange { client: client(2), ..exchange(&driver) };
    assert_eq!(driver.ask(at(32), Command::Exchange(other)), Outcome::WrongClient);
    let other = Exchange { verifier: Some(Verifier::parse("x".repeat(43)).unwrap()), ..exchange(&driver) };
    assert_eq!(driver.ask(at(33), Command::Exchange(other)), Outcome::WrongVerifier);
    assert_eq!(driver.ask(at(34), narrow(&driver)), first, "these used nothing up");
    assert_eq!(redeem(&mut driver, at(35), BROWSER), Outcome::Ended { by: End::CodeReused }, "for more is another");
}

#[test]
fn a_code_that_comes_after_the_first_refresh_is_in_two_hands() {
    for kind in [BROWSER, DEVICE, Kind { policy: Policy::Stable, ..BROWSER }] {
        let mut driver = active(kind);
        let command = refresh(&driver, 0, Wish::default());
        assert!(matches!(driver.ask(at(31), command), Outcome::Tokens(_)));
        assert_eq!(redeem(&mut driver, at(32), kind), Outcome::Ended { by: End::CodeReused });
    }
}

#[test]
fn without_a_grace_every_repeat_is_reuse() {
    for kind in [BROWSER, DEVICE] {
        let mut driver = guarded(Driver::with(9, Settings { refresh_grace: seconds(0), ..Settings::default() }));
        driver.start(T0, &start(kind));
        sign_in(&mut driver, at(10), kind, 1);
        driver.ask(at(20), consent(1));
        assert!(matches!(redeem(&mut driver, at(30), kind), Outcome::Tokens(_)));
        assert_eq!(redeem(&mut driver, at(30), kind), Outcome::Ended { by: End::CodeReused });
    }
}

#[test]
fn a_code_is_shown_again_to_who_consented_and_to_nobody_else() {
    let mut driver = consented(BROWSER);
    let Some(Way::Browser(_)) = driver.state().grant().map(|grant| grant.way.clone()) else { panic!("a browser's") };
    let shown = driver.ask(at(21), consent(1));
    assert!(matches!(shown, Outcome::CodeIssued { .. }));
    assert_eq!(driver.ask(at(22), Command::SignIn(by(1))), shown, "the page that is opened again");
    for other in [Command::SignIn(known(2, Remembered::NotNeeded)), consent(2), Command::Deny { user: Some(user(2)) }] {
        assert_eq!(driver.ask(at(23), other), Outcome::NotYours);
    }
    assert_eq!(driver.version, 3);
}

#[test]
fn a_client_without_a_challenge_brings_no_verifier_and_one_with_brings_its_own() {
    let without = |driver: &Driven| Command::Exchange(Exchange { verifier: None, ..exchange(driver) });
    let entry = || Some(known(1, Remembered::NotNeeded));
    let (mut driver, _) = started(&asking(|way| way.challenge = None, entry()));
    assert_eq!(redeem(&mut driver, at(1), BROWSER), Outcome::WrongVerifier, "somebody took the challenge out");
    assert!(matches!(driver.ask(at(2), without(&driver)), Outcome::Tokens(_)), "that used nothing up");
    let (mut driver, _) = started(&asking(|_| {}, entry()));
    assert_eq!(driver.ask(at(1), without(&driver)), Outcome::WrongVerifier);
    assert!(matches!(redeem(&mut driver, at(2), BROWSER), Outcome::Tokens(_)));
}

#[test]
fn an_application_that_is_left_gets_no_tokens_any_more() {
    for kind in [BROWSER, DEVICE] {
        let mut driver = active(kind);
        assert_eq!(driver.ask(at(40), Command::Leave), Outcome::Ended { by: End::Revoked });
        let mut driver = consented(kind);
        assert_eq!(driver.ask(at(25), Command::Leave), Outcome::Ended { by: End::Revoked }, "nor any yet");
        for mut waits in [begun(kind), signed_in(kind)] {
            assert_eq!(waits.ask(at(25), Command::Leave), Outcome::Garbage, "there is nothing to leave");
        }
    }
}

#[test]
fn what_is_registered_of_a_client_makes_access_tokens_shorter_and_never_longer() {
    for (registered, lasts) in [(Some(60), 60), (Some(3_600), 300), (None, 300)] {
        let entry = Some(known(1, Remembered::NotNeeded));
        let (mut driver, _) = started(&Start { access_ttl: registered, ..start_with(BROWSER, entry) });
        assert_eq!(tokens(redeem(&mut driver, at(1), BROWSER)).minted.until, at(1 + lasts));
        let command = refresh(&driver, 0, Wish::default());
        assert_eq!(tokens(driver.ask(at(50), command)).minted.until, at(50 + lasts));
    }
}

#[test]
fn claims_that_were_asked_for_go_with_every_token_and_the_nonce_with_the_first() {
    let claims = Claims { id_token: vec!["email".to_owned()], userinfo: vec!["phone_number".to_owned()] };
    let entry = Some(known(1, Remembered::NotNeeded));
    let (mut driver, _) = started(&asking(|way| way.claims = claims.clone(), entry));
    let first = tokens(redeem(&mut driver, at(1), BROWSER));
    assert_eq!((first.claims, first.nonce.as_deref()), (claims.clone(), Some(NONCE)));
    let command = refresh(&driver, 0, Wish::default());
    let second = tokens(driver.ask(at(50), command));
    assert_eq!((second.claims, second.nonce), (claims, None));
}
