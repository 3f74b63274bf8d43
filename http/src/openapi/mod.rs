//! The interface described in OpenAPI 3.1, made from the tables of routes: `GET /openapi.json` and `cairn openapi`.
//!
//! The operations listener has a document of its own. It is another server at another address, asks nobody who they are,
//! and is not for the public; a client that is generated from the public document should not know of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::access::rate::PAGE;
use crate::access::{Access, Admission, Metered};
use crate::description::{Area, Description, Gives, Param, Query, Takes};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::route::{Answer, Body, RouteSpec, Said, call, routes};
use crate::route_group::{Cors, RouteGroup, TableFault};
use crate::state::AppState;
use crate::{api, operations, pages, schema, well_known};

mod headers;
mod problems;

routes! {
    static ROUTES: Document, call;
    GET "/openapi.json", open, none => file | 304, PAGE, show, SHOW;
}

const SHOW: Description = Description::new("getDocument", Area::Server, "Get this document")
    .takes(&[Takes::IfNoneMatch])
    .gives(&[Gives::ETag, Gives::CacheControl])
    .file("application/json");

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of the document: for scripts of every origin, since it is the same for everybody.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<Document>, TableFault> {
    let document = Document::new(Arc::clone(state));
    Ok(RouteGroup::new("openapi", Arc::new(document), ROUTES)?.cors(Cors::Everybody))
}

/// The document as it is served.
pub struct Document {
    state: Arc<AppState>,
    text: Bytes,
    tag: HeaderValue,
}

impl Document {
    fn new(state: Arc<AppState>) -> Self {
        let text = document(&state.services.engine.environment().settings.public_url).to_string();
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()));
        Self { state, text: Bytes::from(text), tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}

impl Admission for Document {
    fn now(&self) -> Timestamp {
        self.state.now()
    }

    fn meter(&self, bucket: &'static str, request: &Request) -> Metered {
        self.state.meter(bucket, request)
    }

    fn admit<'a>(&'a self, access: Access, request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        self.state.admit(access, request)
    }
}

async fn show(document: Arc<Document>, request: Request) -> Answer {
    let reply = if is_known(&request, &document.tag) {
        Reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        Reply::bytes(StatusCode::OK, HeaderValue::from_static("application/json"), document.text.clone())
    };
    let kept = HeaderValue::from_static("public, max-age=300");
    Ok(reply.header(ETAG, document.tag.clone()).header(CACHE_CONTROL, kept))
}

/// Whether `If-None-Match` names what there is (RFC 9110, section 13.1.2): by its tag, weak or not, or by `*`.
fn is_known(request: &Request, tag: &HeaderValue) -> bool {
    let lines = request.headers().get_all(IF_NONE_MATCH).iter();
    let mut tags = lines.flat_map(|line| line.as_bytes().split(|octet| *octet == b',')).map(<[u8]>::trim_ascii);
    tags.any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

/// The document of the public listener, which is reached at `server`.
#[must_use]
pub fn document(server: &str) -> Value {
    let specs = api::specs().chain(well_known::specs()).chain(pages::specs()).chain(self::specs());
    let text = "What programs may rely on. Bodies are JSON in UTF-8; unknown, doubled or mistyped members are refused. \
                Members may be added to answers: leave alone what you do not know. Every refusal is a problem document \
                (RFC 9457) whose `detail` says what to do next.";
    Parts::new(Listener::Public).document("Cairn", text, server, specs)
}

/// The document of the operations listener.
#[must_use]
pub fn operations_document() -> Value {
    let text = "What operators and their programs may rely on. This listener asks nobody who they are: it answers to \
                an IP address, `localhost` and its own names, and is not for the public.";
    Parts::new(Listener::Operations).document("Cairn, operations", text, "/", operations::specs())
}

/// Which listener a document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// For people and programs.
    Public,
    /// For operators: no page of another site may ask it for anything.
    Operations,
}

/// What a document is put together from: schemas and answers that stand in it once and are named where they are used.
struct Parts {
    listener: Listener,
    /// Of what is read.
    bodies: SchemaGenerator,
    /// Of what is written.
    answers: SchemaGenerator,
    problems: BTreeMap<String, Value>,
    areas: Vec<Area>,
}

impl Parts {
    fn new(listener: Listener) -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            listener,
            bodies: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
            problems: BTreeMap::new(),
            areas: Vec::new(),
        }
    }

    fn document(
        mut self,
        title: &str,
        text: &str,
        server: &str,
        specs: impl Iterator<Item = &'static RouteSpec>,
    ) -> Value {
        let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for spec in specs {
            let Some(description) = spec.description else { continue };
            let operation = self.operation(spec, description);
            paths.entry(spec.path).or_default().insert(spec.method.as_str().to_lowercase(), operation);
        }
        self.areas.sort_unstable();
        self.areas.dedup();
        let tag = |area: &Area| {
            let (name, text) = area.words();
            json!({"name": name, "description": text})
        };
        let tags: Vec<Value> = self.areas.iter().map(tag).collect();
        let mut components = json!({
            "headers": headers::all(self.listener),
            "responses": self.problems,
        });
        let schemas: Map<String, Value> =
            self.bodies.take_definitions(true).into_iter().chain(self.answers.take_definitions(true)).collect();
        set(&mut components, "schemas", Value::Object(schemas));
        if self.listener == Listener::Public {
            let bearer = "An access token, as signing in gives it (RFC 6750, RFC 9068).";
            set(
                &mut components,
                "securitySchemes",
                json!({"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": bearer}}),
            );
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": text,
                "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            },
            "servers": [{"url": server}],
            "tags": tags,
            "paths": paths,
            "components": components,
        })
    }

    fn operation(&mut self, spec: &RouteSpec, description: &Description) -> Value {
        let (area, _) = description.area.words();
        self.areas.push(description.area);
        let mut operation = json!({
            "operationId": description.id,
            "tags": [area],
            "summary": description.summary,
            "responses": self.responses(spec, description),
        });
        let text = text(spec, description);
        if !text.is_empty() {
            set(&mut operation, "description", Value::String(text));
        }
        let parameters: Vec<Value> = description
            .params
            .iter()
            .map(parameter)
            .chain(description.query.iter().map(queried))
            .chain(headers::taken(description.takes))
            .collect();
        if !parameters.is_empty() {
            set(&mut operation, "parameters", Value::Array(parameters));
        }
        if self.listener == Listener::Public {
            set(&mut operation, "security", security(spec.access, description.takes));
        }
        match spec.body {
            Body::None | Body::Form | Body::Any => {}
            Body::NoMembers => {
                let schema = json!({"type": "object", "additionalProperties": false});
                set(&mut operation, "requestBody", body(&schema, false));
            }
            Body::Json(shape) => {
                let schema = shape.schema(&mut self.bodies);
                set(&mut operation, "requestBody", body(schema.as_value(), true));
            }
        }
        operation
    }

    /// The answers by their status.
    fn responses(&mut self, spec: &RouteSpec, description: &Description) -> Map<String, Value> {
        let mut responses = Map::new();
        let headers = headers::of_success(spec, description);
        for said in spec.answers {
            let (status, media_type, schema) = match *said {
                Said::Json(status, shape) => (status, "application/json", shape.schema(&mut self.answers).to_value()),
                Said::File => (StatusCode::OK, description.file, json!({})),
                Said::Nothing => (StatusCode::NO_CONTENT, "", Value::Null),
                Said::Unchanged => (StatusCode::NOT_MODIFIED, "", Value::Null),
                Said::Protocol => (StatusCode::OK, "application/json", json!({"type": "object"})),
                Said::Page => (StatusCode::OK, "text/html", json!({"type": "string"})),
                Said::Events => (StatusCode::OK, "text/event-stream", json!({"type": "string"})),
            };
            let meaning = status.canonical_reason().unwrap_or_default();
            let mut response = json!({"description": meaning, "headers": headers});
            if !media_type.is_empty() {
                set(&mut response, "content", json!({media_type: {"schema": schema}}));
            }
            responses.insert(status.as_str().to_owned(), response);
        }
        for (status, kinds) in problems::by_status(self.listener, spec, description) {
            let name = problems::name(&kinds);
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            // Where a success has the status too, the two are told apart by their media type.
            match responses.get_mut(status.as_str()) {
                Some(there) => {
                    if let Some(Value::Object(content)) = there.get_mut("content") {
                        content.extend(problems::content(&mut self.answers, status, &kinds));
                    }
                }
                None => {
                    if !self.problems.contains_key(&name) {
                        let response = problems::response(&mut self.answers, self.listener, status, &kinds);
                        self.problems.insert(name, response);
                    }
                    responses.insert(status.as_str().to_owned(), reference);
                }
            }
        }
        responses
    }
}

/// Sets a member of an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// What a line says that is no part of OpenAPI, after what the description says.
fn text(spec: &RouteSpec, description: &Description) -> String {
    let more = match spec.access {
        Access::FreshBearer => {
            "The sign-in behind the access token must be fresh: after `step-up`, prove the password once more."
        }
        Access::BearerOrRepeat => {
            "A repeat under the same `Idempotency-Key` is answered though its session is over by then."
        }
        _ => "",
    };
    let both = [description.text, more].into_iter().filter(|text| !text.is_empty());
    both.collect::<Vec<_>>().join("\n\n")
}

fn parameter(param: &Param) -> Value {
    let Param { name, prefix, text } = param;
    let schema = match prefix {
        Some(prefix) => json!({"type": "string", "pattern": schema::pattern(prefix)}),
        None => json!({"type": "string"}),
    };
    json!({"name": name, "in": "path", "required": true, "description": text, "schema": schema})
}

fn queried(query: &Query) -> Value {
    let Query { name, required, text } = query;
    json!({"name": name, "in": "query", "required": required, "description": text, "schema": {"type": "string"}})
}

fn body(schema: &Value, required: bool) -> Value {
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

/// Who may call: one of the alternatives must be met, and `{}` is met by everybody.
fn security(access: Access, takes: &[Takes]) -> Value {
    match access {
        Access::Bearer | Access::FreshBearer | Access::BearerOrRepeat => json!([{"bearer": []}]),
        _ if takes.contains(&Takes::Bearer) => json!([{}, {"bearer": []}]),
        _ => json!([]),
    }
}
