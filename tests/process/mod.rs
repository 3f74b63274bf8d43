//! The process: its ready line, one process a file, what it refuses to start with, and a good end.

mod health;
mod keys;
mod places;
mod secret_files;
mod shutdown;
mod words;
mod writers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::{Command, Output};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::app::{addresses, free_port};
use crate::support::{App, Kind, Person, eventually, raw};

of_each_kind!(a_request_in_flight_survives_sigterm, who_comes_after_sigterm_is_refused_at_once);

/// Runs a server that is expected to end by itself, off the test's own thread.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_port_of_zero_is_told_by_the_ready_line() {
    let plan = App::plan(Kind::Sqlite).named("ports");
    let app = plan.set("CAIRN_LISTEN", "127.0.0.1:0").set("CAIRN_OPS_LISTEN", "127.0.0.1:0").start().await;
    assert_ne!(app.client().server().port(), 0);
    app.client().get("/health").send().await.expect(200);
    app.operations().get("/health/ready").send().await.expect(200);
    let log = app.log();
    let ready: Vec<(SocketAddr, SocketAddr)> = log.lines().filter_map(addresses).collect();
    assert_eq!(ready, [(app.client().server(), app.operations().server())], "one line, once");
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_told_to_go() {
    let app = App::plan(Kind::Sqlite).named("first").start().await;
    let mut second = app.command();
    second.env("CAIRN_LISTEN", "127.0.0.1:0").env("CAIRN_OPS_LISTEN", "127.0.0.1:0").env("RUST_LOG", "off");
    let output = run(second).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.contains("cairn.db"), "{said}");
    app.client().get("/health").send().await.expect(200);
    Person::new("unharmed").joins(&app).await;
}

#[tokio::test]
async fn limits_are_lifted_on_loopback_only() {
    for (name, value) in [("CAIRN_LIMITS", "off"), ("CAIRN_CLOCK_OFFSET", "60")] {
        let plan = App::plan(Kind::Sqlite).named("refused").unset("CAIRN_LIMITS");
        let app = plan.set("CAIRN_PUBLIC_URL", "https://id.example.org").set(name, value).prepare();
        let output = run(app.command()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}={value} was taken for a public address");
        assert!(said.contains(name), "it says why: {said}");
    }
}

#[tokio::test]
async fn without_a_database_a_start_ends_for_its_supervisor_to_try_again() {
    let app = App::plan(Kind::Postgres).named("nowhere").prepare();
    let mut lost = app.command();
    lost.env("DATABASE_URL", format!("postgres://cairn:hunter2@127.0.0.1:{}/cairn", free_port()));
    let output = run(lost).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("database") && !said.contains("hunter2"), "{said}");
    assert!(output.stdout.is_empty(), "it was never ready");
}

#[tokio::test]
async fn postgres_wants_a_master_key_and_the_same_one() {
    let app = App::plan(Kind::Postgres).named("master").start().await;
    assert!(app.terminate().await.success());
    let mut without = app.command();
    without.env_remove("CAIRN_MASTER_KEY_FILE");
    let output = run(without).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("CAIRN_MASTER_KEY_FILE"), "{said}");

    let other = app.data().join("other.key");
    crate::support::app::write_master_key(&other);
    let mut with_another = app.command();
    with_another.env("CAIRN_MASTER_KEY_FILE", &other);
    let output = run(with_another).await;
    assert!(!output.status.success(), "a key that does not fit the database was taken");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cairn: CAIRN_MASTER_KEY_FILE: the master key is not the one"), "{said}");

    let open = app.data().join("open.key");
    std::fs::copy(app.data().join("test-master.key"), &open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut readable = app.command();
    readable.env("CAIRN_MASTER_KEY_FILE", &open);
    let output = run(readable).await;
    assert!(!output.status.success(), "a key that everybody can read was taken");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("CAIRN_MASTER_KEY_FILE: ") && said.contains("0644"), "{said}");
    app.launch();
    app.ready().await;
}

#[tokio::test]
async fn sqlite_makes_a_master_key_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let app = App::plan(Kind::Sqlite).named("keyfile").start().await;
    let path = app.data().join("master.key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let key = std::fs::read(&path).unwrap();
    app.crash_and_restart().await;
    assert_eq!(std::fs::read(&path).unwrap(), key, "made once");
}

/// Requests are on their way when SIGTERM comes: each gets its whole answer, then the process ends well.
async fn a_request_in_flight_survives_sigterm(kind: Kind) {
    let app = App::plan(kind).named("sigterm").start().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let body = Person::new("inflight").registration().to_string();
        let head = format!(
            "POST /auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(app.client().server()).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        streams.push(stream);
    }
    app.ask_to_end();
    let mut answers = JoinSet::new();
    for mut stream in streams {
        answers.spawn(async move {
            let mut answer = Vec::new();
            let end = stream.read_to_end(&mut answer).await;
            (raw::status(&answer), end.is_ok(), String::from_utf8_lossy(&answer).into_owned())
        });
    }
    while let Some(answer) = answers.join_next().await {
        let (status, whole, text) = answer.unwrap();
        assert!(whole && status == Some(202), "a request in flight failed: {text:?}");
    }
    let status = app.ended().await;
    assert_eq!(status.code(), Some(0), "{}", app.tail());
    app.launch();
    app.ready().await;
    eventually("all letters of what was acknowledged", async || {
        let mails = app.client().get("/dev/mail").header("accept", "application/json").send().await.expect(200);
        (mails["mails"].as_array().unwrap().len() == 16).then_some(())
    })
    .await;
}

/// A client that is still typing holds the process; meanwhile nobody is welcomed who would not be served.
async fn who_comes_after_sigterm_is_refused_at_once(kind: Kind) {
    let app = App::plan(kind).named("refusal").start().await;
    let body = Person::new("slow").registration().to_string();
    let (first, rest) = body.as_bytes().split_at(body.len() / 2);
    let head = format!(
        "POST /auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = TcpStream::connect(app.client().server()).await.unwrap();
    slow.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    app.ask_to_end();
    eventually("a refusal", async || {
        let refused = TcpStream::connect(app.client().server()).await.err()?;
        // A connection that waited in the listener's queue while that was closed is reset: the next one is refused.
        if refused.kind() == ErrorKind::ConnectionReset {
            return None;
        }
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        Some(())
    })
    .await;
    app.operations().get("/health/live").send().await.expect(200);
    assert_eq!(app.operations().get("/health/ready").send().await.status, 503);
    slow.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert_eq!(raw::status(&answer), Some(202), "{}", String::from_utf8_lossy(&answer));
    let status = app.ended().await;
    assert_eq!(status.code(), Some(0), "{}", app.tail());
}
