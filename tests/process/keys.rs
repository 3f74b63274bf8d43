//! `cairn keys`: beside a server that runs, and alone.

use std::process::Command;

use serde_json::Value;

use super::run;
use crate::support::app::binary;
use crate::support::{App, Kind, Person, token};

of_each_kind!(keys_are_listed_and_rotated_beside_a_server_and_alone);

/// The command with these arguments and the server's settings.
fn command(app: &App, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("keys").args(arguments).current_dir(app.data());
    for (name, value) in app.command().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// What the command says; what it complains of where it fails.
async fn keys(app: &App, arguments: &[&str]) -> Result<String, String> {
    let output = run(command(app, arguments)).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Algorithm and state of each, and all names.
async fn listed(app: &App, arguments: &[&str]) -> (Vec<(String, String)>, Vec<String>) {
    let said: Value = serde_json::from_str(&keys(app, arguments).await.unwrap()).unwrap();
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    let keys = said["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| text(key, "since").ends_with('Z')), "{said}");
    let states = keys.iter().map(|key| (text(key, "algorithm"), text(key, "state"))).collect();
    (states, keys.iter().map(|key| text(key, "kid")).collect())
}

fn of(states: &[(&str, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(algorithm, state)| ((*algorithm).to_owned(), (*state).to_owned())).collect()
}

async fn keys_are_listed_and_rotated_beside_a_server_and_alone(kind: Kind) {
    let app = App::plan(kind).named("keys").start().await;
    let person = Person::new("signed");
    person.joins(&app).await;
    let before = person.signs_in(&app).await.access;
    let (states, first) = listed(&app, &["list", "--json"]).await;
    assert_eq!(states, of(&[("ES256", "signing"), ("EdDSA", "signing")]));
    let table = keys(&app, &["list"]).await.unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(first.iter().all(|kid| table.contains(kid)) && table.starts_with("KID"), "{table}");

    let (states, _) = listed(&app, &["rotate", "--algorithm", "EdDSA", "--now", "--json"]).await;
    let expected = of(&[("ES256", "signing"), ("EdDSA", "verifying"), ("EdDSA", "signing")]);
    assert_eq!(states, expected);
    let after = person.signs_in(&app).await.access;
    let set = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(set["keys"].as_array().unwrap().len(), 3, "{set}");
    assert!(token::verifies(&before, &set) && token::verifies(&after, &set));
    let why = keys(&app, &["rotate", "--algorithm", "HS256"]).await.unwrap_err();
    assert!(why.contains("EdDSA, ES256, RS256"), "{why}");

    // Alone: the database is the command's.
    assert!(app.terminate().await.success());
    assert_eq!(listed(&app, &["list", "--json"]).await.0, expected);
    let (states, _) = listed(&app, &["rotate", "--algorithm", "RS256", "--json"]).await;
    assert_eq!(states[2..], of(&[("EdDSA", "signing"), ("RS256", "signing")]), "the first of its algorithm");
    app.launch();
    app.ready().await;
    let answer = app.client().get("/users/me").bearer(&after).send().await;
    assert_eq!(answer.status, 200, "{answer}");
    let set = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(set["keys"].as_array().unwrap().iter().filter(|key| key["kty"] == "RSA").count(), 1, "{set}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_has_is_named() {
    let app = App::plan(Kind::Sqlite).named("keys-locked").start().await;
    // The command does not find the server, whose listener is elsewhere.
    let mut command = command(&app, &["list"]);
    command.env("CAIRN_OPS_LISTEN", "127.0.0.1:0");
    let output = run(command).await;
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && why.contains("in use by another cairn process"), "{why}");
}
