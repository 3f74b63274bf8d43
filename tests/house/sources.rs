//! How a file of ours looks: it says what it is, fits in one sitting, and has no loose ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{code_of, files, says, short};

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = files("", "rs")
        .iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| short(path))
        .collect();
    assert!(silent.is_empty(), "no //! sentence on the first line: {silent:?}");
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let long: Vec<String> = files("", "rs")
        .iter()
        .map(|path| (short(path), fs::read_to_string(path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 700)
        .map(|(path, lines)| format!("{path} ({lines})"))
        .collect();
    assert!(long.is_empty(), "more than 700 lines: {long:?}");
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    // Packages are asked for by name, with the registry's own client: what it reaches is the machine's to say. Written
    // apart, so that this file does not find itself.
    let hosts = [
        concat!("registry.npm", "js"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("crates.io", "/api"),
        concat!("py", "pi.org"),
        concat!("files.python", "hosted"),
        concat!("ruby", "gems.org"),
        concat!("repo.", "maven"),
        concat!("proxy.", "golang"),
    ];
    let mut found = Vec::new();
    for extension in ["rs", "sh", "toml", "md", "yml", "yaml", "json", "js", "html", "css", "txt"] {
        for path in files("", extension) {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(
                hosts.iter().filter(|host| text.contains(**host)).map(|host| format!("{} names {host}", short(&path))),
            );
        }
    }
    for path in ["Makefile", "deploy/Dockerfile", ".ci/run"] {
        let text = fs::read_to_string(super::root().join(path)).unwrap();
        found.extend(hosts.iter().filter(|host| text.contains(**host)).map(|host| format!("{path} names {host}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn states_are_read_by_the_engine_alone() {
    // Whoever reads a state by hand forgets older shapes, what an operator has set aside, or deadlines.
    let mut found = Vec::new();
    for folder in ["actors/src", "http/src", "src"] {
        for path in files(folder, "rs") {
            let place = short(&path);
            let is_service = place.starts_with("actors/src/services");
            for (number, line) in code_of(&path) {
                if is_service && line.contains("serde_json::from_")
                    || line.contains("from_str") && line.contains(".state")
                {
                    found.push(format!("{place}:{number}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "these decode a state themselves; `Engine::look` and `Engine::read` do it: {found:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    // Written apart, so that this file does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("TO", "DO"),
        concat!("d", "bg!("),
    ];
    let mut found = Vec::new();
    for path in files("", "rs") {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| says(line, mark)) {
                found.push(format!("{}:{} {mark}", short(&path), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_ignored_test_gives_its_reason() {
    for path in files("", "rs") {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let bare = line.trim() == concat!("#[ig", "nore]");
            assert!(!bare, "{}:{} is ignored without a reason", short(&path), number + 1);
        }
    }
}

#[test]
fn no_test_sleeps() {
    let mut found = Vec::new();
    for path in files("", "rs") {
        let name = short(&path);
        let is_test = name.starts_with("tests/") || name.contains("/tests");
        // Where tokio's clock stands still, sleeping only moves it.
        let driven = fs::read_to_string(&path).unwrap().contains("start_paused");
        for (number, line) in code_of(&path) {
            // A world of the tests' own may have a method of that name: its time is driven, too.
            let called = says(&line.replace(".sleep(", "").replace("fn sleep(", ""), concat!("sle", "ep("));
            if is_test && !driven && called {
                found.push(format!("{name}:{number}"));
            }
        }
    }
    assert!(found.is_empty(), "a test that sleeps is slow when it is right and wrong when it is slow: {found:?}");
}

#[test]
fn a_lint_is_lifted_with_a_reason() {
    let mut found = Vec::new();
    for folder in ["runtime/src", "actors/src", "persistence/src", "http/src", "src"] {
        for path in files(folder, "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let product = text.split("\n#[cfg(test)]").next().unwrap();
            for (place, _) in product.match_indices("[allow(").chain(product.match_indices("[expect(")) {
                let attribute = product[place..].split(")]").next().unwrap();
                let test_file = short(&path).contains("/tests") || short(&path).contains("testing/");
                if !attribute.contains("reason") && !test_file {
                    let number = product[..place].lines().count();
                    found.push(format!("{}:{number} {attribute})]", short(&path)));
                }
            }
        }
    }
    assert!(found.is_empty(), "no reason = \"…\": {found:#?}");
}

/// The first arguments of the metrics macros in a text: those that describe, or those that record.
fn arguments(text: &str, describing: bool) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["counter!(", "gauge!(", "histogram!("] {
        for (place, _) in text.match_indices(call) {
            if text[..place].ends_with("describe_") == describing {
                let argument = text[place + call.len()..].split([',', ')']).next().unwrap().trim();
                found.push(argument.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_metric_that_is_recorded_is_described() {
    let mut sources = Vec::new();
    for folder in ["runtime/src", "actors/src", "persistence/src", "http/src", "src"] {
        for path in files(folder, "rs") {
            let code: String = code_of(&path).into_iter().map(|(_, line)| line + "\n").collect();
            sources.push((short(&path), code));
        }
    }
    let mut constants = BTreeMap::new();
    for (_, code) in &sources {
        for (name, rest) in code.split("const ").skip(1).filter_map(|rest| rest.split_once(": &str = \"cairn_")) {
            constants.insert(name.trim().to_owned(), format!("cairn_{}", rest.split('"').next().unwrap()));
        }
    }
    let name_of = |argument: &str| match argument.strip_prefix('"') {
        Some(text) => text.trim_end_matches('"').to_owned(),
        None => {
            let last = argument.rsplit("::").next().unwrap();
            constants.get(last).unwrap_or_else(|| panic!("{argument} is no constant with a metric's name")).clone()
        }
    };
    let described: BTreeSet<String> =
        sources.iter().flat_map(|(_, code)| arguments(code, true)).map(|argument| name_of(&argument)).collect();
    let mut recorded = BTreeSet::new();
    for (path, code) in &sources {
        for argument in arguments(code, false) {
            let name = name_of(&argument);
            assert!(described.contains(&name), "{path} records {name}, which nothing describes");
            assert!(name.starts_with("cairn_"), "{path}: {name} is not of this house");
            recorded.insert(name);
        }
    }
    assert!(!recorded.is_empty(), "nothing is measured at all");
    let idle: Vec<_> = described.difference(&recorded).collect();
    assert!(idle.is_empty(), "described, but recorded nowhere: {idle:?}");
}

#[test]
fn the_macros_of_metrics_are_read() {
    let text = "describe_gauge!(A, \"x\"); metrics::counter!(telemetry::STEPS, \"flow\" => x); histogram!(\n  \"cairn_x\").record(1.0);";
    assert_eq!(arguments(text, false), ["telemetry::STEPS", "\"cairn_x\""]);
    assert_eq!(arguments(text, true), ["A"]);
}
