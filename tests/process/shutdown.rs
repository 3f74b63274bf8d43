//! The end of a process: how long it serves after a signal, so that load balancers can look away.

use std::process::Command;

use crate::support::{App, Kind, Person, eventually};

fn signal(app: &App, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", app.process_id())]).status().unwrap();
    assert!(status.success());
}

/// The delay is longer than any test: only a second signal ends it, so nothing here depends on time.
#[tokio::test]
async fn a_server_serves_through_its_delay_while_it_is_not_ready_and_a_second_signal_ends_that() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let app = App::plan(Kind::Sqlite).named("delay").set("CAIRN_SHUTDOWN_DELAY", "10m").start().await;
        signal(&app, first);
        eventually("readiness red", async || {
            (app.operations().get("/health/ready").send().await.status == 503).then_some(())
        })
        .await;
        app.operations().get("/health/live").send().await.expect(200);
        // New connections and whole conversations.
        Person::new("late").joins(&app).await;
        signal(&app, second);
        let status = app.ended().await;
        assert_eq!(status.code(), Some(0), "{}", app.tail());
        assert!(app.log().contains("a second signal ends the delay"), "{}", app.tail());
    }
}

#[tokio::test]
async fn without_a_delay_a_server_stops_at_once() {
    let app = App::plan(Kind::Sqlite).named("at-once").set("CAIRN_SHUTDOWN_DELAY", "0").start().await;
    let status = app.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", app.tail());
}
