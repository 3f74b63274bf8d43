//! The code in the documents is code that is compiled and tested: each block names its part of a source file.

use super::{blocks, documents, read};

/// The lines between `// begin: name` and `// end: name`, moved to the left as far as they go.
fn part(path: &str, name: &str) -> String {
    let source = read(path);
    let between: Vec<&str> = source
        .lines()
        .skip_while(|line| line.trim() != format!("// begin: {name}"))
        .skip(1)
        .take_while(|line| line.trim() != format!("// end: {name}"))
        .collect();
    assert!(!between.is_empty(), "{path} has no part between `// begin: {name}` and `// end: {name}`");
    let depth = between.iter().filter(|line| !line.is_empty()).map(|line| line.len() - line.trim_start().len()).min();
    let moved: Vec<&str> = between.iter().map(|line| line.get(depth.unwrap_or(0)..).unwrap_or("")).collect();
    moved.join("\n")
}

#[test]
fn the_code_in_the_documents_is_the_code_that_is_compiled() {
    let mut compared = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for block in blocks(&text) {
            let mark = block.above.strip_prefix("<!-- code: ").and_then(|rest| rest.strip_suffix(" -->"));
            let Some((path, name)) = mark.and_then(|mark| mark.split_once('#')) else {
                assert!(block.language != "rust", "{}: Rust that nobody compiles:\n{}", document.display(), block.text);
                continue;
            };
            let compiled = part(path, name);
            let apart = block.text.lines().zip(compiled.lines()).find(|(shown, real)| shown != real);
            assert!(apart.is_none(), "{} shows another {name} than {path}: {apart:#?}", document.display());
            assert_eq!(block.text.lines().count(), compiled.lines().count(), "{name} of {path} is longer or shorter");
            compared += 1;
        }
    }
    assert!(compared >= 8, "only {compared} blocks were compared");
}
