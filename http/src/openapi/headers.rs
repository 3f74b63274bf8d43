//! The headers that the document names: those of requests, and those of answers.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Listener;
use crate::description::{Description, Gives, Takes};
use crate::route::RouteSpec;

/// The headers of answers that stand in the document once: name, schema, whether each answer has it that names it, meaning.
fn answer_headers() -> [(&'static str, Value, bool, &'static str); 9] {
    let text = || json!({"type": "string"});
    [
        (
            "X-Request-Id",
            json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}),
            true,
            "The id of the request: the client's own, where it sent a good one.",
        ),
        ("RateLimit-Policy", text(), false, "The quotas of the route (draft-ietf-httpapi-ratelimit-headers-10)."),
        ("RateLimit", text(), false, "What is left of them, and for how many seconds."),
        ("Retry-After", json!({"type": "integer", "minimum": 1}), true, "Whole seconds after which to try again."),
        ("WWW-Authenticate", text(), true, "The challenge (RFC 6750, RFC 9470)."),
        ("ETag", text(), true, "The version, for `If-Match` or `If-None-Match`."),
        ("Set-Cookie", text(), false, "The proof by which a browser is known from now on."),
        ("Cache-Control", text(), true, "For how long the answer may be kept."),
        ("Content-Disposition", text(), true, "That the answer is a file."),
    ]
}

/// The headers of answers that a document names.
pub(super) fn all(listener: Listener) -> Map<String, Value> {
    let of_public = [
        "RateLimit-Policy",
        "RateLimit",
        "WWW-Authenticate",
        "ETag",
        "Set-Cookie",
        "Cache-Control",
        "Content-Disposition",
    ];
    let there = |name: &str| listener == Listener::Public || !of_public.contains(&name);
    let header = |(name, schema, required, text): (&str, Value, bool, &str)| {
        (name.to_owned(), json!({"schema": schema, "required": required, "description": text}))
    };
    answer_headers().into_iter().filter(|(name, ..)| there(name)).map(header).collect()
}

fn named(names: &[&str]) -> Map<String, Value> {
    let reference = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(reference).collect()
}

/// The headers of a route's success.
pub(super) fn of_success(spec: &RouteSpec, description: &Description) -> Map<String, Value> {
    let mut names = vec!["X-Request-Id"];
    if spec.bucket.is_some() {
        names.extend(["RateLimit-Policy", "RateLimit"]);
    }
    names.extend(description.gives.iter().map(|gives| match gives {
        Gives::ETag => "ETag",
        Gives::DeviceCookie => "Set-Cookie",
        Gives::CacheControl => "Cache-Control",
        Gives::ContentDisposition => "Content-Disposition",
    }));
    named(&names)
}

/// The headers of a refusal.
pub(super) fn of_problem(listener: Listener, status: StatusCode) -> Map<String, Value> {
    let mut names = vec!["X-Request-Id"];
    if listener == Listener::Public {
        names.extend(["RateLimit-Policy", "RateLimit"]);
    }
    match status {
        StatusCode::UNAUTHORIZED => names.push("WWW-Authenticate"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => names.push("Retry-After"),
        _ => {}
    }
    named(&names)
}

/// The headers that a route reads. An access token is no header here: it is a matter of `security`.
pub(super) fn taken(takes: &'static [Takes]) -> impl Iterator<Item = Value> {
    takes.iter().filter_map(|takes| {
        let (name, required, schema, text) = match takes {
            Takes::IdempotencyKey => (
                "Idempotency-Key",
                false,
                json!({"type": "string", "pattern": "^[!-~]{1,255}$"}),
                "The same key, caller and body get the same outcome for 24 hours, after a crash too.",
            ),
            Takes::IfMatch => ("If-Match", true, json!({"type": "string"}), "The `ETag` that was read, or `*`."),
            Takes::IfNoneMatch => {
                ("If-None-Match", false, json!({"type": "string"}), "The `ETag` of what is known already.")
            }
            Takes::Device => (
                "Cairn-Device",
                false,
                json!({"type": "string"}),
                "The member `device` of an earlier sign-in: a program without cookies is known by it.",
            ),
            Takes::Bearer => return None,
        };
        let parameter =
            json!({"name": name, "in": "header", "required": required, "schema": schema, "description": text});
        Some(parameter)
    })
}
