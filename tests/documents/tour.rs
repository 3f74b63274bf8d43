//! The tour of the README, run exactly as printed against the built binary, with its answers compared.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::{Block, blocks, read};
use crate::support::app::{binary, free_port};
use crate::support::folder::Folder;

/// What the shell prints between two blocks: a character that no answer has.
const BETWEEN: char = '\u{1e}';

fn tour() -> Vec<Block> {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("<!-- tour: begin").expect("the tour begins");
    let (tour, _) = rest.split_once("<!-- tour: end -->").expect("the tour ends");
    let blocks = blocks(tour);
    for pair in blocks.chunks(2) {
        let languages: Vec<&str> = pair.iter().map(|block| block.language.as_str()).collect();
        assert_eq!(languages, ["sh", "text"], "each step of the tour shows its answer");
    }
    blocks
}

/// Whether a line is as printed, `…` standing for anything but nothing.
fn is_like(line: &str, printed: &str) -> bool {
    let mut pieces = printed.split('…');
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, inner)) = pieces.split_last() else { return rest.is_empty() };
    for piece in inner {
        let Some((place, _)) = rest.match_indices(piece).find(|(place, _)| *place > 0) else { return false };
        rest = &rest[place + piece.len()..];
    }
    rest.len() > last.len() && rest.ends_with(last)
}

#[test]
fn dots_stand_for_what_differs() {
    assert!(is_like(r#"{"id":"reg_1","at":"now"}"#, r#"{"id":"reg_…","at":"…"}"#));
    assert!(is_like("exactly", "exactly"));
    assert!(!is_like(r#"{"id":"","at":"now"}"#, r#"{"id":"…","at":"now"}"#));
    assert!(!is_like(r#"{"id":"reg_1","more":1}"#, r#"{"id":"reg_…"}"#));
    assert!(!is_like("exactly so", "exactly"));
}

#[test]
fn the_tour_runs_as_printed() {
    let folder = Folder::new("tour");
    let steps = tour();
    let mut script = "trap 'kill -9 $server 2>/dev/null' EXIT\n".to_owned();
    for step in steps.iter().step_by(2) {
        script.push_str(&format!("{}\nprintf '\\036'\n", step.text));
    }
    let home = folder.path().join("target/debug");
    fs::create_dir_all(&home).unwrap();
    symlink(binary(), home.join("cairn")).unwrap();
    fs::write(folder.path().join("tour.sh"), script).unwrap();
    // No answer takes this long; without a bound, a server that hangs would hang the tests.
    fs::write(folder.path().join(".curlrc"), "max-time = 120\n").unwrap();

    let (public, operations) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let output = Command::new("bash")
        .arg("tour.sh")
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("PUBLIC", format!("http://{public}"))
        .env("OPS", format!("http://{operations}"))
        .env("CAIRN_LISTEN", public)
        .env("CAIRN_OPS_LISTEN", operations)
        .stdin(Stdio::null())
        .output()
        .expect("bash and curl are there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers: Vec<&str> = said.split(BETWEEN).collect();
    assert_eq!(answers.len(), steps.len() / 2 + 1, "{said}\n{errors}");
    for (step, answer) in steps.chunks(2).zip(answers) {
        let (printed, answer): (Vec<&str>, Vec<&str>) = (step[1].text.lines().collect(), answer.lines().collect());
        let alike = printed.len() == answer.len() && printed.iter().zip(&answer).all(|(p, a)| is_like(a, p));
        assert!(alike, "{}\nprinted: {printed:#?}\nanswered: {answer:#?}\n{errors}", step[0].text);
    }
}
