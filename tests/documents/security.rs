//! `docs/security.md`: every requirement of its standard has a line, and every test that it names is there.

use std::collections::BTreeSet;
use std::fs;

use super::{read, root};

const DOCUMENT: &str = "docs/security.md";

/// The requirements of levels 1 and 2 of OWASP ASVS 5.0.0, section by section, chapter 17 left out.
const REQUIRED: &str = "1.1:2 1.2:9 1.3:11 1.4:3 1.5:2 2.1:3 2.2:3 2.3:4 2.4:1 3.2:2 3.3:4 3.4:6 3.5:5 3.7:2 \
    4.1:3 4.2:1 4.3:2 4.4:4 5.1:1 5.2:3 5.3:2 5.4:3 6.1:3 6.2:12 6.3:4 6.4:4 6.5:5 6.6:3 6.8:4 7.1:3 7.2:4 7.3:2 \
    7.4:5 7.5:2 7.6:2 8.1:2 8.2:3 8.3:1 8.4:1 9.1:3 9.2:4 10.1:2 10.2:2 10.3:4 10.4:11 10.5:5 10.6:2 10.7:3 11.1:2 \
    11.2:3 11.3:3 11.4:4 11.5:1 11.6:1 12.1:3 12.2:2 12.3:4 13.1:1 13.2:5 13.3:2 13.4:5 14.1:2 14.2:4 14.3:3 15.1:3 \
    15.2:3 15.3:7 16.1:1 16.2:5 16.3:4 16.4:3 16.5:3";

/// Lines of a table about requirements: their numbers, the state, and how.
fn lines(document: &str) -> Vec<(Vec<&str>, &str, &str)> {
    let cells = document.lines().map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    cells
        .filter(|cells| cells.len() == 4 && cells[0].starts_with(|c: char| c.is_ascii_digit()))
        .map(|cells| (cells[0].split(", ").collect(), cells[2], cells[3]))
        .collect()
}

/// Every `file.rs test` between backticks.
fn tests(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.split_once(' ')).filter(|(file, _)| file.ends_with(".rs")).collect()
}

#[test]
fn every_test_that_the_document_names_is_there() {
    let document = read(DOCUMENT);
    let named = tests(&document);
    assert!(named.len() > 150, "these are not all tests that it names: {}", named.len());
    let missing: Vec<String> = named
        .into_iter()
        .filter(|(file, name)| {
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            ![format!("fn {name}("), format!("fn {name}<")].iter().any(|declared| source.contains(declared))
        })
        .map(|(file, name)| format!("{file} {name}"))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_requirement_has_its_line() {
    let document = read(DOCUMENT);
    let mut seen = BTreeSet::new();
    for (numbers, _, _) in lines(&document) {
        for number in numbers {
            assert!(seen.insert(number), "{number} stands twice");
        }
    }
    for section in REQUIRED.split_whitespace() {
        let (section, last) = section.split_once(':').unwrap();
        for number in 1..=last.parse::<u32>().unwrap() {
            assert!(seen.contains(format!("{section}.{number}").as_str()), "{section}.{number} has no line");
        }
    }
}

#[test]
fn what_is_met_is_held_by_a_test_or_written_down() {
    let document = read(DOCUMENT);
    for (numbers, state, how) in lines(&document) {
        match state {
            "met" => assert!(!tests(how).is_empty() || how.contains("]("), "{numbers:?}: met, and nothing shows it"),
            "in part" | "not met" | "operator" | "absent" => assert!(how.len() > 3, "{numbers:?}: {state}, and why?"),
            other => panic!("{numbers:?}: {other:?} is no state"),
        }
    }
}

#[test]
fn a_line_is_read_as_it_stands() {
    let text = "| no. | gist | | how |\n|---|---|---|---|\n| 1.2.3, 1.2.4 | words | met | `a/b.rs c`, `not a test` |\n| a | b | c |";
    assert_eq!(lines(text), [(vec!["1.2.3", "1.2.4"], "met", "`a/b.rs c`, `not a test`")]);
    assert_eq!(tests(text), [("a/b.rs", "c")]);
}
