//! Links between documents and files lead somewhere, down to the heading.

use std::fs;

use super::{documents, root};

/// The targets of `[words](target)`, outside of code.
fn targets(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in document.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            found.push(rest.split(')').next().unwrap().to_owned());
        }
    }
    found
}

/// What a heading is called in a link: lower case, hyphens for spaces, without other punctuation.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(file.exists(), "{} links to {target}, which is not there", document.display());
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&file).unwrap());
                assert!(known.iter().any(|known| known == anchor), "{}: no heading {target}", document.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links were found");
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let homes = ["runtime/", "actors/", "persistence/", "http/", "src/", "tests/", "scripts/", "docs/"];
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = homes.iter().any(|home| quoted.starts_with(home)) && !quoted.contains(['<', '*', ' ', '\n']);
            if is_path {
                assert!(root().join(quoted).exists(), "{} names {quoted}", document.display());
                named += 1;
            }
        }
    }
    assert!(named > 10, "only {named} files were found");
}
