//! `cairn client` and `cairn resource`: beside a server that runs, and in its database while none does.

use std::fs;

use super::{cairn, word};
use crate::support::{App, Kind, Value, json};

of_each_kind!(
    a_client_is_managed_beside_a_server_and_without_one,
    a_file_is_imported_once_whoever_dies_in_between,
    resources_are_managed_beside_a_server_and_without_one,
);

const REDIRECT: &str = "https://app.example/cb";

async fn a_client_is_managed_beside_a_server_and_without_one(kind: Kind) {
    let app = App::plan(kind).named("client").start().await;
    let added = cairn(&app, &["client", "add", "--name", "App", "--redirect-uri", REDIRECT]).await.fine();
    let id = word(&added, "client_id").to_owned();
    let secret = word(&added, "client_secret").to_owned();
    assert!(id.starts_with("cli_") && secret.starts_with("cairn_cs_"), "{added}");
    let add =
        ["client", "add", "--id", "desktop", "--public", "--first-party", "--redirect-uri", "com.example.app:/cb"];
    let public = cairn(&app, &[&add[..], &["--scope", "openid read", "--json"]].concat()).await.fine();
    let public: Value = serde_json::from_str(&public).unwrap();
    assert_eq!(public["client_id"], "desktop", "{public}");
    assert_eq!((&public["token_endpoint_auth_method"], &public["first_party"]), (&json!("none"), &json!(true)));
    assert_eq!(public["grant_types"], json!(["authorization_code", "refresh_token"]), "{public}");
    assert_eq!(public.get("client_secret"), None, "{public}");

    // The same without a server, which is killed.
    for is_alone in [false, true] {
        if is_alone {
            app.kill9();
        }
        let shown = cairn(&app, &["client", "show", &id, "--json"]).await.fine();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let secrets = shown["secrets"].as_array().unwrap().len();
        assert!(!shown.to_string().contains(&secret), "{shown}");
        let name = format!("Alone: {is_alone}");
        cairn(&app, &["client", "update", &id, "--name", &name, "--grant", "client_credentials"]).await.fine();
        let rotated = cairn(&app, &["client", "rotate-secret", &id, "--overlap", "1h"]).await.fine();
        assert_ne!(word(&rotated, "client_secret"), secret);
        let shown = cairn(&app, &["client", "show", &id, "--json"]).await.fine();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            (shown["client_name"].as_str(), secrets, &shown["secrets"][1].get("expires_at")),
            (Some(&*name), 1 + usize::from(is_alone), &None)
        );
        assert_eq!(shown["grant_types"], json!(["client_credentials"]));
        assert_eq!(shown["redirect_uris"], json!([REDIRECT]), "what is not said stays");
        let listed = cairn(&app, &["client", "list"]).await.fine();
        assert!(listed.contains(&id) && listed.contains("desktop") && listed.contains(&name), "{listed}");

        let refused = cairn(&app, &["client", "add", "--redirect-uri", "http://app.example/cb"]).await.refused();
        assert!(refused.contains("/redirect_uris") && refused.contains("use https"), "{refused}");
        let refused = cairn(&app, &["client", "add", "--id", "desktop", "--redirect-uri", REDIRECT]).await.refused();
        assert!(refused.contains("registered already"), "{refused}");
        assert!(cairn(&app, &["client", "show", "nobody"]).await.refused().contains("there is none"));
        assert!(cairn(&app, &["client", "rotate-secret", "desktop"]).await.refused().contains("by a secret"));
    }
    cairn(&app, &["client", "delete", "desktop"]).await.fine();
    app.launch();
    app.ready().await;
    app.operations().get("/clients/desktop").send().await.problem(404, "not-found");
    app.operations().get(&format!("/clients/{id}")).send().await.expect(200);
    let audit = app.operations().get("/runtime/audit").send().await.expect(200);
    assert_eq!(audit["ok"], true, "{audit}");
}

async fn a_file_is_imported_once_whoever_dies_in_between(kind: Kind) {
    let app = App::plan(kind).named("import").start().await;
    let path = app.data().join("clients.ndjson");
    let client = |number: u32| json!({ "client_id": format!("app-{number}"), "client_secret": format!("secret-{number}"), "redirect_uris": [REDIRECT] });
    let write = |numbers: std::ops::Range<u32>| {
        let lines: Vec<String> = numbers.map(|number| client(number).to_string()).collect();
        fs::write(&path, lines.join("\n")).unwrap();
    };
    write(0..20);
    let file = path.to_str().unwrap();
    let last = |said: &str| said.lines().last().unwrap_or_default().to_owned();
    let dry = cairn(&app, &["client", "import", file, "--dry-run"]).await.fine();
    assert_eq!(last(&dry), "nothing was changed; it would be: 20 created, 0 changed, 0 unchanged, 0 removed");

    // The server dies somewhere in the import; the same file does the rest.
    let mut importing = app.subcommand(&["client", "import", file]);
    let importing = tokio::task::spawn_blocking(move || importing.output().unwrap());
    app.kill9();
    importing.await.unwrap();
    app.launch();
    app.ready().await;
    cairn(&app, &["client", "import", file]).await.fine();
    let unchanged = "0 created, 0 changed, 20 unchanged, 0 removed";
    assert_eq!(last(&cairn(&app, &["client", "import", file, "--prune"]).await.fine()), unchanged);
    app.kill9();
    assert_eq!(last(&cairn(&app, &["client", "import", file, "--prune"]).await.fine()), unchanged, "alone as well");
    write(5..21);
    let said = cairn(&app, &["client", "import", file, "--prune"]).await.fine();
    assert_eq!(last(&said), "1 created, 0 changed, 15 unchanged, 5 removed");
    fs::write(&path, "{\n").unwrap();
    let refused = cairn(&app, &["client", "import", file]).await.refused();
    assert!(refused.contains("clients.ndjson, line"), "{refused}");
    app.launch();
    app.ready().await;
    let page = app.operations().get("/clients").send().await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 16);
}

async fn resources_are_managed_beside_a_server_and_without_one(kind: Kind) {
    let app = App::plan(kind).named("resource").start().await;
    for is_alone in [false, true] {
        if is_alone {
            app.kill9();
        }
        let add = ["resource", "add", "https://api.example/v1", "--scope", "write", "--scope", "read"];
        assert_eq!(word(&cairn(&app, &add).await.fine(), "scope"), "read write");
        let listed = cairn(&app, &["resource", "list"]).await.fine();
        assert!(listed.contains("https://api.example/v1") && listed.contains("read write"), "{listed}");
        cairn(&app, &["resource", "delete", "https://api.example/v1"]).await.fine();
        assert_eq!(cairn(&app, &["resource", "list", "--json"]).await.fine().trim(), "[]");
        assert!(
            cairn(&app, &["resource", "delete", "https://api.example/v1"]).await.refused().contains("there is none")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_cannot_find_the_server_says_who_has_the_file() {
    let app = App::plan(Kind::Sqlite).named("held").start().await;
    app.change("CAIRN_OPS_LISTEN", "127.0.0.1:0");
    let refused = cairn(&app, &["client", "list"]).await.refused();
    assert!(refused.contains("cairn.db"), "{refused}");
}
