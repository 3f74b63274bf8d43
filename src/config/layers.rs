//! Where values come from: the defaults, the file, the environment, and the files that hold secrets, each over the one
//! before. Every value knows its place, so that what is wrong with it can be found.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use cairn_actors::secrets::secret::{Reader, Secret};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::Setting;
use super::tables::{self, Tables};
use crate::conceal;

/// The settings file.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'i> {
    pub(super) path: &'i Path,
    pub(super) text: &'i str,
}

impl File<'_> {
    fn line(&self, at: usize) -> usize {
        self.before(at).matches('\n').count() + 1
    }

    fn before(&self, at: usize) -> &str {
        self.text.get(..at).unwrap_or(self.text)
    }

    /// A place of the file, as messages name it.
    fn place(&self, at: usize) -> String {
        format!("{}, line {}", self.path.display(), self.line(at))
    }
}

/// One value.
pub(super) enum Found<'i> {
    /// From the defaults or the environment.
    Text(String),
    /// From a secret's own file.
    Secret(Secret),
    /// From the settings file, where a value may be more than a text.
    Toml(Spanned<DeValue<'i>>),
}

/// Of each setting the value that counts.
pub(super) struct Layers<'i> {
    pub(super) settings: Vec<&'static Setting>,
    found: BTreeMap<String, Found<'i>>,
    file: Option<File<'i>>,
    places: Places,
    /// Clients and resources.
    pub(super) tables: Tables,
    /// Variables that are no setting of this release. They do not keep it from starting: a variable of the next release
    /// may stand in the environment of this one while both run, or after a step back.
    pub(super) remarks: Vec<String>,
}

/// Where values came from that are neither defaults nor from the environment, by variable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<String, String>);

impl Places {
    /// A message that begins with a variable, with the place of that setting's value behind it. The variable alone stands
    /// for the environment.
    pub(crate) fn located(&self, message: String) -> String {
        let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let (variable, rest) = message.split_at(message.find(|c| !is_part(c)).unwrap_or(message.len()));
        match self.0.get(variable) {
            Some(place) if !rest.starts_with(" (") => format!("{variable} ({place}){rest}"),
            _ => message,
        }
    }
}

/// The environment as text.
///
/// # Errors
/// A variable of ours that is no UTF-8, by its name.
pub(super) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    settings: &[&Setting],
) -> Result<BTreeMap<String, String>, String> {
    let is_ours = |name: &str| name.starts_with("CAIRN_") || names(settings).any(|(_, variable)| variable == name);
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

/// Every key with its variable: that of each setting, and of each secret the one that names its file.
fn names(settings: &[&Setting]) -> impl Iterator<Item = (String, String)> {
    settings.iter().flat_map(|setting| {
        let itself = (setting.key.to_owned(), setting.variable());
        let file = setting.is_secret.then(|| (by_file(setting.key), format!("{}_FILE", setting.variable())));
        std::iter::once(itself).chain(file)
    })
}

/// The key that names the file of a secret.
fn by_file(key: &str) -> String {
    format!("{key}_file")
}

impl<'i> Layers<'i> {
    /// Defaults, then the file, then the environment; of secrets that stand in files of their own, the content.
    ///
    /// # Errors
    /// A sentence that names the setting or the place in the file, and what is wrong there.
    pub(super) fn gather(
        settings: Vec<&'static Setting>,
        file: Option<File<'i>>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let of_default = |default: &str| Found::Text(default.to_owned());
        let defaults =
            settings.iter().filter_map(|setting| Some((setting.key.to_owned(), setting.default.map(of_default)?)));
        let (places, tables, remarks) = (Places::default(), Tables::default(), Vec::new());
        let mut layers = Self { found: defaults.collect(), settings, file, places, tables, remarks };
        if let Some(file) = file {
            let values = layers.of_file(file)?;
            layers.add(values).map_err(|why| format!("{}: {why}", file.path.display()))?;
        }
        let values = layers.of_environment(environment);
        layers.add(values)?;
        layers.open_files()?;
        Ok(layers)
    }

    /// Where values came from.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The value of a setting. A table or a list of tables has no default, and may have none.
    pub(super) fn value(&self, key: &str) -> Option<&Found<'i>> {
        self.found.get(key)
    }

    /// The setting of this key.
    pub(super) fn setting(&self, key: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.key == key).copied()
    }

    /// Where in the file something stands.
    pub(super) fn place(&self, key: &str, at: usize) -> Option<String> {
        self.file.map(|file| format!("{key} in {}", file.place(at)))
    }

    fn of_file(&mut self, file: File<'i>) -> Result<BTreeMap<String, Found<'i>>, String> {
        let table = DeTable::parse(file.text).map_err(|why| self.unreadable(file, &why))?;
        let mut values = BTreeMap::new();
        for (key, value) in table.into_inner() {
            let is_setting = names(&self.settings).any(|(known, _)| known == *key.get_ref());
            if !is_setting && tables::KEYS.contains(&&**key.get_ref()) {
                self.tables.take(key.get_ref(), value, |at| file.place(at))?;
                continue;
            }
            if !is_setting {
                let why = self.unknown(key.get_ref(), key.get_ref(), |key, _| key);
                return Err(format!("{}: {why}", file.place(key.span().start)));
            }
            values.insert(key.into_inner().into_owned(), Found::Toml(value));
        }
        Ok(values)
    }

    /// Where a file cannot be read and what was expected there. The library's own text quotes the line, which may hold a
    /// password; its messages alone are fixed.
    fn unreadable(&self, file: File<'_>, why: &toml::de::Error) -> String {
        let start = why.span().map_or(0, |span| span.start).min(file.text.len());
        let column = file.before(start).rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let line = file.text.lines().nth(file.line(start) - 1);
        let key = line.and_then(|line| line.split_once('=')).map(|(key, _)| key.trim().to_lowercase());
        let setting = names(&self.settings).find(|(known, _)| key.as_deref() == Some(known));
        let setting = setting.map(|(_, variable)| format!(" ({variable})")).unwrap_or_default();
        let quotes = if why.message().contains("quot") || why.message().contains("string") {
            "; a text stands between quotes, which end on its line"
        } else {
            ""
        };
        format!("{}, column {column}{setting}: {}{quotes}", file.place(start), why.message())
    }

    fn of_environment(&mut self, environment: &BTreeMap<String, String>) -> BTreeMap<String, Found<'i>> {
        let mut values = BTreeMap::new();
        for (key, variable) in names(&self.settings) {
            // An empty variable counts as unset.
            if let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) {
                values.insert(key, Found::Text(value.clone()));
            }
        }
        let is_known = |name: &str| names(&self.settings).any(|(_, variable)| variable == name);
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("CAIRN_") else { continue };
            if !is_known(name) && !is_for_others(rest, value) {
                let what = self.unknown(name, rest, |_, variable| variable);
                self.remarks.push(what);
            }
        }
        values
    }

    /// That there is no setting of this name, and which one may have been meant.
    fn unknown(&self, name: &str, key: &str, show: fn(String, String) -> String) -> String {
        let key = key.to_lowercase();
        let likeness = |known: &str| strsim::jaro_winkler(known, &key);
        let near = names(&self.settings)
            .map(|(known, variable)| (likeness(&known), show(known, variable)))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        match near {
            Some((_, near)) => format!("there is no setting {name}; did you mean {near}?"),
            None => format!("there is no setting {name}"),
        }
    }

    /// Puts a layer over those that are there.
    fn add(&mut self, layer: BTreeMap<String, Found<'i>>) -> Result<(), String> {
        for setting in self.settings.iter().filter(|setting| setting.is_secret) {
            let file_key = by_file(setting.key);
            layer.get(setting.key).into_iter().for_each(|value| remember(setting.key, value));
            let is_said = |key: &str| layer.get(key).is_some_and(|value| !value.is_empty());
            match (is_said(setting.key), is_said(&file_key)) {
                (true, true) => {
                    let variable = setting.variable();
                    return Err(format!("{variable} and {variable}_FILE are both set; one is enough"));
                }
                // The layer above says it all: what the one below says in the other way no longer counts.
                (true, false) => drop(self.found.remove(&file_key)),
                (false, true) => drop(self.found.insert(setting.key.to_owned(), Found::Text(String::new()))),
                (false, false) => {}
            }
        }
        for (key, variable) in names(&self.settings) {
            match layer.get(&key) {
                Some(Found::Toml(value)) => {
                    let place = self.place(&key, value.span().start).unwrap_or_default();
                    self.places.0.insert(variable, place);
                }
                Some(_) => drop(self.places.0.remove(&variable)),
                None => {}
            }
        }
        self.found.extend(layer);
        Ok(())
    }

    /// Reads the files that hold secrets.
    fn open_files(&mut self) -> Result<(), String> {
        let reader = Reader::of_this_process();
        for setting in self.settings.iter().filter(|setting| setting.is_secret) {
            let variable = format!("{}_FILE", setting.variable());
            let path = match self.found.get(&by_file(setting.key)) {
                Some(Found::Text(path)) => path.as_str(),
                Some(Found::Toml(path)) => {
                    path.get_ref().as_str().ok_or_else(|| self.places.located(format!("{variable} takes a path")))?
                }
                _ => continue,
            };
            if path.is_empty() {
                continue;
            }
            let content =
                reader.line(Path::new(path)).map_err(|why| self.places.located(format!("{variable}: {why}")))?;
            if !is_path(setting.key, content.expose()) {
                conceal::remember(content.expose());
            }
            self.places.0.insert(setting.variable(), format!("in {path}"));
            self.found.insert(setting.key.to_owned(), Found::Secret(content));
        }
        Ok(())
    }
}

impl Found<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Secret(secret) => secret.expose().is_empty(),
            Self::Toml(value) => value.get_ref().as_str().is_some_and(str::is_empty),
        }
    }

    /// The text, if it is one or a number.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret(secret) => Some(secret.expose()),
            Self::Toml(value) => match value.get_ref() {
                DeValue::String(text) => Some(text),
                DeValue::Integer(number) => Some(number.as_str()),
                _ => None,
            },
        }
    }
}

/// Variables with our prefix that are no settings: those of the command line and of our tests, and what Kubernetes tells
/// of a service that is called `cairn`.
fn is_for_others(rest: &str, value: &str) -> bool {
    let is_ours = matches!(rest, "CONFIG" | "PROVE") || rest.starts_with("TEST_") || rest.starts_with("BENCH_");
    let is_of_service = |name: &str| {
        let of_port = name.split_once("PORT_").map(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()));
        name.ends_with("SERVICE_HOST")
            || name.contains("SERVICE_PORT")
            || of_port == Some(true)
            || name.ends_with("PORT") && value.contains("://")
    };
    is_ours || is_of_service(rest)
}

/// Has the value of a secret setting kept out of everything that is said.
fn remember(key: &str, value: &Found<'_>) {
    if let Some(text) = value.text().filter(|text| !is_path(key, text)) {
        conceal::remember(text);
    }
}

/// The path of a SQLite file is no secret.
fn is_path(key: &str, value: &str) -> bool {
    key == "database_url"
        && (!value.contains(':') || value.starts_with(['/', '.']) || value.starts_with("sqlite:"))
        && !value.contains('@')
}

/// Whether a settings file has a secret in it.
pub(super) fn holds_secret<'a>(text: &str, mut settings: impl Iterator<Item = &'a Setting>) -> bool {
    let Ok(table) = DeTable::parse(text) else { return false };
    if tables::hold_secret(table.get_ref()) {
        return true;
    }
    settings.any(|setting| {
        let value = table.get_ref().get(setting.key).and_then(|value| value.get_ref().as_str());
        setting.is_secret && value.is_some_and(|value| conceal::has_secret(value) && !is_path(setting.key, value))
    })
}
