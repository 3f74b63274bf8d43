//! Registering resources, the services that access tokens are for, and deleting them.

use cairn_runtime::{ActStep, Effects};
use serde_json::json;

use super::clients::Author;
use crate::effects::{Auth, ResourceWrite};
use crate::oauth::resource::Resource;
use crate::oauth::uri::AbsoluteUri;

/// The name of the act that registers or changes a resource.
pub const SAVE: &str = "save_resource";
/// The name of the act that deletes a resource.
pub const DELETE: &str = "delete_resource";

/// Registers a resource, or puts this registration in the place of the one there is. Of two at once, either may be the
/// last.
pub fn save(resource: Resource, author: Author) -> ActStep<(), Auth> {
    let public = json!({ "resource": resource.uri, "by": author.word() });
    let effects = Effects::none().write(ResourceWrite::Save(Box::new(resource)));
    ActStep { says: (), effects, user: author.user(), public }
}

/// Deletes a resource. Tokens that are out are good until they end; no new ones are given.
pub fn delete(uri: AbsoluteUri, author: Author) -> ActStep<(), Auth> {
    let public = json!({ "resource": uri, "by": author.word() });
    ActStep { says: (), effects: Effects::none().write(ResourceWrite::Delete { uri }), user: author.user(), public }
}
