//! `/clients`: the OAuth clients, as operators manage them.

use std::sync::Arc;
use std::time::Duration;

use cairn_actors::acts::clients::Author;
use cairn_actors::oauth::client::{Client, Metadata, Origin};
use cairn_actors::services::clients::{
    By, ClientRefusal, Clients, Import, Imported, InvalidClient, NewClient, Outcome, Registered,
};
use cairn_runtime::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Operations;
use crate::decode;
use crate::description::{Area, Description, Param, Query};
use crate::problem::{Kind, Problem, Unacceptable};
use crate::reply::instant;
use crate::request::Request;
use crate::schema;

/// How many clients a page has where nothing is said, and at most.
const PAGE: (u32, u32) = (50, 500);

const CLIENT: &[Param] = &[Param::text("client", "The `client_id`, percent-encoded.")];

pub(super) const LIST: Description = Description::new("listClients", Area::Clients, "List the clients")
    .text("In the order of their `client_id`.")
    .query(&[
        Query::new("after", "The `client_id` that the page before ended with: its `next`."),
        Query::new("limit", "How many at most: 50 where nothing is said, 500 at most."),
    ]);
pub(super) const ADD: Description = Description::new("addClient", Area::Clients, "Register a client")
    .text("A `client_id` is kept where one is sent, else made. So is the `client_secret` of a client that authenticates by one.")
    .refuses(&[Kind::Value]);
pub(super) const GET: Description = Description::new("getClient", Area::Clients, "Get a client").params(CLIENT);
pub(super) const UPDATE: Description = Description::new("updateClient", Area::Clients, "Give a client other metadata")
    .text(
        "All of it: what is not sent is as if it had never been said. Where `version` is sent, the client must still have \
         it. A client that authenticates by a secret from now on is given one.",
    )
    .params(CLIENT)
    .refuses(&[Kind::Value, Kind::Changed]);
pub(super) const DELETE: Description = Description::new("deleteClient", Area::Clients, "Delete a client")
    .text("All that it was granted is over.")
    .params(CLIENT)
    .refuses(&[Kind::Value, Kind::Changed]);
pub(super) const ROTATE: Description =
    Description::new("rotateClientSecret", Area::Clients, "Give a client another secret")
        .text("The one before is good for a while beside it. What was granted goes on.")
        .params(CLIENT)
        .refuses(&[Kind::Value, Kind::Changed]);
pub(super) const IMPORT: Description =
    Description::new("importClients", Area::Clients, "Bring the clients to what a list says")
        .text("All of the list is read before anything is changed. The same list twice changes nothing.")
        .refuses(&[Kind::Value, Kind::Changed]);

/// Client metadata (RFC 7591, OpenID Connect Dynamic Client Registration) with our own members, `client_id` and
/// `client_secret` among it. What is not known is ignored.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "ClientMetadata")]
pub(super) struct WrittenClient(Map<String, Value>);

/// A client: its metadata, and what is kept beside it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Client")]
pub(super) struct ClientBody {
    /// Names it in the protocol.
    client_id: String,
    /// Its secret, where one was made just now: it is told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    client_secret: Option<String>,
    /// When it was registered.
    #[schemars(with = "schema::Instant")]
    created_at: String,
    /// Who has registered it: `administrator`, `settings` or `registration`.
    #[schemars(with = "schema::ClientOrigin")]
    origin: Origin,
    /// Its secrets that are good.
    secrets: Vec<SecretBody>,
    /// When its registration last changed.
    #[schemars(with = "schema::Instant")]
    updated_at: String,
    /// The number of its registration, which each change raises.
    version: i64,
    /// What is registered of it.
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

/// A secret of a client, without itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ClientSecret")]
struct SecretBody {
    /// When it was made.
    #[schemars(with = "schema::Instant")]
    created_at: String,
    /// Until when it is good. Missing: until it is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "schema::Instant")]
    expires_at: Option<String>,
}

/// A page of clients.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Clients")]
pub(super) struct ClientsBody {
    /// The clients.
    items: Vec<ClientBody>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    next: Option<String>,
}

/// How a secret is rotated.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientSecretRotation")]
pub(super) struct RotationBody {
    /// How long the secret before is good beside the new one, in seconds: a day where nothing is said, 30 days at most.
    #[serde(default)]
    overlap: Option<u64>,
}

/// A list of clients.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientImport")]
pub(super) struct ImportBody {
    /// The clients.
    clients: Vec<WrittenClient>,
    /// Nothing is changed, and the answer says what would be.
    #[serde(default)]
    dry_run: bool,
    /// Clients that operators have registered and that are not in the list are deleted.
    #[serde(default)]
    prune: bool,
}

/// What has become of the clients of a list, or would have.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ClientImportReport")]
pub(super) struct ReportBody {
    /// Each client, in the order of the `client_id`.
    clients: Vec<ImportedBody>,
    /// Whether nothing was changed because nothing was to be.
    dry_run: bool,
}

/// What has become of a client.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ImportedClient")]
struct ImportedBody {
    /// Names it in the protocol.
    client_id: String,
    /// A secret that was made for it: it is told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    client_secret: Option<String>,
    /// `created`, `changed`, `unchanged` or `removed`.
    #[schemars(with = "schema::ImportOutcome")]
    outcome: &'static str,
}

impl ClientBody {
    fn of(client: Client, secret: Option<String>, now: Timestamp) -> Result<Self, Problem> {
        let Value::Object(metadata) = serde_json::to_value(&client.metadata).map_err(Problem::fault)? else {
            return Err(Problem::fault("metadata that is no object"));
        };
        let good = client.secrets.iter().filter(|stored| stored.is_good(now));
        let secrets = good.map(|stored| SecretBody {
            created_at: instant(stored.created_at),
            expires_at: stored.expires_at.map(instant),
        });
        Ok(Self {
            client_id: client.client_id,
            client_secret: secret,
            created_at: instant(client.created_at),
            origin: client.origin,
            secrets: secrets.collect(),
            updated_at: instant(client.updated_at),
            version: client.version,
            metadata,
        })
    }

    fn registered(registered: Registered, now: Timestamp) -> Result<Self, Problem> {
        let secret = registered.secret.map(|secret| secret.expose().to_owned());
        Self::of(registered.client, secret, now)
    }
}

impl From<Imported> for ImportedBody {
    fn from(imported: Imported) -> Self {
        let outcome = match imported.outcome {
            Outcome::Created => "created",
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
            Outcome::Removed => "removed",
        };
        let client_secret = imported.secret.map(|secret| secret.expose().to_owned());
        Self { client_id: imported.client_id, client_secret, outcome }
    }
}

/// The operator, by a request.
pub(super) fn operator(request: &Request) -> By<'_> {
    By { author: Author::Operator, trace: request.id() }
}

impl From<ClientRefusal> for Problem {
    fn from(refusal: ClientRefusal) -> Self {
        match refusal {
            ClientRefusal::Invalid(all) => Self::value(all.into_iter().map(unacceptable).collect()),
            ClientRefusal::NotFound => Self::not_found(),
            ClientRefusal::Changed => Self::changed(),
            ClientRefusal::Fault(fault) => Self::from(fault),
        }
    }
}

fn unacceptable(invalid: InvalidClient) -> Unacceptable {
    let InvalidClient { place, code, why } = invalid;
    let place = place.map(|place| format!("/clients/{place}")).unwrap_or_default();
    // What is wrong with the whole is no member of it.
    let member = if why.member == Metadata::WHOLE { String::new() } else { format!("/{}", why.member) };
    Unacceptable::new(format!("{place}{member}"), code, why.detail)
}

/// The query parameters of a list. Others than these are refused.
fn page(request: &Request) -> Result<(Option<String>, u32), Problem> {
    let (mut after, mut limit) = (None, PAGE.0);
    for (name, value) in decode::query(request.raw_query()) {
        match name.as_str() {
            "after" => after = Some(value),
            "limit" => {
                let asked = value.parse().ok().filter(|limit| (1..=PAGE.1).contains(limit));
                limit = asked.ok_or_else(|| Problem::unreadable(format!("Send limit as 1 to {}.", PAGE.1)))?;
            }
            _ => return Err(Problem::unreadable("Send no other query parameters than after and limit.")),
        }
    }
    Ok((after, limit))
}

pub(super) async fn list(operations: Arc<Operations>, request: Request) -> Result<ClientsBody, Problem> {
    let (after, limit) = page(&request)?;
    let mut found = operations.services.clients().list(after.as_deref(), limit + 1).await?;
    let is_last = found.len() <= limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| !is_last).map(|last| last.client_id.clone());
    let now = operations.services.engine.now();
    let items = found.into_iter().map(|client| ClientBody::of(client, None, now)).collect::<Result<_, _>>()?;
    Ok(ClientsBody { items, next })
}

pub(super) async fn add(
    operations: Arc<Operations>,
    request: Request,
    body: WrittenClient,
) -> Result<ClientBody, Problem> {
    let new = NewClient::parse(Value::Object(body.0)).map_err(ClientRefusal::from)?;
    let registered = operations.services.clients().add(operator(&request), Origin::Administrator, new).await?;
    ClientBody::registered(registered, operations.services.engine.now())
}

pub(super) async fn get(operations: Arc<Operations>, request: Request) -> Result<ClientBody, Problem> {
    let client = operations.services.clients().get(request.param("client")).await?;
    ClientBody::of(client, None, operations.services.engine.now())
}

pub(super) async fn update(
    operations: Arc<Operations>,
    request: Request,
    mut body: WrittenClient,
) -> Result<ClientBody, Problem> {
    let client_id = request.param("client");
    let wrong = |member, detail: &str| Problem::value(vec![Unacceptable::new(member, "invalid", detail.to_owned())]);
    let version = match body.0.remove("version") {
        None | Some(Value::Null) => None,
        Some(version) => {
            Some(version.as_i64().ok_or_else(|| wrong("/version", "send the number that the client has"))?)
        }
    };
    if body.0.remove("client_id").is_some_and(|named| named.as_str() != Some(client_id)) {
        return Err(wrong("/client_id", "a client keeps its client_id: leave it out"));
    }
    if body.0.contains_key("client_secret") {
        return Err(wrong("/client_secret", "rotate the secret instead: leave it out"));
    }
    let metadata = Metadata::parse(Value::Object(body.0)).map_err(ClientRefusal::from)?;
    let registered = operations.services.clients().update(operator(&request), client_id, version, metadata).await?;
    ClientBody::registered(registered, operations.services.engine.now())
}

pub(super) async fn delete(operations: Arc<Operations>, request: Request) -> Result<(), Problem> {
    Ok(operations.services.clients().delete(operator(&request), request.param("client")).await?)
}

pub(super) async fn rotate(
    operations: Arc<Operations>,
    request: Request,
    body: RotationBody,
) -> Result<ClientBody, Problem> {
    let overlap = body.overlap.map_or(Clients::OVERLAP, Duration::from_secs);
    let clients = operations.services.clients();
    let registered = clients.rotate_secret(operator(&request), request.param("client"), overlap).await?;
    ClientBody::registered(registered, operations.services.engine.now())
}

pub(super) async fn import(
    operations: Arc<Operations>,
    request: Request,
    body: ImportBody,
) -> Result<ReportBody, Problem> {
    let ImportBody { clients, dry_run, prune } = body;
    let items = clients.into_iter().map(|client| Value::Object(client.0)).collect();
    let import = Import { origin: Origin::Administrator, dry_run, prune };
    let report = operations.services.clients().import(operator(&request), items, import).await?;
    Ok(ReportBody { clients: report.0.into_iter().map(ImportedBody::from).collect(), dry_run })
}
