//! Which crate may know which (DESIGN, the house): any other edge is a mistake of architecture.

use super::{code_of, files, members, says, short};

const EDGES: [(&str, &[&str]); 4] = [
    ("cairn-runtime", &[]),
    ("cairn-actors", &["cairn-runtime"]),
    ("cairn-persistence", &["cairn-actors", "cairn-runtime"]),
    ("cairn-http", &["cairn-actors", "cairn-runtime"]),
];

#[test]
fn crates_know_only_whom_they_may() {
    let mut seen = 0;
    for package in members() {
        let name = package["name"].as_str().unwrap();
        if name == "cairn" {
            continue;
        }
        let (_, allowed) =
            EDGES.iter().find(|(from, _)| *from == name).unwrap_or_else(|| panic!("{name} has no place in the house"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            // A crate may ask for its own features in its tests.
            if to.starts_with("cairn") && to != name {
                assert!(allowed.contains(&to), "{name} → {to} is no edge of the house");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, EDGES.len());
}

#[track_caller]
fn absent(below: &str, words: &[&str], why: &str) {
    let mut found = Vec::new();
    let paths = files(below, "rs");
    assert!(!paths.is_empty(), "{below} is empty");
    for path in paths {
        for (number, line) in code_of(&path) {
            if let Some(word) = words.iter().find(|word| says(&line, word)) {
                found.push(format!("{}:{number} says {word}", short(&path)));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

#[test]
fn flows_only_decide() {
    let words = [
        "async",
        ".await",
        "SystemTime",
        "Instant",
        "rand",
        "getrandom",
        "sea_orm",
        "tokio",
        "std::fs",
        "std::net",
        "std::env",
        "println!",
        "tracing",
        "metrics",
        "thread",
        "Mutex",
        "unsafe",
    ];
    absent("actors/src/flows", &words, "a flow is pure, synchronous and total: no I/O, no clock, no dice");
}

#[test]
fn the_database_is_seen_in_persistence_only() {
    for below in ["runtime/src", "actors/src", "http/src"] {
        absent(below, &["sea_orm", "sea_query", "sqlx", "cairn_persistence"], "rows are behind a port");
    }
}

#[test]
fn the_web_is_seen_in_http_only() {
    for below in ["runtime/src", "actors/src", "persistence/src"] {
        absent(below, &["warp", "hyper", "cairn_http"], "HTTP turns a request into a command, and nobody else does");
    }
}

#[test]
fn the_engine_knows_nothing_of_auth() {
    let words = [
        "password",
        "Password",
        "oauth",
        "registration",
        "Registration",
        "sign_in",
        "login",
        "verify_email",
        "refresh_token",
    ];
    // The names of all metrics live in one file, which is the engine's for the sake of finding them.
    for path in files("runtime/src", "rs").iter().filter(|path| !path.ends_with("telemetry.rs")) {
        for (number, line) in code_of(path) {
            if let Some(word) = words.iter().find(|word| says(&line, word)) {
                panic!("{}:{number} says {word}: {line}", short(path));
            }
        }
    }
}

#[test]
fn parts_of_http_are_bound_in_no_circle_but_where_they_are_one_thing() {
    // What is below does not know what is above: the interface and the pages, the router, the tables.
    for (below, words) in [
        ("pages/", &["api", "openapi"][..]),
        ("api/", &["pages", "openapi", "theme"]),
        ("theme/", &["api", "pages", "route", "state"]),
        ("route.rs", &["route_group", "router", "api", "pages", "openapi", "state"]),
        ("route_group.rs", &["router", "api", "pages", "openapi", "state"]),
        ("request.rs", &["route", "route_group", "router"]),
        ("problem", &["route", "request"]),
        ("views.rs", &["api", "pages"]),
    ] {
        let mut seen = 0;
        for path in files("http/src", "rs").iter().filter(|path| short(path).starts_with(&format!("http/src/{below}")))
        {
            for (number, line) in code_of(path) {
                let known = words.iter().find(|word| {
                    let whole = [format!("use crate::{word}::"), format!("use crate::{word};")];
                    whole.iter().any(|import| line.contains(import))
                        || line.contains("use crate::{") && says(&line, word)
                });
                assert!(known.is_none(), "{}:{number} knows {}", short(path), known.unwrap_or(&""));
            }
            seen += 1;
        }
        assert!(seen > 0, "{below} is not there");
    }
}
