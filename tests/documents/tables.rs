//! Tables in the documents are complete, and name nothing that is not there: settings, metrics, refusals, prefixes.

use std::collections::BTreeSet;
use std::fs;

use super::{documents, read, root};

/// Every text between double quotes in a source file.
fn quoted(source: &str) -> Vec<String> {
    source.lines().flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Settings as the page of settings has them, which a test beside the reader holds to it: key and variable, those that name
/// the file of a secret included.
pub fn settings() -> Vec<(String, String)> {
    let page = read("docs/configuration.md");
    let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let tables = page.split("\n| variable | key |").skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let settings: Vec<_> = rows
        .flat_map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            names(cells[2]).into_iter().zip(names(cells[1]))
        })
        .collect();
    assert!(settings.len() > 50, "{settings:?}");
    settings
}

/// Words of a document that begin like this and go on in capitals, digits or small letters and underscores.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(prefix)
        .filter(|(place, _)| !text[..*place].chars().next_back().is_some_and(part))
        .map(|(place, _)| text[place..].chars().take_while(|c| part(*c)).collect())
        .collect()
}

#[test]
fn documents_name_no_setting_that_is_not_there() {
    let mut known: BTreeSet<String> = settings().into_iter().map(|(_, variable)| variable).collect();
    known.extend(["CAIRN_CONFIG", "CAIRN_"].map(str::to_owned));
    for document in documents() {
        for word in words(&fs::read_to_string(&document).unwrap(), "CAIRN_") {
            let testing = word == "CAIRN_PROVE" || word.starts_with("CAIRN_TEST_") || word.starts_with("CAIRN_BENCH_");
            assert!(testing || known.contains(&word), "{} names {word}", document.display());
        }
    }
}

/// Cookies: named as metrics are, and none.
const COOKIES: [&str; 5] = ["cairn_device", "cairn_browser", "cairn_flows", "cairn_next", "cairn_session"];

/// The names of all metrics: quoted, in small letters, no prefix of a credential and no cookie.
fn metrics() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open: Vec<_> =
        ["runtime/src", "actors/src", "persistence/src", "http/src", "src"].map(|f| root().join(f)).into();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = fs::read_to_string(path).unwrap();
                let product = source.split("\n#[cfg(test)]").next().unwrap();
                names.extend(quoted(product).into_iter().filter(|text| {
                    let small = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                    let other = text.ends_with('_') || COOKIES.contains(&text.as_str());
                    small && text.starts_with("cairn_") && !other
                }));
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
    names
}

#[test]
fn every_metric_stands_in_the_documents_and_no_other() {
    let document = read("docs/operations.md");
    let shown: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `cairn_"))
        .map(|rest| format!("cairn_{}", rest.split('`').next().unwrap()))
        .collect();
    assert_eq!(shown, metrics(), "left: docs/operations.md, right: the code");
}

#[test]
fn every_refusal_stands_in_the_documents_with_its_status() {
    // The names are those of `http::StatusCode`, which is where the table of the code gets its numbers from.
    let numbers: [(&str, &str); 21] = [
        ("BAD_REQUEST", "400"),
        ("UNAUTHORIZED", "401"),
        ("FORBIDDEN", "403"),
        ("NOT_FOUND", "404"),
        ("METHOD_NOT_ALLOWED", "405"),
        ("REQUEST_TIMEOUT", "408"),
        ("CONFLICT", "409"),
        ("GONE", "410"),
        ("PRECONDITION_FAILED", "412"),
        ("PAYLOAD_TOO_LARGE", "413"),
        ("URI_TOO_LONG", "414"),
        ("UNSUPPORTED_MEDIA_TYPE", "415"),
        ("MISDIRECTED_REQUEST", "421"),
        ("UNPROCESSABLE_ENTITY", "422"),
        ("PRECONDITION_REQUIRED", "428"),
        ("TOO_MANY_REQUESTS", "429"),
        ("REQUEST_HEADER_FIELDS_TOO_LARGE", "431"),
        ("INTERNAL_SERVER_ERROR", "500"),
        ("SERVICE_UNAVAILABLE", "503"),
        ("INSUFFICIENT_STORAGE", "507"),
        ("BAD_GATEWAY", "502"),
    ];
    let source = read("http/src/problem/kind.rs");
    let rows: BTreeSet<(String, String)> = source
        .split("status: S::")
        .skip(1)
        .map(|row| {
            let (name, rest) = row.split_once(',').unwrap();
            let number = numbers.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}?")).1;
            (number.to_owned(), rest.split('"').nth(1).unwrap().to_owned())
        })
        .collect();
    assert!(rows.len() > 15, "{rows:?}");
    let document = read("docs/status-codes.md");
    let shown: BTreeSet<(String, String)> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let (status, kind) = (cells.next()?, cells.next()?.trim_matches('`'));
            kind.starts_with("/problems/").then(|| (status.to_owned(), kind.to_owned()))
        })
        .collect();
    assert_eq!(shown, rows, "left: docs/status-codes.md, right: the code");
}

#[test]
fn every_prefix_of_a_credential_stands_in_the_documents_and_no_other() {
    let source = read("actors/src/secrets/credential/purpose.rs");
    let product = source.split("\n#[cfg(test)]").next().unwrap();
    let prefixes: BTreeSet<String> =
        quoted(product).into_iter().filter(|text| text.starts_with("cairn_") && text.ends_with('_')).collect();
    assert!(prefixes.len() > 5, "{prefixes:?}");
    let document = read("docs/credentials.md");
    let shown: BTreeSet<String> = words(&document, "cairn_").into_iter().filter(|word| word != "cairn_").collect();
    assert_eq!(shown, prefixes, "left: docs/credentials.md, right: the code");
}

#[test]
fn boards_and_alerts_ask_for_nothing_that_is_not_recorded() {
    let recorded = metrics();
    let mut asked = 0;
    for file in ["dashboards/alerts.yml", "dashboards/grafana/dashboards/cairn.json"] {
        for word in words(&read(file), "cairn_") {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part)).unwrap_or(&word);
            assert!(recorded.contains(bare), "{file} asks for {word}, which nothing records");
            asked += 1;
        }
    }
    assert!(asked > 10, "the boards were not read");
}
