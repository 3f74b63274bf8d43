//! Files with secrets as orchestrators hand them over, each by a server that runs as the user it would run as.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::run;
use crate::support::app::{write_master_key, write_secret};
use crate::support::{App, Kind, announce};

/// The user and group of a container's image.
const USER: u32 = 61_999;

/// Whether this test may give files to others and start a server as another user.
fn may_change_users() -> bool {
    let folder = std::env::temp_dir().join(format!("cairn-chown-{}", std::process::id()));
    fs::write(&folder, "").unwrap();
    let may = chown(&folder, Some(USER), Some(USER)).is_ok();
    fs::remove_file(&folder).unwrap();
    let may = may && Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    if !may {
        announce("-- files of other users are not tried: that takes root and setpriv");
    }
    may
}

/// A server's command, run as `USER` with one group.
fn as_user(app: &App) -> Command {
    let server = app.command();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups", "--"]);
    command.arg(server.get_program()).args(server.get_args());
    command.env_clear();
    for (name, value) in std::env::vars_os().filter(|(name, _)| name == "PATH") {
        command.env(name, value);
    }
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Runs it against a database that is not there: what it says last tells whether the key was taken.
async fn outcome(mut command: Command, key: &Path) -> Output {
    command.env("CAIRN_MASTER_KEY_FILE", key).env("DATABASE_URL", "postgres://cairn@127.0.0.1:1/cairn");
    run(command).await
}

fn give(path: &Path, owner: u32, group: u32, mode: u32) {
    chown(path, Some(owner), Some(group)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn key_at(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_master_key(&path);
    path
}

#[tokio::test]
async fn a_key_is_taken_as_each_orchestrator_gives_it() {
    if !may_change_users() {
        return;
    }
    let app = App::plan(Kind::Sqlite).named("orchestrators").prepare();
    let folder = app.data();

    // Kubernetes, `defaultMode: 0440` and `fsGroup`: root's, for our group, behind two links.
    let kubernetes = key_at(folder, "kubernetes/..2026/master.key");
    give(&kubernetes, 0, USER, 0o440);
    symlink("..2026", folder.join("kubernetes/..data")).unwrap();
    symlink("..data/master.key", folder.join("kubernetes/master.key")).unwrap();
    // compose and Swarm with `uid` and `mode: 0400`; a file that the operator gave to our user.
    let swarm = key_at(folder, "swarm.key");
    give(&swarm, USER, USER, 0o400);
    let own = key_at(folder, "own.key");
    give(&own, USER, USER, 0o600);
    for key in [&folder.join("kubernetes/master.key"), &swarm, &own] {
        let output = outcome(as_user(&app), key).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("DATABASE_URL: ") && !said.contains("MASTER_KEY"), "{}: {said}", key.display());
    }

    // Swarm's own default, a file that everybody may read, another user's, and one that we may not read.
    for (name, owner, mode, says) in [
        ("open.key", 0, 0o444, ["root's with mode 0444", "`uid` and `mode`"]),
        ("ours-open.key", USER, 0o440, ["has mode 0440", "chmod 600"]),
        ("anothers.key", USER + 1, 0o444, ["belongs to user 62000", "chown 61999"]),
        ("roots.key", 0, 0o400, ["may not read", "fsGroup"]),
    ] {
        let key = key_at(folder, name);
        give(&key, owner, USER + 1, mode);
        let output = outcome(as_user(&app), &key).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("CAIRN_MASTER_KEY_FILE: ") && said.contains(&*key.to_string_lossy()), "{name}: {said}");
        assert!(says.iter().all(|word| said.contains(word)), "{name}: {said}");
    }
}

#[tokio::test]
async fn below_the_folder_of_credentials_any_mode_is_taken() {
    let app = App::plan(Kind::Sqlite).named("credentials").prepare();
    let folder = app.data().join("credentials");
    let key = key_at(&folder, "master.key");
    fs::set_permissions(&key, Permissions::from_mode(0o444)).unwrap();
    for (credentials, taken) in [(Some(&folder), true), (None, false)] {
        let mut command = app.command();
        if let Some(credentials) = credentials {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
        let output = outcome(command, &key).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.contains("DATABASE_URL: "), taken, "{said}");
        assert_eq!(said.contains("CAIRN_MASTER_KEY_FILE: "), !taken, "{said}");
    }
}

#[tokio::test]
async fn one_rule_holds_for_all_files_with_secrets() {
    let dkim = [("CAIRN_DKIM_DOMAIN", "example.org"), ("CAIRN_DKIM_SELECTOR", "s1")];
    for (variable, content) in [
        ("CAIRN_MASTER_KEY_FILE", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("DATABASE_URL_FILE", "cairn.db"),
        ("SMTP_URL_FILE", "smtp://127.0.0.1:1"),
        ("SMTP_PASSWORD_FILE", "hunter2"),
        ("CAIRN_DKIM_KEY_FILE", include_str!("../../actors/src/workers/mailer/dkim/ed25519.pem")),
    ] {
        let app = App::plan(Kind::Sqlite).named("one-rule").prepare();
        let path = app.data().join("test-secret");
        let mut command = app.command();
        match variable {
            "SMTP_PASSWORD_FILE" => drop(command.env("SMTP_URL", "smtp://user@127.0.0.1:1")),
            "CAIRN_DKIM_KEY_FILE" => drop(command.envs(dkim).env("SMTP_URL", "smtp://127.0.0.1:1")),
            _ => {}
        }
        command.env(variable, &path);
        write_secret(&path, content);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{variable}: {said}");
        let start = format!("cairn: {variable}: ");
        let start = if variable == "CAIRN_MASTER_KEY_FILE" { format!("{start}the master key ") } else { start };
        assert!(said.contains(&format!("{start}{} ", path.display())) && said.contains("0644"), "{variable}: {said}");
    }
}

#[tokio::test]
async fn a_server_starts_with_every_secret_in_a_file() {
    let app = App::plan(Kind::Postgres).named("secret-files").prepare();
    let url = app.database().url().unwrap().to_owned();
    let (database, smtp) = (app.data().join("test-database"), app.data().join("test-smtp"));
    write_secret(&database, &format!("{url}\n"));
    write_secret(&smtp, "smtp://127.0.0.1:1\n");
    app.change("DATABASE_URL", "");
    app.change("DATABASE_URL_FILE", database.display());
    app.change("SMTP_URL_FILE", smtp.display());
    app.launch();
    app.ready().await;
    app.client().get("/health").send().await.expect(200);
    assert!(app.terminate().await.success());
}
