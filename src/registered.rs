//! Brings the clients and resources of the settings file into the database, at each start.

use cairn_actors::acts::clients::Author;
use cairn_actors::oauth::client::{Metadata, Origin};
use cairn_actors::services::Services;
use cairn_actors::services::clients::{By, ClientRefusal, Import, ImportReport, Outcome};
use cairn_actors::services::resources::WrittenResource;

use crate::config::{Table, Tables};

/// By what these acts go in histories and logs.
const BY: By<'static> = By { author: Author::Settings, trace: "settings" };

/// Has the database say of clients and resources what the file says, and nothing else of what an earlier file said. Two
/// processes may do so at once.
///
/// # Errors
/// What is wrong in the file, with its place, or what the database says.
pub(crate) async fn bring(services: &Services, tables: &Tables) -> Result<(), String> {
    let resources = tables.resources.iter().map(written).collect::<Result<_, _>>()?;
    let changed = services.resources().sync(BY, resources).await;
    let changed = changed.map_err(|refusal| told(&refusal, "resource", &tables.resources))?;
    let import = Import { origin: Origin::Settings, dry_run: false, prune: true };
    let clients = tables.clients.iter().map(|table| table.value.clone()).collect();
    let report = services.clients().import(BY, clients, import).await;
    let ImportReport(report) = report.map_err(|refusal| told(&refusal, "client", &tables.clients))?;
    for client in report.iter().filter(|client| client.outcome != Outcome::Unchanged) {
        tracing::info!(client = client.client_id, outcome = ?client.outcome, "the settings file has changed a client");
    }
    if changed > 0 {
        tracing::info!(changed, "the settings file has changed resources");
    }
    Ok(())
}

fn written(table: &Table) -> Result<WrittenResource, String> {
    serde_json::from_value(table.value.clone()).map_err(|why| format!("{}: [[resource]]: {why}", table.place))
}

/// The first fault, with the place of the table that has it.
fn told(refusal: &ClientRefusal, key: &str, tables: &[Table]) -> String {
    match refusal {
        ClientRefusal::Invalid(all) => {
            let Some(first) = all.first() else { return format!("[[{key}]] cannot be read") };
            let place = first.place.and_then(|place| tables.get(place));
            let place = place.map(|table| format!("{}: ", table.place)).unwrap_or_default();
            let member = if first.why.member == Metadata::WHOLE { "" } else { first.why.member };
            format!("{place}[[{key}]] {member}: {}", first.why.detail)
        }
        other => format!("the settings file's [[{key}]] tables could not be brought into the database: {other:?}"),
    }
}
