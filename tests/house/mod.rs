//! The rules of the house that a program can see, as ordinary tests: what must be absent, and where.

mod edges;
mod sources;
mod supply;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What Cargo knows of the workspace and of all that it depends on.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        // For this platform alone: what others would need was never fetched, and the test asks no network.
        let compiler = Command::new("rustc").arg("-vV").output().unwrap().stdout;
        let compiler = String::from_utf8(compiler).unwrap();
        let platform = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--all-features", "--offline", "--filter-platform", platform])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// The packages of this workspace.
fn members() -> impl Iterator<Item = &'static Value> {
    let metadata = metadata();
    let members = metadata["workspace_members"].as_array().unwrap();
    metadata["packages"].as_array().unwrap().iter().filter(move |package| members.contains(&package["id"]))
}

/// Every file of ours below a folder, by extension.
fn files(below: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" || name == "data" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A path as one says it in this house.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A source file without its comments and without the insides of its tests, line by line, numbered.
fn code_of(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let lines = lines.enumerate().map(|(number, line)| {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        (number + 1, code.to_owned())
    });
    lines.filter(|(_, code)| !code.trim().is_empty()).collect()
}

/// Whether a word stands in a line by itself, not as part of a longer one.
fn says(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        let after = line[place + word.len()..].chars().next();
        let open = |c: Option<char>, edge: Option<char>| !(c.is_some_and(part) && edge.is_some_and(part));
        open(before, word.chars().next()) && open(after, word.chars().next_back())
    })
}

#[test]
fn words_are_found_as_words() {
    assert!(says("async fn x", "async"));
    assert!(!says("asynchronous", "async"));
    assert!(says("let t = Instant::now();", "Instant"));
    assert!(!says("fn instantly_Instants()", "Instant"));
    assert!(says("x.await?", ".await"));
}
