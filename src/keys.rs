//! `cairn keys`: the signing keys, listed and rotated by the server that runs, or in its database while none does.

use std::time::Duration;

use cairn_actors::secrets::ring::Ring;
use cairn_actors::secrets::signing::SealedSigningKey;
use cairn_actors::secrets::signing::schedule;
use cairn_actors::secrets::signing::store::SigningKeyStore;
use cairn_actors::secrets::signing_algorithm::SigningAlgorithm;
use cairn_actors::services::signing_keys::{Rotation, views};
use cairn_http::operations::keys::KeysBody;
use cairn_persistence::keys::SigningKeyTable;
use cairn_persistence::{Database, Options};
use cairn_runtime::clock::SystemClock;
use cairn_runtime::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::config::Config;
use crate::operations_client::{OperationsClient, Unanswered};
use crate::output::say;
use crate::serve;

/// How long the server's answer may take: an RSA key takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists the keys.
///
/// # Errors
/// What the server or the database says.
pub(crate) fn list(config: &Config, json: bool) -> Result<(), String> {
    let keys = match ask(config, "GET", "/keys", None)? {
        Some(keys) => keys,
        None => alone(config, async |opened| {
            let rows = opened.table.read().await.map_err(|why| why.to_string())?;
            body(&rows, opened.now, config)
        })?,
    };
    show(&keys, json);
    Ok(())
}

/// Rotates the keys of one algorithm, or of all that have one, and lists what is there then.
///
/// # Errors
/// What the server or the database says, or that there is no such algorithm.
pub(crate) fn rotate(config: &Config, algorithm: Option<&str>, now: bool, json: bool) -> Result<(), String> {
    let algorithm = algorithm
        .map(|name| {
            let all = SigningAlgorithm::ALL.map(SigningAlgorithm::name).join(", ");
            SigningAlgorithm::parse(name).ok_or_else(|| format!("--algorithm takes one of {all}"))
        })
        .transpose()?;
    let rotation = Rotation { algorithm, at_once: now };
    let asked = json!({"algorithm": algorithm, "now": now});
    let keys = match ask(config, "POST", "/keys/rotate", Some(&asked))? {
        Some(keys) => keys,
        None => alone(config, async |opened| rotate_alone(opened, rotation, config).await)?,
    };
    show(&keys, json);
    Ok(())
}

/// The answer of the server that runs here; `None` when none does.
fn ask(config: &Config, method: &str, path: &str, body: Option<&Value>) -> Result<Option<Value>, String> {
    // With port 0 nobody knows where a server would be. If one has the SQLite file, opening it says so.
    if config.ops_listen.port() == 0 {
        return Ok(None);
    }
    match OperationsClient::of(config, PATIENCE)?.send(method, path, body) {
        Ok(answer) => answer.accepted().map(Some),
        Err(Unanswered::NotListening(_)) => Ok(None),
        Err(Unanswered::Failed(why)) => Err(why),
    }
}

/// The keys' database, opened by this command.
struct Opened {
    ring: Ring,
    table: SigningKeyTable,
    now: Timestamp,
}

/// Opens the database of the settings for a piece of work.
fn alone(config: &Config, work: impl AsyncFnOnce(&Opened) -> Result<Value, String>) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| why.to_string())?;
    runtime.block_on(async {
        // A second `Err` would say that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = serve::given_master_key(config)?;
        let (setting, address) = serve::database_address(config, given.is_some())?;
        let of_database = |why: &dyn std::fmt::Display| format!("{setting}: {why}");
        let options = Options { connections: config.database_connections, ..Options::default() };
        let database = Database::open(address.expose(), &options).await.map_err(|why| of_database(&why))?;
        let master = match given {
            Some(key) => key,
            None => serve::own_master_key(config, &database).await?,
        };
        let now = SystemClock::ahead(config.clock_offset).now();
        let opened = cairn_persistence::keys::open(&database, &master, now).await;
        let (ring, _) = opened.map_err(|why| of_database(&why))?;
        let done = work(&Opened { ring, table: SigningKeyTable::new(&database), now }).await;
        database.close().await.map_err(|why| of_database(&why))?;
        done
    })
}

async fn rotate_alone(opened: &Opened, rotation: Rotation, config: &Config) -> Result<Value, String> {
    let (table, now) = (&opened.table, opened.now);
    let mut rows = table.read().await.map_err(|why| why.to_string())?;
    for algorithm in rotation.algorithms(&rows, now) {
        let key = SealedSigningKey::generate(&opened.ring, algorithm, now.0).map_err(|why| why.to_string())?;
        let decide = move |rows: &[SealedSigningKey]| schedule::rotate(rows, key, now, rotation.at_once);
        rows = table.change(Box::new(decide)).await.map_err(|why| why.to_string())?;
    }
    body(&rows, now, config)
}

/// As `GET /keys` answers.
fn body(rows: &[SealedSigningKey], now: Timestamp, config: &Config) -> Result<Value, String> {
    let body = KeysBody::from(views(rows, now, config.flows.access_ttl));
    serde_json::to_value(body).map_err(|why| why.to_string())
}

fn show(keys: &Value, json: bool) {
    if json {
        return say(&format!("{keys:#}"));
    }
    let keys = keys.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |key: &Value, member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    say(&format!("{:<43}  {:<9}  {:<24}  STATE", "KID", "ALGORITHM", "SINCE"));
    for key in keys {
        let (kid, algorithm, since) = (text(key, "kid"), text(key, "algorithm"), text(key, "since"));
        say(&format!("{kid:<43}  {algorithm:<9}  {since:<24}  {}", text(key, "state")));
    }
}
