//! The contract of the interface, as its document says it: every answer that a test sees is held to it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use cairn_http::openapi;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::Answer;

/// Whose document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Public,
    Operations,
}

/// A document, and the schemas of it that were needed so far.
struct Contract {
    document: Value,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

static PUBLIC: LazyLock<Contract> = LazyLock::new(|| Contract::new(openapi::document("/")));
static OPERATIONS: LazyLock<Contract> = LazyLock::new(|| Contract::new(openapi::operations_document()));

/// Holds an answer to the document of its listener, where that knows the route.
///
/// # Panics
/// When the document has no such status, or another media type or body for it.
pub fn check(listener: Listener, method: &str, target: &str, answer: &Answer) {
    let contract = match listener {
        Listener::Public => &PUBLIC,
        Listener::Operations => &OPERATIONS,
    };
    if let Err(why) = contract.check(method, target, answer) {
        panic!("the document of the interface does not say so: {why}\n{answer}");
    }
}

/// A validator of a schema of a document. `closed`: members that the schema does not name are refused, too.
pub fn validator(document: &Value, schema: &Value, closed: bool) -> Validator {
    let mut whole = json!({"allOf": [schema], "components": {"schemas": document["components"]["schemas"]}});
    if closed {
        close(&mut whole);
    }
    jsonschema::options().should_validate_formats(true).build(&whole).unwrap_or_else(|why| panic!("{schema}: {why}"))
}

/// Has every object of a schema refuse members that it does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Whether a path fits a pattern, and by how many names that are not left open.
fn fit(pattern: &str, path: &str) -> Option<usize> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut literal = 0;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(literal),
            (Some(open), Some(text)) if open.starts_with('{') && !text.is_empty() => {}
            (Some(name), Some(text)) if name == text => literal += 1,
            _ => return None,
        }
    }
}

impl Contract {
    fn new(document: Value) -> Self {
        Self { document, compiled: Mutex::default() }
    }

    /// The path of the document that a request is for: the one with the most names of its own.
    fn path(&self, target: &str) -> Option<&str> {
        let path = target.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object().unwrap().keys();
        let fitting = paths.filter_map(|pattern| Some((fit(pattern, path)?, pattern.as_str())));
        fitting.max().map(|(_, pattern)| pattern)
    }

    fn check(&self, method: &str, target: &str, answer: &Answer) -> Result<(), String> {
        let Some(path) = self.path(target) else { return Ok(()) };
        let served = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
        let operation = &self.document["paths"][path][&served];
        // Another method of the path is none of the document's; what the HTTP library refuses by itself has no id.
        let by_library = matches!(answer.status, 400 | 431) && answer.header("x-request-id").is_none();
        if operation.is_null() || by_library {
            return Ok(());
        }
        let status = answer.status.to_string();
        let mut response = &operation["responses"][&status];
        if let Some(name) = response["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
            response = &self.document["components"]["responses"][name];
        }
        if response.is_null() {
            return Err(format!("{method} {path} has no answer {status}"));
        }
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = match header["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
                Some(known) => &self.document["components"]["headers"][known],
                None => header,
            };
            if header["required"] == true && answer.header(name).is_none() {
                return Err(format!("{method} {path} {status}: no {name}"));
            }
        }
        let given = answer.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let Some(content) = response["content"].as_object() else {
            let empty = answer.body.is_empty() && given.is_empty();
            return if empty { Ok(()) } else { Err(format!("{method} {path} {status} has a body")) };
        };
        let media = content.get(given).ok_or_else(|| format!("{method} {path} {status} as {given:?}"))?;
        if method == "HEAD" || !given.ends_with("json") {
            return Ok(());
        }
        let body = serde_json::from_slice(&answer.body).map_err(|why| format!("{method} {path} {status}: {why}"))?;
        let validator = self.compiled(format!("{path} {served} {status} {given}"), &media["schema"]);
        let wrong: Vec<String> =
            validator.iter_errors(&body).map(|why| format!("{} {why}", why.instance_path())).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{method} {path} {status}: {wrong:#?}")) }
    }

    fn compiled(&self, name: String, schema: &Value) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(compiled.entry(name).or_insert_with(|| Arc::new(validator(&self.document, schema, true))))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("r"));
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        Answer { asked: String::new(), status, headers, body: Bytes::from(body.to_string()) }
    }

    fn refused(method: &str, target: &str, answer: &Answer) -> String {
        PUBLIC.check(method, target, answer).err().unwrap_or_default()
    }

    #[test]
    fn an_answer_that_the_document_does_not_have_is_found() {
        let json = "application/json";
        let problem = |status: u16, kind: &str| json!({"type": kind, "title": "t", "status": status, "detail": "d", "request_id": "r"});
        let good = json!({"status": "ok"});
        assert_eq!(refused("GET", "/health?x", &answer(200, json, &good)), "");
        assert_eq!(refused("POST", "/health", &answer(405, json, &good)), "");
        assert_eq!(refused("GET", "/nowhere", &answer(404, json, &good)), "");
        for (answer, why) in [
            (answer(201, json, &good), "no answer 201"),
            (answer(200, "text/plain", &good), "text/plain"),
            (answer(200, json, &json!({"status": 1})), "/status"),
            (answer(200, json, &json!({})), "required"),
            (answer(200, json, &json!({"status": "ok", "more": 1})), "more"),
        ] {
            assert!(
                refused("GET", "/health", &answer).contains(why),
                "{why}: {:?}",
                refused("GET", "/health", &answer)
            );
        }
        let document = "application/problem+json";
        let right = answer(401, document, &problem(401, "/problems/session-ended"));
        assert_eq!(refused("POST", "/auth/refresh", &right), "");
        let wrong = answer(401, document, &problem(401, "/problems/step-up"));
        assert!(refused("POST", "/auth/refresh", &wrong).contains("/type"), "a refusal of another route");
        // A name goes before what is left open.
        assert_eq!(refused("DELETE", "/auth/sessions/end", &answer(405, json, &good)), "");
        assert!(refused("DELETE", "/auth/sessions/other", &answer(405, json, &good)).contains("405"));
    }
}
