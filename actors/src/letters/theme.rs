//! What letters are written on: templates and words, ours or those of an operator's folder, which are checked before the
//! first letter is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};

use super::words::Language;
use super::{FILES, Rendered, write_on};

/// Templates and words.
pub(super) struct LetterTheme {
    pub(super) templates: Environment<'static>,
    pub(super) language: Language,
}

/// Templates that several letters extend: what proves an address or a right, and what tells of something that a link
/// undoes.
const SHARED: [&str; 2] = ["proof", "notice"];
/// The name of the file of words.
const WORDS: &str = "en.json";
/// What is drawn for a code and for a link when letters are checked.
const CODE: &str = "123456";
const LINK: &str = "http://localhost/?token=value";

static BUILT_IN: LazyLock<LetterTheme> =
    LazyLock::new(|| LetterTheme::read(&[]).expect("a test compiles every template as well"));
static INSTALLED: OnceLock<LetterTheme> = OnceLock::new();

/// What this process writes on.
pub(super) fn theme() -> &'static LetterTheme {
    INSTALLED.get().unwrap_or_else(|| &BUILT_IN)
}

/// Has all letters of this process written with the files of a folder in the place of ours of the same name. To be called
/// once, before anything is mailed; each letter is drawn once.
///
/// # Errors
/// A sentence that names the file and what is wrong with it. Letters stay as they were.
pub fn install(folder: Option<&Path>) -> Result<(), String> {
    let Some(folder) = folder else { return Ok(()) };
    let mut files = Vec::new();
    let said = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
    for entry in std::fs::read_dir(folder).map_err(|why| said(folder, why))? {
        let path = entry.map_err(|why| said(folder, why))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, std::fs::read_to_string(&path).map_err(|why| said(&path, why))?));
    }
    files.sort();
    let theme = LetterTheme::read(&files)?;
    theme.drawn()?;
    INSTALLED.set(theme).map_err(|_| "letters are written on other templates already".to_owned())
}

/// What is doubtful about the letters of this process, each in a sentence. Nothing where all are ours.
pub fn warnings() -> Vec<String> {
    INSTALLED.get().map(LetterTheme::warnings).unwrap_or_default()
}

impl LetterTheme {
    fn read(overrides: &[(String, String)]) -> Result<Self, String> {
        let mut templates = environment();
        let said = |name: &str, why: &dyn std::fmt::Display| format!("the letter's template {name}: {why:#}");
        for (name, text) in FILES {
            templates.add_template(name, text).map_err(|why| said(name, &why))?;
        }
        let mut words = include_str!("en.json").to_owned();
        for (name, text) in overrides {
            if name == WORDS {
                words.clone_from(text);
            } else if FILES.iter().any(|(known, _)| known == name) {
                templates.add_template_owned(name.clone(), text.clone()).map_err(|why| said(name, &why))?;
            } else {
                return Err(format!("{name} is no template of a letter; their names are in docs/pages.md"));
            }
        }
        let language = serde_json::from_str(&words).map_err(|why| said(WORDS, &why))?;
        Ok(Self { templates, language })
    }

    /// Draws each letter with a value for every name that any template may use.
    fn drawn(&self) -> Result<Vec<(&'static str, Rendered)>, String> {
        let said = ["host", "spoken", "until", "at", "device", "client_address"].map(|place| (place, "value"));
        let placed: BTreeMap<&'static str, String> = [("code", CODE), ("link", LINK)]
            .into_iter()
            .chain(["login", "forgot_password"].map(|name| (name, "http://localhost/")))
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let letters = FILES.iter().filter_map(|(file, _)| file.strip_suffix(".txt"));
        let draw = |name| match write_on(self, name, &said, placed.clone()) {
            Ok(letter) => Ok((name, letter)),
            Err(why) => Err(format!("the letter {name}: {why}")),
        };
        letters.filter(|name| !SHARED.contains(name)).map(draw).collect()
    }

    /// What is doubtful about these letters though they can be drawn: each in a sentence. Whatever proves something in
    /// ours stands in theirs, in the text alone on its line, where programs look for it.
    fn warnings(&self) -> Vec<String> {
        let (Ok(theirs), Ok(ours)) = (self.drawn(), BUILT_IN.drawn()) else { return Vec::new() };
        let alone = |text: &str, what: &str| text.lines().any(|line| line.trim_end() == what);
        let mut found = Vec::new();
        for ((name, theirs), (_, ours)) in theirs.iter().zip(&ours) {
            for (called, what) in [("code", CODE), ("link", LINK)] {
                if alone(&ours.text, what) && !alone(&theirs.text, what) {
                    found.push(format!("the letter {name}.txt has its {called} not alone on a line"));
                }
                if ours.html.contains(what) && !theirs.html.contains(what) {
                    found.push(format!("the letter {name}.html has no {called}"));
                }
            }
        }
        found
    }
}

fn environment() -> Environment<'static> {
    let mut templates = Environment::new();
    // A word that is missing is an error, not a hole in the letter.
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_syntax(
        SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .trim_blocks(true)
            .build()
            .expect("the delimiters are the usual ones"),
    );
    templates.set_auto_escape_callback(|name| if name.ends_with(".txt") { AutoEscape::None } else { AutoEscape::Html });
    templates.set_formatter(escaped);
    templates
}

/// Escapes what goes into HTML, in text as in quoted attributes. (The engine's own way also escapes slashes, which
/// makes links that nobody can read in the source.)
///
/// # Errors
/// The output's own.
pub fn escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if *state.auto_escape() == AutoEscape::None || value.is_safe() {
        return write!(out, "{value}").map_err(minijinja::Error::from);
    }
    for character in value.to_string().chars() {
        match character {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            other => out.write_char(other),
        }
        .map_err(minijinja::Error::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

    use super::*;

    fn with(name: &str, text: &str) -> Result<(), String> {
        LetterTheme::read(&[(name.to_owned(), text.to_owned())])?.drawn().map(drop)
    }

    #[test]
    fn our_own_letters_can_be_drawn() {
        assert_eq!(LetterTheme::read(&[]).unwrap().drawn().map(drop), Ok(()));
        assert_eq!(with("registration.welcome.txt", "Hello at {{ login }}\n"), Ok(()));
    }

    #[test]
    fn a_letter_that_proves_nothing_is_doubtful() {
        let with =
            |name: &str, text: &str| LetterTheme::read(&[(name.to_owned(), text.to_owned())]).unwrap().warnings();
        assert_eq!(LetterTheme::read(&[]).unwrap().warnings(), [] as [&str; 0]);
        assert_eq!(with("registration.welcome.txt", "Hello\n"), [] as [&str; 0]);
        assert_eq!(with("registration.verify.txt", "{{ code }}\n{{ link }}\n"), [] as [&str; 0]);
        assert_eq!(
            with("registration.verify.txt", "Your code is {{ code }}\n{{ link }}\n"),
            ["the letter registration.verify.txt has its code not alone on a line"]
        );
        assert_eq!(
            with("email.changed.html", "<p>It is another now.</p>"),
            ["the letter email.changed.html has no link"]
        );
    }

    #[test]
    fn a_broken_template_is_named() {
        for (name, text) in [
            ("registration.welcome.txt", "{{ words.nothing }}"),
            ("registration.welcome.html", "{% if %}"),
            ("registration.welcome.pdf", ""),
            ("en.json", "{}"),
        ] {
            let why = with(name, text).unwrap_err();
            assert!(why.contains("registration.welcome") || why.contains("en.json"), "{why}");
        }
    }
}
