//! After a full run no secret lies in the logs, in the database or in any file of the data folder.

use std::path::PathBuf;
use std::process::Command;

use crate::support::person::Tokens;
use crate::support::smtp::Sink;
use crate::support::{App, Kind, Person, json};

of_each_kind!(no_secret_is_left_in_logs_or_database);

async fn no_secret_is_left_in_logs_or_database(kind: Kind) {
    let sink = Sink::start();
    let app = App::plan(kind).named("secrets").set("SMTP_URL", sink.url()).set("RUST_LOG", "trace").start().await;
    let mut secrets = Vec::new();
    let mut codes = Vec::new();
    for turn in 0..4 {
        let person = Person::new("secretive");
        let flow = person.registers(&app).await;
        let letter = sink.letter(&person.email, "registration.verify").await;
        let verify = async |body| app.client().post("/auth/verify-email", &body).send().await;
        verify(json!({"flow": flow, "code": "000000"})).await;
        verify(json!({"token": letter.token(), "password": "the wrong velvet umbrella"})).await;
        let body = match turn {
            0 => json!({"flow": flow, "code": letter.code()}),
            // One is left waiting: its state holds a hash, sealed.
            1 => json!({"flow": flow, "code": "000001"}),
            _ => json!({"token": letter.token(), "password": person.password}),
        };
        let answer = verify(body).await;
        codes.extend(letter.code());
        secrets.extend([person.password.clone(), "the wrong velvet umbrella".into(), letter.token().unwrap()]);
        if answer.status == 200 {
            let mut tokens = person.signs_in(&app).await;
            for _ in 0..3 {
                secrets.extend([tokens.access.clone(), tokens.refresh.clone()]);
                let body = json!({"refresh_token": tokens.refresh});
                tokens = Tokens::of(&app.client().post("/auth/refresh", &body).send().await.expect(200));
            }
            app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
            app.client().post("/auth/logout", &json!({"refresh_token": tokens.refresh})).send().await.expect(204);
            secrets.extend([tokens.access, tokens.refresh]);
        }
    }
    // A key that lies beside the database is a secret of its own file only.
    let key_file = ["master.key", "test-master.key"]
        .map(|name| app.data().join(name))
        .into_iter()
        .find(|path| path.exists())
        .unwrap();
    secrets.push(std::fs::read_to_string(&key_file).unwrap().trim().to_owned());
    assert!(app.terminate().await.success());

    let mut places: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir(app.data()).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() && entry.path() != key_file {
            places.push((entry.path(), std::fs::read(entry.path()).unwrap()));
        }
    }
    if let Some(url) = app.database().url() {
        let dump =
            Command::new("pg_dump").args(["--inserts", url]).output().expect("pg_dump, of the same package as psql");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        places.push(("pg_dump".into(), dump.stdout));
    }
    assert!(places.iter().any(|(_, bytes)| contains(bytes, b"awaiting_code")), "the search looks where the rows are");
    for (place, bytes) in &places {
        for secret in &secrets {
            assert!(!contains(bytes, secret.as_bytes()), "{secret} lies in {}", place.display());
        }
        assert!(!contains(bytes, b"$argon2"), "a hash lies unsealed in {}", place.display());
        for code in &codes {
            assert!(!contains_code(bytes, code.as_bytes()), "the code {code} lies in {}", place.display());
        }
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Six digits by themselves: not a part of a longer number, nor the fraction of a second.
fn contains_code(bytes: &[u8], code: &[u8]) -> bool {
    bytes.windows(code.len() + 2).any(|window| {
        let (before, after) = (window[0], window[code.len() + 1]);
        &window[1..=code.len()] == code && !before.is_ascii_digit() && before != b'.' && !after.is_ascii_digit()
    })
}
