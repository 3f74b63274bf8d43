//! `POST /auth/password-change`: the old password proved, a new one set; this session stays and no other does.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Person, json};

on_both_databases!(
    another_password_ends_every_session_but_this_one,
    the_present_password_must_be_right,
    a_password_that_is_no_good_is_refused,
    a_change_with_a_key_is_known_when_it_comes_again,
    of_two_changes_at_once_under_one_key_the_other_is_told_so,
    a_change_ends_no_letter_by_which_its_owner_comes_back,
    of_two_changes_at_once_one_is_made,
);

const NEW: &str = "granite lantern 47 marmalade";

async fn change(app: &App, tokens: &Tokens, current: &str, new: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": new});
    app.client().post("/auth/password-change", &body).bearer(&tokens.access).send().await
}

async fn another_password_ends_every_session_but_this_one(app: &App) {
    let person = Person::new("changer");
    let here = person.arrives(app).await;
    let elsewhere = person.signs_in(app).await;
    let answer = change(app, &here, &person.password, NEW).await;
    let changed = answer.expect(200);
    assert!(changed["changed_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{changed}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    app.client().get("/users/me").bearer(&here.access).send().await.expect(200);
    let refresh = |token: &str| app.client().post("/auth/refresh", &json!({"refresh_token": token})).send();
    // It answers with tokens as a sign-in does; the ones from before are worthless, and using them ends nothing.
    let given = Tokens::of(&changed);
    assert_eq!(given.session, here.session);
    assert!(changed.get("device").is_none(), "only a sign-in gives the proof of a device: {changed}");
    for _ in 0..2 {
        refresh(&here.refresh).await.problem(401, "session-ended");
    }
    let carried = Tokens::of(&refresh(&given.refresh).await.expect(200));
    assert_eq!(carried.session, here.session);
    app.client().get("/users/me").bearer(&elsewhere.access).send().await.problem(401, "session-ended");
    refresh(&elsewhere.refresh).await.problem(401, "session-ended");

    let login =
        |password: &str| app.client().post("/auth/login", &json!({"email": person.email, "password": password})).send();
    login(&person.password).await.problem(401, "credentials");
    login(NEW).await.expect(200);
    let notice = app.letter(&person.email, "password.changed").await;
    assert!(!notice.text.contains(NEW) && !notice.html.contains(NEW));
    // And again, in the session that stayed.
    change(app, &carried, NEW, &person.password).await.expect(200);
    login(&person.password).await.expect(200);
}

async fn the_present_password_must_be_right(app: &App) {
    let person = Person::new("guesser");
    let tokens = person.arrives(app).await;
    change(app, &tokens, NEW, NEW).await.problem(401, "credentials");
    let body = json!({"current_password": person.password, "new_password": NEW});
    app.client().post("/auth/password-change", &body).send().await.problem(401, "credentials");
    for body in [json!({"new_password": NEW}), json!({"current_password": person.password}), json!({})] {
        let answer = app.client().post("/auth/password-change", &body).bearer(&tokens.access).send().await;
        answer.problem(400, "unreadable");
    }
    person.signs_in(app).await;
}

async fn a_password_that_is_no_good_is_refused(app: &App) {
    let person = Person::new("careless");
    let tokens = person.arrives(app).await;
    for password in ["", "short", "password1234", &person.username.repeat(2)] {
        let problem = change(app, &tokens, &person.password, password).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], "/new_password", "{problem}");
    }
    person.signs_in(app).await;
}

async fn a_change_with_a_key_is_known_when_it_comes_again(app: &App) {
    let person = Person::new("keyed");
    let tokens = person.arrives(app).await;
    let post = |new: &str| {
        let body = json!({"current_password": person.password, "new_password": new});
        app.client().post("/auth/password-change", &body).bearer(&tokens.access).key("change").send()
    };
    let first = post(NEW).await.expect(200);
    assert_eq!(post(NEW).await.expect(200), first);
    post("another lantern 47 marmalade").await.problem(422, "idempotency-mismatch");
    // Neither is the present password of before to be had by trying.
    let body = json!({"current_password": "another lantern 47 marmalade", "new_password": NEW});
    let guessed = app.client().post("/auth/password-change", &body).bearer(&tokens.access).key("change").send().await;
    guessed.problem(422, "idempotency-mismatch");
    // It goes on being known when the password is another again.
    change(app, &tokens, NEW, "a third lantern 48 marmalade").await.expect(200);
    assert_eq!(post(NEW).await.expect(200), first);
    let notices = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "password.changed");
    assert_eq!(notices.count(), 2);
}

async fn of_two_changes_at_once_under_one_key_the_other_is_told_so(app: &App) {
    let person = Person::new("hasty");
    let tokens = person.arrives(app).await;
    let post = |new: &str| {
        let body = json!({"current_password": person.password, "new_password": new});
        app.client().post("/auth/password-change", &body).bearer(&tokens.access).key("at-once").send()
    };
    let (one, same, other) = tokio::join!(post(NEW), post(NEW), post("another lantern 47 marmalade"));
    assert_eq!(one.status, same.status, "{one}\n{same}");
    assert!(one.status == 422 || one.json() == same.json(), "{one}\n{same}");
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422], "{one}\n{other}");
}

async fn a_change_ends_no_letter_by_which_its_owner_comes_back(app: &App) {
    let person = Person::new("robbed");
    let thief = person.arrives(app).await;
    app.client().post("/auth/password-reset/request", &json!({"email": person.email})).send().await.expect(202);
    let letter = app.letter(&person.email, "recovery.reset").await;
    change(app, &thief, &person.password, NEW).await.expect(200);
    let own = "a third lantern 48 marmalade";
    let body = json!({"token": letter.token(), "new_password": own});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
    app.client().get("/users/me").bearer(&thief.access).send().await.problem(401, "session-ended");
    app.client().post("/auth/login", &json!({"email": person.email, "password": own})).send().await.expect(200);
}

async fn of_two_changes_at_once_one_is_made(app: &App) {
    let person = Person::new("torn");
    let tokens = person.arrives(app).await;
    let passwords = ["granite lantern 1 marmalade", "granite lantern 2 marmalade"];
    let set = |which: usize| change(app, &tokens, &person.password, passwords[which]);
    let (one, other) = tokio::join!(set(0), set(1));
    let statuses = [one.status, other.status];
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{one}\n{other}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{one}\n{other}");
    for (status, password) in statuses.iter().zip(passwords) {
        let body = json!({"email": person.email, "password": password});
        let answer = app.client().post("/auth/login", &body).send().await;
        assert_eq!(answer.status == 200, *status == 200, "{answer}");
    }
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
}
