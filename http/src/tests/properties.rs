//! What holds of requests whatever their bytes are: paths, queries, forms, JSON, cookies, and the headers that name
//! things.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::access::browser::Browser;
use crate::decode;
use crate::json;
use crate::request::{Head, Request};

/// Bytes of every kind, and often such as have a meaning.
fn bytes(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::collection::vec(prop::sample::select(words), 0..24);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        likely.clone().prop_map(|words| words.concat().into_bytes()),
        (likely, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(words, place, byte)| {
            let mut bytes = words.concat().into_bytes();
            let place = place.index(bytes.len() + 1);
            bytes.insert(place, byte);
            bytes
        }),
    ]
}

const IN_QUERIES: &[&str] = &[
    "a", "b", "=", "&", "%", "%2", "%41", "%3d", "%26", "%00", "%ff", "%c3%a9", "+", "é", "?", "/", "%2F", "%2e", "..",
];
const IN_JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\"",
    "\"\\u0061\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"",
    "\\",
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e9",
    "1e999",
    "18446744073709551616",
    " ",
    "\n",
    "{\"a\":1}",
    "{\"a\":1,\"a\":2}",
    "é",
];
const IN_COOKIES: &[&str] = &[
    "a",
    "b",
    "=",
    ";",
    "; ",
    " ",
    "\"",
    ",",
    "a=1",
    "cairn_flows",
    "cairn_browser_8080=",
    "cairn_next_8080=",
    "cairn_session=",
    "x.y",
    "é",
];

/// Percent-encodes every byte.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn request(headers: HeaderMap) -> Request {
    Request::of_test(headers, "", b"")
}

/// Lines of one header, of those that can be one.
fn lines(name: &'static str, lines: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// A JSON text of an object with one more member that stands there already.
fn with_a_double(object: &Map<String, Value>, name: &str) -> String {
    let mut text = Value::Object(object.clone()).to_string();
    text.pop();
    text.push_str(&format!(",{}:0}}", Value::from(name)));
    text
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_path_keeps_its_segments_and_is_undone_once(path in bytes(IN_QUERIES)) {
        let Ok(path) = String::from_utf8(path) else { return Ok(()) };
        if let Some(normal) = decode::normal_path(&path) {
            prop_assert_eq!(normal.matches('/').count(), path.matches('/').count(), "an escape became a separator");
            let again = decode::normal_path(&normal).map(|again| again.into_owned());
            prop_assert_eq!(again.as_deref(), Some(&*normal), "undone twice is undone once");
        }
        if let Some(text) = decode::segment(&path) {
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn what_a_form_says_a_query_says_too(raw in bytes(IN_QUERIES)) {
        let form = decode::form(&raw);
        let Ok(text) = std::str::from_utf8(&raw) else { return Ok(()) };
        let query = decode::query(text);
        if let Some(form) = form {
            // A NUL is no text of a query's: a form's field may have it, and is asked about it by who reads it.
            let form: Vec<_> = form.iter().map(|pair| (pair.0.replace('\0', "\u{fffd}"), pair.1.replace('\0', "\u{fffd}"))).collect();
            prop_assert_eq!(form, query);
        }
    }

    #[test]
    fn whatever_is_encoded_is_read_back(pairs in prop::collection::vec((".{1,8}", ".{0,12}"), 0..6)) {
        let raw: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        prop_assert_eq!(decode::form(raw.join("&").as_bytes()), Some(pairs));
    }

    #[test]
    fn json_that_is_taken_is_what_everybody_reads(body in bytes(IN_JSON)) {
        if let Ok(ours) = json::read::<Value>(&body, 64) {
            let theirs: Option<Value> = serde_json::from_slice(&body).ok();
            prop_assert_eq!(theirs, Some(ours));
        }
    }

    #[test]
    fn every_tree_is_read_back_and_none_with_a_doubled_member(tree in tree()) {
        let text = tree.to_string();
        prop_assert_eq!(json::read::<Value>(text.as_bytes(), 64).ok(), Some(tree.clone()));
        if let Value::Object(object) = &tree {
            for name in object.keys() {
                prop_assert!(json::read::<Value>(with_a_double(object, name).as_bytes(), 64).is_err());
            }
        }
    }

    #[test]
    fn a_cookie_is_what_its_browser_keeps(raw in prop::collection::vec(bytes(IN_COOKIES), 0..3)) {
        let request = request(lines("cookie", &raw));
        for name in ["a", "b", "cairn_flows", "cairn_browser"] {
            if let Some(value) = request.cookie(name) {
                prop_assert!(!value.contains(';') && value.trim_end() == value && value.is_ascii(), "{:?}", value);
            }
        }
        let browser = Browser::of(&request, request.names(), [7; 32], |_| true);
        prop_assert_eq!(browser.id.len(), 22, "a browser always has a name");
        prop_assert!(browser.flows.len() <= 8 && browser.flows.iter().all(|flow| flow.len() <= 128 && !flow.is_empty()));
        prop_assert!(browser.flows().len() <= 8);
        prop_assert!(browser.destinations.len() <= 8);
    }

    #[test]
    fn the_first_cookie_of_a_name_counts(pairs in prop::collection::vec(("[a-c]", "[!-:<-~]{0,8}"), 0..6)) {
        let line: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request(lines("cookie", &[line.join("; ").into_bytes()]));
        for name in ["a", "b", "c"] {
            let first = pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            prop_assert_eq!(request.cookie(name), first);
        }
    }

    #[test]
    fn headers_that_name_things_are_taken_by_their_rules(raw in prop::collection::vec(any::<u8>(), 0..140), two in any::<bool>()) {
        let all = if two { vec![raw.clone(), raw.clone()] } else { vec![raw.clone()] };
        let head = Head {
            method: Method::GET,
            path: "/".to_owned(),
            query: String::new(),
            headers: lines("x-request-id", &all),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            client: std::net::IpAddr::from([127, 0, 0, 1]),
        };
        if let Some(id) = head.given_id() {
            prop_assert!(!two && (1..=128).contains(&id.len()));
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{:?}", id);
        }
        let request = request(lines("authorization", &all));
        prop_assert!(request.bearer().is_none_or(|token| !two || token.is_empty()));
        let is_json = Request::of_test(lines("content-type", &all), "", b"{}");
        let taken = is_json.check_media_type(Some("application/json")).is_ok();
        prop_assert!(!taken || (!two && raw.to_ascii_lowercase().trim_ascii_start().starts_with(b"application/json")));
    }
}
