//! Disposable addresses: allowed, asked about or refused, as the operator says.

use crate::support::{App, Kind, Person, Value, json};

fn body(domain: &str, accept: Option<bool>) -> Value {
    let person = Person::new("lent");
    let mut body = json!({"email": format!("{}@{domain}", person.username), "password": person.password});
    if let Some(accept) = accept {
        body["accept_disposable"] = json!(accept);
    }
    body
}

async fn code(app: &App, body: &Value) -> Option<Value> {
    let answer = app.client().post("/auth/register", body).send().await;
    if answer.status == 202 {
        return None;
    }
    let problem = answer.problem(422, "value");
    assert_eq!(problem["errors"][0]["pointer"], "/email", "{problem}");
    Some(problem["errors"][0]["code"].clone())
}

const LENT: [&str; 3] = ["mailinator.com", "MAILINATOR.com", "a.b.mailinator.com"];

#[tokio::test]
async fn a_disposable_address_is_refused_where_the_operator_says_so() {
    let app = App::plan(Kind::Sqlite).named("refuse").set("CAIRN_DISPOSABLE", "refuse").start().await;
    for domain in LENT {
        for accept in [None, Some(true)] {
            assert_eq!(code(&app, &body(domain, accept)).await, Some(json!("disposable")), "{domain}");
        }
    }
    assert_eq!(code(&app, &body("example.org", None)).await, None);
}

#[tokio::test]
async fn a_disposable_address_is_asked_about_where_the_operator_says_so() {
    let app = App::plan(Kind::Sqlite).named("ask").set("CAIRN_DISPOSABLE", "ask").start().await;
    for domain in LENT {
        for accept in [None, Some(false)] {
            assert_eq!(code(&app, &body(domain, accept)).await, Some(json!("disposable_unconfirmed")), "{domain}");
        }
        assert_eq!(code(&app, &body(domain, Some(true))).await, None, "{domain}");
    }
    assert_eq!(code(&app, &body("example.org", None)).await, None);
}

#[tokio::test]
async fn a_disposable_address_is_an_address_unless_the_operator_says_otherwise() {
    let app = App::plan(Kind::Sqlite).named("allow").start().await;
    for (domain, accept) in LENT.into_iter().zip([None, Some(false), Some(true)]) {
        assert_eq!(code(&app, &body(domain, accept)).await, None, "{domain}");
    }
}
