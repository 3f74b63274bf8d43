//! The slow-down over the wire: it outlives the process, and answers right and wrong, known and unknown alike.

use crate::support::{App, Kind, Person, Value, json};

of_each_kind!(a_slow_down_outlives_the_process_and_tells_nothing);

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
    for number in 0..9 {
        guess(&app, number + 5, &known(wrong)).await.problem(401, "credentials");
    }
}
