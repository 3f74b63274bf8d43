//! The tables of the settings file: `[[client]]` and `[[resource]]`.

use std::fmt;
use std::path::Path;

use cairn_actors::secrets::secret::Reader;
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::conceal;

/// The keys of lists of tables.
pub(super) const KEYS: [&str; 2] = ["client", "resource"];
/// The member of a client that is its secret, and the one that names the file of it.
const SECRET: &str = "client_secret";
const SECRET_FILE: &str = "client_secret_file";

/// What a settings file says of clients and resources.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) clients: Vec<Table>,
    pub(crate) resources: Vec<Table>,
}

/// One table.
pub(crate) struct Table {
    /// Where it stands, as messages name it.
    pub(crate) place: String,
    /// What it says; it may hold a secret.
    pub(crate) value: Value,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.place)
    }
}

impl Tables {
    /// Takes the tables of a key of [`KEYS`]. `place`: where in the file something stands.
    ///
    /// # Errors
    /// What is no table, or a secret's file that cannot be read, with its place.
    pub(super) fn take(
        &mut self,
        key: &str,
        tables: Spanned<DeValue<'_>>,
        place: impl Fn(usize) -> String,
    ) -> Result<(), String> {
        let at = tables.span().start;
        let DeValue::Array(items) = tables.into_inner() else {
            return Err(format!("{}: {key} takes tables, each under [[{key}]]", place(at)));
        };
        for item in items {
            let place = place(item.span().start);
            let value = Map::deserialize(ValueDeserializer::from(item))
                .map_err(|_| format!("{place}: {key} takes tables, each under [[{key}]]"))?;
            match key {
                "client" => self.clients.push(Table { value: with_secret(value, &place)?, place }),
                _ => self.resources.push(Table { value: Value::Object(value), place }),
            }
        }
        Ok(())
    }
}

/// A client with its secret, which may stand in a file of its own, and which nothing says from now on.
fn with_secret(mut client: Map<String, Value>, place: &str) -> Result<Value, String> {
    if let Some(file) = client.remove(SECRET_FILE) {
        if client.contains_key(SECRET) {
            return Err(format!("{place}: {SECRET} and {SECRET_FILE} are both set; one is enough"));
        }
        let path = file.as_str().ok_or_else(|| format!("{place}: {SECRET_FILE} takes a path"))?;
        let secret = Reader::of_this_process().line(Path::new(path));
        let secret = secret.map_err(|why| format!("{place}: {SECRET_FILE}: {why}"))?;
        client.insert(SECRET.to_owned(), secret.expose().into());
    }
    if let Some(secret) = client.get(SECRET).and_then(Value::as_str) {
        conceal::remember(secret);
    }
    Ok(Value::Object(client))
}

/// Whether a client of the file has its secret in it.
pub(super) fn hold_secret(file: &DeTable<'_>) -> bool {
    let clients = file.get("client").and_then(|clients| clients.get_ref().as_array());
    let has_one =
        |client: &Spanned<DeValue<'_>>| client.get_ref().as_table().is_some_and(|client| client.contains_key(SECRET));
    clients.is_some_and(|clients| clients.iter().any(has_one))
}
