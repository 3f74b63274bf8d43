//! `PUT /users/me`: names and username, by who has seen what they replace.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Person, Value, json};

on_both_databases!(
    an_edit_needs_the_tag_of_what_it_replaces,
    what_is_absent_becomes_null,
    a_username_is_one_persons,
    what_is_not_acceptable_is_named,
    a_name_hides_nothing_and_turns_no_text_around,
    of_two_edits_at_once_one_is_made,
);

async fn show(app: &App, tokens: &Tokens) -> (String, Value) {
    let answer = app.client().get("/users/me").bearer(&tokens.access).send().await;
    (answer.header("etag").expect("a tag").to_owned(), answer.expect(200))
}

async fn put(app: &App, tokens: &Tokens, tag: &str, body: &Value) -> Answer {
    let put = app.client().request("PUT", "/users/me").json(body).bearer(&tokens.access);
    put.header("if-match", tag).send().await
}

async fn an_edit_needs_the_tag_of_what_it_replaces(app: &App) {
    let person = Person::new("editor");
    let tokens = person.arrives(app).await;
    let (tag, before) = show(app, &tokens).await;
    let body = json!({"username": person.username, "first_name": "Zoë", "last_name": "李"});
    let without = app.client().request("PUT", "/users/me").json(&body).bearer(&tokens.access).send().await;
    without.problem(428, "condition-required");
    for wrong in ["\"99\"", "99", "", "W/\"99\"", "w/\"0\"", "\"x\", \"y\"", &tag.replace('"', "")] {
        put(app, &tokens, wrong, &body).await.problem(412, "changed");
    }
    assert_eq!(show(app, &tokens).await, (tag.clone(), before.clone()));

    let answer = put(app, &tokens, &format!("\"x\", {tag}"), &body).await;
    let edited = answer.expect(200);
    assert_eq!(
        (&edited["first_name"], &edited["last_name"], &edited["name"]),
        (&json!("Zoë"), &json!("李"), &json!("Zoë 李"))
    );
    for same in ["id", "email", "username", "created_at", "roles"] {
        assert_eq!(edited[same], before[same], "{edited}");
    }
    let next = answer.header("etag").unwrap().to_owned();
    assert_ne!(next, tag);
    assert_eq!(show(app, &tokens).await, (next, edited));
    put(app, &tokens, &tag, &body).await.problem(412, "changed");
    put(app, &tokens, "*", &body).await.expect(200);
    let (tag, _) = show(app, &tokens).await;
    put(app, &tokens, &format!("W/{tag}"), &body).await.expect(200);
    put(app, &tokens, &format!("W/{tag}"), &body).await.problem(412, "changed");
    let anonymous = app.client().request("PUT", "/users/me").json(&body).header("if-match", "*").send().await;
    anonymous.problem(401, "credentials");
}

async fn what_is_absent_becomes_null(app: &App) {
    let person = Person::new("minimal");
    let tokens = person.arrives(app).await;
    let edited = put(app, &tokens, "*", &json!({"last_name": "Only", "first_name": null})).await.expect(200);
    assert_eq!([&edited["username"], &edited["first_name"]], [&Value::Null, &Value::Null], "{edited}");
    assert_eq!((&edited["last_name"], &edited["name"]), (&json!("Only"), &json!("Only")));
    let by_username = json!({"username": person.username, "password": person.password});
    app.client().post("/auth/login", &by_username).send().await.problem(401, "credentials");
    let edited = put(app, &tokens, "*", &json!({})).await.expect(200);
    assert_eq!((&edited["last_name"], &edited["name"]), (&Value::Null, &Value::Null), "{edited}");
    put(app, &tokens, "*", &json!({"username": person.username})).await.expect(200);
    app.client().post("/auth/login", &by_username).send().await.expect(200);
}

async fn a_username_is_one_persons(app: &App) {
    let (one, two) = (Person::new("one"), Person::new("two"));
    let (first, second) = (one.arrives(app).await, two.arrives(app).await);
    let wish = |person: &Person| json!({"username": person.username.to_uppercase()});
    let (tag, before) = show(app, &second).await;
    put(app, &second, &tag, &wish(&one)).await.problem(409, "username-taken");
    assert_eq!(show(app, &second).await, (tag.clone(), before), "nothing of it was done");
    put(app, &first, "*", &json!({"username": format!("{}.x", one.username)})).await.expect(200);
    let edited = put(app, &second, &tag, &wish(&one)).await.expect(200);
    assert_eq!(edited["username"], one.username.as_str(), "it was given back, and is kept in lower case");
    put(app, &first, "*", &wish(&two)).await.expect(200);
    put(app, &first, "*", &wish(&two)).await.expect(200);
}

async fn what_is_not_acceptable_is_named(app: &App) {
    let tokens = Person::new("odd").arrives(app).await;
    let long = "x".repeat(101);
    let bodies = [
        (json!({"username": "ab"}), "/username"),
        (json!({"username": "9lives"}), "/username"),
        (json!({"username": "spaced out"}), "/username"),
        (json!({"username": "Administrator"}), "/username"),
        (json!({"username": "sup_port"}), "/username"),
        (json!({"first_name": ""}), "/first_name"),
        (json!({"first_name": "a\u{7}b"}), "/first_name"),
        (json!({"first_name": "\u{202e}"}), "/first_name"),
        (json!({"first_name": "a\u{e000}b"}), "/first_name"),
        (json!({"last_name": long}), "/last_name"),
    ];
    for (body, pointer) in bodies {
        let problem = put(app, &tokens, "*", &body).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let both = put(app, &tokens, "*", &json!({"username": "ab", "last_name": long})).await.problem(422, "value");
    assert_eq!(both["errors"].as_array().map(Vec::len), Some(2), "{both}");
    for body in [json!({"email": "x@example.org"}), json!({"first_name": 1}), json!([])] {
        put(app, &tokens, "*", &body).await.problem(400, "unreadable");
    }
}

async fn a_name_hides_nothing_and_turns_no_text_around(app: &App) {
    let person = Person::new("plain");
    let tokens = person.arrives(app).await;
    let names = json!({"first_name": "\u{202e}Ad\u{200b}a\u{202c}", "last_name": "علی\u{200c}رضا\u{200f}"});
    let edited = put(app, &tokens, "*", &names).await.expect(200);
    assert_eq!(edited["first_name"], "Ada");
    assert_eq!(edited["last_name"], "علی\u{200c}رضا", "what the script is written with stays");
    let fresh = person.signs_in(app).await;
    let claims = crate::support::token::claims(&fresh.access);
    assert_eq!(claims["name"], "Ada علی\u{200c}رضا");
}

async fn of_two_edits_at_once_one_is_made(app: &App) {
    let tokens = Person::new("torn").arrives(app).await;
    let (tag, _) = show(app, &tokens).await;
    let bodies = [0, 1, 2, 3].map(|number| json!({"first_name": format!("Name {number}")}));
    let edit = |which: usize| put(app, &tokens, &tag, &bodies[which]);
    let answers = <[Answer; 4]>::from(tokio::join!(edit(0), edit(1), edit(2), edit(3)));
    let made: Vec<usize> = (0..4).filter(|which| answers[*which].status == 200).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| [200, 412].contains(&answer.status)), "{answers:?}");
    assert_eq!(show(app, &tokens).await.1["first_name"], bodies[made[0]]["first_name"]);
}
