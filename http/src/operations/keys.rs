//! `GET /keys`, `POST /keys/rotate`: the signing keys and their rotation.

use std::sync::Arc;

use cairn_actors::secrets::signing_algorithm::SigningAlgorithm;
use cairn_actors::services::signing_keys::{KeyView, Rotation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operations;
use crate::description::{Area, Description};
use crate::problem::Problem;
use crate::reply::instant;
use crate::request::Request;
use crate::schema;

pub(super) const LIST: Description = Description::new("listSigningKeys", Area::Runtime, "List the signing keys");
pub(super) const ROTATE: Description =
    Description::new("rotateSigningKeys", Area::Runtime, "Make the successors of the keys that sign").text(
        "A successor is published at once and signs an hour later. Where one is on its way already, none is made, unless it \
         is to sign now.",
    );

/// The signing keys.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SigningKeys")]
pub struct KeysBody {
    /// By algorithm, the oldest first.
    keys: Vec<KeyBody>,
}

/// A signing key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SigningKey")]
struct KeyBody {
    /// Its name in headers of tokens, and among the published keys.
    kid: String,
    /// Its algorithm.
    #[schemars(with = "schema::SigningAlgorithm")]
    algorithm: String,
    /// Since when it is published.
    #[schemars(with = "schema::Instant")]
    since: String,
    /// What it is for.
    #[schemars(with = "schema::KeyState")]
    state: &'static str,
}

impl From<Vec<KeyView>> for KeysBody {
    fn from(views: Vec<KeyView>) -> Self {
        let body = |view: KeyView| KeyBody {
            kid: view.kid,
            algorithm: view.algorithm,
            since: instant(view.since),
            state: view.state.name(),
        };
        Self { keys: views.into_iter().map(body).collect() }
    }
}

/// What to rotate.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyRotation")]
pub(super) struct RotationBody {
    /// This algorithm alone. Absent: every algorithm that has a key.
    #[schemars(with = "Option<schema::SigningAlgorithm>")]
    algorithm: Option<SigningAlgorithm>,
    /// The new key signs now, and the others of its algorithm no more.
    now: Option<bool>,
}

pub(super) async fn list(operations: Arc<Operations>) -> Result<KeysBody, Problem> {
    Ok(operations.services.signing_keys().await?.into())
}

pub(super) async fn rotate(
    operations: Arc<Operations>,
    _request: Request,
    body: RotationBody,
) -> Result<KeysBody, Problem> {
    let rotation = Rotation { algorithm: body.algorithm, at_once: body.now.unwrap_or_default() };
    Ok(operations.services.rotate_signing_keys(rotation).await?.into())
}
