//! The theme of the pages as one value: templates, words, the operator's name, logo and colour.

use std::fs;
use std::path::Path;

use cairn_actors::letters;
use minijinja::{Environment, UndefinedBehavior};

use self::assets::Assets;
use self::words::Words;

mod assets;
mod colour;
mod fixtures;
mod lint;
mod page;
mod words;

pub use self::assets::Logo;
pub use self::colour::{Accent, NoAccent};
pub(crate) use self::page::{Page, Wrong, wrongs};
pub(crate) use self::words::fill;

/// What an operator says of themselves.
#[derive(Clone, Debug)]
pub struct Brand {
    /// The name above every page and in every title.
    pub name: String,
    /// In the name's place.
    pub logo: Option<Logo>,
    /// The colour of links and buttons.
    pub accent: Option<Accent>,
}

impl Default for Brand {
    fn default() -> Self {
        Self { name: "Cairn".to_owned(), logo: None, accent: None }
    }
}

/// Templates, words and assets, read and checked.
pub struct Theme {
    pub(crate) environment: Environment<'static>,
    pub(crate) words: Words,
    pub(crate) brand: Brand,
    pub(crate) assets: Assets,
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),+]
    };
}

/// Every template that there is. A folder may hold others in their place, but no more.
const TEMPLATES: &[(&str, &str)] = templates!(
    "layout.html",
    "parts.html",
    "waiting.html",
    "message.html",
    "confirm.html",
    "new_password.html",
    "problem.html",
    "too_large.html",
    "mailbox.html",
    "register/form.html",
    "verify_email/waiting.html",
    "verify_email/password.html",
    "login/form.html",
    "forgot_password/form.html",
    "reset_password/waiting.html",
    "reset_password/link.html",
    "magic_link/form.html",
    "magic_link/waiting.html",
    "magic_link/elsewhere.html",
    "email_change/password.html",
    "account/overview.html",
    "account/profile.html",
    "account/password.html",
    "account/email.html",
    "account/email_waiting.html",
    "account/sessions.html",
    "account/devices.html",
    "account/history.html",
    "account/export.html",
    "account/delete.html",
    "account/applications.html",
    "sign_out/client.html",
    "consent/form.html",
    "consent/form_post.html",
);

const STYLESHEET: &str = include_str!("templates/cairn.css");
/// The stylesheet's name in a folder of the operator's.
const STYLESHEET_NAME: &str = "cairn.css";
const WORDS_NAME: &str = "en.json";

impl Theme {
    /// The operator's name.
    pub fn name(&self) -> &str {
        &self.brand.name
    }

    /// Reads the templates, with those of `folder` in the place of the built-in ones of the same name, and draws every
    /// page once.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn read(brand: Brand, folder: Option<&Path>) -> Result<Self, String> {
        let mut environment = environment();
        let said = |name: &str, why: &dyn std::fmt::Display| format!("the template {name}: {why:#}");
        for (name, text) in TEMPLATES {
            environment.add_template(name, text).map_err(|why| said(name, &why))?;
        }
        let mut stylesheet = STYLESHEET.to_owned();
        let mut words = Words::english().map_err(|why| said(WORDS_NAME, &why))?;
        for (name, text) in folder.map(overrides).transpose()?.unwrap_or_default() {
            if name == STYLESHEET_NAME {
                stylesheet = text;
            } else if name == WORDS_NAME {
                words = serde_json::from_str(&text).map_err(|why| said(&name, &why))?;
            } else if TEMPLATES.iter().any(|(known, _)| *known == name) {
                environment.add_template_owned(name.clone(), text).map_err(|why| said(&name, &why))?;
            } else {
                return Err(format!("{name} is no template of ours; their names are in docs/pages.md"));
            }
        }
        let assets = Assets::new(&stylesheet, brand.accent.as_ref(), brand.logo.as_ref());
        let theme = Self { environment, words, brand, assets };
        if let Some(why) = fixtures::drawn(&theme).find_map(Result::err) {
            return Err(why);
        }
        Ok(theme)
    }

    /// What is doubtful about these pages though they can be drawn: each in a sentence. Nothing where all is ours.
    pub fn warnings(&self) -> Vec<String> {
        match Self::read(Brand::default(), None) {
            Ok(ours) => lint::warnings(self, &ours),
            Err(why) => vec![why],
        }
    }
}

/// How templates are read: a name that nobody gave is an error, not a hole in the page.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(letters::escaped);
    environment
}

/// Every file below a folder, by its path in it.
fn overrides(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let said = |why: std::io::Error| format!("{}: {why}", next.display());
        for entry in fs::read_dir(&next).map_err(said)? {
            let path = entry.map_err(said)?.path();
            let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str) else { continue };
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
                found.push((name.to_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}
