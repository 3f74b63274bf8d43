//! `[[client]]` and `[[resource]]` of the settings file, brought into the database at each start.

use std::fs;

use super::cairn;
use crate::support::app::write_secret;
use crate::support::{App, Kind, json};

of_each_kind!(the_database_says_of_clients_and_resources_what_the_file_says);

const FILE: &str = r#"
[[client]]
client_id = "web"
client_secret = "first-secret-of-web"
client_name = "Web"
redirect_uris = ["https://web.example/cb"]
access_token_ttl = 60

[[client]]
client_id = "agent"
token_endpoint_auth_method = "none"
redirect_uris = ["http://127.0.0.1/cb"]

[[resource]]
uri = "https://api.example"
scope = "read write"
"#;

/// A server with a settings file that says this.
fn planned(kind: Kind, text: &str) -> App {
    let app = App::plan(kind).named("file").prepare();
    let path = app.data().join("cairn.toml");
    write_secret(&path, text);
    app.change("CAIRN_CONFIG", path.display());
    app
}

async fn the_database_says_of_clients_and_resources_what_the_file_says(kind: Kind) {
    let app = planned(kind, FILE);
    app.launch();
    app.ready().await;
    let get = async |path: &str| app.operations().get(path).send().await;
    let web = get("/clients/web").await.expect(200);
    assert_eq!((&web["origin"], &web["access_token_ttl"]), (&json!("settings"), &json!(60)), "{web}");
    assert_eq!(get("/resources").await.expect(200)["items"][0]["scope"], "read write");
    let add = ["client", "add", "--id", "other", "--redirect-uri", "https://other.example/cb"];
    cairn(&app, &add).await.fine();

    // What the file keeps is changed there.
    for arguments in [
        &["client", "delete", "web"][..],
        &["client", "update", "web", "--name", "X"],
        &["resource", "delete", "https://api.example"],
    ] {
        let refused = cairn(&app, arguments).await.refused();
        assert!(refused.contains("settings file"), "{refused}");
    }
    // A start alone changes nothing.
    app.crash_and_restart().await;
    assert_eq!(get("/clients/web").await.expect(200)["version"], 0);

    let secret = app.data().join("web.secret");
    write_secret(&secret, "second-secret-of-web\n");
    let file = format!(
        "[[client]]\nclient_id = \"web\"\nclient_secret_file = \"{}\"\nredirect_uris = [\"https://web.example/cb\"]\n",
        secret.display()
    );
    fs::write(app.data().join("cairn.toml"), file).unwrap();
    app.crash_and_restart().await;
    let web = get("/clients/web").await.expect(200);
    assert_eq!((&web["version"], web.get("client_name")), (&json!(1), None), "{web}");
    assert_eq!(web["secrets"].as_array().unwrap().len(), 1, "{web}");
    get("/clients/agent").await.problem(404, "not-found");
    get("/clients/other").await.expect(200);
    assert_eq!(get("/resources").await.expect(200)["items"], json!([]));
    for secret in ["first-secret-of-web", "second-secret-of-web"] {
        assert!(!app.log().contains(secret));
    }
    fs::write(app.data().join("cairn.toml"), "").unwrap();
    app.crash_and_restart().await;
    get("/clients/web").await.problem(404, "not-found");
    get("/clients/other").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_cannot_be_refuses_to_start_with_its_place() {
    let secret = "client_secret = \"some-secret\"";
    for (text, said) in [
        ("[[client]]\nredirect_uris = [\"https://a.example/cb\"]\n", "line 1: [[client]] client_id:"),
        (
            "\n[[client]]\nclient_id = \"a\"\nredirect_uris = [\"https://a.example/cb\"]\n",
            "line 2: [[client]] client_secret:",
        ),
        (
            &*format!("[[client]]\nclient_id = \"a\"\n{secret}\nredirect_uris = [\"data:x\"]\n"),
            "line 1: [[client]] redirect_uris:",
        ),
        ("client = 7\n", "line 1: client takes tables"),
        ("[[client]]\nclient_secret_file = \"/nowhere\"\n", "line 1: client_secret_file:"),
        ("[[resource]]\nuri = \"x\"\n", "line 1: [[resource]] uri:"),
        ("[[resource]]\nurl = \"urn:x\"\n", "line 1: [[resource]]: unknown field `url`"),
    ] {
        let app = planned(Kind::Sqlite, text);
        let refused = cairn(&app, &["serve"]).await.refused();
        assert!(refused.contains("cairn.toml, ") && refused.contains(said), "{text}: {refused}");
        assert!(!refused.contains("some-secret"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_start_at_once_bring_in_the_same() {
    let one = planned(Kind::Postgres, FILE);
    let two = App::plan(Kind::Postgres).named("second").beside(&one).prepare();
    two.change("CAIRN_CONFIG", one.data().join("cairn.toml").display());
    one.launch();
    two.launch();
    one.ready().await;
    two.ready().await;
    let page = two.operations().get("/clients").send().await.expect(200);
    let ids: Vec<&str> = page["items"].as_array().unwrap().iter().map(|it| it["client_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["agent", "web"]);
    assert_eq!(page["items"][1]["version"], 0, "{page}");
    // A node without a file brings nothing in, and nothing goes.
    let third = App::plan(Kind::Postgres).named("third").beside(&one).start().await;
    third.operations().get("/clients/web").send().await.expect(200);
}
