//! `cairn health`: readiness as an exit status.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use super::run;
use crate::support::app::binary;
use crate::support::{App, Kind, eventually};

async fn health(app: &App, change: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    let server = app.command();
    command.arg("health").current_dir(app.data());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.envs(change.iter().copied());
    run(command).await
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn health_is_an_exit_status_by_readiness() {
    let app = App::plan(Kind::Sqlite).named("health").set("CAIRN_SHUTDOWN_DELAY", "10m").prepare();
    let (status, out, why) = said(&health(&app, &[]).await);
    assert_eq!((status, out.as_str(), why.lines().count()), (Some(1), "", 1), "{why}");
    assert!(why.contains(&app.operations().server().to_string()) && why.contains("does not answer"), "{why}");

    app.launch();
    app.ready().await;
    assert_eq!(said(&health(&app, &[]).await), (Some(0), "ready\n".to_owned(), String::new()));
    // As in a container: the listener is every address of the machine.
    let every = format!("0.0.0.0:{}", app.operations().server().port());
    assert_eq!(said(&health(&app, &[("CAIRN_OPS_LISTEN", &every)]).await).0, Some(0));
    // By the settings file, which the environment overrules.
    let settings = app.data().join("test-settings.toml");
    std::fs::write(&settings, format!("ops_listen = '{every}'\n")).unwrap();
    let by_file = [("CAIRN_OPS_LISTEN", ""), ("CAIRN_CONFIG", settings.to_str().unwrap())];
    assert_eq!(said(&health(&app, &by_file).await).0, Some(0));

    app.ask_to_end();
    eventually("readiness red", async || {
        (app.operations().get("/health/ready").send().await.status == 503).then_some(())
    })
    .await;
    let (status, out, why) = said(&health(&app, &[]).await);
    assert_eq!((status, out.as_str()), (Some(1), ""), "{why}");
    assert!(why.contains("not ready") && why.contains("503 (starting or stopping)"), "{why}");
    app.ask_to_end();
    assert!(app.ended().await.success());
}

#[tokio::test]
async fn what_is_no_health_is_not_ready() {
    let app = App::plan(Kind::Sqlite).named("no-health").prepare();
    let (status, _, why) = said(&health(&app, &[("CAIRN_OPS_LISTEN", "127.0.0.1:0")]).await);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("CAIRN_OPS_LISTEN has port 0"), "{why}");
    for answer in ["SSH-2.0-OpenSSH\r\n", "", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap().to_string();
        let answering = std::thread::spawn(move || {
            let (mut connection, _) = other.accept().unwrap();
            let mut head = [0; 1024];
            let _ = connection.read(&mut head);
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let (status, out, why) = said(&health(&app, &[("CAIRN_OPS_LISTEN", &at)]).await);
        answering.join().unwrap();
        assert_eq!((status, out.as_str(), why.lines().count()), (Some(1), "", 1), "{answer:?}: {why}");
    }
}
