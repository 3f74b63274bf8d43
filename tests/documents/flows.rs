//! What a new flow costs: the page on writing flows lists every file that the magic link made and touched, and the tree is
//! held to that.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{read, root};

/// The paths in backticks that begin the rows of a table below a heading.
fn listed(heading: &str) -> BTreeSet<String> {
    let page = read("docs/flows.md");
    let below = page.split_once(&format!("\n### {heading}\n")).expect("the heading is there").1;
    let section = below.split("\n#").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Every file below a folder, by its path from the root.
fn files(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn tree() -> Vec<String> {
    let mut all = Vec::new();
    for folder in ["runtime", "actors", "persistence", "http", "src", "tests", "dashboards", "docs"] {
        files(&root().join(folder), &mut all);
    }
    all
}

fn is_its_own(path: &str) -> bool {
    let name = path.to_lowercase();
    name.contains("magic_link") || name.contains("magic-link")
}

#[test]
fn every_file_that_the_magic_link_made_is_listed() {
    let own: BTreeSet<_> = tree().into_iter().filter(|path| is_its_own(path)).collect();
    assert_eq!(own, listed("Made"));
}

#[test]
fn every_file_that_speaks_of_the_magic_link_is_listed() {
    let speaks = |path: &String| {
        let Ok(text) = fs::read_to_string(root().join(path)) else { return false };
        let text = text.to_lowercase();
        text.contains("magic_link") || text.contains("magic-link") || text.contains("magiclink")
    };
    let speak: BTreeSet<_> = tree().into_iter().filter(|path| !is_its_own(path)).filter(speaks).collect();
    let touched = listed("Touched");
    let forgotten: Vec<_> = speak.difference(&touched).filter(|path| *path != "tests/documents/flows.rs").collect();
    assert!(forgotten.is_empty(), "the list of what was touched in docs/flows.md lacks {forgotten:?}");
    let gone: Vec<_> = touched.iter().filter(|path| !root().join(path).is_file()).collect();
    assert!(gone.is_empty(), "docs/flows.md lists {gone:?}, and they are not there");
}
