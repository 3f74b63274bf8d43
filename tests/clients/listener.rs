//! `/clients` and `/resources` of the operations listener.

use crate::support::{App, Kind, Value, json};

of_each_kind!(
    a_client_is_added_changed_given_another_secret_and_deleted,
    what_no_client_can_have_is_refused_by_its_member,
    a_list_is_brought_in_once_and_twice_changes_nothing,
    clients_are_listed_page_by_page,
    resources_are_saved_listed_and_deleted,
);

const REDIRECT: &str = "https://app.example/cb";

async fn started(kind: Kind) -> App {
    App::plan(kind).named("clients").start().await
}

async fn a_client_is_added_changed_given_another_secret_and_deleted(kind: Kind) {
    let app = started(kind).await;
    let operations = app.operations();
    let metadata = json!({ "client_name": "App", "redirect_uris": [REDIRECT], "surprise": 1 });
    let added = operations.post("/clients", &metadata).send().await.expect(201);
    let id = added["client_id"].as_str().unwrap();
    let secret = added["client_secret"].as_str().unwrap();
    assert!(id.starts_with("cli_") && secret.starts_with("cairn_cs_"), "{added}");
    assert_eq!((&added["origin"], &added["version"]), (&json!("administrator"), &json!(0)), "{added}");
    assert_eq!(added["grant_types"], json!(["authorization_code"]), "{added}");
    assert_eq!(added.get("surprise"), None, "{added}");

    let path = format!("/clients/{id}");
    let read = operations.get(&path).send().await.expect(200);
    assert_eq!((read["client_name"].as_str(), read.get("client_secret")), (Some("App"), None), "{read}");
    assert_eq!(read["secrets"].as_array().unwrap().len(), 1, "{read}");
    assert!(!app.log().contains(secret), "no secret is logged");

    let mut changed = read.clone();
    changed["client_name"] = json!("Other");
    let put = async |body: &Value| operations.request("PUT", &path).json(body).send().await;
    let answer = put(&changed).await.expect(200);
    assert_eq!((answer["client_name"].as_str(), &answer["version"]), (Some("Other"), &json!(1)), "{answer}");
    assert_eq!(answer.get("client_secret"), None, "its secret stays");
    put(&changed).await.problem(412, "changed");
    assert_eq!(put(&answer).await.expect(200)["version"], 1, "what is so already is no change");
    changed["client_id"] = json!("another");
    put(&changed).await.problem(422, "value");

    let rotate = async |body: Value| operations.post(&format!("{path}/secret"), &body).send().await;
    let rotated = rotate(json!({ "overlap": 3_600 })).await.expect(200);
    assert_ne!(rotated["client_secret"], added["client_secret"], "{rotated}");
    let secrets = rotated["secrets"].as_array().unwrap();
    let ends: Vec<bool> = secrets.iter().map(|secret| secret.get("expires_at").is_some()).collect();
    assert_eq!(ends, [true, false], "the one before is good for a while: {rotated}");
    let at_once = rotate(json!({ "overlap": 0 })).await.expect(200);
    assert_eq!(at_once["secrets"].as_array().unwrap().len(), 1, "{at_once}");
    rotate(json!({ "overlap": 40 * 86_400 })).await.problem(422, "value");
    rotate(json!({ "sooner": 1 })).await.problem(400, "unreadable");

    operations.request("DELETE", &path).send().await.expect(204);
    for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("GET", "/clients/nobody".to_owned())] {
        operations.request(method, &path).send().await.problem(404, "not-found");
    }
}

async fn what_no_client_can_have_is_refused_by_its_member(kind: Kind) {
    let app = started(kind).await;
    let operations = app.operations();
    for (metadata, member) in [
        (json!({}), "/redirect_uris"),
        (json!({ "redirect_uris": ["http://app.example/cb"] }), "/redirect_uris"),
        (json!({ "redirect_uris": [REDIRECT], "software_statement": "eyJ" }), "/software_statement"),
        (json!({ "redirect_uris": [REDIRECT], "client_id": "cairn" }), "/client_id"),
        (json!({ "redirect_uris": [REDIRECT], "client_id": "a b" }), "/client_id"),
        (
            json!({ "redirect_uris": [REDIRECT], "client_secret": "s", "token_endpoint_auth_method": "none" }),
            "/client_secret",
        ),
    ] {
        let problem = operations.post("/clients", &metadata).send().await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], member, "{problem}");
    }
    // Its own id may be any, also a URL.
    let named = json!({ "redirect_uris": [REDIRECT], "client_id": "https://app.example/client?x=1" });
    operations.post("/clients", &named).send().await.expect(201);
    let problem = operations.post("/clients", &named).send().await.problem(422, "value");
    assert_eq!(problem["errors"][0]["code"], "taken", "{problem}");
    let read = operations.get("/clients/https%3A%2F%2Fapp.example%2Fclient%3Fx%3D1").send().await.expect(200);
    assert_eq!(read["client_id"], named["client_id"]);
    operations
        .request("POST", "/clients")
        .header("content-type", "text/plain")
        .body("{}")
        .send()
        .await
        .problem(415, "media-type");
}

async fn a_list_is_brought_in_once_and_twice_changes_nothing(kind: Kind) {
    let app = started(kind).await;
    let operations = app.operations();
    let import = async |body: &Value| operations.post("/clients/import", body).send().await;
    let outcomes = |report: &Value| -> Vec<String> {
        let clients = report["clients"].as_array().unwrap().iter();
        clients
            .map(|client| format!("{} {}", client["client_id"].as_str().unwrap_or_default(), client["outcome"]))
            .collect()
    };
    let unnamed = json!({ "redirect_uris": ["https://unnamed.example/cb"] });
    let list = json!([
        { "client_id": "a", "client_secret": "imported-secret", "redirect_uris": [REDIRECT] },
        { "client_id": "b", "token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"] },
        unnamed,
    ]);
    let dry = import(&json!({ "clients": list, "dry_run": true })).await.expect(200);
    assert!(outcomes(&dry).iter().all(|outcome| outcome.ends_with("\"created\"")), "{dry}");
    assert_eq!(operations.get("/clients").send().await.expect(200)["items"], json!([]));
    let first = import(&json!({ "clients": list })).await.expect(200);
    assert_eq!(outcomes(&first), outcomes(&dry));
    let told: Vec<bool> =
        first["clients"].as_array().unwrap().iter().map(|it| it.get("client_secret").is_some()).collect();
    assert_eq!(told, [false, false, true], "a secret that was made is told once: {first}");
    let again = import(&json!({ "clients": list, "prune": true })).await.expect(200);
    assert!(outcomes(&again).iter().all(|outcome| outcome.ends_with("\"unchanged\"")), "{again}");

    let mut other = list.clone();
    other[0]["client_secret"] = json!("another-secret");
    other[1] = json!({ "client_id": "c", "redirect_uris": ["javascript:alert(1)"] });
    let problem = import(&json!({ "clients": other })).await.problem(422, "value");
    assert_eq!(problem["errors"][0]["pointer"], "/clients/1/redirect_uris", "{problem}");
    other[1] = json!({ "client_id": "a", "redirect_uris": [REDIRECT] });
    let problem = import(&json!({ "clients": other })).await.problem(422, "value");
    assert_eq!(problem["errors"][0]["code"], "doubled", "{problem}");
    assert_eq!(operations.get("/clients/a").send().await.expect(200)["version"], 0, "nothing of a bad list is taken");
    other.as_array_mut().unwrap().remove(1);
    let pruned = import(&json!({ "clients": other, "prune": true })).await.expect(200);
    assert_eq!(outcomes(&pruned)[..2], ["a \"changed\"", "b \"removed\""], "{pruned}");
    operations.get("/clients/b").send().await.problem(404, "not-found");
}

async fn clients_are_listed_page_by_page(kind: Kind) {
    let app = started(kind).await;
    let operations = app.operations();
    let names: Vec<String> = (0..7).map(|number| format!("client {number}").replace(' ', "&")).collect();
    let clients: Value = names.iter().map(|name| json!({ "client_id": name, "redirect_uris": [REDIRECT] })).collect();
    operations.post("/clients/import", &json!({ "clients": clients })).send().await.expect(200);
    let (mut seen, mut target) = (Vec::new(), "/clients?limit=3".to_owned());
    loop {
        let page = operations.get(&target).send().await.expect(200);
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["client_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.get("next").and_then(Value::as_str) else { break };
        target = format!("/clients?limit=3&after={}", next.replace('&', "%26"));
    }
    assert_eq!(seen, names);
    for bad in ["/clients?limit=0", "/clients?limit=501", "/clients?limit=x", "/clients?offset=1"] {
        operations.get(bad).send().await.problem(400, "unreadable");
    }
}

async fn resources_are_saved_listed_and_deleted(kind: Kind) {
    let app = started(kind).await;
    let operations = app.operations();
    let uri = "https://api.example/v1?x=1";
    let save = async |body: Value| operations.post("/resources", &body).send().await;
    save(json!({ "uri": uri, "scope": "write read" })).await.expect(200);
    let saved = save(json!({ "uri": uri, "scope": "read", "name": "API", "access_token_ttl": 60 })).await.expect(200);
    assert_eq!((&saved["scope"], &saved["name"]), (&json!("read"), &json!("API")), "{saved}");
    let list = operations.get("/resources").send().await.expect(200);
    assert_eq!(list["items"], json!([saved]));
    for (bad, member) in [
        (json!({ "uri": "/relative" }), "/uri"),
        (json!({ "uri": uri, "scope": "a  b" }), "/scope"),
        (json!({ "uri": uri, "access_token_ttl": 0 }), "/access_token_ttl"),
    ] {
        let problem = save(bad).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], member, "{problem}");
    }
    save(json!({ "uri": uri, "surprise": 1 })).await.problem(400, "unreadable");
    let delete = async |query: &str| operations.request("DELETE", &format!("/resources{query}")).send().await;
    delete("").await.problem(400, "unreadable");
    delete("?uri=https%3A%2F%2Fapi.example%2Fv1%3Fx%3D1").await.expect(204);
    delete("?uri=https%3A%2F%2Fapi.example%2Fv1%3Fx%3D1").await.problem(404, "not-found");
    assert_eq!(operations.get("/resources").send().await.expect(200)["items"], json!([]));
}
