//! Standard output and standard error that cannot be written to: a full disk, a collector of logs that is gone.

use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};

use super::run;
use crate::support::app::binary;
use crate::support::{App, Kind, Person, eventually};

/// A process of a test's own, killed with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Leaves a command nowhere to write to.
#[derive(Clone, Copy, Debug)]
enum Nowhere {
    /// A full disk.
    Full,
    /// A pipe whose reader has gone.
    Closed,
}

impl Nowhere {
    fn end(self) -> Stdio {
        match self {
            Self::Full => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
            Self::Closed => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
        }
    }

    fn given_to(self, command: &mut Command) {
        command.stdout(self.end()).stderr(self.end());
    }
}

#[tokio::test]
async fn a_server_whose_words_go_nowhere_serves_and_drains() {
    for nowhere in [Nowhere::Full, Nowhere::Closed] {
        let app = App::plan(Kind::Sqlite).named("mute").set("CAIRN_LOG", "debug").prepare();
        let mut command = app.command();
        nowhere.given_to(&mut command);
        let mut server = Running(command.spawn().unwrap());
        // Nobody could read the ready line.
        eventually("readiness", async || {
            let asked = tokio::net::TcpStream::connect(app.operations().server()).await;
            asked.is_ok().then_some(())
        })
        .await;
        eventually("readiness", async || {
            (app.operations().get("/health/ready").send().await.status == 200).then_some(())
        })
        .await;
        Person::new("mute").joins(&app).await;
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", server.0.id())]).status().unwrap();
        assert!(status.success());
        let status = eventually("the end", async || server.0.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{nowhere:?}: {status}");
    }
}

#[tokio::test]
async fn a_start_that_fails_says_so_by_its_status_where_it_cannot_say_why() {
    for nowhere in [Nowhere::Full, Nowhere::Closed] {
        let app = App::plan(Kind::Sqlite).named("mute-failure").prepare();
        let mut command = app.command();
        command.env("CAIRN_ACCESS_TTL", "soon");
        nowhere.given_to(&mut command);
        let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
        assert_eq!(status.code(), Some(1), "{nowhere:?}: {status}");
    }
}

#[tokio::test]
async fn help_and_checks_end_well_though_nobody_reads_them() {
    let app = App::plan(Kind::Sqlite).named("mute-help").prepare();
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["templates", "check"]] {
        for nowhere in [Nowhere::Full, Nowhere::Closed] {
            let mut command = Command::new(binary());
            command.args(arguments).current_dir(app.data());
            nowhere.given_to(&mut command);
            let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
            assert_eq!(status.code(), Some(0), "{arguments:?} {nowhere:?}: {status}");
        }
    }
    let mut help = Command::new(binary());
    help.arg("--help");
    let output = run(help).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("serve") && said.contains("health") && output.stderr.is_empty(), "{said}");
}
