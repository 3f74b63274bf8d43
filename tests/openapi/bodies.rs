//! The schemas of bodies, held to the readers of the server: what a schema takes is read, and what it refuses is refused.

use cairn_http::openapi;
use jsonschema::Validator;

use super::operations_of;
use crate::support::contract::validator;
use crate::support::{App, Kind, Person, Value, json};

/// A member that is of no body.
const STRANGE: &str = "surprise";

/// The body of an operation, its schema looked up.
fn body_of<'a>(document: &'a Value, operation: &'a Value) -> Option<&'a Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some(&document["components"]["schemas"][name])
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A good value of a member: its example, or a truth.
fn example(schema: &Value) -> Value {
    match &schema["examples"][0] {
        Value::Null => json!(true),
        example => example.clone(),
    }
}

/// The bodies that are grown from a schema: each of its alternatives with as little and as much as may be, and with one
/// thing wrong.
fn grown(schema: &Value) -> Vec<Value> {
    let members = schema["properties"].as_object().unwrap();
    let with = |names: &[&str]| -> Value { names.iter().map(|name| (*name, example(&members[*name]))).collect() };
    let always = names(&schema["required"]);
    let sets: Vec<Vec<&str>> = match schema["oneOf"].as_array() {
        Some(sets) => sets.iter().map(|set| [&names(&set["required"])[..], &always].concat()).collect(),
        None => vec![always],
    };
    let every: Vec<&str> = members.keys().map(String::as_str).collect();
    let mut bodies = vec![json!([]), json!("text"), json!(null), json!({}), with(&every)];
    for set in &sets {
        let least = with(set);
        let mut change = |name: &str, value: Option<Value>| {
            let mut body = least.clone();
            match value {
                Some(value) => body[name] = value,
                None => drop(body.as_object_mut().unwrap().remove(name)),
            }
            bodies.push(body);
        };
        for name in &every {
            change(name, None);
            for value in [json!(null), json!(7), json!([]), json!({}), json!(""), json!("x".repeat(300))] {
                change(name, Some(value));
            }
            change(name, Some(example(&members[*name])));
        }
        change(STRANGE, Some(json!(1)));
    }
    bodies.sort_by_key(ToString::to_string);
    bodies.dedup();
    bodies
}

/// Whether all that a schema has against a body is what stands in a text: it can be read, and is not acceptable.
fn is_only_a_text(validator: &Validator, body: &Value) -> bool {
    let of_text = ["pattern", "minLength", "maxLength", "format"];
    validator.iter_errors(body).all(|why| {
        let place = why.schema_path().to_string();
        of_text.iter().any(|keyword| place.ends_with(&format!("/{keyword}")))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_read_as_its_schema_says() {
    let app = App::plan(Kind::Sqlite).named("bodies").set("CAIRN_MAGIC_LINK", "on").start().await;
    let tokens = Person::new("reader").arrives(&app).await;
    let document = openapi::document("/");
    let mut tried = 0;
    for (path, method, operation) in operations_of(&document) {
        let Some(schema) = body_of(&document, operation) else { continue };
        let validator = validator(&document, schema, false);
        for body in grown(schema) {
            let request = app.client().request(&method.to_uppercase(), path).json(&body);
            let answer = request.bearer(&tokens.access).header("if-match", "*").send().await;
            let (good, readable) = (validator.is_valid(&body), is_only_a_text(&validator, &body));
            assert_eq!(answer.status == 400, !readable, "{body}: {answer}");
            assert!(good || answer.status >= 400, "{body} is taken, and its schema refuses it: {answer}");
            if !readable {
                answer.problem(400, "unreadable");
            }
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried} bodies");
}
