//! The device cookie over the wire: nobody is locked out of a browser that is known to them.

use crate::support::{Answer, App, Kind, Person, json};

/// Name, value and attributes of the cookie that an answer sets.
fn cookie(answer: &Answer) -> (String, String, Vec<String>) {
    let line = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    let mut parts = line.split("; ").map(str::to_owned);
    let pair = parts.next().unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    (name.to_owned(), value.to_owned(), parts.collect())
}

#[tokio::test]
async fn a_browser_that_is_known_is_let_through_while_strangers_wait() {
    let app = App::plan(Kind::Sqlite).named("browsers").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("known");
    person.joins(&app).await;
    let login = |last: u8| app.client().at_loopback(last).post("/auth/login", &person.credentials());
    let first = login(2).send().await;
    first.expect(200);
    let (name, value, attributes) = cookie(&first);
    assert_eq!(name, app.cookie("cairn_device"));
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"]);

    // Strangers use the identifier's minute up, and slow it down besides.
    for number in 0..10 {
        let wrong = json!({"email": person.email, "password": "velvet tractor wrong"});
        app.client().at_loopback(number + 3).post("/auth/login", &wrong).send().await;
    }
    login(20).send().await.problem(429, "slow-down");
    let shown = format!("other=1; {name}={value}; more=2");
    let known = login(20).header("cookie", &shown).send().await;
    known.expect(200);
    let (_, renewed, _) = cookie(&known);
    assert_ne!(renewed, value, "good for a year from now");
    login(20).header("cookie", &format!("{name}={renewed}")).send().await.expect(200);
    login(20).send().await.problem(429, "slow-down");

    // Somebody else's browser is a stranger's here.
    let other = Person::new("other");
    other.joins(&app).await;
    let theirs = app.client().at_loopback(30).post("/auth/login", &other.credentials()).send().await;
    let (_, foreign, _) = cookie(&theirs);
    login(31).header("cookie", &format!("{name}={foreign}")).send().await.problem(429, "slow-down");
}

#[tokio::test]
async fn whoever_has_stolen_a_token_locks_nobody_out_of_a_browser_that_is_known() {
    let app = App::plan(Kind::Sqlite).named("stolen").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("robbed");
    person.joins(&app).await;
    let first = app.client().post("/auth/login", &person.credentials()).send().await;
    let access = first.expect(200)["access_token"].as_str().unwrap().to_owned();
    let (name, value, _) = cookie(&first);
    let step_up = |last: u8, password: &str| {
        let body = json!({"password": password});
        app.client().at_loopback(last).post("/auth/step-up", &body).bearer(&access)
    };
    for number in 0..10 {
        step_up(number + 3, "velvet tractor wrong").send().await.problem(401, "credentials");
    }
    step_up(20, &person.password).send().await.problem(429, "slow-down");
    let shown = format!("{name}={value}");
    step_up(20, &person.password).header("cookie", &shown).send().await.expect(200);
    // It is no free pass: the browser has a count of its own.
    for number in 0..10 {
        step_up(number + 30, "velvet tractor wrong").header("cookie", &shown).send().await.problem(401, "credentials");
    }
    step_up(50, &person.password).header("cookie", &shown).send().await.problem(429, "slow-down");
}

#[tokio::test]
async fn devices_of_one_account_share_a_second_count_of_what_fails() {
    let app = App::plan(Kind::Sqlite).named("shared").unset("CAIRN_LIMITS").start().await;
    let (person, other) = (Person::new("shared"), Person::new("other"));
    person.joins(&app).await;
    other.joins(&app).await;
    // Each sign-in without a cookie makes one more device, with a count of its own.
    let mut devices = Vec::new();
    for number in 0..5 {
        let answer = app.client().at_loopback(number + 2).post("/auth/login", &person.credentials()).send().await;
        answer.expect(200);
        devices.push(cookie(&answer).1);
    }
    let attempt = |last: u8, device: &str, password: &str| {
        let body = json!({"email": person.email, "password": password});
        let shown = format!("{}={device}", app.cookie("cairn_device"));
        app.client().at_loopback(last).post("/auth/login", &body).header("cookie", &shown).send()
    };
    for (number, device) in (0_u8..).zip(&devices[..4]) {
        for _ in 0..if number < 3 { 8 } else { 6 } {
            attempt(number + 20, device, "velvet tractor wrong").await.problem(401, "credentials");
        }
    }
    // Thirty in all: the fifth, which has failed at nothing, waits as well, with the right password, too.
    attempt(40, &devices[4], &person.password).await.problem(429, "slow-down");
    let theirs = app.client().at_loopback(41).post("/auth/login", &other.credentials()).send().await;
    theirs.expect(200);
}

#[tokio::test]
async fn a_sign_in_that_is_refused_sets_no_cookie() {
    let app = App::plan(Kind::Sqlite).named("no-cookie").start().await;
    let body = json!({"email": "ada@example.org", "password": "velvet tractor wrong"});
    let answer = app.client().post("/auth/login", &body).send().await;
    assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{answer}");
}

#[tokio::test]
async fn with_tls_in_front_the_cookie_belongs_to_the_host() {
    let plan = App::plan(Kind::Sqlite).named("tls").unset("CAIRN_LIMITS");
    let app = plan.set("CAIRN_PUBLIC_URL", "https://id.localhost").start().await;
    let person = Person::new("secure");
    person.joins(&app).await;
    let answer = app.client().post("/auth/login", &person.credentials()).send().await;
    let (name, _, attributes) = cookie(&answer);
    assert_eq!(name, "__Host-cairn_device");
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=31536000"]);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
}
