//! `POST /auth/register`: what is accepted, what is refused and why, and that nobody learns who has an account.

use std::collections::BTreeSet;

use crate::support::person::flow_id;
use crate::support::{Answer, App, Person, Value, json};

on_both_databases!(
    a_registration_answers_with_its_flow,
    a_known_address_gets_the_same_answer_and_its_owner_a_letter,
    no_code_is_right_for_the_flow_of_a_known_address,
    addresses_are_compared_in_one_form,
    what_is_no_address_is_refused,
    unusual_addresses_are_accepted,
    names_and_usernames_are_held_to_their_rules,
    a_taken_username_is_refused,
    a_password_has_bounds,
    a_guessable_password_is_refused,
    members_must_be_known_once_and_of_their_type,
);

async fn register(app: &App, body: &Value) -> Answer {
    app.client().post("/auth/register", body).send().await
}

/// The refusal of one member, by its code.
#[track_caller]
fn refused(answer: &Answer, pointer: &str) {
    let problem = answer.problem(422, "value");
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {answer}"));
    assert!(errors.iter().any(|error| error["pointer"] == pointer), "nothing about {pointer}: {answer}");
    for error in errors {
        assert!(error["code"].is_string() && error["detail"].is_string(), "{answer}");
    }
}

async fn a_registration_answers_with_its_flow(app: &App) {
    let person = Person::new("plain");
    let answer = register(app, &person.registration()).await;
    let body = answer.expect(202);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let members: BTreeSet<&String> = body["flow"].as_object().unwrap().keys().collect();
    let expected = ["expires_at", "id", "kind", "phase", "version"].map(String::from);
    assert_eq!(members, expected.iter().collect(), "{answer}");
    assert!(flow_id(&body).starts_with("reg_"), "{answer}");
    assert_eq!(body["flow"]["kind"], "registration");
    assert_eq!(body["flow"]["phase"], "awaiting_code");
    assert_eq!(body["flow"]["version"], 1);
    assert!(body["flow"]["expires_at"].as_str().unwrap().ends_with('Z'), "{answer}");
    assert!(["actor", "direct"].contains(&body["method"].as_str().unwrap()), "{answer}");
}

async fn a_known_address_gets_the_same_answer_and_its_owner_a_letter(app: &App) {
    let owner = Person::new("owner");
    let stranger = Person::new("stranger");
    owner.joins(app).await;
    let body = |email: &str| json!({"email": email, "password": stranger.password});
    let known = register(app, &body(&owner.email)).await;
    let unknown = register(app, &body(&stranger.email)).await;
    let names = |answer: &Answer| answer.headers.keys().map(|name| name.as_str().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names(&known), names(&unknown), "a header tells who has an account");
    let shape = |answer: &Answer| {
        let mut body = answer.expect(202);
        for (place, member) in [("flow", "id"), ("flow", "expires_at")] {
            assert!(body[place][member].is_string(), "{answer}");
            body[place][member] = Value::Null;
        }
        body
    };
    assert_eq!(shape(&known), shape(&unknown));

    let status = async |answer: &Answer| {
        let id = flow_id(&answer.json());
        let mut status = app.client().get(&format!("/auth/register/{id}")).send().await.expect(200);
        status["flow"]["id"] = Value::Null;
        status["flow"]["expires_at"] = Value::Null;
        // Whether the letter has left by now depends on the moment, not on the account.
        status["mail"] = json!(status["mail"].as_object().map(|mail| mail.keys().cloned().collect::<Vec<_>>()));
        status
    };
    assert_eq!(status(&known).await, status(&unknown).await);

    let letter = app.letter(&owner.email, "registration.known").await;
    assert_eq!(letter.code(), None, "a letter to who has an account carries no code:\n{}", letter.text);
    assert!(!letter.text.contains("verify-email?token="), "{}", letter.text);
    assert!(app.letter(&stranger.email, "registration.verify").await.code().is_some());
}

async fn no_code_is_right_for_the_flow_of_a_known_address(app: &App) {
    let owner = Person::new("owner");
    owner.joins(app).await;
    let flow =
        flow_id(&register(app, &json!({"email": owner.email, "password": Person::new("x").password})).await.json());
    for left in (0..5).rev() {
        let body = json!({"flow": flow, "code": format!("{left}{left}{left}{left}{left}7")});
        let problem = app.client().post("/auth/verify-email", &body).send().await.problem(422, "value");
        assert_eq!(problem["tries_left"], left, "{problem}");
    }
    let body = json!({"flow": flow, "code": "123456"});
    app.client().post("/auth/verify-email", &body).send().await.problem(410, "flow-ended");
}

async fn addresses_are_compared_in_one_form(app: &App) {
    let person = Person::new("canonical");
    person.joins(app).await;
    let upper = person.email.to_uppercase();
    let again = json!({"email": upper, "password": Person::new("x").password});
    register(app, &again).await.expect(202);
    app.letter(&person.email, "registration.known").await;
    let sign_in = json!({"email": upper, "password": person.password});
    let answer = app.client().post("/auth/login", &sign_in).send().await.expect(200);
    let claims = crate::support::token::claims(answer["access_token"].as_str().unwrap());
    assert_eq!(claims["email"], person.email.as_str(), "shown as it was typed at registration");

    // A dot and a plus in the local part make another address.
    let dotted = person.email.replacen('c', "c.", 1);
    register(app, &json!({"email": dotted, "password": Person::new("x").password})).await.expect(202);
    app.letter(&dotted, "registration.verify").await;
}

async fn what_is_no_address_is_refused(app: &App) {
    let long = format!("{}@example.org", "a".repeat(254));
    let addresses = [
        "",
        "@",
        "ada",
        "ada@",
        "@example.org",
        "ada@localhost",
        "ada@@example.org",
        "ada@example.org ",
        " ada@example.org",
        "a da@example.org",
        "ada@exa mple.org",
        "\"ada\"@example.org",
        "ada(comment)@example.org",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "adä@example.org",
        "ada@example..org",
        "ada@-example.org",
        ".ada@example.org",
        "ada.@example.org",
        "a..da@example.org",
        "ada@example.org\n",
        "ada\u{0}@example.org",
        "ada\r\nBcc: b@example.org",
        "Ada <ada@example.org>",
        "ada@example.org,bob@example.org",
        &long,
    ];
    let password = Person::new("x").password;
    for email in addresses {
        let answer = register(app, &json!({"email": email, "password": password})).await;
        assert_eq!(answer.status, 422, "{email:?} was taken for an address: {answer}");
        refused(&answer, "/email");
    }
}

async fn unusual_addresses_are_accepted(app: &App) {
    let unique = Person::new("odd").username;
    let addresses = [
        format!("{unique}+tag@example.org"),
        format!("{unique}.o'brien@example.org"),
        format!("{unique}_{{x}}!#$%&*/=?^`|~@example.org"),
        format!("{unique}@a.b.c.d.example.museum"),
        format!("{unique}@xn--bcher-kva.example"),
    ];
    for email in addresses {
        register(app, &json!({"email": email, "password": Person::new("x").password})).await.expect(202);
        let letter = app.letter(&email, "registration.verify").await;
        assert_eq!(letter.to, email);
    }
    // An IDN domain is answered as typed and mailed as A-labels; both forms are one address.
    let typed = format!("{unique}@bücher.example");
    let person = Person { email: typed.clone(), ..Person::new("idn") };
    let flow = flow_id(&register(app, &person.registration()).await.expect(202));
    let mailed = format!("{unique}@xn--bcher-kva.example");
    let mut codes = app.mailbox(&mailed).await.into_iter().filter_map(|letter| letter.code());
    let code = codes.next_back().expect("a letter to the A-labels");
    let answer = app.client().post("/auth/verify-email", &json!({"flow": flow, "code": code})).send().await;
    assert_eq!(answer.expect(200)["user"]["email"], typed.as_str());
    let sign_in = json!({"email": mailed, "password": person.password});
    app.client().post("/auth/login", &sign_in).send().await.expect(200);
}

async fn names_and_usernames_are_held_to_their_rules(app: &App) {
    let with = |member: &str, value: &str| {
        let mut body = Person::new("named").registration();
        body[member] = json!(value);
        body
    };
    let long = "x".repeat(101);
    for member in ["first_name", "last_name"] {
        for name in ["", &long, "Ada\u{7}", "Ada\nLovelace", "\u{202e}\u{200b}", "Ada\u{e000}", "Ada\u{2028}"] {
            refused(&register(app, &with(member, name)).await, &format!("/{member}"));
        }
        for name in ["Å", "Nguyễn Thị Minh Khai", &"é".repeat(100)] {
            register(app, &with(member, name)).await.expect(202);
        }
    }
    for username in ["", "ab", "1abc", "_abc", "ab c", "abc!", "äbc", "a@b", &"x".repeat(33), "admin", "Post.Master"] {
        refused(&register(app, &with("username", username)).await, "/username");
    }
    let mut body = Person::new("null").registration();
    for member in ["username", "first_name", "last_name"] {
        body[member] = Value::Null;
    }
    register(app, &body).await.expect(202);

    let loud = Person::new("loud");
    let mut body = loud.registration();
    body["username"] = json!(loud.username.to_uppercase());
    let flow = flow_id(&register(app, &body).await.expect(202));
    assert_eq!(loud.verifies(app, &flow).await["username"], loud.username.as_str(), "kept in lower case");
}

async fn a_taken_username_is_refused(app: &App) {
    let first = Person::new("first");
    first.joins(app).await;
    let mut body = Person::new("second").registration();
    body["username"] = json!(first.username.to_uppercase());
    register(app, &body).await.problem(409, "username-taken");
}

async fn a_password_has_bounds(app: &App) {
    let person = Person::new("bounded");
    let with = |password: &str| json!({"email": person.email, "password": password});
    let too_long = "correct horse battery staple ".repeat(9);
    assert!(too_long.len() > 256);
    for password in ["", "short", "ninechars", &too_long] {
        println!("{password:?}");
        refused(&register(app, &with(password)).await, "/password");
    }
    for password in ["velvet tractor umbrella", "Ærøskøbing fjord 88 lanterns", "  spaces count at both ends  ~ 9"] {
        register(app, &with(password)).await.expect(202);
    }
}

async fn a_guessable_password_is_refused(app: &App) {
    let person = Person::new("guessable");
    let own_words = format!("{}2024", person.username);
    for password in ["password12", "qwertyuiop", "aaaaaaaaaaaa", "1234567890", &own_words] {
        println!("{password:?}");
        let body = json!({"email": person.email, "username": person.username, "password": password});
        refused(&register(app, &body).await, "/password");
    }
}

async fn members_must_be_known_once_and_of_their_type(app: &App) {
    let person = Person::new("strict");
    let raw = async |body: String| {
        let request = app.client().request("POST", "/auth/register").header("content-type", "application/json");
        request.body(body).send().await.problem(400, "unreadable")
    };
    let password = &person.password;
    let problem = raw(format!(r#"{{"email": "{}", "password": "{password}", "admin": true}}"#, person.email)).await;
    assert!(problem.to_string().contains("admin"), "{problem}");
    let problem = raw(format!(r#"{{"email": "{0}", "email": "{0}", "password": "{password}"}}"#, person.email)).await;
    assert!(problem.to_string().contains("email"), "{problem}");
    let problem = raw(format!(r#"{{"email": 7, "password": "{password}"}}"#)).await;
    assert_eq!(problem["pointer"], "/email", "{problem}");
    let problem = raw(format!(r#"{{"password": "{password}"}}"#)).await;
    assert!(problem.to_string().contains("email"), "{problem}");
    let problem = raw("{\"email\":\n  oops}".into()).await;
    assert_eq!((&problem["line"], problem["column"].is_u64()), (&json!(2), true), "{problem}");
    for body in ["", "null", "[]", "7", "\"text\"", "{} {}", "{", "\u{feff}{}"] {
        raw(body.into()).await;
    }
}
