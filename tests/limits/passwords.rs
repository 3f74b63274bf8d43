//! Passwords that may not be chosen: the answer says why, and what would help.

use crate::support::{App, Kind, Person, json, shared};

async fn refused(app: &App, password: &str, more: serde_json::Value) -> serde_json::Value {
    let person = Person::new("chooser");
    let mut body = json!({"email": person.email, "password": password});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let problem = app.client().post("/auth/register", &body).send().await.problem(422, "value");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["pointer"]), (1, &json!("/password")), "{problem}");
    let advice = errors[0]["detail"].as_str().unwrap();
    assert!(advice.split('.').count() > 2, "a reason and a suggestion: {advice}");
    errors[0]["code"].clone()
}

#[tokio::test]
async fn what_was_stolen_elsewhere_is_refused_however_hard_it_looks() {
    let app = shared(Kind::Sqlite).await;
    for password in ["3rJs1la7qE", "1qaz2wsx3edc4rfv", "1QAZ2WSX3EDC4RFV", "qwertyuiop"] {
        assert_eq!(refused(app, password, json!({})).await, "breached", "{password}");
    }
}

#[tokio::test]
async fn what_is_made_of_the_persons_own_words_is_refused() {
    let app = shared(Kind::Sqlite).await;
    let own = json!({"email": "moosbruggerova.1815@thundertrousers.example", "username": "zephyrkite", "first_name": "Wilhelmsohn"});
    for password in
        ["moosbruggerova1815", "thundertrousers77", "zephyrkite.2024", "wilhelmsohn1815", "Cairn-moosbruggerova"]
    {
        assert_eq!(refused(app, password, own.clone()).await, "guessable", "{password}");
    }
}
