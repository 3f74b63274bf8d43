//! Files that say what is so today, compared to the letter.

use std::fs;
use std::path::PathBuf;

/// The folder of all of them.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// Compares a text with the file of this name; with `UPDATE_GOLDENS=1` in the environment, writes the file.
pub(crate) fn check(name: &str, today: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, today).unwrap();
        return;
    }
    let then = fs::read_to_string(&path).unwrap_or_default();
    let Some(line) = then
        .lines()
        .zip(today.lines())
        .position(|(then, now)| then != now)
        .or_else(|| (then != today).then(|| then.lines().count().min(today.lines().count())))
    else {
        return;
    };
    panic!(
        "{name} differs from line {}:\n  file:  {}\n  today: {}\nIf today is right, run the test with UPDATE_GOLDENS=1 \
         and read the difference as a reviewer would.",
        line + 1,
        then.lines().nth(line).unwrap_or("(nothing)"),
        today.lines().nth(line).unwrap_or("(nothing)"),
    );
}
