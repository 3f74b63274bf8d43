//! `GET /dev/mail`: the development mailbox, and who may not look into it.

use std::collections::BTreeSet;

use crate::support::smtp::Sink;
use crate::support::{App, Kind, PATIENCE, Person, raw};

on_both_databases!(
    the_mailbox_shows_each_letter,
    the_page_is_for_people,
    a_forwarded_peer_sees_nothing,
    another_site_sees_nothing
);
of_each_kind!(the_mailbox_survives_a_crash);

async fn the_mailbox_shows_each_letter(app: &App) {
    let (one, two) = (Person::new("boxed"), Person::new("boxed"));
    one.joins(app).await;
    two.registers(app).await;
    app.letter(&one.email, "registration.welcome").await;
    let answer = app.client().get("/dev/mail").header("accept", "application/json").send().await.expect(200);
    let mails = answer["mails"].as_array().unwrap();
    let of = |person: &Person| mails.iter().filter(|mail| mail["to"].to_string().contains(&person.email)).count();
    assert_eq!((of(&one), of(&two)), (2, 1), "all letters, no filter");
    let members: BTreeSet<&str> = mails[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["id", "message_id", "to", "from", "subject", "text", "html", "at", "attempts", "letter", "flow"];
    assert_eq!(members, expected.into_iter().collect());
    let times: Vec<&str> = mails.iter().map(|mail| mail["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "oldest first: {times:?}");
    for letter in app.mailbox(&one.email).await {
        assert!(letter.html.contains("</"), "{}", letter.html);
        assert!(!letter.subject.is_empty() && !letter.from.is_empty());
        if let Some(link) = letter.link() {
            assert!(link.starts_with(&format!("{}/verify-email?token=cairn_", app.public_url())), "{link}");
        }
    }
    assert!(app.mailbox("nobody-at-all@example.org").await.is_empty());

    let tagged = Person { email: one.email.replace('@', "+tag@"), ..Person::new("tagged") };
    tagged.registers(app).await;
    app.letter(&tagged.email, "registration.verify").await;
    let typed = format!("/dev/mail?to={}", tagged.email);
    let found = app.client().get(&typed).header("accept", "application/json").send().await.expect(200);
    assert_eq!(found["mails"].as_array().map(Vec::len), Some(1), "{found}");
}

async fn the_page_is_for_people(app: &App) {
    let person = Person::new("page");
    person.registers(app).await;
    let answer = app.client().get("/dev/mail").header("accept", "text/html").send().await;
    assert_eq!(answer.status, 200, "{answer}");
    assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer}");
    assert!(answer.text().contains(&person.email));
    let kind = async |accept: &str| {
        let answer = app.client().get("/dev/mail").header("accept", accept).send().await;
        answer.header("content-type").unwrap().split(';').next().unwrap().to_owned()
    };
    assert_eq!(kind("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8").await, "text/html");
    assert_eq!(kind("text/html;q=0.5, application/json").await, "application/json");
    assert_eq!(kind("*/*").await, "application/json");
    app.client().get("/dev/mail").send().await.expect(200)["mails"].as_array().unwrap();
}

async fn a_forwarded_peer_sees_nothing(app: &App) {
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let request = app.client().get("/dev/mail").header("accept", "application/json");
        request.header(header, "for=192.0.2.1").send().await.problem(404, "not-found");
    }
}

async fn another_site_sees_nothing(app: &App) {
    let ask = async |head: &str| {
        let request = format!("GET /dev/mail HTTP/1.1\r\n{head}\r\nconnection: close\r\n\r\n");
        raw::status(&raw::exchange(app.client().server(), request.as_bytes(), PATIENCE).await)
    };
    for host in ["127.0.0.1", "localhost:8080", "[::1]:1"] {
        assert_eq!(ask(&format!("host: {host}")).await, Some(200), "{host}");
        assert_eq!(ask(&format!("host: {host}\r\nsec-fetch-site: cross-site")).await, Some(404), "{host}");
        assert_eq!(ask(&format!("host: {host}\r\nsec-fetch-site: none")).await, Some(200), "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example"] {
        assert_eq!(ask(&format!("host: {host}")).await, Some(404), "{host}");
    }
}

async fn the_mailbox_survives_a_crash(kind: Kind) {
    let app = App::plan(kind).named("mailbox").start().await;
    let person = Person::new("kept");
    person.registers(&app).await;
    let before = app.mailbox(&person.email).await;
    assert_eq!(before.len(), 1);
    app.crash_and_restart().await;
    assert_eq!(app.mailbox(&person.email).await, before);

    // Whom letters come from is what the operator says now.
    app.change("MAIL_FROM", "Example Ltd <hello@example.org>");
    app.crash_and_restart().await;
    assert_eq!(app.mailbox(&person.email).await[0].from, "Example Ltd <hello@example.org>");
}

#[tokio::test]
async fn with_a_mail_server_or_a_public_name_there_is_no_mailbox() {
    let sink = Sink::start();
    let app = App::plan(Kind::Sqlite).named("smtp").set("SMTP_URL", sink.url()).start().await;
    app.client().get("/dev/mail").send().await.problem(404, "not-found");
    let plan = App::plan(Kind::Sqlite).named("named").unset("CAIRN_LIMITS");
    let app = plan.set("CAIRN_PUBLIC_URL", "https://id.example.org").start().await;
    app.client().get("/dev/mail").send().await.problem(404, "not-found");
}
