//! Files that say what is so today, compared to the letter.

use std::fs;
use std::path::Path;

/// Compares a text with the file of this name in `tests/goldens`; with `UPDATE_GOLDENS=1` in the environment, writes the
/// file.
pub fn check(name: &str, today: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, today).unwrap();
        return;
    }
    let then = fs::read_to_string(&path).unwrap_or_default();
    let apart = then.lines().zip(today.lines()).position(|(then, now)| then != now);
    let line = apart.unwrap_or_else(|| then.lines().count().min(today.lines().count()));
    let of = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
    assert!(
        then == today,
        "{name} differs from line {}:\n  file:  {}\n  today: {}\nIf today is right, run the test with UPDATE_GOLDENS=1 and \
         read the difference as a reviewer would.",
        line + 1,
        of(&then),
        of(today),
    );
}
