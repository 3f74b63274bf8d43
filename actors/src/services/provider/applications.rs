//! The applications that a person lets act for them, as they see and end them.

use std::collections::BTreeMap;

use cairn_runtime::{Fault, Flow, FlowId, Timestamp};

use super::super::{Caller, Refusal};
use super::Provider;
use crate::acts::consents;
use crate::flows::authorization::{Authorization, Command};
use crate::identity::user_id::UserId;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::scope::Scope;

/// Authorizations of one person that are looked at.
const MOST: u32 = 1_000;

/// An application that may act for a person.
#[derive(Clone, Debug)]
pub struct Application {
    /// Which.
    pub client: Client,
    /// For what.
    pub scope: Scope,
    /// When it was last let in; `None`: nobody was asked.
    pub given_at: Option<Timestamp>,
    /// When it last fetched tokens; `None`: it has none now.
    pub used_at: Option<Timestamp>,
}

impl Provider<'_> {
    /// A person's applications, let in last first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn applications(&self, user: UserId) -> Result<Vec<Application>, Refusal> {
        let mut known: BTreeMap<ClientId, (Scope, Option<Timestamp>, Option<Timestamp>)> = BTreeMap::new();
        for consent in self.directory.consents.all(user).await? {
            known.insert(consent.client, (consent.scope, consent.given_at, None));
        }
        for (_, client, scope, at) in self.living(user).await? {
            let entry = known.entry(client).or_default();
            entry.0 = entry.0.or(&scope);
            entry.2 = entry.2.max(Some(at));
        }
        let mut applications = Vec::new();
        for (client, (scope, given_at, used_at)) in known {
            // One that is not registered any more can do nothing.
            if let Some(client) = self.directory.clients.by_id(client).await? {
                applications.push(Application { client, scope, given_at, used_at });
            }
        }
        applications.sort_by_key(|application| std::cmp::Reverse(application.given_at.max(application.used_at)));
        Ok(applications)
    }

    /// A person ends what an application may do for them. What it has is worth nothing from this commit on.
    ///
    /// # Errors
    /// The engine's.
    pub async fn end_application(&self, caller: &Caller, user: UserId, client: &str) -> Result<(), Refusal> {
        let client = ClientId::of(client);
        if self.directory.consents.of(user, client).await?.is_some() {
            let asker = self.engine.asker(&caller.trace);
            self.engine.act(consents::TAKE_BACK, asker, |lost, _| consents::take_back(user, client, lost)).await?;
        }
        // Where nobody was asked there is no consent to take back, and each is ended by itself.
        for (flow, of, ..) in self.living(user).await? {
            if of == client {
                let asker = self.engine.asker(&caller.trace);
                match self.engine.call::<Authorization>(flow, asker, Command::Leave).await {
                    Ok(_) | Err(Fault::NotFound | Fault::Ended | Fault::Quarantined) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        }
        Ok(())
    }

    /// The authorizations of a person whose clients have tokens: which, whose, for what, and when they last had some.
    async fn living(&self, user: UserId) -> Result<Vec<(FlowId, ClientId, Scope, Timestamp)>, Refusal> {
        let rows = self.directory.flows.of(user, Some(Authorization::NAME), MOST).await?;
        let mut living = Vec::new();
        for row in rows {
            let Ok(seen) = self.engine.read::<Authorization>(row) else { continue };
            if let Authorization::Active(active) = seen.state {
                living.push((seen.id, active.grant.client, active.grant.access.scope.clone(), active.minted.at));
            }
        }
        Ok(living)
    }
}
