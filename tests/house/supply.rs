//! What we build on: licences, crates that must not come in, and a reason for each crate that we chose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{files, members, metadata, root};

/// Licences under which we may ship (the same list as in deny.toml).
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be in the lock file, each with its reason.
const BANNED: [(&str, &str); 8] = [
    ("aws-lc-rs", "ring is the only cryptography; a second provider panics at run time"),
    ("aws-lc-sys", "ring is the only cryptography; a second provider panics at run time"),
    ("openssl", "rustls with ring is the only TLS"),
    ("openssl-sys", "rustls with ring is the only TLS"),
    ("native-tls", "rustls with ring is the only TLS"),
    ("rsa", "RUSTSEC-2023-0071: a timing side channel without a fix"),
    ("async-std", "one runtime: tokio"),
    ("ractor_cluster", "not for production by its own word; nodes meet in the database"),
];

/// Each crate that a manifest of ours names, and why it and not another or none.
const CHOSEN: [(&str, &str); 52] = [
    ("argon2", "the password hash's parameters and strings, and the reference for what computes it"),
    ("argon2-rust", "computes the password hash in half the time, held to the reference"),
    ("base64ct", "base64 in constant time, strict about what it reads"),
    ("bytes", "bodies without copies, as hyper gives them"),
    ("clap", "the command line"),
    ("crypto-bigint", "arithmetic of crypto-primes: what an RSA key consists of besides its primes"),
    (
        "crypto-primes",
        "the primes of an RSA key, which ring uses and does not generate; it signs nothing, so that no secret meets its \
         timing twice",
    ),
    ("data-encoding", "Crockford base 32 for ids, hexadecimal for keys of guards"),
    ("futures-util", "streams and combinators that std has not"),
    ("http", "requests and answers as types, shared with hyper and warp"),
    ("http-body-util", "collects bodies under a limit"),
    ("hyper", "HTTP itself, under our own accept loop"),
    ("hyper-util", "serves both HTTP versions on one connection"),
    ("icu_properties", "which characters show nothing, by the Unicode Character Database; idna brings it already"),
    ("idna", "one form of a domain (UTS 46)"),
    ("ipnet", "blocks of addresses: which proxies are trusted"),
    (
        "jsonschema",
        "tests: holds every answer to the document of the interface; without its features, so it fetches nothing",
    ),
    ("jsonwebtoken", "verifies tokens; signing is ring's, with a kept key"),
    ("lettre", "the making of mails; the conversation with a mail server is our own, which reads bytes before text"),
    ("matchit", "the one match of a path over all tables of URLs"),
    ("metrics", "records what happens without knowing who reads it"),
    ("metrics-exporter-prometheus", "writes it as Prometheus reads it"),
    ("mimalloc", "gives memory back after many actors have ended"),
    ("minijinja", "pages and letters that an operator may change without a compiler"),
    ("oauth2", "the client's side of other providers"),
    ("percent-encoding", "what stands escaped in URLs, as url leaves it"),
    ("proptest", "properties of pure flows, with shrinking"),
    ("ractor", "actors with supervision on tokio"),
    ("ring", "MACs, sealing, signatures: the only cryptography"),
    ("rustix", "limits of the process and what may read it, without unsafe code of ours"),
    ("rustls", "TLS; named to install its one provider"),
    (
        "schemars",
        "JSON schemas (draft 2020-12, as OpenAPI 3.1 takes them) of our bodies and answers, by the attributes of serde",
    ),
    ("sea-orm", "entities and queries for SQLite and PostgreSQL alike"),
    ("sea-orm-migration", "the schema's steps"),
    ("serde", "the form of states, events and requests"),
    ("serde_json", "JSON"),
    (
        "sqlx",
        "what sea-orm drives both databases with: named to open connections as we need them, and to choose its TLS",
    ),
    ("strsim", "which setting a misspelt one resembles; clap brings it already"),
    ("subtle", "comparisons in constant time"),
    ("thiserror", "errors with sentences"),
    ("time", "instants in RFC 3339"),
    ("tokio", "the runtime"),
    ("tokio-rustls", "rustls over tokio's connections"),
    ("toml", "the settings file"),
    ("tracing", "logs with context"),
    ("tracing-subscriber", "writes them"),
    ("unicode-normalization", "NFKC for passwords (RFC 8265)"),
    ("url", "the parts of a URL that an operator sets"),
    ("warp", "composes the route groups"),
    ("webpki-roots", "the public authorities, compiled in"),
    ("zeroize", "wipes secrets from memory"),
    ("zxcvbn", "how guessable a password is"),
];

#[test]
fn every_licence_is_one_we_may_ship_under() {
    let mut refused = Vec::new();
    let ours: Vec<_> = members().map(|package| &package["id"]).collect();
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        if !allowed(licence) {
            refused.push(format!("{name}: {licence:?}"));
        }
        if ours.contains(&&package["id"]) {
            assert_eq!(licence, "MIT OR Apache-2.0", "{name}");
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn deny_toml_holds_the_same_lists() {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    for licence in LICENCES {
        assert!(text.contains(&format!("\"{licence}\"")), "{licence} is not in deny.toml");
    }
    for (name, _) in BANNED {
        assert!(text.contains(&format!("name = \"{name}\"")), "{name} is not in deny.toml");
    }
}

#[test]
fn banned_crates_stay_out() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\""), "the lock file is read");
    for (name, why) in BANNED {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name}: {why}");
    }
    for line in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert!(line.contains("registry+https://github.com/rust-lang/crates.io-index"), "{line}");
    }
}

#[test]
fn every_crate_we_chose_has_a_reason() {
    let reasons: BTreeMap<&str, &str> = CHOSEN.into();
    assert_eq!(reasons.len(), CHOSEN.len(), "a crate is listed twice");
    let mut named = BTreeSet::new();
    for package in members() {
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["path"].is_null() {
                named.insert(dependency["name"].as_str().unwrap());
            }
        }
    }
    let without: Vec<_> = named.iter().filter(|name| !reasons.contains_key(*name)).collect();
    assert!(without.is_empty(), "no reason in tests/house/supply.rs for {without:?}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let gone: Vec<_> = reasons.keys().filter(|name| !manifest.contains(&format!("\n{name} = "))).collect();
    assert!(gone.is_empty(), "a reason for what is not in Cargo.toml: {gone:?}");
}

/// What the product is to be built with, whether or not a source uses it yet.
const GIVEN: [&str; 1] = ["oauth2"];

#[test]
fn every_crate_that_a_manifest_names_is_used_by_a_source() {
    let mut idle = Vec::new();
    let mut named: BTreeSet<&str> = GIVEN.into();
    for package in members() {
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        let below = |rooms: &[&str]| {
            let text = |path| code(&fs::read_to_string(path).unwrap());
            let paths = rooms.iter().flat_map(|room| files(folder.join(room).to_str().unwrap(), "rs"));
            paths.map(text).collect::<String>()
        };
        let (product, all) = (below(&["src"]), below(&["src", "tests", "benches"]));
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            named.insert(name);
            let sources = if dependency["kind"] == "dev" { &all } else { &product };
            if !names(sources, &name.replace('-', "_")) {
                idle.push(format!("{}: {name}", package["name"].as_str().unwrap()));
            }
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, table) = manifest.split_once("[workspace.dependencies]").unwrap();
    let (table, _) = table.split_once("\n[").unwrap();
    let table = table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    idle.extend(table.filter(|name| !named.contains(name)).map(|name| format!("the workspace: {name}")));
    assert!(idle.is_empty(), "no source uses what these manifests name: {idle:#?}");
}

/// A source without its comments.
fn code(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

/// Whether a source names this crate as a whole word.
fn names(source: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    source.match_indices(word).any(|(at, _)| {
        let bytes = source.as_bytes();
        !is_part(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_part(bytes.get(at + word.len()))
    })
}

#[test]
fn a_crate_is_used_where_code_names_it_as_a_whole_word() {
    assert!(names(&code("use uuid::Uuid;"), "uuid"));
    assert!(!names(&code("with_uuid(uuids); // uuid::Uuid"), "uuid"));
}

/// Evaluates an SPDX expression: `A OR B`, `A AND B`, brackets, and the old `A/B` for OR.
fn allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{1}");
    let words: Vec<String> = text.split_whitespace().map(|word| word.replace('\u{1}', " WITH ")).collect();
    let mut rest = words.as_slice();
    !rest.is_empty() && either(&mut rest) && rest.is_empty()
}

fn either(rest: &mut &[String]) -> bool {
    let mut holds = both(rest);
    while rest.first().is_some_and(|word| word == "OR") {
        *rest = &rest[1..];
        holds |= both(rest);
    }
    holds
}

fn both(rest: &mut &[String]) -> bool {
    let mut holds = one(rest);
    while rest.first().is_some_and(|word| word == "AND") {
        *rest = &rest[1..];
        holds &= one(rest);
    }
    holds
}

fn one(rest: &mut &[String]) -> bool {
    let Some((word, after)) = rest.split_first() else { return false };
    *rest = after;
    if word == "(" {
        let holds = either(rest);
        *rest = rest.get(1..).unwrap_or_default();
        return holds;
    }
    LICENCES.contains(&word.as_str())
}

#[test]
fn licences_are_read_as_written() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND AGPL-3.0", "Apache-2.0 WITH something"] {
        assert!(!allowed(bad), "{bad}");
    }
}
