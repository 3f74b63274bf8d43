//! What the operator sees of mail: connections, conversations, and a mail server that is left alone.

use crate::support::app::free_port;
use crate::support::smtp::Sink;
use crate::support::{App, Kind, Person, eventually};

/// The value of the samples whose line begins like this.
async fn sample(app: &App, start: &str) -> Option<f64> {
    let text = app.operations().get("/metrics").send().await.text();
    text.lines().find(|line| line.starts_with(start))?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn connections_and_conversations_are_counted() {
    let sink = Sink::start();
    let app = App::plan(Kind::Sqlite).named("board").set("SMTP_URL", sink.url()).start().await;
    for number in 1..=3 {
        let person = Person::new("measured");
        person.registers(&app).await;
        sink.letter(&person.email, "registration.verify").await;
        let done = async || sample(&app, "cairn_mail_seconds_count").await.filter(|count| *count >= f64::from(number));
        eventually("a conversation that is over", done).await;
    }
    assert_eq!(sample(&app, "cairn_mail_connections ").await, Some(1.0), "one after the other over one connection");
    assert_eq!(sample(&app, "cairn_mail_server_available").await, Some(1.0), "never in trouble");
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_left_alone_and_that_is_said() {
    let url = format!("smtp://127.0.0.1:{}", free_port());
    let app = App::plan(Kind::Sqlite).named("absent").set("SMTP_URL", url).start().await;
    for _ in 0..5 {
        Person::new("waiting").registers(&app).await;
    }
    let left_alone = async || sample(&app, "cairn_mail_server_available").await.filter(|available| *available == 0.0);
    eventually("a mail server that is left alone", left_alone).await;
    assert!(app.log().contains("the mail server is in trouble"), "{}", app.log());
    Person::new("waiting").registers(&app).await;
    let held = async || sample(&app, "cairn_mail_held_total{why=\"server\"}").await.filter(|count| *count >= 1.0);
    eventually("a letter that is held back", held).await;
    assert_eq!(sample(&app, "cairn_mail_connections ").await, Some(0.0));
}
