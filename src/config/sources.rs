//! Where values come from: the defaults, the file, the environment, and the files that hold secrets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use cairn_actors::secrets::secret::Reader;

use super::names::{NAMES, SECRETS, nearest, variable};
use crate::conceal;

/// Values by the names of [`NAMES`].
pub(super) type Values = BTreeMap<String, String>;

/// The environment as text.
///
/// # Errors
/// A variable of ours that is no UTF-8, by its name.
pub(super) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(found.insert(name, value)),
            Err(_) if is_ours(&name) => return Err(format!("{name} is not text in UTF-8")),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn is_ours(variable_name: &str) -> bool {
    variable_name.starts_with("CAIRN_") || NAMES.iter().any(|(name, _)| variable(name) == variable_name)
}

/// Defaults, then the file, then the environment; of secrets that stand in files of their own, the content.
pub(super) fn gather(
    file: &str,
    environment: &BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) -> Result<Values, String> {
    let mut values: Values = NAMES.iter().map(|(name, default)| ((*name).to_owned(), (*default).to_owned())).collect();
    for layer in [from_file(file)?, from_environment(environment, remarks)] {
        for secret in SECRETS {
            let [direct, by_file] = [(*secret).to_owned(), format!("{secret}_file")];
            let said = |name: &String| layer.get(name).is_some_and(|value| !value.is_empty());
            if let Some(value) = layer.get(&direct) {
                remember(&direct, value);
            }
            match (said(&direct), said(&by_file)) {
                (true, true) => {
                    let [direct, by_file] = [variable(&direct), variable(&by_file)];
                    return Err(format!("{direct} and {by_file} are both set; one is enough"));
                }
                // The layer above says it all: what the one below says in the other way no longer counts.
                (true, false) => drop(values.insert(by_file, String::new())),
                (false, true) => drop(values.insert(direct, String::new())),
                (false, false) => {}
            }
        }
        values.extend(layer);
    }
    let reader = Reader::of_this_process();
    for secret in SECRETS {
        let by_file = format!("{secret}_file");
        let path = values.get(&by_file).filter(|path| !path.is_empty());
        let Some(path) = path else { continue };
        let content = reader.line(Path::new(path)).map_err(|why| format!("{}: {why}", variable(&by_file)))?;
        remember(secret, content.expose());
        values.insert((*secret).to_owned(), content.expose().to_owned());
    }
    Ok(values)
}

/// Has the value of a secret setting kept out of everything that is said.
fn remember(name: &str, value: &str) {
    if !is_path(name, value) {
        conceal::remember(value);
    }
}

/// The path of a SQLite file is no secret.
fn is_path(name: &str, value: &str) -> bool {
    name == "database_url"
        && (!value.contains(':') || value.starts_with(['/', '.']) || value.starts_with("sqlite:"))
        && !value.contains('@')
}

/// Whether a settings file has a secret in it.
pub(super) fn holds_secret(text: &str) -> bool {
    from_file(text).is_ok_and(|values| {
        let secret =
            |name: &str| values.get(name).is_some_and(|value| conceal::has_secret(value) && !is_path(name, value));
        SECRETS.iter().any(|name| secret(name))
    })
}

fn from_file(text: &str) -> Result<Values, String> {
    let table: toml::Table = text.parse().map_err(|why: toml::de::Error| unreadable(text, &why))?;
    let mut values = Values::new();
    for (name, value) in table {
        if !NAMES.iter().any(|(known, _)| *known == name) {
            // Only where it resembles one of ours: a line that went wrong may have anything in a key's place.
            return Err(match nearest(&name) {
                Some(near) => format!("there is no setting {name}; did you mean {near}?"),
                None => format!("there is no setting {name}"),
            });
        }
        let of = || format!("{} ({name} in the file)", variable(&name));
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("{} takes a list of texts", of())))
                .collect::<Result<Vec<_>, _>>()?
                .join(","),
            _ => return Err(format!("{} takes a text in quotes or a number", of())),
        };
        values.insert(name, value);
    }
    Ok(values)
}

/// Where a file cannot be read and what was expected there. The library's own text quotes the line, which may hold a
/// password; its messages alone are fixed.
fn unreadable(text: &str, why: &toml::de::Error) -> String {
    let start = why.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let named =
        text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(name, _)| name.trim().to_lowercase());
    let setting = NAMES.iter().find(|(name, _)| named.as_deref() == Some(*name));
    let setting = setting.map(|(name, _)| format!(" ({})", variable(name))).unwrap_or_default();
    let quotes = if why.message().contains("quot") || why.message().contains("string") {
        "; a text stands between quotes, which end on its line"
    } else {
        ""
    };
    format!("line {line}, column {column}{setting}: {}{quotes}", why.message())
}

fn from_environment(environment: &BTreeMap<String, String>, remarks: &mut Vec<String>) -> Values {
    let mut values = Values::new();
    for (variable_name, value) in environment {
        let name = match variable_name.strip_prefix("CAIRN_") {
            Some(rest) => rest.to_lowercase(),
            None => variable_name.to_lowercase(),
        };
        if variable(&name) != *variable_name {
            continue;
        }
        if NAMES.iter().any(|(known, _)| *known == name) {
            if !value.is_empty() {
                values.insert(name, value.clone());
            }
        } else if !matches!(name.as_str(), "config" | "prove") && !name.starts_with("test_") {
            let near = nearest(&name).map(|near| format!("; did you mean {}?", variable(near))).unwrap_or_default();
            remarks.push(format!("{variable_name} is not a setting of this release{near}"));
        }
    }
    values
}
