//! The documents say what is so: the tour runs as printed, examples are compiled code, tables are complete, links lead
//! somewhere.

mod code;
mod flows;
mod links;
mod routes;
mod security;
pub mod tables;
mod tour;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project, read.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Every document of ours.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" || name == "data" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 8, "these are not all documents: {found:?}");
    found
}

/// One fenced block: the last line of text before it that is not empty, its language, and what is in it.
struct Block {
    above: String,
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut above = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                above: std::mem::take(&mut above),
                language: language.to_owned(),
                text: text.join("\n"),
            });
        } else if !line.trim().is_empty() {
            line.clone_into(&mut above);
        }
    }
    blocks
}

#[test]
fn blocks_are_found_with_the_line_above_them() {
    let document = "Words.\n<!-- a mark -->\n\n```sh\none\n\ntwo\n```\n\n```\nthree\n```\n";
    let found: Vec<_> = blocks(document).into_iter().map(|b| (b.above, b.language, b.text)).collect();
    let of = |above: &str, language: &str, text: &str| (above.to_owned(), language.to_owned(), text.to_owned());
    assert_eq!(found, [of("<!-- a mark -->", "sh", "one\n\ntwo"), of("", "", "three")]);
}
