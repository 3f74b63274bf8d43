//! The rules of an authorization one by one, each as the sentence that it is.

use super::*;

#[test]
fn a_code_is_good_for_a_minute_and_its_second_use_ends_what_it_opened() {
    let mut late = consented(BROWSER);
    assert_eq!(redeem(&mut late, at(20 + 60), BROWSER), Outcome::Ended { by: End::Expired });
    let mut driver = consented(BROWSER);
    let first = tokens(redeem(&mut driver, at(20 + 59), BROWSER));
    assert_eq!((first.nonce.as_deref(), first.issue.n), (Some(NONCE), 0));
    assert_eq!(redeem(&mut driver, at(79 + 30), BROWSER), Outcome::Ended { by: End::CodeReused });
    let token = testing::presented(&driver.environment, of::RefreshToken, driver.flow, &first.issue);
    let after = driver.ask(at(110), Command::Refresh { token, client: client(1), wish: Wish::default() });
    assert_eq!(after, Outcome::Ended { by: End::CodeReused });
}

#[test]
fn a_code_is_known_again_after_its_refresh_tokens_have_rotated() {
    for kind in [BROWSER, DEVICE] {
        let mut driver = refreshed(kind, 3);
        assert_eq!(redeem(&mut driver, at(301), kind), Outcome::Ended { by: End::CodeReused });
    }
}

#[test]
fn a_consent_to_a_part_gives_that_part_and_its_repeat_the_same_code() {
    let mut driver = signed_in(BROWSER);
    let part = || Command::Consent { user: user(1), scope: scope("openid admin"), how: Consenting::First };
    let said = driver.ask(at(20), part());
    assert_eq!(driver.ask(at(25), part()), said, "a double click");
    assert_eq!(driver.ask(at(26), consent(1)), said, "and no second thoughts");
    let tokens = tokens(redeem(&mut driver, at(27), BROWSER));
    assert_eq!(tokens.access.scope.to_string(), "openid", "never more than was asked for");
}

#[test]
fn a_client_narrows_one_token_and_not_the_grant() {
    let mut driver = active(BROWSER);
    let narrow = Wish { scope: Some(scope("openid")), resource: vec![] };
    let command = refresh(&driver, 0, narrow);
    assert_eq!(tokens(driver.ask(at(100), command)).access.scope.to_string(), "openid");
    let repeat = refresh(&driver, 1, Wish::default());
    assert_eq!(tokens(driver.ask(at(101), repeat)).access.scope.to_string(), "openid", "a repeat gets the same");
    let command = refresh(&driver, 0, Wish::default());
    assert_eq!(tokens(driver.ask(at(102), command)).access.scope.to_string(), "openid profile");
}

#[test]
fn offline_access_outlives_the_session_and_not_the_fence() {
    for (offline, survives) in [(true, true), (false, false)] {
        let mut driver = active(Kind { offline, ..BROWSER });
        driver.take_away(&Key::Session(session(1)));
        let command = refresh(&driver, 0, Wish::default());
        let says = driver.ask(at(100), command);
        assert_eq!(matches!(says, Outcome::Tokens(_)), survives);
        assert!(survives || says == Outcome::Ended { by: End::Fenced });
    }
    let mut driver = active(Kind { offline: true, ..BROWSER });
    driver.bump(&Key::User(user(1)));
    let repeat = refresh(&driver, 0, Wish::default());
    assert_eq!(driver.ask(at(100), repeat), Outcome::Ended { by: End::Fenced });
}

#[test]
fn a_sign_in_whose_fence_moved_meanwhile_leaves_the_question_open() {
    for kind in [BROWSER, DEVICE] {
        let mut driver = begun(kind);
        driver.bump(&Key::User(user(1)));
        assert_eq!(sign_in(&mut driver, at(10), kind, 1), Outcome::Refused);
        assert_eq!((driver.phase(), driver.version), ("requested", 1));
        assert!(matches!(sign_in(&mut driver, at(11), kind, 2), Outcome::SignedIn { .. }), "another may");
    }
}

#[test]
fn a_loss_that_was_somebody_elses_ends_nothing() {
    // Between the undone step and its next decision somebody else may have signed in.
    let driver = signed_in(BROWSER);
    let input = Input::Asked(consent(1));
    for key in [Key::User(user(2)), Key::Session(session(2))] {
        let step = driver.state().on(&input, Some(&Lost(key)), &driver.cx(at(20)));
        assert!(matches!(step.says, Outcome::CodeIssued { .. }));
    }
}

#[test]
fn a_devices_patience_is_written_down_until_it_is_at_its_longest() {
    let mut driver = begun(DEVICE);
    let mut intervals = Vec::new();
    for _ in 0..13 {
        let command = poll(&driver, true);
        let Outcome::SlowDown { interval } = driver.ask(at(1), command) else { panic!("too soon") };
        intervals.push(interval);
    }
    assert_eq!(intervals, [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60, 60]);
    assert_eq!(driver.version, 12, "the last two were not written");
    let command = poll(&driver, false);
    assert_eq!(driver.ask(at(2), command), Outcome::Pending { interval: 60 });
    sign_in(&mut driver, at(3), DEVICE, 1);
    driver.ask(at(4), consent(1));
    let command = poll(&driver, true);
    assert!(matches!(driver.ask(at(5), command), Outcome::Tokens(_)), "haste costs no tokens");
}

#[test]
fn a_denied_device_is_told_so_and_a_late_one_that_it_is_late() {
    let mut denied = signed_in(DEVICE);
    denied.ask(at(11), Command::Deny { user: Some(user(1)) });
    let command = poll(&denied, false);
    assert_eq!(denied.ask(at(12), command), Outcome::Ended { by: End::Denied });
    let mut late = consented(DEVICE);
    let command = poll(&late, false);
    let patience = i64::try_from(UNCLAIMED).unwrap();
    assert_eq!(late.clone().ask(at(patience), command), Outcome::Ended { by: End::Expired });
    let command = poll(&late, false);
    assert!(matches!(late.ask(at(patience - 1), command), Outcome::Tokens(_)));
}

#[test]
fn a_user_code_that_another_device_shows_is_not_shown_twice() {
    let mut driver = guarded(Driven::new(9));
    let (shown, issue) = {
        let mut other = guarded(Driven::new(9));
        let Outcome::DeviceRequested { issue, .. } = other.start(T0, &start(DEVICE)) else { panic!("it begins") };
        (testing::user_code(&other.environment, other.flow, &issue), issue)
    };
    let taken = Key::UserCode(Authorization::user_code_key(&shown, &driver.environment));
    driver.put(&taken, 0);
    let Outcome::DeviceRequested { issue: mine, .. } = driver.start(T0, &start(DEVICE)) else { panic!("it begins") };
    assert_ne!(mine, issue);
    assert!(testing::user_code(&driver.environment, driver.flow, &mine) != shown);
    let claimed = driver.guards.keys().filter(|key| key.starts_with("user_code/"));
    assert_eq!(claimed.count(), 2);
    // The end of this one gives its own code back, and not the other's.
    driver.wake(at(1_800));
    assert_eq!((driver.phase(), driver.number(&taken)), ("ended", Some(0)));
}

#[test]
fn an_approved_device_does_not_give_back_a_code_that_another_shows_by_now() {
    let mut driver = consented(DEVICE);
    let again = Key::UserCode(Authorization::user_code_key(&user_code(&driver), &driver.environment));
    assert_eq!(driver.number(&again), None);
    driver.put(&again, 0);
    driver.wake(at(1_800));
    assert_eq!((driver.phase(), driver.number(&again)), ("ended", Some(0)));
}

#[test]
fn a_fence_can_only_be_lost_by_whom_it_belongs_to() {
    let driver = signed_in(BROWSER);
    let input = Input::Asked(consent(1));
    for (key, by) in [
        (Key::User(user(1)), End::Fenced),
        (Key::Session(session(1)), End::Fenced),
        (Key::Client(client(1)), End::ClientDeleted),
    ] {
        let step = driver.state().on(&input, Some(&Lost(key)), &driver.cx(at(20)));
        assert_eq!(step.says, Outcome::Ended { by });
    }
}

#[test]
fn however_much_a_grant_is_used_it_ends() {
    let mut driver = active(Kind { offline: true, ..BROWSER });
    let day = 86_400;
    let mut last = 30;
    // A sign-in counts for a year (`CAIRN_SESSION_MAX`), and was a hundred seconds before the request.
    for at_day in (20..=380).step_by(20) {
        let now = at(at_day * day);
        let command = refresh(&driver, 0, Wish::default());
        match driver.ask(now, command) {
            Outcome::Tokens(_) => last = at_day,
            says => assert_eq!(says, Outcome::Ended { by: End::Expired }),
        }
    }
    assert_eq!((last, driver.phase()), (360, "ended"));
}
