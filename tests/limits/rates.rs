//! Rate limits over the wire: on by default, one table, told on every answer of a limited route.

use crate::support::{App, Kind, Person, json};

/// What the `RateLimit` headers say is left of a quota.
fn left(answer: &crate::support::Answer, quota: &str) -> Option<u32> {
    let all = answer.list("ratelimit");
    let line = all.iter().find(|item| item.starts_with(&format!("\"{quota}\";")))?;
    line.split(';').find_map(|part| part.strip_prefix("r="))?.parse().ok()
}

#[tokio::test]
async fn the_limits_are_on_by_default_and_told_on_every_answer() {
    let app = App::plan(Kind::Sqlite).named("limits").unset("CAIRN_LIMITS").start().await;
    // Refusals of the body, its type and its values count and tell as well.
    for (number, body) in ["", "[]", "{\"email\": 1}", "{}"].into_iter().enumerate() {
        let request = app.client().request("POST", "/auth/register").header("content-type", "application/json");
        let answer = request.body(body).send().await;
        assert_eq!(answer.status, 400, "{answer}");
        let policy = answer.list("ratelimit-policy");
        assert_eq!(policy, ["\"register\";q=10;w=60", "\"register-hour\";q=60;w=3600"], "{answer}");
        assert_eq!(left(&answer, "register"), Some(9 - u32::try_from(number).unwrap()), "{answer}");
        assert_eq!(left(&answer, "register-hour"), Some(59 - u32::try_from(number).unwrap()), "{answer}");
    }
    let answer = app.client().request("POST", "/auth/register").body("x").send().await;
    assert_eq!((answer.status, left(&answer, "register")), (415, Some(5)), "{answer}");
    for _ in 0..5 {
        app.client().post("/auth/register", &json!({})).send().await.problem(400, "unreadable");
    }
    let answer = app.client().post("/auth/register", &Person::new("late").registration()).send().await;
    answer.problem(429, "slow-down");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer}");
    assert_eq!(left(&answer, "register"), Some(0), "{answer}");

    // Another client, another bucket and what is not limited go on.
    app.client().at_loopback(2).post("/auth/register", &json!({})).send().await.problem(400, "unreadable");
    let answer = app.client().post("/auth/verify-email", &json!({})).send().await;
    assert_eq!((answer.status, left(&answer, "code")), (400, Some(29)), "{answer}");
    let answer = app.client().post("/auth/refresh", &json!({"refresh_token": "x"})).send().await;
    assert_eq!((answer.status, left(&answer, "refresh")), (401, Some(119)), "{answer}");
    let answer = app.client().get("/health").send().await;
    assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, None), "{answer}");
}

#[tokio::test]
async fn one_identifier_is_limited_whatever_client_asks_and_whether_or_not_it_exists() {
    let app = App::plan(Kind::Sqlite).named("identifiers").unset("CAIRN_LIMITS").start().await;
    let person = Person::new("limited");
    person.joins(&app).await;
    let nobody = Person::new("nobody");
    for email in [&person.email, &nobody.email] {
        for number in 0..12_u8 {
            let typed = if number % 2 == 0 { email.clone() } else { email.to_uppercase() };
            let body = json!({"email": typed, "password": "velvet tractor wrong"});
            let answer = app.client().at_loopback(10 + number).post("/auth/login", &body).send().await;
            assert_eq!(answer.status, if number < 10 { 401 } else { 429 }, "{answer}");
            assert_eq!(left(&answer, "login"), Some(if email == &person.email { 29 } else { 28 }), "{answer}");
            assert_eq!(left(&answer, "login-identifier"), Some(9_u32.saturating_sub(number.into())), "{answer}");
            assert!(answer.list("ratelimit-policy").contains(&"\"login-identifier\";q=10;w=60".to_owned()), "{answer}");
        }
    }
}

#[tokio::test]
async fn limits_that_are_lifted_are_not_told_either() {
    let app = App::plan(Kind::Sqlite).named("lifted").start().await;
    for _ in 0..40 {
        let body = json!({"email": "ada@example.org", "password": "velvet tractor wrong"});
        let answer = app.client().post("/auth/login", &body).send().await;
        answer.problem(401, "credentials");
        assert_eq!((answer.header("ratelimit-policy"), answer.header("ratelimit")), (None, None), "{answer}");
    }
}

#[tokio::test]
async fn nothing_that_reads_or_writes_is_without_a_limit() {
    let app = App::plan(Kind::Sqlite).named("everywhere").unset("CAIRN_LIMITS").start().await;
    for (method, target, quota) in [
        ("GET", "/auth/register/reg_00000000000000000000000000", "status"),
        ("POST", "/auth/register/reg_00000000000000000000000000/resend", "resend"),
        ("POST", "/auth/logout", "change"),
        ("POST", "/auth/logout-all", "change"),
        ("GET", "/auth/sessions", "account"),
        ("DELETE", "/auth/sessions/ses_00000000000000000000000000", "change"),
        ("GET", "/auth/status", "account"),
        ("GET", "/users/me", "account"),
        ("PUT", "/users/me", "change"),
        ("GET", "/login", "page"),
        ("GET", "/verify-email/events", "events"),
        ("POST", "/account/profile", "change"),
        ("GET", "/.well-known/change-password", "page"),
    ] {
        let answer = app.client().request(method, target).send().await;
        assert!(left(&answer, quota).is_some(), "{answer}");
        assert!(
            answer.list("ratelimit-policy").iter().any(|item| item.starts_with(&format!("\"{quota}\";q="))),
            "{answer}"
        );
    }
    // And it holds.
    for number in 0..27 {
        let answer = app.client().post("/auth/register/none/resend", &json!({})).send().await;
        assert_eq!(left(&answer, "resend"), Some(28 - number), "{answer}");
    }
}

#[tokio::test]
async fn a_customer_with_a_whole_network_has_sixteen_quotas() {
    let plan = App::plan(Kind::Sqlite).named("networks").unset("CAIRN_LIMITS");
    let app = plan.set("CAIRN_TRUSTED_PROXIES", "127.0.0.1").start().await;
    let ask = async |subnet: u16| {
        let request = app.client().post("/auth/verify-email", &json!({}));
        request.header("x-forwarded-for", &format!("2001:db8:0:{subnet:x}::1")).send().await
    };
    // Each /64 has 30, a /56 of them 120, the /48 480.
    let mut passed = 0;
    for subnet in (0..32).map(|number| number * 0x80 + 1).chain([0x2, 0x3, 0xff02]) {
        for _ in 0..31 {
            let answer = ask(subnet).await;
            match answer.status {
                400 => passed += 1,
                _ => {
                    answer.problem(429, "slow-down");
                    assert_eq!(left(&answer, "code"), Some(0), "{answer}");
                    break;
                }
            }
        }
    }
    assert_eq!(passed, 480);
}

#[tokio::test]
async fn a_setting_says_how_many_requests_a_bucket_holds_and_the_headers_follow() {
    // For a class of thirty behind one address.
    let plan = App::plan(Kind::Sqlite).named("a-class").unset("CAIRN_LIMITS");
    let plan = plan.set("CAIRN_LIMIT_REGISTER", "200/1d 40/1m").set("CAIRN_LIMIT_LOGIN", "2/1h");
    let app = plan.start().await;
    for number in 1..=40 {
        let answer = app.client().post("/auth/register", &json!({})).send().await;
        answer.problem(400, "unreadable");
        let policy = answer.list("ratelimit-policy");
        assert_eq!(policy, ["\"register\";q=40;w=60", "\"register-day\";q=200;w=86400"], "{answer}");
        assert_eq!((left(&answer, "register"), left(&answer, "register-day")), (Some(40 - number), Some(200 - number)));
    }
    app.client().post("/auth/register", &json!({})).send().await.problem(429, "slow-down");
    for status in [401, 401, 429] {
        let body = json!({"email": "nobody@example.org", "password": "velvet tractor wrong"});
        let answer = app.client().post("/auth/login", &body).send().await;
        assert_eq!(answer.status, status, "{answer}");
        assert!(answer.list("ratelimit-policy").contains(&"\"login\";q=2;w=3600".to_owned()), "{answer}");
    }
}
