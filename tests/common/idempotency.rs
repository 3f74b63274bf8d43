//! `Idempotency-Key`: the repeat of a request is known, also while the first is still on its way.

use crate::support::person::flow_id;
use crate::support::{Answer, App, Kind, Person, json};

on_both_databases!(
    the_repeat_of_a_request_changes_nothing,
    a_repeat_while_the_first_is_running_gets_its_answer,
    the_same_key_with_another_body_is_refused,
    a_key_belongs_to_its_caller_and_route,
    a_key_is_visible_ascii,
    what_changed_nothing_is_not_remembered,
    a_key_is_no_way_around_a_password,
    of_two_passwords_at_once_under_one_key_one_is_taken,
);
of_each_kind!(a_key_is_kept_for_a_day);

async fn the_repeat_of_a_request_changes_nothing(app: &App) {
    let person = Person::new("again");
    let post = || app.client().post("/auth/register", &person.registration()).key(&person.username);
    let first = post().send().await.expect(202);
    for _ in 0..3 {
        assert_eq!(post().send().await.expect(202)["flow"], first["flow"]);
    }
    // The same members in another order and spacing are the same request or another body; never another flow.
    assert_eq!(app.mailbox(&person.email).await.len(), 1);
    let without = app.client().post("/auth/register", &person.registration()).send().await.expect(202);
    assert_ne!(flow_id(&without), flow_id(&first), "without a key it is another request");
}

async fn a_repeat_while_the_first_is_running_gets_its_answer(app: &App) {
    let person = Person::new("parallel");
    let body = person.registration();
    let post = || app.client().post("/auth/register", &body).key("one-of-six").send();
    let answers = tokio::join!(post(), post(), post(), post(), post(), post());
    let flows = <[Answer; 6]>::from(answers).map(|answer| flow_id(&answer.expect(202)));
    assert!(flows.iter().all(|flow| *flow == flows[0]), "{flows:?}");
    assert_eq!(app.mailbox(&person.email).await.len(), 1);
}

async fn the_same_key_with_another_body_is_refused(app: &App) {
    let person = Person::new("mismatch");
    let post = |body| app.client().post("/auth/register", &body).key(&person.username);
    post(person.registration()).send().await.expect(202);
    post(Person::new("other").registration()).send().await.problem(422, "idempotency-mismatch");
}

async fn a_key_belongs_to_its_caller_and_route(app: &App) {
    let (one, two) = (Person::new("caller"), Person::new("caller"));
    let post = |person: &Person, last| {
        app.client().at_loopback(last).post("/auth/register", &person.registration()).key(&one.username)
    };
    let first = flow_id(&post(&one, 1).send().await.expect(202));
    let second = flow_id(&post(&two, 77).send().await.expect(202));
    assert_ne!(first, second, "another client's key is another key");
    let code = one.verification(app).await.code();
    let body = json!({"flow": first, "code": code});
    app.client().post("/auth/verify-email", &body).key(&one.username).send().await.expect(200);
}

async fn a_key_is_visible_ascii(app: &App) {
    let post = |key: &str| app.client().post("/auth/register", &Person::new("key").registration()).key(key);
    post(&"k".repeat(255)).send().await.expect(202);
    for key in ["", &"k".repeat(256), "with space", "é"] {
        let answer = post(key).send().await;
        answer.problem(400, "unreadable");
    }
    let twice = post("one").header("idempotency-key", "two").send().await;
    assert_eq!(twice.status, 400, "{twice}");
}

async fn what_changed_nothing_is_not_remembered(app: &App) {
    let person = Person::new("corrected");
    let mut body = person.registration();
    body["password"] = json!("short");
    let post = |body| app.client().post("/auth/register", &body).key(&person.username);
    post(body).send().await.problem(422, "value");
    post(person.registration()).send().await.expect(202);
}

async fn a_key_is_no_way_around_a_password(app: &App) {
    let person = Person::new("guarded");
    person.registers(app).await;
    let token = person.verification(app).await.token();
    let post = |password: &str| {
        let body = json!({"token": token, "password": password});
        app.client().post("/auth/verify-email", &body).key("guarded")
    };
    post(&person.password).send().await.expect(200);
    let answer = post("not the velvet umbrella").send().await;
    assert!([401, 422].contains(&answer.status), "{answer}");
    assert!(!answer.text().contains("usr_"), "{answer}");
}

async fn of_two_passwords_at_once_under_one_key_one_is_taken(app: &App) {
    let known = Person::new("known");
    known.joins(app).await;
    for person in [Person::new("undecided"), known] {
        let post = |password: &str| {
            let body = json!({"email": person.email, "password": password});
            app.client().post("/auth/register", &body).key(&person.email).send()
        };
        let (one, other) = tokio::join!(post(&person.password), post("another lantern 47 marmalade"));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 422], "{one}\n{other}");
    }
}

async fn a_key_is_kept_for_a_day(kind: Kind) {
    const DAY: i64 = 86_400;
    let app = App::plan(kind).named("kept-key").set("CAIRN_REGISTRATION_TTL", "7d").start().await;
    let person = Person::new("returning");
    let post = || app.client().post("/auth/register", &person.registration()).key("kept").send();
    let first = flow_id(&post().await.expect(202));
    app.restart_at(DAY - 60).await;
    assert_eq!(flow_id(&post().await.expect(202)), first);
    app.restart_at(DAY + 60).await;
    let second = flow_id(&post().await.expect(202));
    assert_ne!(second, first, "it is another request");
    assert_eq!(flow_id(&post().await.expect(202)), second, "and is kept for a day again");
    assert_eq!(app.mailbox(&person.email).await.len(), 2);
    app.restart_at(2 * DAY + 120).await;
    assert!(![first, second].contains(&flow_id(&post().await.expect(202))));
}
