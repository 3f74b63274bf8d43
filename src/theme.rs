//! `cairn templates check`, and the theme of the pages as the settings say it: name, logo, colour, and the operator's own
//! templates. Whatever does not fit is found before anything is served.

use std::path::Path;

use cairn_actors::letters;
use cairn_http::theme::{Brand, Logo, Theme};

use crate::config::Config;
use crate::output::say;

/// The folder's parts: templates of pages, and of letters.
const PAGES: &str = "pages";
const LETTERS: &str = "letters";

/// Reads everything that the settings name and draws every page and letter once.
///
/// # Errors
/// A sentence that names the setting or the file, and what is wrong with it.
pub(crate) fn read(config: &Config) -> Result<Theme, String> {
    let brand = Brand { name: config.name.clone(), logo: logo(config)?, accent: config.accent };
    let folder = config.templates.as_deref();
    let part = |name: &str| folder.map(|folder| folder.join(name)).filter(|part| part.is_dir());
    if let Some(folder) = folder {
        if !folder.is_dir() {
            return Err(format!("CAIRN_TEMPLATES: {} is no folder", folder.display()));
        }
        if let Some(stray) = stray(folder)? {
            return Err(format!("CAIRN_TEMPLATES: {stray} is neither `{PAGES}` nor `{LETTERS}`"));
        }
    }
    let said = |why: String| format!("CAIRN_TEMPLATES: {why}");
    let theme = Theme::read(brand, part(PAGES).as_deref()).map_err(said)?;
    letters::install(part(LETTERS).as_deref()).map_err(said)?;
    Ok(theme)
}

/// What is doubtful about what was read, each in a sentence: nothing that keeps a page from being drawn.
pub(crate) fn warnings(theme: &Theme) -> Vec<String> {
    theme.warnings().into_iter().chain(letters::warnings()).map(|what| format!("CAIRN_TEMPLATES: {what}")).collect()
}

/// `cairn templates check`: says what was read, or what is wrong with it.
///
/// # Errors
/// As [`read`], and whatever is doubtful.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    let warnings = warnings(&read(config)?);
    if !warnings.is_empty() {
        return Err(warnings.join("\ncairn: "));
    }
    if let Some(accent) = config.accent {
        say(&format!("CAIRN_ACCENT: {}", accent.contrasts()));
    }
    match &config.templates {
        Some(folder) => {
            say(&format!("all pages and letters can be drawn with the templates in {}", folder.display()));
        }
        None => say("all pages and letters can be drawn; CAIRN_TEMPLATES is not set"),
    }
    Ok(())
}

fn logo(config: &Config) -> Result<Option<Logo>, String> {
    let Some(path) = &config.logo else { return Ok(None) };
    let said = |why: &dyn std::fmt::Display| format!("CAIRN_LOGO: {}: {why}", path.display());
    let bytes = std::fs::read(path).map_err(|why| said(&why))?;
    Logo::new(&path.to_string_lossy(), bytes).map(Some).map_err(|why| said(&why))
}

/// Something in the folder that is not read, and was surely meant to be.
fn stray(folder: &Path) -> Result<Option<String>, String> {
    let said = |why: std::io::Error| format!("CAIRN_TEMPLATES: {}: {why}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(said)? {
        let entry = entry.map_err(said)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = (name == PAGES || name == LETTERS) && entry.path().is_dir();
        if !known && !name.starts_with('.') {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
