//! `POST /auth/verify-email`: whose address it is, and what the account is called. Codes and links: `letters.rs`.

use crate::support::{Answer, App, Person, Value, json};

on_both_databases!(
    a_repeat_tells_nobody_what_the_account_is_called_by_now,
    the_link_asks_for_the_password_typed_at_registration,
    the_first_to_verify_has_the_address,
    a_username_lost_on_the_way_is_null,
    a_welcome_is_mailed_once,
);

async fn verify(app: &App, body: Value) -> Answer {
    app.client().post("/auth/verify-email", &body).send().await
}

async fn a_repeat_tells_nobody_what_the_account_is_called_by_now(app: &App) {
    let mut person = Person::new("renamed");
    let before = person.email.clone();
    let flow = person.registers(app).await;
    let body = json!({"flow": flow, "code": person.verification(app).await.code()});
    let keyed = || app.client().post("/auth/verify-email", &body).key("verify").send();
    let first = keyed().await.expect(200);
    let tokens = person.signs_in(app).await;
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await;
    let renamed = json!({"username": Person::new("other").username});
    let put = app.client().request("PUT", "/users/me").bearer(&tokens.access);
    put.header("if-match", me.header("etag").unwrap()).json(&renamed).send().await.expect(200);
    let hidden = format!("Hidden.{before}");
    let undo = person.moves_to(app, &tokens, &hidden).await;
    assert_eq!(verify(app, body.clone()).await.expect(200), first);
    assert_eq!(keyed().await.expect(200), first);

    // Nor does whoever reads the mail of the address from before learn where the account goes next.
    let next = "granite lantern 47 marmalade";
    let body = json!({"token": undo, "new_password": next});
    let take_back = || app.client().post("/auth/email-change/undo", &body).send();
    let undone = take_back().await.expect(200);
    assert_eq!(undone["user"]["email"], before.as_str());
    person.email.clone_from(&before);
    next.clone_into(&mut person.password);
    let tokens = person.signs_in(app).await;
    person.moves_to(app, &tokens, &format!("Next.{before}")).await;
    assert_eq!(take_back().await.expect(200), undone);
}

async fn the_link_asks_for_the_password_typed_at_registration(app: &App) {
    let person = Person::new("linked");
    let flow = person.registers(app).await;
    let token = person.verification(app).await.token();
    let wrong = json!({"token": token, "password": "another velvet umbrella"});
    verify(app, wrong.clone()).await.problem(401, "credentials");
    let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    assert_eq!(status["flow"]["phase"], "awaiting_code", "{status}");
    verify(app, json!({"token": token, "password": person.password})).await.expect(200);
    verify(app, wrong).await.problem(401, "credentials");
    verify(app, json!({"token": token})).await.problem(400, "unreadable");
}

async fn the_first_to_verify_has_the_address(app: &App) {
    let winner = Person::new("contested");
    let loser = Person { email: winner.email.to_uppercase(), ..Person::new("rival") };
    let (won, lost) = (winner.registers(app).await, loser.registers(app).await);
    let letters = app.mailbox(&winner.email).await;
    let mut tokens = letters.iter().map(|letter| letter.token().unwrap()).collect::<Vec<_>>();
    if tokens.len() == 1 {
        // The filter goes by the address as it was typed.
        tokens.extend(app.mailbox(&loser.email).await.iter().map(|letter| letter.token().unwrap()));
    }
    let mut answers = Vec::new();
    for person in [&winner, &loser] {
        for token in &tokens {
            answers.push(verify(app, json!({"token": token, "password": person.password})).await);
        }
    }
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(200), with(409)), (1, 1), "{answers:?}");
    answers.iter().find(|answer| answer.status == 409).unwrap().problem(409, "address-taken");
    let phase = async |flow: &str| {
        app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200)["flow"]["phase"].clone()
    };
    assert_eq!(phase(&won).await, "verified");
    assert_eq!(phase(&lost).await, "ended");
    winner.signs_in(app).await;
    app.client().post("/auth/login", &loser.credentials()).send().await.problem(401, "credentials");
}

async fn a_username_lost_on_the_way_is_null(app: &App) {
    let first = Person::new("quick");
    let second = Person { username: first.username.clone(), ..Person::new("slow") };
    let (one, two) = (first.registers(app).await, second.registers(app).await);
    assert_eq!(first.verifies(app, &one).await["username"], first.username.as_str());
    let user = second.verifies(app, &two).await;
    assert_eq!(user["username"], Value::Null, "verified all the same: {user}");
    second.signs_in(app).await;
}

async fn a_welcome_is_mailed_once(app: &App) {
    let person = Person::new("welcome");
    let flow = person.registers(app).await;
    person.verifies(app, &flow).await;
    person.verifies(app, &flow).await;
    app.letter(&person.email, "registration.welcome").await;
    let kinds: Vec<String> = app.mailbox(&person.email).await.into_iter().map(|letter| letter.kind).collect();
    assert_eq!(kinds, ["registration.verify", "registration.welcome"], "oldest first, each once");
}
