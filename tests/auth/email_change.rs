//! `POST /auth/email-change` and `/confirm`: another address, proved by whoever reads its mail.

use crate::support::person::{Tokens, flow_id};
use crate::support::{Answer, App, Kind, Person, Value, eventually, json};

on_both_databases!(
    another_address_is_proved_by_link_or_by_code,
    the_owner_of_a_taken_address_gets_a_letter_and_no_code,
    what_cannot_be_the_next_address_is_refused,
    a_sign_out_everywhere_calls_it_off,
    an_address_that_was_taken_meanwhile_is_told_to_who_proved_it,
    a_reset_letter_to_the_address_from_before_is_worthless,
    a_request_with_a_key_is_known_when_it_comes_again,
    whoever_asks_for_another_address_means_no_other,
    the_link_takes_the_password_of_the_account_or_its_access_token,
);
of_each_kind!(the_address_from_before_is_kept_for_a_week);

async fn confirm(app: &App, body: Value) -> Answer {
    app.client().post("/auth/email-change/confirm", &body).send().await
}

async fn ask(app: &App, tokens: &Tokens, to: &str, password: &str) -> Answer {
    let body = json!({"new_email": to, "password": password});
    app.client().post("/auth/email-change", &body).bearer(&tokens.access).send().await
}

fn elsewhere(person: &Person) -> String {
    format!("New.{}", person.email)
}

async fn another_address_is_proved_by_link_or_by_code(app: &App) {
    for by_link in [true, false] {
        let person = Person::new("mover");
        let tokens = person.arrives(app).await;
        let to = elsewhere(&person);
        let begun = ask(app, &tokens, &to, &person.password).await.expect(202);
        assert!(flow_id(&begun).starts_with("emc_"), "{begun}");
        assert_eq!(
            (&begun["flow"]["kind"], &begun["flow"]["phase"]),
            (&json!("email_change"), &json!("awaiting_code"))
        );
        let letter = app.letter(&to, "email.confirm").await;
        assert!(letter.link().unwrap().starts_with(&format!("{}/email-change?token=", app.public_url())));
        let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
        assert_eq!(me["email"], person.email.as_str(), "not before it is proved");

        let (with_link, with_code) = (
            json!({"token": letter.token(), "password": person.password}),
            json!({"flow": flow_id(&begun), "code": letter.code()}),
        );
        let (first, again) = if by_link { (with_link, with_code) } else { (with_code, with_link) };
        let settled = confirm(app, first.clone()).await.expect(200);
        assert_eq!((&settled["flow"]["phase"], &settled["user"]["email"]), (&json!("done"), &json!(to)), "{settled}");
        for body in [again, first] {
            assert_eq!(confirm(app, body).await.expect(200), settled, "any credential of that letter, again and again");
        }
        let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
        assert_eq!(me["email"], to.as_str(), "and the session stays");
        let login = |email: &str| {
            app.client().post("/auth/login", &json!({"email": email, "password": person.password})).send()
        };
        login(&person.email).await.problem(401, "credentials");
        login(&to).await.expect(200);
        let notice = app.letter(&person.email, "email.changed").await;
        assert!(notice.link().unwrap().starts_with(&format!("{}/undo-email-change?token=", app.public_url())));
        assert!(!notice.text.contains(&to) && !notice.html.contains(&to), "the letter does not say where to");
    }
}

async fn the_owner_of_a_taken_address_gets_a_letter_and_no_code(app: &App) {
    let (owner, person) = (Person::new("owner"), Person::new("wisher"));
    owner.joins(app).await;
    let tokens = person.arrives(app).await;
    ask(app, &tokens, &owner.email, &person.password).await.expect(202);
    let letter = app.letter(&owner.email, "email.known").await;
    assert_eq!((letter.code(), letter.text.contains(&person.email)), (None, false), "{letter:?}");
    assert!(app.mailbox(&owner.email).await.iter().all(|letter| letter.kind != "email.confirm"));
}

async fn what_cannot_be_the_next_address_is_refused(app: &App) {
    let person = Person::new("picky");
    let tokens = person.arrives(app).await;
    let own = person.email.to_uppercase();
    for to in ["", "nowhere", "a@b", "\"quoted\"@example.org", "ünï@example.org", &own] {
        let problem = ask(app, &tokens, to, &person.password).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], "/new_email", "{problem}");
    }
    ask(app, &tokens, &elsewhere(&person), "not the velvet umbrella").await.problem(401, "credentials");
    let body = json!({"new_email": elsewhere(&person), "password": person.password});
    app.client().post("/auth/email-change", &body).send().await.problem(401, "credentials");
    assert!(app.mailbox(&elsewhere(&person)).await.is_empty());
}

async fn a_sign_out_everywhere_calls_it_off(app: &App) {
    let person = Person::new("wary");
    let tokens = person.arrives(app).await;
    let to = elsewhere(&person);
    person.asks_for_address(app, &tokens, &to).await;
    app.client().request("POST", "/auth/logout-all").bearer(&tokens.access).send().await.expect(204);
    let token = app.letter(&to, "email.confirm").await.token();
    confirm(app, json!({"token": token, "password": person.password})).await.problem(410, "flow-ended");
    let tokens = person.signs_in(app).await;
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["email"], person.email.as_str());
}

async fn an_address_that_was_taken_meanwhile_is_told_to_who_proved_it(app: &App) {
    let person = Person::new("slow");
    let tokens = person.arrives(app).await;
    let faster = Person::new("faster");
    person.asks_for_address(app, &tokens, &faster.email).await;
    let token = app.letter(&faster.email, "email.confirm").await.token();
    faster.joins(app).await;
    confirm(app, json!({"token": token, "password": person.password})).await.problem(409, "address-taken");
    confirm(app, json!({"token": token, "password": person.password})).await.problem(410, "flow-ended");
    faster.signs_in(app).await;
}

async fn a_reset_letter_to_the_address_from_before_is_worthless(app: &App) {
    let mut person = Person::new("reader");
    let before = person.email.clone();
    let tokens = person.arrives(app).await;
    app.client().post("/auth/password-reset/request", &json!({"email": before})).send().await.expect(202);
    let reset = app.letter(&before, "recovery.reset").await.token();
    let undo = person.moves_to(app, &tokens, &elsewhere(&person)).await;
    let body = json!({"token": reset, "new_password": "granite lantern 47 marmalade"});
    let confirm = || app.client().post("/auth/password-reset/confirm", &body).send();
    confirm().await.problem(410, "flow-ended");
    // Not even when the address is the account's again.
    let next = "lantern marmalade 47 granite";
    let body = json!({"token": undo, "new_password": next});
    app.client().post("/auth/email-change/undo", &body).send().await.expect(200);
    confirm().await.problem(410, "flow-ended");
    let back = Person { email: before, password: next.to_owned(), ..person };
    back.signs_in(app).await;
}

async fn a_request_with_a_key_is_known_when_it_comes_again(app: &App) {
    let person = Person::new("keyed");
    let tokens = person.arrives(app).await;
    let to = elsewhere(&person);
    let post = |to: &str, password: &str| {
        let body = json!({"new_email": to, "password": password});
        app.client().post("/auth/email-change", &body).bearer(&tokens.access).key("change").send()
    };
    let first = post(&to, &person.password).await.expect(202);
    assert_eq!(post(&to, &person.password).await.expect(202)["flow"], first["flow"]);
    assert_eq!(app.mailbox(&to).await.len(), 1);
    post(&to, "not the velvet umbrella").await.problem(401, "credentials");
    post(&format!("x{to}"), &person.password).await.problem(422, "idempotency-mismatch");
    let token = app.letter(&to, "email.confirm").await.token();
    confirm(app, json!({"token": token, "password": person.password})).await.expect(200);
    assert_eq!(post(&to, &person.password).await.expect(202)["flow"], first["flow"], "also when it is the account's");
}

/// A stranger has the owner of an address press the button: their account must not get it.
async fn the_link_takes_the_password_of_the_account_or_its_access_token(app: &App) {
    for by_bearer in [true, false] {
        let (person, victim) = (Person::new("stranger"), Person::new("victim"));
        let tokens = person.arrives(app).await;
        let theirs = Person::new("bystander").arrives(app).await;
        person.asks_for_address(app, &tokens, &victim.email).await;
        let token = app.letter(&victim.email, "email.confirm").await.token();
        let alone = json!({"token": token});
        let problem = confirm(app, alone.clone()).await.problem(400, "unreadable");
        assert_eq!(problem["pointer"], "/password", "{problem}");
        let with = |password: &str| json!({"token": token, "password": password});
        confirm(app, with(&victim.password)).await.problem(401, "credentials");
        let path = "/auth/email-change/confirm";
        let bearer = async |access: &str| app.client().post(path, &alone).bearer(access).send().await;
        bearer(&theirs.access).await.problem(401, "credentials");
        bearer("garbage").await.problem(401, "session-ended");
        let coded = json!({"flow": "emc_00000000000000000000000000", "code": "123456", "password": "x"});
        confirm(app, coded).await.problem(400, "unreadable");

        let settled = match by_bearer {
            true => bearer(&tokens.access).await.expect(200),
            false => confirm(app, with(&person.password)).await.expect(200),
        };
        assert_eq!(settled["user"]["email"], victim.email.as_str(), "{settled}");
        confirm(app, with(&victim.password)).await.problem(401, "credentials");
        assert_eq!(bearer(&tokens.access).await.expect(200), settled, "again and again");
        assert_eq!(confirm(app, with(&person.password)).await.expect(200), settled);
    }
}

async fn the_address_from_before_is_kept_for_a_week(kind: Kind) {
    let app = App::plan(kind).named("kept").start().await;
    let mut person = Person::new("owner");
    let before = person.email.clone();
    let tokens = person.arrives(&app).await;
    let undo = person.moves_to(&app, &tokens, &elsewhere(&person)).await;
    let rival = Person { email: before.clone(), ..Person::new("rival") };
    let flow = rival.registers(&app).await;
    let code = rival.verification(&app).await.code();
    let body = json!({"flow": flow, "code": code});
    app.client().post("/auth/verify-email", &body).send().await.problem(409, "address-taken");

    // The account itself is told at once, and until when.
    let tokens = person.signs_in(&app).await;
    let problem = ask(&app, &tokens, &before, &person.password).await.problem(422, "value");
    assert_eq!(problem["errors"][0]["code"], "kept", "{problem}");

    app.restart_at(7 * 86_400 + 60).await;
    app.client().post("/auth/email-change/undo", &json!({"token": undo})).send().await.problem(410, "flow-ended");
    rival.joins(&app).await;
    rival.signs_in(&app).await;
    person.signs_in(&app).await;
}

async fn whoever_asks_for_another_address_means_no_other(app: &App) {
    let person = Person::new("mistyped");
    let tokens = person.arrives(app).await;
    let (wrong, right) = (format!("Stranger.{}", person.email), elsewhere(&person));
    let flow = flow_id(&ask(app, &tokens, &wrong, &person.password).await.expect(202));
    let strangers = app.letter(&wrong, "email.confirm").await;
    ask(app, &tokens, &right, &person.password).await.expect(202);
    let own = app.letter(&right, "email.confirm").await;
    // The first is told by a signal, after the commit of the second.
    eventually("the first to be over", async || {
        let export = app.client().get("/users/me/export").bearer(&tokens.access).send().await.expect(200);
        let flows = export["flows"].as_array().unwrap();
        flows.iter().any(|known| known["id"] == flow.as_str() && known["phase"] == "ended").then_some(())
    })
    .await;
    confirm(app, json!({"token": strangers.token(), "password": person.password})).await.problem(410, "flow-ended");
    confirm(app, json!({"flow": flow, "code": strangers.code()})).await.problem(410, "flow-ended");
    confirm(app, json!({"token": own.token(), "password": person.password})).await.expect(200);
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me["email"], right.as_str());
}
