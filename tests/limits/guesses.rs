//! The slow-down over the wire: it outlives the process, and answers right and wrong, known and unknown alike.

use crate::support::{App, Kind, Person, Value, json};

of_each_kind!(
    a_slow_down_outlives_the_process_and_tells_nothing,
    a_wrong_code_that_is_sent_again_under_its_key_is_one_guess,
    wrong_codes_of_a_client_that_hangs_up_are_counted,
    a_success_forgets_only_what_its_own_network_failed_at,
);

/// One guess, from a client of its own.
async fn guess(app: &App, last: u8, body: &Value) -> crate::support::Answer {
    app.client().at_loopback(last).post("/auth/login", body).send().await
}

async fn a_slow_down_outlives_the_process_and_tells_nothing(kind: Kind) {
    let app = App::plan(kind).named("guesses").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("guessed");
    person.joins(&app).await;
    let nobody = Person::new("nobody");
    let known = |password: &str| json!({"email": person.email, "password": password});
    let unknown = |password: &str| json!({"email": nobody.email, "password": password});
    let wrong = "velvet tractor wrong";
    for number in 0..10 {
        guess(&app, number + 2, &known(wrong)).await.problem(401, "credentials");
        guess(&app, number + 2, &unknown(wrong)).await.problem(401, "credentials");
    }
    // Each further failure, made when the wait before it is over, doubles the next one: up to two minutes here.
    let mut offset = 0;
    for wait in [2, 4, 8, 16, 32, 64] {
        offset += wait + 1;
        app.restart_at(offset).await;
        guess(&app, 2, &known(wrong)).await.problem(401, "credentials");
        guess(&app, 2, &unknown(wrong)).await.problem(401, "credentials");
    }
    app.crash_and_restart().await;
    let mut seen = None;
    for body in [known(&person.password), known(wrong), unknown(wrong), unknown(&person.password)] {
        let answer = guess(&app, 3, &body).await;
        let mut problem = answer.problem(429, "slow-down");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=128).contains(&wait), "{answer}");
        problem["request_id"] = json!(null);
        let this = (problem, answer.headers.keys().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(*seen.get_or_insert_with(|| this.clone()), this, "{body} is told apart");
    }
    app.restart_at(offset + 130).await;
    guess(&app, 4, &known(&person.password)).await.expect(200);
    // What others failed at stays: none of them learns from the wait that somebody has signed in.
    guess(&app, 5, &known(wrong)).await.problem(401, "credentials");
    guess(&app, 6, &known(wrong)).await.problem(429, "slow-down");
}

async fn a_wrong_code_that_is_sent_again_under_its_key_is_one_guess(kind: Kind) {
    let app = App::plan(kind).named("repeats").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("patient");
    let tokens = person.arrives(&app).await;
    let wrong = |code: &str| if code == "000000" { "000001" } else { "000000" };

    let asked = app.client().post("/auth/password-reset/request", &json!({"email": person.email})).send().await;
    let code = app.letter(&person.email, "recovery.reset").await.code().unwrap();
    let new = "granite lantern 47 marmalade";
    let reset = |code: &str| json!({"flow": asked.json()["flow"]["id"], "code": code, "new_password": new});
    let to = Person::new("next").email;
    let body = json!({"new_email": to, "password": person.password});
    let begun = app.client().post("/auth/email-change", &body).bearer(&tokens.access).send().await.expect(202);
    let next = app.letter(&to, "email.confirm").await.code().unwrap();
    let change = |code: &str| json!({"flow": begun["flow"]["id"], "code": code});

    // More often than codes of an address may be wrong in a day, each path from a client of its own.
    for _ in 0..22 {
        for (last, path, body) in [
            (2, "/auth/email-change/confirm", change(wrong(&next))),
            (3, "/auth/password-reset/confirm", reset(wrong(&code))),
        ] {
            let again = app.client().at_loopback(last).post(path, &body).key("again").send().await;
            assert_eq!(again.problem(422, "value")["tries_left"], 4, "{again}");
        }
    }
    app.client().post("/auth/email-change/confirm", &change(&next)).send().await.expect(200);
    // The reset was asked for at the address from before, so it is over; its codes are not held back.
    app.client().post("/auth/password-reset/confirm", &reset(&code)).send().await.problem(410, "flow-ended");
}

/// Twenty wrong codes for one address, none of whose answers anybody waits for; then the right one is put off.
async fn wrong_codes_of_a_client_that_hangs_up_are_counted(kind: Kind) {
    let app = App::plan(kind).named("gone").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("counted");
    let mut flows = Vec::new();
    for last in 2..7 {
        let registration = app.client().at_loopback(last).post("/auth/register", &person.registration());
        flows.push(crate::support::person::flow_id(&registration.send().await.expect(202)));
    }
    let (first, others) = flows.split_first().unwrap();
    let letter = crate::support::eventually("the first letter", async || {
        app.mailbox(&person.email).await.into_iter().find(|letter| letter.flow == *first)
    })
    .await;
    for flow in others {
        for number in 0..5 {
            let body = json!({"flow": flow, "code": format!("00000{number}")}).to_string();
            let head = format!(
                "POST /auth/verify-email HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut connection = tokio::net::TcpStream::connect(app.client().server()).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut connection, head.as_bytes()).await.unwrap();
            drop(connection);
        }
        // One try each, and the version says so.
        crate::support::eventually("five judged codes", async || {
            let seen = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
            (seen["flow"]["version"].as_u64() == Some(6)).then_some(())
        })
        .await;
    }
    let right = json!({"flow": first, "code": letter.code()});
    app.client().at_loopback(9).post("/auth/verify-email", &right).send().await.problem(429, "slow-down");
    let by_link = json!({"token": letter.token(), "password": person.password});
    app.client().at_loopback(9).post("/auth/verify-email", &by_link).send().await.expect(200);
}

/// Whoever guesses elsewhere must not learn from their own count that somebody has signed in.
async fn a_success_forgets_only_what_its_own_network_failed_at(kind: Kind) {
    let app = App::plan(kind).named("forgets").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("remembered");
    person.joins(&app).await;
    let body = |password: &str| json!({"email": person.email, "password": password});
    for last in 2..7 {
        guess(&app, last, &body("velvet tractor wrong")).await.problem(401, "credentials");
    }
    for _ in 0..4 {
        guess(&app, 9, &body("velvet tractor wrong")).await.problem(401, "credentials");
    }
    guess(&app, 9, &body(&person.password)).await.expect(200);
    // The minute's quota of the identifier is used up.
    app.restart_at(61).await;
    // Of nine failures the five of strangers are left: the tenth is the fifth from here.
    for last in 10..15 {
        guess(&app, last, &body("velvet tractor wrong")).await.problem(401, "credentials");
    }
    guess(&app, 16, &body("velvet tractor wrong")).await.problem(429, "slow-down");
}
