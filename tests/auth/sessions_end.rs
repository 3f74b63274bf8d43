//! `POST /auth/sessions/end`: a sign-in from a new device or place is told to its owner, whose link ends it.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Person, json};

on_both_databases!(
    a_new_device_is_told_to_its_owner_whose_link_ends_that_session,
    the_first_sign_in_and_a_known_device_are_no_news,
    a_browser_with_the_device_cookie_is_known,
    what_is_no_link_of_such_a_letter_has_ended,
    the_link_ends_every_session_of_that_device_and_place_and_puts_the_password_out_of_force,
    the_link_of_a_session_that_was_signed_out_does_the_same,
    the_link_sets_a_new_password_once,
);

async fn login(app: &App, person: &Person, device: &str, cookie: Option<&str>) -> Answer {
    let mut login = app.client().post("/auth/login", &person.credentials()).header("user-agent", device);
    if let Some(cookie) = cookie {
        login = login.header("cookie", cookie);
    }
    login.send().await
}

async fn end(app: &App, token: &str) -> Answer {
    app.client().post("/auth/sessions/end", &json!({"token": token})).send().await
}

async fn notices(app: &App, person: &Person) -> usize {
    app.mailbox(&person.email).await.iter().filter(|letter| letter.kind == "session.new-device").count()
}

/// The cookie of an answer, as a browser sends it back.
fn device_cookie(answer: &Answer) -> String {
    let line = answer.header("set-cookie").expect("a cookie");
    assert!(line.starts_with("cairn_device_") && line.contains("HttpOnly") && line.contains("SameSite=Lax"), "{line}");
    line.split(';').next().unwrap().to_owned()
}

async fn a_new_device_is_told_to_its_owner_whose_link_ends_that_session(app: &App) {
    let person = Person::new("watched");
    person.joins(app).await;
    let home =
        Tokens::of(&login(app, &person, "Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0", None).await.expect(200));
    let agent = "Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 <b>Click http://evil.example</b>";
    let stranger = Tokens::of(&login(app, &person, agent, None).await.expect(200));
    let letter = app.letter(&person.email, "session.new-device").await;
    let said = format!("{}{}{}", letter.subject, letter.text, letter.html);
    assert!(said.contains("Chrome on Windows") && said.contains("127.0.0.1"), "{said}");
    assert!(!said.contains("evil.example") && !said.contains("Click"), "no word of the stranger's: {said}");
    assert!(letter.link().unwrap().starts_with(&format!("{}/end-session?token=", app.public_url())));
    assert_eq!(letter.code(), None);

    let token = letter.token().unwrap();
    for _ in 0..2 {
        let answer = end(app, &token).await;
        answer.expect(204);
        assert!(answer.body.is_empty());
    }
    app.client().get("/users/me").bearer(&stranger.access).send().await.problem(401, "session-ended");
    let refresh = json!({"refresh_token": stranger.refresh});
    app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&home.access).send().await.expect(200);
}

async fn the_first_sign_in_and_a_known_device_are_no_news(app: &App) {
    let person = Person::new("homebody");
    person.joins(app).await;
    login(app, &person, "Telescope/2.0", None).await.expect(200);
    assert_eq!(notices(app, &person).await, 0, "the first sign-in");
    // The same program in the same network; in another one; another program.
    login(app, &person, "Telescope/2.0", None).await.expect(200);
    let near = app.client().at_loopback(9).post("/auth/login", &person.credentials());
    near.header("user-agent", "Telescope/2.0").send().await.expect(200);
    assert_eq!(notices(app, &person).await, 0, "known");
    let tokens = Tokens::of(&login(app, &person, "Microscope/1.0", None).await.expect(200));
    assert_eq!(notices(app, &person).await, 1);
    // A session that has ended is remembered.
    app.client().post("/auth/logout", &json!({"refresh_token": tokens.refresh})).send().await.expect(204);
    login(app, &person, "Microscope/1.0", None).await.expect(200);
    assert_eq!(notices(app, &person).await, 1);
    // What one person uses is another's news.
    let other = Person::new("other");
    other.joins(app).await;
    login(app, &other, "Periscope/1.0", None).await.expect(200);
    login(app, &other, "Telescope/2.0", None).await.expect(200);
    assert_eq!(notices(app, &other).await, 1);
}

async fn a_browser_with_the_device_cookie_is_known(app: &App) {
    let (person, other) = (Person::new("cookie"), Person::new("cookie"));
    for person in [&person, &other] {
        person.joins(app).await;
        login(app, person, "Telescope/1.0", None).await.expect(200);
    }
    let cookie = device_cookie(&login(app, &person, "Telescope/1.0", None).await);
    let answer = login(app, &person, "Telescope/1.1", Some(&cookie)).await;
    answer.expect(200);
    assert_eq!(notices(app, &person).await, 0, "a newer release of the same browser");
    let renewed = device_cookie(&answer);
    login(app, &person, "Telescope/1.2", Some(&format!("other=1; {renewed}"))).await.expect(200);
    assert_eq!(notices(app, &person).await, 0);
    // The cookie of one account says nothing about another, and a forged one nothing at all.
    login(app, &other, "Telescope/1.1", Some(&cookie)).await.expect(200);
    assert_eq!(notices(app, &other).await, 1);
    let mut forged = cookie.into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    login(app, &person, "Telescope/3.0", Some(&forged)).await.expect(200);
    assert_eq!(notices(app, &person).await, 1);
    // A sign-in that fails makes nobody known.
    let body = json!({"email": person.email, "password": "not the velvet umbrella"});
    let answer = app.client().post("/auth/login", &body).send().await;
    assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{answer}");
}

/// Somebody else, who knows the password and signs in from a device of their own.
async fn robbed(app: &App, name: &str) -> (Person, Tokens, Tokens, String) {
    let person = Person::new(name);
    person.joins(app).await;
    let home = Tokens::of(&login(app, &person, "Telescope/1.0", None).await.expect(200));
    let answer = login(app, &person, "Burglar/1.0", None).await;
    let thief = Tokens::of(&answer.expect(200));
    (person, home, thief, device_cookie(&answer))
}

async fn the_link_ends_every_session_of_that_device_and_place_and_puts_the_password_out_of_force(app: &App) {
    let (person, home, first, cookie) = robbed(app, "robbed").await;
    // The same device with another agent, and the same place with another device: neither is news.
    let second = Tokens::of(&login(app, &person, "Burglar/2.0", Some(&cookie)).await.expect(200));
    let third = Tokens::of(&login(app, &person, "Burglar/1.0", None).await.expect(200));
    assert_eq!(notices(app, &person).await, 1);
    let token = app.letter(&person.email, "session.new-device").await.token().unwrap();
    end(app, &token).await.expect(204);
    for thief in [&first, &second, &third] {
        app.client().get("/users/me").bearer(&thief.access).send().await.problem(401, "session-ended");
        let refresh = json!({"refresh_token": thief.refresh});
        app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    }
    app.client().get("/users/me").bearer(&home.access).send().await.expect(200);
    // The password that they know is wrong now, whoever types it and wherever it is asked for.
    login(app, &person, "Burglar/1.0", Some(&cookie)).await.problem(401, "credentials");
    login(app, &person, "Telescope/1.0", None).await.problem(401, "credentials");
    let step_up = app.client().post("/auth/step-up", &json!({"password": person.password})).bearer(&home.access);
    step_up.send().await.problem(401, "credentials");
    let body = json!({"current_password": person.password, "new_password": "granite lantern 47 marmalade"});
    let change = app.client().post("/auth/password-change", &body).bearer(&home.access);
    change.send().await.problem(401, "credentials");
    // A reset sets one that is in force, and the thief's device is news though it shows what it was given.
    app.client().post("/auth/password-reset/request", &json!({"email": person.email})).send().await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let new = json!({"token": token, "new_password": "granite lantern 47 marmalade"});
    app.client().post("/auth/password-reset/confirm", &new).send().await.expect(200);
    let person = Person { password: "granite lantern 47 marmalade".to_owned(), ..person };
    login(app, &person, "Burglar/1.0", Some(&cookie)).await.expect(200);
    assert_eq!(notices(app, &person).await, 2);
}

async fn the_link_of_a_session_that_was_signed_out_does_the_same(app: &App) {
    let (person, _, thief, cookie) = robbed(app, "covered").await;
    app.client().post("/auth/logout", &json!({"refresh_token": thief.refresh})).send().await.expect(204);
    let again = Tokens::of(&login(app, &person, "Burglar/1.0", Some(&cookie)).await.expect(200));
    let token = app.letter(&person.email, "session.new-device").await.token().unwrap();
    end(app, &token).await.expect(204);
    app.client().get("/users/me").bearer(&again.access).send().await.problem(401, "session-ended");
    login(app, &person, "Burglar/1.0", Some(&cookie)).await.problem(401, "credentials");
}

async fn the_link_sets_a_new_password_once(app: &App) {
    let (person, home, thief, _) = robbed(app, "resolute").await;
    let token = app.letter(&person.email, "session.new-device").await.token().unwrap();
    let with = |password: &str| {
        app.client().post("/auth/sessions/end", &json!({"token": token, "new_password": password})).send()
    };
    // One that is not good enough is refused, and nothing is done.
    let problem = with("short").await.problem(422, "value");
    assert_eq!(problem["errors"][0]["pointer"], "/new_password", "{problem}");
    app.client().get("/users/me").bearer(&thief.access).send().await.expect(200);

    let new = "granite lantern 47 marmalade";
    let (one, same) = tokio::join!(with(new), with(new));
    for answer in [one, same, with(new).await] {
        answer.expect(204);
    }
    with("another lantern 47 marmalade").await.problem(410, "flow-ended");
    end(app, &token).await.expect(204);
    app.client().get("/users/me").bearer(&thief.access).send().await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&home.access).send().await.expect(200);
    login(app, &person, "Telescope/1.0", None).await.problem(401, "credentials");
    let owner = Person { password: new.to_owned(), ..person };
    let back = Tokens::of(&login(app, &owner, "Burglar/1.0", None).await.expect(200));
    let changed = app.mailbox(&owner.email).await.iter().filter(|letter| letter.kind == "password.changed").count();
    assert_eq!(changed, 1, "it is told like any change of the password");
    // Opened once more, the link ends nothing that was begun with the new password.
    end(app, &token).await.expect(204);
    app.client().get("/users/me").bearer(&back.access).send().await.expect(200);
}

async fn what_is_no_link_of_such_a_letter_has_ended(app: &App) {
    let person = Person::new("garbled");
    let tokens = person.arrives(app).await;
    let verify = app.mailbox(&person.email).await[0].token().unwrap();
    for token in ["", "x", "cairn_", "é\u{0}", &verify, &tokens.refresh] {
        end(app, token).await.problem(410, "flow-ended");
    }
    app.client().post("/auth/sessions/end", &json!({})).send().await.problem(400, "unreadable");
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
}
