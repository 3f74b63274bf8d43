//! Which refusals a route can really give, and how the document shows them.

use http::{Method, StatusCode};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{Listener, headers, set};
use crate::access::Access;
use crate::description::{Description, Takes};
use crate::problem::{self, Kind};
use crate::route::{Body, RouteSpec};

/// The refusals of every request, which follow from the bounds, the host and the state of the server.
const ALWAYS: &[Kind] = &[
    Kind::Unreadable,
    Kind::Timeout,
    Kind::BodyTooLarge,
    Kind::TargetTooLong,
    Kind::Misdirected,
    Kind::HeadersTooLarge,
    Kind::Fault,
    Kind::Unavailable,
];

/// Whether a route can refuse a request like this.
fn can_be(kind: Kind, listener: Listener, spec: &RouteSpec, description: &Description) -> bool {
    let takes = |what| description.takes.contains(&what);
    let bearer = matches!(spec.access, Access::Bearer | Access::FreshBearer | Access::BearerOrRepeat);
    let follows = match kind {
        Kind::Credentials => bearer,
        Kind::SessionEnded => bearer || takes(Takes::Bearer),
        Kind::StepUp => spec.access == Access::FreshBearer,
        Kind::Forbidden => listener == Listener::Operations || spec.access.is_own_form(),
        Kind::NotFound => spec.access == Access::Loopback || spec.path.contains('{'),
        Kind::MediaType => !matches!(spec.body, Body::None),
        Kind::SlowDown => spec.bucket.is_some(),
        Kind::IdempotencyMismatch => takes(Takes::IdempotencyKey),
        Kind::Changed | Kind::ConditionRequired => takes(Takes::IfMatch),
        Kind::Storage => spec.method != Method::GET,
        _ => false,
    };
    follows || ALWAYS.contains(&kind) || description.refuses.contains(&kind)
}

/// The refusals of a route by their status, in the order of the table of refusals.
pub(super) fn by_status(
    listener: Listener,
    spec: &RouteSpec,
    description: &Description,
) -> Vec<(StatusCode, Vec<Kind>)> {
    let mut all: Vec<(StatusCode, Vec<Kind>)> = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| can_be(*kind, listener, spec, description)) {
        match all.iter_mut().find(|(status, _)| *status == kind.status()) {
            Some((_, kinds)) => kinds.push(kind),
            None => all.push((kind.status(), vec![kind])),
        }
    }
    all
}

/// The name of an answer that is one of these refusals.
pub(super) fn name(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join("Or")
}

/// The answer that is one of these refusals, all of one status.
pub(super) fn response(schemas: &mut SchemaGenerator, listener: Listener, status: StatusCode, kinds: &[Kind]) -> Value {
    let meaning: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
    let mut response = json!({
        "description": format!("{}.", meaning.join(", or: ")),
        "headers": headers::of_problem(listener, status),
    });
    set(&mut response, "content", Value::Object(content(schemas, status, kinds)));
    response
}

/// The body of such an answer.
pub(super) fn content(schemas: &mut SchemaGenerator, status: StatusCode, kinds: &[Kind]) -> Map<String, Value> {
    let mut schema = problem::schema(schemas).to_value();
    let types: Vec<&str> = kinds.iter().map(|kind| kind.path()).collect();
    set(&mut schema, "properties", json!({"type": {"enum": types}, "status": {"const": status.as_u16()}}));
    Map::from_iter([("application/problem+json".to_owned(), json!({"schema": schema}))])
}
