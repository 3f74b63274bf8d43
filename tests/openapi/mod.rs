//! `GET /openapi.json` and `cairn openapi`: the document of the interface, held to its own standard, to the tables and to
//! what was reviewed.

mod bodies;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use cairn_http::{Body, RouteSpec, Said, api, oauth, openapi, operations, pages, well_known};

use crate::support::app::binary;
use crate::support::contract::validator;
use crate::support::folder::Folder;
use crate::support::golden;
use crate::support::{App, Value, json};

on_both_databases!(everybody_may_have_the_document_and_keep_it);

/// The lines of the public listener and those of the operations listener, each with their document.
fn documents() -> [(Value, Vec<&'static RouteSpec>); 2] {
    let public =
        api::specs().chain(oauth::specs()).chain(well_known::specs()).chain(pages::specs()).chain(openapi::specs());
    [(openapi::document("/"), public.collect()), (openapi::operations_document(), operations::specs().collect())]
}

/// The operations of a document: path, method and what is said of it.
fn operations_of(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |(path, methods)| {
        let methods: &serde_json::Map<String, Value> = Value::as_object(methods).unwrap();
        methods.iter().map(move |(method, operation)| (String::as_str(path), method.as_str(), operation))
    };
    paths.flat_map(methods).collect()
}

/// What the binary prints, without settings, a database or a folder of data.
fn printed(arguments: &[&str]) -> String {
    let folder = Folder::new("openapi");
    let output = Command::new(binary())
        .arg("openapi")
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_printed_is_what_was_reviewed() {
    golden::check("openapi.json", &printed(&[]));
    golden::check("openapi.operations.json", &printed(&["--operations"]));
}

#[test]
fn the_documents_are_openapi() {
    // The schema of OpenAPI 3.1 by the OpenAPI Initiative (https://spec.openapis.org/oas/3.1/schema/2022-10-07), under the
    // Apache License 2.0, unchanged. It leaves the schemas of bodies open, which are those of JSON Schema.
    let standard: Value = serde_json::from_str(include_str!("schema-3.1.json")).unwrap();
    let standard = jsonschema::validator_for(&standard).unwrap();
    for (document, _) in documents() {
        let wrong: Vec<String> =
            standard.iter_errors(&document).map(|why| format!("{} {why}", why.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let mut broken = document.clone();
        broken["paths"]["/broken"] = json!({"get": {"responses": "none"}});
        assert!(!standard.is_valid(&broken), "the standard is looked at");
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(jsonschema::meta::is_valid(schema), "{name}: {schema}");
            assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "two types are called {name}");
            assert!(schema["description"].is_string(), "{name} says nothing of itself");
            for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
                assert!(schema["description"].is_string(), "{name}.{member} says nothing of itself");
            }
        }
    }
}

#[test]
fn whatever_is_referred_to_is_there_and_nothing_is_idle() {
    fn collect<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| collect(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    for (document, _) in documents() {
        let mut named = BTreeSet::new();
        collect(&document, &mut named);
        let kinds = ["schemas", "responses", "headers"];
        let there: Vec<String> = kinds
            .iter()
            .flat_map(|kind| {
                let names = document["components"][kind].as_object().unwrap().keys();
                names.map(move |name| format!("#/components/{kind}/{name}"))
            })
            .collect();
        assert_eq!(named, there.iter().map(String::as_str).collect::<BTreeSet<_>>());
    }
}

#[test]
fn every_route_for_programs_is_in_a_document_and_no_other() {
    for (document, specs) in documents() {
        let described: BTreeSet<(String, String)> = operations_of(&document)
            .into_iter()
            .map(|(path, method, _)| (path.to_owned(), method.to_uppercase()))
            .collect();
        // What browsers are for: pages, and what scripts of theirs ask. What a protocol describes has its own document.
        let of_browsers = |spec: &RouteSpec| {
            spec.body.media_type() == Body::Form.media_type()
                || spec.answers.iter().any(|said| matches!(said, Said::Page | Said::Events | Said::Protocol))
                || spec.path.starts_with("/assets/")
        };
        let wanted: BTreeSet<(String, String)> = specs
            .iter()
            .filter(|spec| !of_browsers(spec))
            .map(|spec| (spec.path.to_owned(), spec.method.to_string()))
            .collect();
        assert_eq!(described, wanted, "left: the document, right: the tables");
    }
}

#[test]
fn names_are_given_once_and_parameters_are_described() {
    for (document, _) in documents() {
        let operations = operations_of(&document);
        let names: BTreeSet<&str> = operations.iter().map(|(.., said)| said["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), operations.len());
        for (path, method, operation) in operations {
            let open: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let described: Vec<&str> =
                parameters.filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
            assert_eq!(open, described, "{method} {path}");
        }
    }
}

async fn everybody_may_have_the_document_and_keep_it(app: &App) {
    let client = app.client();
    let answer = client.get("/openapi.json").header("origin", "https://anywhere.example").send().await;
    assert_eq!(answer.expect(200), openapi::document(&app.public_url()));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer}");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"), "{answer}");
    assert_eq!(answer.header("vary"), None, "{answer}");

    let tag = answer.header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = client.get("/openapi.json").header("if-none-match", &known).send().await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}: {again}");
        assert_eq!(again.header("etag"), Some(tag.as_str()), "{again}");
    }
    let other = client.get("/openapi.json").header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.expect(200), answer.json());

    let asking = client.request("OPTIONS", "/openapi.json").header("origin", "https://anywhere.example");
    let asking = asking.header("access-control-request-method", "GET").send().await;
    asking.expect(204);
    assert_eq!(asking.header("access-control-allow-origin"), Some("*"), "{asking}");
    assert_eq!(asking.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"), "{asking}");
    // Nothing else of the server is so open.
    let elsewhere = client.get("/auth/config").header("origin", "https://anywhere.example").send().await;
    assert_eq!(elsewhere.header("access-control-allow-origin"), None, "{elsewhere}");
}

#[test]
fn a_schema_refuses_what_a_reader_refuses_and_takes_what_it_takes() {
    let document = openapi::document("/");
    let schema = &document["components"]["schemas"]["EmailVerification"];
    let validator = validator(&document, schema, false);
    for (body, good) in [
        (json!({"flow": "reg_1", "code": "12 34-56"}), true),
        (json!({"flow": "reg_1", "code": "123456", "token": null, "password": null}), true),
        (json!({"token": "t", "password": "p"}), true),
        (json!({"flow": "reg_1", "code": "123456", "token": "t"}), false),
        (json!({"flow": "reg_1", "code": "12345"}), false),
        (json!({"flow": "reg_1"}), false),
        (json!({}), false),
    ] {
        assert_eq!(validator.is_valid(&body), good, "{body}");
    }
}
