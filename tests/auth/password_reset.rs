//! `POST /auth/password-reset/request` and `/confirm`: whoever reads the account's mail sets a new password, once, and
//! whatever was begun with the old one is over.

use crate::support::letter::Letter;
use crate::support::person::flow_id;
use crate::support::{Answer, App, Kind, Person, Value, eventually, json};

on_both_databases!(
    a_forgotten_password_is_set_by_link_or_by_code,
    the_same_password_again_is_told_the_same_and_another_is_not,
    what_is_no_address_is_refused,
    every_session_dies_with_the_old_password,
    of_several_passwords_at_once_one_is_set,
    of_two_letters_one_is_good,
    a_password_that_is_no_good_leaves_the_link_good,
    by_the_link_ones_own_names_are_no_password,
    a_request_with_a_key_is_known_when_it_comes_again,
);
of_each_kind!(a_code_or_link_that_is_none_has_nobody_think_about_the_password);

const NEW: &str = "granite lantern 47 marmalade";

async fn request(app: &App, email: &str) -> Answer {
    app.client().post("/auth/password-reset/request", &json!({"email": email})).send().await
}

async fn confirm(app: &App, body: Value) -> Answer {
    app.client().post("/auth/password-reset/confirm", &body).send().await
}

async fn login(app: &App, person: &Person, password: &str) -> Answer {
    app.client().post("/auth/login", &json!({"email": person.email, "password": password})).send().await
}

async fn a_forgotten_password_is_set_by_link_or_by_code(app: &App) {
    for by_link in [true, false] {
        let person = Person::new("forgetful");
        person.joins(app).await;
        let answer = request(app, &person.email.to_uppercase()).await;
        let begun = answer.expect(202);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let flow = &begun["flow"];
        assert!(flow["id"].as_str().is_some_and(|id| id.starts_with("rec_")), "{begun}");
        assert_eq!(
            (&flow["kind"], &flow["phase"], &flow["version"]),
            (&json!("recovery"), &json!("awaiting_code"), &json!(1))
        );
        assert!(["actor", "direct"].contains(&begun["method"].as_str().unwrap()), "{begun}");

        let letter = app.letter(&person.email, "recovery.reset").await;
        assert!(letter.link().unwrap().starts_with(&format!("{}/reset-password?token=", app.public_url())));
        let body = match by_link {
            true => json!({"token": letter.token(), "new_password": NEW}),
            false => json!({"flow": flow["id"], "code": letter.code(), "new_password": NEW}),
        };
        let done = confirm(app, body).await.expect(200);
        assert_eq!((&done["flow"]["id"], &done["flow"]["phase"]), (&flow["id"], &json!("done")), "{done}");
        login(app, &person, &person.password).await.problem(401, "credentials");
        login(app, &person, NEW).await.expect(200);
        let notice = app.letter(&person.email, "password.changed").await;
        assert_eq!((notice.code(), notice.text.contains(NEW)), (None, false));
    }
}

async fn the_same_password_again_is_told_the_same_and_another_is_not(app: &App) {
    let person = Person::new("repeater");
    person.joins(app).await;
    let flow = flow_id(&request(app, &person.email).await.expect(202));
    let letter = app.letter(&person.email, "recovery.reset").await;
    let by_link = |password| json!({"token": letter.token(), "new_password": password});
    let by_code = |password| json!({"flow": flow, "code": letter.code(), "new_password": password});
    let first = confirm(app, by_link(NEW)).await.expect(200);
    for body in [by_link(NEW), by_code(NEW)] {
        assert_eq!(confirm(app, body).await.expect(200), first);
    }
    for body in [by_link("another lantern 47 marmalade"), by_code("another lantern 47 marmalade")] {
        confirm(app, body).await.problem(410, "flow-ended");
    }
    login(app, &person, NEW).await.expect(200);
    let notices = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "password.changed");
    assert_eq!(notices.count(), 1);
}

async fn what_is_no_address_is_refused(app: &App) {
    request(app, "no address").await.problem(422, "value");
}

async fn every_session_dies_with_the_old_password(app: &App) {
    let person = Person::new("robbed");
    let sessions = [person.arrives(app).await, person.signs_in(app).await];
    request(app, &person.email).await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    for session in &sessions {
        app.client().get("/users/me").bearer(&session.access).send().await.expect(200);
    }
    confirm(app, json!({"token": token, "new_password": NEW})).await.expect(200);
    for session in sessions {
        app.client().get("/users/me").bearer(&session.access).send().await.problem(401, "session-ended");
        let refresh = json!({"refresh_token": session.refresh});
        app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    }
}

async fn of_several_passwords_at_once_one_is_set(app: &App) {
    let person = Person::new("torn");
    person.joins(app).await;
    request(app, &person.email).await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let passwords = [0, 1, 2].map(|number| format!("granite lantern {number} marmalade"));
    let set = |which: usize| confirm(app, json!({"token": token, "new_password": passwords[which]}));
    let answers = tokio::join!(set(0), set(1), set(2), set(0), set(1), set(2));
    let statuses = <[Answer; 6]>::from(answers).map(|answer| answer.status);
    let winners: Vec<usize> = (0..3).filter(|which| statuses[*which] == 200 || statuses[which + 3] == 200).collect();
    assert_eq!(winners.len(), 1, "{statuses:?}");
    for which in 0..3 {
        let expected = if winners == [which] { 200 } else { 410 };
        assert_eq!((statuses[which], statuses[which + 3]), (expected, expected), "{statuses:?}");
        let answer = login(app, &person, &passwords[which]).await;
        assert_eq!(answer.status == 200, winners == [which], "{answer}");
    }
}

async fn of_two_letters_one_is_good(app: &App) {
    for at_once in [false, true] {
        let person = Person::new("twice");
        person.joins(app).await;
        for _ in 0..3 {
            request(app, &person.email).await.expect(202);
        }
        let letters = eventually("three letters", async || {
            let letters = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "recovery.reset");
            <[Letter; 3]>::try_from(letters.collect::<Vec<_>>()).ok()
        });
        let letters = letters.await;
        let passwords = ["granite lantern 1 marmalade", "granite lantern 2 marmalade"];
        let set =
            |which: usize| confirm(app, json!({"token": letters[which].token(), "new_password": passwords[which]}));
        let answers = match at_once {
            true => <[Answer; 2]>::from(tokio::join!(set(0), set(1))),
            false => [set(0).await, set(1).await],
        };
        let good: Vec<_> = (0..2).filter(|which| answers[*which].status == 200).collect();
        assert_eq!(good.len(), 1, "{}\n{}", answers[0], answers[1]);
        answers[1 - good[0]].problem(410, "flow-ended");
        let body = json!({"token": letters[2].token(), "new_password": NEW});
        for _ in 0..2 {
            let again = app.client().post("/auth/password-reset/confirm", &body).key(&person.username).send().await;
            again.problem(410, "flow-ended");
        }
        login(app, &person, passwords[good[0]]).await.expect(200);
        login(app, &person, passwords[1 - good[0]]).await.problem(401, "credentials");
    }
}

async fn a_password_that_is_no_good_leaves_the_link_good(app: &App) {
    let person = Person::new("careless");
    person.joins(app).await;
    request(app, &person.email).await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let own_words = person.email.clone();
    for password in ["short", "password1234", "aaaaaaaaaaaa", &"x".repeat(257), &own_words] {
        let problem = confirm(app, json!({"token": token, "new_password": password})).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], "/new_password", "{problem}");
        assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| !detail.contains(password)), "{problem}");
    }
    confirm(app, json!({"token": token, "new_password": NEW})).await.expect(200);
}

async fn by_the_link_ones_own_names_are_no_password(app: &App) {
    let person = Person::new("namesake");
    let tokens = person.arrives(app).await;
    let profile = json!({"first_name": "Bartholomew", "last_name": "Featherstonehaugh"});
    let before = app.client().get("/users/me").bearer(&tokens.access).send().await;
    let edit = app.client().request("PUT", "/users/me").json(&profile).bearer(&tokens.access);
    edit.header("if-match", before.header("etag").unwrap()).send().await.expect(200);
    request(app, &person.email).await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    for password in ["bartholomew.featherstonehaugh", "Featherstonehaugh7"] {
        let problem = confirm(app, json!({"token": token, "new_password": password})).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], "/new_password", "{problem}");
    }
    confirm(app, json!({"token": token, "new_password": NEW})).await.expect(200);
}

async fn a_request_with_a_key_is_known_when_it_comes_again(app: &App) {
    let person = Person::new("keyed");
    person.joins(app).await;
    let body = json!({"email": person.email});
    let ask = || app.client().post("/auth/password-reset/request", &body).key(&person.username).send();
    let (first, again) = tokio::join!(ask(), ask());
    let flow = first.expect(202)["flow"].clone();
    assert_eq!(again.expect(202)["flow"], flow);
    let letters = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "recovery.reset");
    assert_eq!(letters.count(), 1);

    let token = app.letter(&person.email, "recovery.reset").await.token();
    let set = |password: &str| {
        let body = json!({"token": token, "new_password": password});
        app.client().post("/auth/password-reset/confirm", &body).key("set").send()
    };
    let first = set(NEW).await.expect(200);
    assert_eq!(set(NEW).await.expect(200), first);
    set("another lantern 47 marmalade").await.problem(422, "idempotency-mismatch");
}

/// How often a password was judged or hashed.
async fn thoughts(app: &App) -> u64 {
    let metrics = app.operations().get("/metrics").send().await.text();
    let counts = metrics.lines().filter(|line| line.starts_with("cairn_password_hash_seconds_count"));
    counts.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap()).sum()
}

async fn a_code_or_link_that_is_none_has_nobody_think_about_the_password(kind: Kind) {
    let app = App::plan(kind).named("reset-garbage").start().await;
    let person = Person::new("besieged");
    person.joins(&app).await;
    let flow = flow_id(&request(&app, &person.email).await.expect(202));
    let letter = app.letter(&person.email, "recovery.reset").await;
    let (right, token) = (letter.code().unwrap(), letter.token().unwrap());
    let wrong = if right == "111111" { "222222" } else { "111111" };
    let before = thoughts(&app).await;
    // What would be dear to judge, and what would be refused if it were judged.
    let dear = "p@$$w0rd7(4{3[6<9!|1+%8250".repeat(9);
    for (round, password) in [dear.as_str(), "password1234", NEW].into_iter().enumerate() {
        let by_code = json!({"flow": flow, "code": wrong, "new_password": password});
        let client = app.client();
        let keyed = || client.post("/auth/password-reset/confirm", &by_code).key(&format!("wrong-{round}")).send();
        assert_eq!(keyed().await.problem(422, "value")["tries_left"], 4 - round);
        assert_eq!(keyed().await.problem(422, "value")["tries_left"], 4 - round, "a repeat costs no try");
        let mut altered = token.clone();
        altered.pop();
        altered.push(if token.ends_with('A') { 'Q' } else { 'A' });
        for token in [altered.as_str(), "cairn_rp_garbage", ""] {
            let by_link = json!({"token": token, "new_password": password});
            confirm(&app, by_link).await.problem(410, "flow-ended");
        }
    }
    assert_eq!(thoughts(&app).await, before);
    confirm(&app, json!({"token": token, "new_password": "password1234"})).await.problem(422, "value");
    assert_eq!(thoughts(&app).await, before + 1, "with the right link it is judged, and not hashed as it is refused");
    confirm(&app, json!({"token": token, "new_password": NEW})).await.expect(200);
    assert!(thoughts(&app).await > before + 2);
}
