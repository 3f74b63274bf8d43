//! `/resources`: the services that access tokens are for, as operators manage them.

use std::sync::Arc;

use cairn_actors::oauth::client::Origin;
use cairn_actors::oauth::resource::Resource;
use cairn_actors::services::resources::WrittenResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operations;
use super::clients::operator;
use crate::description::{Area, Description, Query};
use crate::problem::{Kind, Problem};
use crate::reply::instant;
use crate::request::Request;
use crate::schema;

pub(super) const LIST: Description = Description::new("listResources", Area::Clients, "List the resources")
    .text("The services that access tokens are for (RFC 8707), in the order of their URIs.");
pub(super) const SAVE: Description = Description::new("saveResource", Area::Clients, "Register a resource")
    .text("Where it is registered already, this registration takes the place of the other.")
    .refuses(&[Kind::Value]);
pub(super) const DELETE: Description = Description::new("deleteResource", Area::Clients, "Delete a resource")
    .text("Tokens for it that are out stay good until they end.")
    .query(&[Query::required("uri", "Its URI, percent-encoded.")])
    .refuses(&[Kind::Value, Kind::NotFound]);

/// A resource as it is registered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ResourceRegistration")]
pub(super) struct WrittenBody {
    /// How long access tokens for it are good at most, in seconds. Missing: as the client and `CAIRN_ACCESS_TTL` say.
    #[serde(default)]
    access_token_ttl: Option<u64>,
    /// Its name, as people are shown it.
    #[serde(default)]
    name: Option<String>,
    /// The scopes that tokens for it may have, with a space between two.
    #[serde(default)]
    scope: String,
    /// Its URI, without a fragment: what requests name as `resource`, and tokens as `aud`.
    uri: String,
}

/// A resource.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Resource")]
pub(super) struct ResourceBody {
    /// How long access tokens for it are good at most, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    access_token_ttl: Option<u64>,
    /// When it was registered.
    #[schemars(with = "schema::Instant")]
    created_at: String,
    /// Its name, as people are shown it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    name: Option<String>,
    /// Who has registered it: `administrator` or `settings`.
    #[schemars(with = "schema::ClientOrigin")]
    origin: Origin,
    /// The scopes that tokens for it may have.
    scope: String,
    /// When its registration last changed.
    #[schemars(with = "schema::Instant")]
    updated_at: String,
    /// Its URI.
    uri: String,
}

/// The resources.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Resources")]
pub(super) struct ResourcesBody {
    /// The resources.
    items: Vec<ResourceBody>,
}

impl From<Resource> for ResourceBody {
    fn from(resource: Resource) -> Self {
        Self {
            access_token_ttl: resource.access_token_ttl,
            created_at: instant(resource.created_at),
            name: resource.name,
            origin: resource.origin,
            scope: resource.scope.to_string(),
            updated_at: instant(resource.updated_at),
            uri: resource.uri.to_string(),
        }
    }
}

pub(super) async fn list(operations: Arc<Operations>) -> Result<ResourcesBody, Problem> {
    let items = operations.services.resources().list().await?;
    Ok(ResourcesBody { items: items.into_iter().map(ResourceBody::from).collect() })
}

pub(super) async fn save(
    operations: Arc<Operations>,
    request: Request,
    body: WrittenBody,
) -> Result<ResourceBody, Problem> {
    let WrittenBody { access_token_ttl, name, scope, uri } = body;
    let written = WrittenResource { uri, scope, name, access_token_ttl };
    Ok(operations.services.resources().save(operator(&request), written).await?.into())
}

pub(super) async fn delete(operations: Arc<Operations>, request: Request) -> Result<(), Problem> {
    let uri = request.query("uri").ok_or_else(|| Problem::unreadable("Send the query parameter uri."))?;
    Ok(operations.services.resources().delete(operator(&request), &uri).await?)
}
