//! Where values come from: the defaults, the file, the environment.

use std::collections::BTreeMap;

use super::names::{NAMES, variable};

/// Defaults, then the file, then the environment.
pub(super) fn gather(
    file: &str,
    environment: &BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut values: BTreeMap<String, String> =
        NAMES.iter().map(|(name, default)| ((*name).to_owned(), (*default).to_owned())).collect();
    let known = |name: &str| NAMES.iter().any(|(known, _)| *known == name);
    let table: toml::Table = file.parse().map_err(|why: toml::de::Error| why.to_string())?;
    for (name, value) in table {
        if !known(&name) {
            return Err(format!("there is no setting {name}"));
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("{name} takes a list of texts")))
                .collect::<Result<Vec<_>, _>>()?
                .join(","),
            _ => return Err(format!("{name} takes a text or a number")),
        };
        values.insert(name, value);
    }
    for (variable_name, value) in environment {
        let name = match variable_name.strip_prefix("CAIRN_") {
            Some(rest) => rest.to_lowercase(),
            None => variable_name.to_lowercase(),
        };
        if variable(&name) != *variable_name {
            continue;
        }
        if known(&name) {
            if !value.is_empty() {
                values.insert(name, value.clone());
            }
        } else if !matches!(name.as_str(), "config" | "prove") && !name.starts_with("test_") {
            remarks.push(format!("{variable_name} is not a setting of this release"));
        }
    }
    Ok(values)
}
