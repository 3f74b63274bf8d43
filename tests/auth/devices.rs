//! `/auth/devices`: the devices that an account knows, how programs prove theirs, and what makes them unknown.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Person, Value, json};

on_both_databases!(
    devices_are_listed_and_forgotten_each_by_itself,
    a_program_without_cookies_proves_its_device_in_a_header,
    a_reset_and_a_sign_out_everywhere_make_every_device_and_place_news,
    what_is_no_device_of_ones_own_is_not_found_or_left_alone,
);

const AGENT: &str = "Telescope/1.0";

/// A sign-in of a program with a user agent and, if it has one, the proof of its device.
async fn login(app: &App, person: &Person, agent: &str, proof: Option<&str>) -> Answer {
    let mut login = app.client().post("/auth/login", &person.credentials()).header("user-agent", agent);
    if let Some(proof) = proof {
        login = login.header("cairn-device", proof);
    }
    login.send().await
}

fn proof(answer: &Value) -> String {
    answer["device"].as_str().unwrap_or_else(|| panic!("no device in {answer}")).to_owned()
}

async fn devices(app: &App, tokens: &Tokens) -> Vec<Value> {
    let listed = app.client().get("/auth/devices").bearer(&tokens.access).send().await.expect(200);
    listed["devices"].as_array().unwrap().clone()
}

async fn forget(app: &App, tokens: &Tokens, id: &str) -> Answer {
    app.client().request("DELETE", &format!("/auth/devices/{id}")).bearer(&tokens.access).send().await
}

async fn notices(app: &App, person: &Person) -> usize {
    app.mailbox(&person.email).await.iter().filter(|letter| letter.kind == "session.new-device").count()
}

async fn devices_are_listed_and_forgotten_each_by_itself(app: &App) {
    let person = Person::new("owner");
    person.joins(app).await;
    let first = login(app, &person, AGENT, None).await.expect(200);
    let second = login(app, &person, "Microscope/2.0", None).await.expect(200);
    let (one, two) = (Tokens::of(&first), Tokens::of(&second));
    let listed = devices(app, &two).await;
    let shown: Vec<_> = listed.iter().map(|device| (device["device"].as_str(), device["current"].as_bool())).collect();
    assert_eq!(shown, [(Some("Microscope/2.0"), Some(true)), (Some(AGENT), Some(false))], "last seen first");
    for device in &listed {
        assert!(device["id"].as_str().is_some_and(|id| id.starts_with("dev_")), "{device}");
        assert_eq!(device["client_address"], "127.0.0.1");
        assert!(device["first_seen_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{device}");
        assert!(device["last_seen_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{device}");
    }
    // Seen again it is the same one, with what it says now.
    let again = login(app, &person, "Telescope/1.1", Some(&proof(&first))).await.expect(200);
    let listed = devices(app, &Tokens::of(&again)).await;
    assert_eq!((listed.len(), &listed[0]["device"], &listed[0]["current"]), (2, &json!("Telescope/1.1"), &json!(true)));

    let id = listed[0]["id"].as_str().unwrap();
    for _ in 0..2 {
        forget(app, &two, id).await.expect(204);
    }
    assert_eq!(devices(app, &two).await.len(), 1);
    app.client().get("/users/me").bearer(&one.access).send().await.expect(200);
    // Its proof proves nothing any more: from elsewhere, with another agent, it is news.
    let before = notices(app, &person).await;
    let later = login(app, &person, "Telescope/9.0", Some(&proof(&again))).await.expect(200);
    assert_eq!(notices(app, &person).await, before + 1);
    assert_ne!(proof(&later), proof(&again));
    assert_eq!(devices(app, &two).await.len(), 2);
    let export = app.client().get("/users/me/export").bearer(&two.access).send().await.expect(200);
    assert_eq!(export["devices"].as_array().map(Vec::len), Some(2), "{export}");
}

async fn a_program_without_cookies_proves_its_device_in_a_header(app: &App) {
    let (person, other) = (Person::new("script"), Person::new("script"));
    person.joins(app).await;
    other.joins(app).await;
    let answer = login(app, &person, AGENT, None).await;
    let first = answer.expect(200);
    let set = answer.list("set-cookie").join("\n");
    assert!(
        set.contains(&format!("{}={}", app.cookie("cairn_device"), proof(&first))),
        "cookie and member say the same: {set}"
    );
    login(app, &person, "Microscope/1.0", Some(&proof(&first))).await.expect(200);
    assert_eq!(notices(app, &person).await, 0, "it is known by its proof");
    // The cookie wins over the header.
    login(app, &other, AGENT, None).await.expect(200);
    let shown = format!("{}={}", app.cookie("cairn_device"), proof(&first));
    let login = app.client().post("/auth/login", &person.credentials()).header("user-agent", "Periscope/1.0");
    login.header("cairn-device", "garbage").header("cookie", &shown).send().await.expect(200);
    assert_eq!(notices(app, &person).await, 0);
    let login = app.client().post("/auth/login", &other.credentials()).header("user-agent", "Periscope/1.0");
    login.header("cairn-device", &proof(&first)).send().await.expect(200);
    assert_eq!(notices(app, &other).await, 1, "another account's proof says nothing");
    // A refresh carries no proof.
    let refresh = json!({"refresh_token": Tokens::of(&first).refresh});
    assert!(app.client().post("/auth/refresh", &refresh).send().await.expect(200).get("device").is_none());
    let bad = app.client().post("/auth/login", &person.credentials()).header("cairn-device", "\u{e9} \"x\"");
    bad.send().await.expect(200);
}

async fn a_reset_and_a_sign_out_everywhere_make_every_device_and_place_news(app: &App) {
    let mut person = Person::new("reset");
    person.joins(app).await;
    let known = proof(&login(app, &person, AGENT, None).await.expect(200));
    app.client().post("/auth/password-reset/request", &json!({"email": person.email})).send().await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    person.password = "granite lantern 47 marmalade".to_owned();
    let body = json!({"token": token, "new_password": person.password});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
    let back = login(app, &person, AGENT, Some(&known)).await.expect(200);
    assert_eq!(notices(app, &person).await, 1, "a thief's browser and place are news after a reset");
    let tokens = Tokens::of(&back);
    assert_eq!(devices(app, &tokens).await.len(), 1, "nothing is left of those from before");
    app.client().post("/auth/logout-all", &json!({})).bearer(&tokens.access).send().await.expect(204);
    login(app, &person, AGENT, Some(&proof(&back))).await.expect(200);
    assert_eq!(notices(app, &person).await, 2);
}

async fn what_is_no_device_of_ones_own_is_not_found_or_left_alone(app: &App) {
    let (person, other) = (Person::new("mine"), Person::new("theirs"));
    let (tokens, theirs) = (person.arrives(app).await, other.arrives(app).await);
    for id in ["x", "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV", "dev_", "dev_%00"] {
        forget(app, &tokens, id).await.problem(404, "not-found");
    }
    let id = devices(app, &theirs).await[0]["id"].as_str().unwrap().to_owned();
    forget(app, &tokens, &id).await.expect(204);
    assert_eq!(
        devices(app, &theirs).await.len(),
        1,
        "another's device is not forgotten, and whether it is one is not told"
    );
    app.client().get("/auth/devices").send().await.problem(401, "credentials");
}
