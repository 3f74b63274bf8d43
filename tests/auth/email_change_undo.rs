//! `POST /auth/email-change/undo`: the address from before takes a change back, and all that came after it.

use crate::support::audit::outbox_drained;
use crate::support::person::Tokens;
use crate::support::{Answer, App, Kind, Person, json};

on_both_databases!(
    a_change_is_taken_back_and_every_session_ends,
    the_first_of_two_changes_takes_the_second_back_too,
    changes_are_taken_back_one_after_the_other,
    a_deletion_is_called_off_and_the_profile_can_be_edited_after,
    what_takes_nothing_back_has_ended,
    a_password_that_was_set_since_is_not_set_again_by_the_link,
    two_at_once_with_the_same_password_are_told_the_same,
);
of_each_kind!(what_was_taken_back_gives_its_addresses_free_after_a_week);

/// What the owner chooses after a theft.
const NEW: &str = "granite lantern 47 marmalade";

async fn undo(app: &App, token: &str) -> Answer {
    app.client().post("/auth/email-change/undo", &json!({"token": token})).send().await
}

/// Takes back, and chooses a new password with that.
async fn undo_with(app: &App, token: &str, password: &str) -> Answer {
    app.client().post("/auth/email-change/undo", &json!({"token": token, "new_password": password})).send().await
}

/// The owner with the new password.
fn back(person: &Person) -> Person {
    Person { password: NEW.to_owned(), ..person.clone() }
}

/// Somebody whose account was taken from the first address to a second and on to a third: the links that take it back.
async fn taken_over(app: &App, person: &Person) -> (Tokens, [String; 2], [String; 2]) {
    let tokens = person.arrives(app).await;
    let addresses = [1, 2].map(|number| format!("thief{number}.{}", person.email));
    let mut moving = person.clone();
    let first = moving.moves_to(app, &tokens, &addresses[0]).await;
    let second = moving.moves_to(app, &tokens, &addresses[1]).await;
    (tokens, addresses, [first, second])
}

async fn a_change_is_taken_back_and_every_session_ends(app: &App) {
    let person = Person::new("robbed");
    let tokens = person.arrives(app).await;
    let other = person.signs_in(app).await;
    let mut moved = person.clone();
    let link = moved.moves_to(app, &tokens, &format!("thief.{}", person.email)).await;
    let settled = undo(app, &link).await.expect(200);
    assert_eq!((&settled["flow"]["kind"], &settled["flow"]["phase"]), (&json!("email_change"), &json!("ended")));
    assert_eq!(settled["user"]["email"], person.email.as_str(), "{settled}");
    assert_eq!(undo(app, &link).await.expect(200), settled, "again and again");
    for session in [tokens, other] {
        app.client().get("/users/me").bearer(&session.access).send().await.problem(401, "session-ended");
        let refresh = json!({"refresh_token": session.refresh});
        app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    }
    app.client().post("/auth/login", &moved.credentials()).send().await.problem(401, "credentials");
    // The thief's password is out of force, and the link sets another one, once.
    app.client().post("/auth/login", &person.credentials()).send().await.problem(401, "credentials");
    let problem = undo_with(app, &link, "short").await.problem(422, "value");
    assert_eq!(problem["errors"][0]["pointer"], "/new_password", "{problem}");
    let secured = undo_with(app, &link, NEW).await.expect(200);
    assert_eq!((&secured["user"], &secured["flow"]["id"]), (&settled["user"], &settled["flow"]["id"]));
    assert_eq!(undo_with(app, &link, NEW).await.expect(200), secured, "its repeat is told the same");
    undo_with(app, &link, "lantern marmalade 47 granite").await.problem(410, "flow-ended");
    app.letter(&person.email, "password.changed").await;
    let tokens = back(&person).signs_in(app).await;
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["email"], person.email.as_str());
}

async fn the_first_of_two_changes_takes_the_second_back_too(app: &App) {
    let person = Person::new("robbed");
    let (_, addresses, [first, second]) = taken_over(app, &person).await;
    let settled = undo_with(app, &first, NEW).await.expect(200);
    assert_eq!(settled["user"]["email"], person.email.as_str(), "{settled}");
    // Whoever reads the mail of the second address has a link, too: at once, and when all is said and done.
    for _ in 0..3 {
        undo(app, &second).await.problem(410, "flow-ended");
        undo_with(app, &second, "lantern marmalade 47 granite").await.problem(410, "flow-ended");
    }
    back(&person).signs_in(app).await;
    for address in addresses {
        let body = json!({"email": address, "password": person.password});
        app.client().post("/auth/login", &body).send().await.problem(401, "credentials");
    }
}

async fn changes_are_taken_back_one_after_the_other(app: &App) {
    let person = Person::new("robbed");
    let (_, addresses, [first, second]) = taken_over(app, &person).await;
    let told = undo(app, &second).await.expect(200);
    assert_eq!(told["user"]["email"], addresses[0].as_str());
    assert_eq!(undo(app, &first).await.expect(200)["user"]["email"], person.email.as_str());
    assert_eq!(undo(app, &second).await.expect(200), told, "its repeat is told the same, and moves nothing");
    undo_with(app, &second, NEW).await.problem(410, "flow-ended");
    undo_with(app, &first, NEW).await.expect(200);
    let tokens = back(&person).signs_in(app).await;
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["email"], person.email.as_str());
    // What was given up so is kept for a while, and the account is told so at once.
    let body = json!({"new_email": addresses[0], "password": NEW});
    let asked = app.client().post("/auth/email-change", &body).bearer(&tokens.access).send().await;
    assert_eq!(asked.problem(422, "value")["errors"][0]["code"], "kept", "{asked}");
}

async fn a_deletion_is_called_off_and_the_profile_can_be_edited_after(app: &App) {
    let person = Person::new("robbed");
    let (tokens, _, [first, _]) = taken_over(app, &person).await;
    let body = json!({"password": person.password});
    app.client().request("DELETE", "/users/me").json(&body).bearer(&tokens.access).send().await.expect(202);
    undo_with(app, &first, NEW).await.expect(200);
    let login = app.client().post("/auth/login", &back(&person).credentials()).send().await.expect(200);
    assert_eq!(login["restored"], json!(null), "the owner was back already: {login}");
    let access = Tokens::of(&login).access;
    let me = app.client().get("/users/me").bearer(&access).send().await;
    let put = app.client().request("PUT", "/users/me").json(&json!({"first_name": "Back"})).bearer(&access);
    let edited = put.header("if-match", me.header("etag").unwrap()).send().await.expect(200);
    assert_eq!(edited["first_name"], "Back");
    let body = json!({"password": NEW});
    app.client().request("DELETE", "/users/me").json(&body).bearer(&access).send().await.expect(202);
}

async fn a_password_that_was_set_since_is_not_set_again_by_the_link(app: &App) {
    let person = Person::new("careful");
    let tokens = person.arrives(app).await;
    let mut moved = person.clone();
    let link = moved.moves_to(app, &tokens, &format!("thief.{}", person.email)).await;
    let settled = undo(app, &link).await.expect(200);
    let ask = json!({"email": person.email});
    app.client().post("/auth/password-reset/request", &ask).send().await.expect(202);
    let reset = app.letter(&person.email, "recovery.reset").await.token();
    let body = json!({"token": reset, "new_password": NEW});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
    back(&person).signs_in(app).await;
    // Whoever finds the letter later on changes nothing by it.
    undo_with(app, &link, "lantern marmalade 47 granite").await.problem(410, "flow-ended");
    assert_eq!(undo(app, &link).await.expect(200), settled);
    back(&person).signs_in(app).await;
}

async fn two_at_once_with_the_same_password_are_told_the_same(app: &App) {
    let person = Person::new("twice");
    let tokens = person.arrives(app).await;
    let mut moved = person.clone();
    let link = moved.moves_to(app, &tokens, &format!("thief.{}", person.email)).await;
    let (one, same, other) = tokio::join!(
        undo_with(app, &link, NEW),
        undo_with(app, &link, NEW),
        undo_with(app, &link, "lantern marmalade 47 granite"),
    );
    let answers = [one, same, other];
    let statuses = answers.each_ref().map(|answer| answer.status);
    assert!([[200, 200, 410], [410, 410, 200]].contains(&statuses), "{answers:?}");
    let winner = if statuses[0] == 200 { NEW } else { "lantern marmalade 47 granite" };
    Person { password: winner.to_owned(), ..person }.signs_in(app).await;
}

async fn what_takes_nothing_back_has_ended(app: &App) {
    let person = Person::new("garbled");
    let tokens = person.arrives(app).await;
    let to = format!("new.{}", person.email);
    person.asks_for_address(app, &tokens, &to).await;
    let confirm = app.letter(&to, "email.confirm").await.token().unwrap();
    for token in ["", "x", "cairn_", "é\u{0}", &confirm] {
        undo(app, token).await.problem(410, "flow-ended");
    }
    app.client().post("/auth/email-change/undo", &json!({})).send().await.problem(400, "unreadable");
    app.client()
        .post("/auth/email-change/confirm", &json!({"token": confirm, "password": person.password}))
        .send()
        .await
        .expect(200);
    let link = app.letter(&person.email, "email.changed").await.token().unwrap();
    let answer = app
        .client()
        .post("/auth/email-change/confirm", &json!({"token": link, "password": person.password}))
        .send()
        .await;
    answer.problem(410, "flow-ended");
}

async fn what_was_taken_back_gives_its_addresses_free_after_a_week(kind: Kind) {
    let app = App::plan(kind).named("undone").start().await;
    let person = Person::new("robbed");
    let (_, addresses, [first, _]) = taken_over(&app, &person).await;
    undo_with(&app, &first, NEW).await.expect(200);
    // The later change has been told: else it would only learn of it then, and keep its address for a day more.
    outbox_drained(&app).await;
    app.restart_at(7 * 86_400 + 60).await;
    for address in addresses {
        let newcomer = Person { email: address, ..Person::new("newcomer") };
        newcomer.joins(&app).await;
        newcomer.signs_in(&app).await;
    }
    let rival = Person { email: person.email.clone(), ..Person::new("rival") };
    rival.registers(&app).await;
    app.letter(&person.email, "registration.known").await;
    back(&person).signs_in(&app).await;
}
