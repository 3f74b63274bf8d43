//! Rotation: what a refresh token turns out to be, and what the access token beside it is made from.
//!
//! What must stay true: one refresh token is the present one; the one before it gets the same answer within the grace
//! time, because its client may have lost our reply; any older one shows that somebody else has a copy.

use std::time::Duration;

use cairn_runtime::{Cx, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effects::Auth;
use crate::secrets::credential::{Presented, Seal, of};
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// How long the steps are on record that carry a session or an authorization on.
pub(super) const ROUTINE: Duration = Duration::from_secs(7 * 86_400);

/// All that an access token's text depends on besides its flow, so that a repeat gets the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// Its number within the flow, the first is 0; `jti` is derived from it.
    pub generation: u32,
    /// `iat`, and when the refresh token that it came with became the present one.
    pub at: Timestamp,
    /// `exp`.
    pub until: Timestamp,
    /// `kid`: the key that signs it.
    pub key: String,
}

impl Minted {
    /// The first of a flow, to be signed by an algorithm. `life`: how long it is good at most; `None`: as the settings say.
    pub(super) fn first(algorithm: SigningAlgorithm, life: Option<Duration>, cx: &Cx<'_, Auth>) -> Self {
        Self::now(0, algorithm, life, cx)
    }

    /// The one after this.
    #[must_use]
    pub(super) fn next(&self, algorithm: SigningAlgorithm, life: Option<Duration>, cx: &Cx<'_, Auth>) -> Self {
        Self::now(self.generation.saturating_add(1), algorithm, life, cx)
    }

    fn now(generation: u32, algorithm: SigningAlgorithm, life: Option<Duration>, cx: &Cx<'_, Auth>) -> Self {
        let usual = cx.environment.settings.access_ttl;
        let until = cx.now.after(life.map_or(usual, |life| life.min(usual)));
        let key = cx.environment.signing.current(algorithm, cx.now).unwrap_or_default().to_owned();
        Self { generation, at: cx.now, until, key }
    }
}

/// What a refresh token turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Never issued by this flow.
    Foreign,
    /// The present one.
    Present,
    /// The one before it, within the grace time.
    Repeated,
    /// One that was replaced, and no repeat.
    Replaced,
}

/// Holds a refresh token against the present one's seal, which became the present one at `since`.
pub(super) fn standing(
    token: &Presented<of::RefreshToken>,
    present: &Seal,
    since: Timestamp,
    cx: &Cx<'_, Auth>,
) -> Standing {
    let shown = token.generation();
    if !token.is_genuine(&cx.environment.ring, &present.salt) || shown > present.n {
        Standing::Foreign
    } else if shown == present.n {
        Standing::Present
    } else if shown.checked_add(1) == Some(present.n) && cx.now < since.after(cx.environment.settings.refresh_grace) {
        Standing::Repeated
    } else {
        Standing::Replaced
    }
}
