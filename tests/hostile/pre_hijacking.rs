//! Pre-hijacking: an attacker prepares an account before its owner comes, or before the owner takes it back. The forms are
//! those of Sudhodanan and Paverd, "Pre-hijacked accounts", USENIX Security 2022, table 1; where Cairn has no sign-in
//! through others yet, what stands in its place is a password that somebody else typed.

use crate::support::{App, Kind, Person, eventually, json};

of_each_kind!(
    a_password_that_was_typed_before_the_owner_came_is_never_good,
    a_session_that_was_begun_before_the_owner_came_back_is_over,
    a_name_that_an_attacker_added_lets_nobody_in_after_a_reset,
    a_change_of_address_that_was_begun_before_a_reset_is_called_off,
    an_owner_who_opens_a_strangers_link_proves_nothing_for_the_stranger,
);

const NEW: &str = "granite lantern 47 marmalade";

async fn server(kind: Kind) -> App {
    App::plan(kind).named("hijacks").start().await
}

/// The owner forgets the password, or fears that somebody knows it.
async fn resets(app: &App, person: &Person) -> Person {
    let body = json!({"email": person.email});
    let asked = app.client().post("/auth/password-reset/request", &body).send().await.expect(202);
    let flow = crate::support::person::flow_id(&asked);
    let letter = eventually("the reset's letter", async || {
        app.mailbox(&person.email).await.into_iter().find(|letter| letter.flow == flow)
    })
    .await;
    let body = json!({"token": letter.token(), "new_password": NEW});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
    Person { password: NEW.to_owned(), ..person.clone() }
}

/// The classic form: the attacker registers the address first, and the owner after.
async fn a_password_that_was_typed_before_the_owner_came_is_never_good(kind: Kind) {
    let app = server(kind).await;
    let owner = Person::new("owner");
    let attacker = Person { password: "velvet tractor of a thief".to_owned(), ..owner.clone() };
    let prepared = attacker.registers(&app).await;
    let strangers = attacker.verification(&app).await;
    let flow = owner.registers(&app).await;
    // The owner opens whichever letter comes first: the attacker's asks for a password that only the attacker knows.
    let body = json!({"token": strangers.token(), "password": owner.password});
    app.client().post("/auth/verify-email", &body).send().await.problem(401, "credentials");
    owner.verifies(&app, &flow).await;
    app.client().post("/auth/login", &attacker.credentials()).send().await.problem(401, "credentials");
    let late = json!({"flow": prepared, "code": strangers.code()});
    app.client().post("/auth/verify-email", &late).send().await.problem(409, "address-taken");
    app.client().post("/auth/login", &attacker.credentials()).send().await.problem(401, "credentials");
    owner.signs_in(&app).await;
}

/// The unexpired session.
async fn a_session_that_was_begun_before_the_owner_came_back_is_over(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("owner");
    person.joins(&app).await;
    let login = app.client().at_loopback(7).post("/auth/login", &person.credentials()).send().await;
    let thief = crate::support::person::Tokens::of(&login.expect(200));
    resets(&app, &person).await;
    app.client().get("/users/me").bearer(&thief.access).send().await.problem(401, "session-ended");
    let refresh = json!({"refresh_token": thief.refresh});
    app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    app.client()
        .post("/auth/step-up", &json!({"password": person.password}))
        .bearer(&thief.access)
        .send()
        .await
        .problem(401, "session-ended");
}

/// The trojan identifier: what an attacker added to the account is no way in of its own.
async fn a_name_that_an_attacker_added_lets_nobody_in_after_a_reset(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("owner");
    let thief = person.arrives(&app).await;
    let me = app.client().get("/users/me").bearer(&thief.access).send().await;
    let theirs = Person::new("trojan").username;
    let put = app.client().request("PUT", "/users/me").json(&json!({"username": theirs})).bearer(&thief.access);
    put.header("if-match", me.header("etag").unwrap()).send().await.expect(200);
    let body = |password: &str| json!({"username": theirs, "password": password});
    app.client().post("/auth/login", &body(&person.password)).send().await.expect(200);
    let owner = resets(&app, &person).await;
    app.client().post("/auth/login", &body(&person.password)).send().await.problem(401, "credentials");
    owner.signs_in(&app).await;
}

/// The unexpired change of address.
async fn a_change_of_address_that_was_begun_before_a_reset_is_called_off(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("owner");
    let thief = person.arrives(&app).await;
    let to = Person::new("thief").email;
    let flow = person.asks_for_address(&app, &thief, &to).await;
    let letter = app.letter(&to, "email.confirm").await;
    let owner = resets(&app, &person).await;
    for password in [&person.password, &owner.password] {
        let body = json!({"token": letter.token(), "password": password});
        let answer = app.client().post("/auth/email-change/confirm", &body).send().await;
        assert!([401, 410].contains(&answer.status), "{answer}");
    }
    let body = json!({"flow": flow, "code": letter.code()});
    app.client().post("/auth/email-change/confirm", &body).send().await.problem(410, "flow-ended");
    let tokens = owner.signs_in(&app).await;
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["email"], person.email.as_str());
}

/// In place of a provider that proves no addresses: the owner of an address is led to prove it for somebody else's account.
async fn an_owner_who_opens_a_strangers_link_proves_nothing_for_the_stranger(kind: Kind) {
    let app = server(kind).await;
    let (stranger, owner) = (Person::new("stranger"), Person::new("owner"));
    let tokens = stranger.arrives(&app).await;
    stranger.asks_for_address(&app, &tokens, &owner.email).await;
    let letter = app.letter(&owner.email, "email.confirm").await;
    let mut browser = crate::support::browser::Browser::new();
    let page = browser.open(&app, &letter.link().unwrap()).await;
    let form = page.says(200, "Never enter a password that somebody gave you").form("email-change-link");
    browser.send(&app, &form.with("password", &owner.password)).await.says(422, "This is not the password");
    // The address is still the owner's to register with.
    owner.joins(&app).await;
    owner.signs_in(&app).await;
    stranger.signs_in(&app).await;
}
