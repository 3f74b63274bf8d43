//! Bringing the registered clients to what a list says: all of it is read before anything is changed, and what is so
//! already is left alone.

use std::collections::BTreeMap;

use cairn_runtime::{Id, Timestamp};
use serde_json::Value;

use super::refusal::{ClientRefusal, InvalidClient};
use super::{By, Clients, KEPT, NewClient, TRIES, first};
use crate::acts::clients::{self, Done};
use crate::effects::StoredClient;
use crate::oauth::client::{Client, ClientId, ClientSecret, InvalidMetadata, Origin};

/// How many clients are read at once.
const PAGE: u32 = 500;
/// How many faults of one list are told.
const TOLD: usize = 100;

/// How a list is taken.
#[derive(Clone, Copy, Debug)]
pub struct Import {
    /// Whose the clients of the list are from then on.
    pub origin: Origin,
    /// Nothing is changed; the report says what would be.
    pub dry_run: bool,
    /// Clients of the same origin that are not in the list are deleted.
    pub prune: bool,
}

/// What has become, or would become, of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It is another than before.
    Changed,
    /// It was so already.
    Unchanged,
    /// It is no more.
    Removed,
}

/// What has become of one client.
#[derive(Debug)]
pub struct Imported {
    /// Its `client_id`.
    pub client_id: String,
    /// What has become of it.
    pub outcome: Outcome,
    /// A secret that was made for it, which is told once.
    pub secret: Option<ClientSecret>,
}

/// What has become of each client of a list, and of those that went, in the order of their `client_id`.
#[derive(Debug)]
pub struct ImportReport(pub Vec<Imported>);

/// One client of a list.
struct Listed {
    client_id: String,
    new: NewClient,
}

impl Clients<'_> {
    /// Brings the clients to what a list says. An item without a `client_id` is given one that follows from what the item
    /// says, so that the same list is the same clients each time.
    ///
    /// When this is interrupted, some clients are as the list says and the others as before; the same list once more does
    /// the rest.
    ///
    /// # Errors
    /// [`ClientRefusal::Invalid`] with every item that is no client, and then nothing is changed.
    pub async fn import(self, by: By<'_>, items: Vec<Value>, import: Import) -> Result<ImportReport, ClientRefusal> {
        let listed = self.read(items, import)?;
        let mut report: BTreeMap<String, Imported> = BTreeMap::new();
        // Whoever brings the clients to the same list at the same time may be faster at one or another: then what is left to
        // do is found out anew.
        for _ in 0..TRIES {
            let there = self.all().await?;
            Self::check_origins(&listed, &there, import)?;
            let mut all_done = true;
            for item in &listed {
                let done = self.bring(by, item, there.get(&item.client_id), import, &mut report).await?;
                all_done &= done;
            }
            let gone = there.values().filter(|client| {
                import.prune
                    && client.origin == import.origin
                    && !listed.iter().any(|item| item.client_id == client.client_id)
            });
            for client in gone {
                let done = import.dry_run || self.remove(by, client).await? == Done::Done;
                all_done &= done;
                if done {
                    note(&mut report, &client.client_id, Outcome::Removed, None);
                }
            }
            if all_done {
                return Ok(ImportReport(report.into_values().collect()));
            }
        }
        Err(ClientRefusal::Changed)
    }

    /// Reads every item.
    fn read(self, items: Vec<Value>, import: Import) -> Result<Vec<Listed>, ClientRefusal> {
        let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (place, item) in items.into_iter().enumerate() {
            let mut refuse = |code, why| wrong.push(InvalidClient { place: Some(place), code, why });
            let new = match NewClient::parse(item) {
                Ok(new) => new,
                Err(why) => {
                    refuse("invalid", why);
                    continue;
                }
            };
            let needs = |member, detail: &str| InvalidMetadata { member, detail: detail.to_owned() };
            if import.origin == Origin::Settings {
                // There is nobody to be told what was made.
                if new.client_id.is_none() {
                    refuse("missing", needs("client_id", "name the client"));
                    continue;
                }
                if new.secret.is_none() && new.metadata.token_endpoint_auth_method.is_by_secret() {
                    refuse("missing", needs("client_secret", "say the secret that the client authenticates by"));
                    continue;
                }
            }
            let client_id = new.client_id.clone().unwrap_or_else(|| self.derived(&new));
            if listed.contains_key(&client_id) {
                refuse("doubled", needs("client_id", "this client stands in the list twice"));
                continue;
            }
            listed.insert(client_id.clone(), Listed { client_id, new });
        }
        if wrong.is_empty() {
            return Ok(listed.into_values().collect());
        }
        wrong.truncate(TOLD);
        Err(ClientRefusal::Invalid(wrong))
    }

    /// The `client_id` of an item that names none.
    fn derived(self, new: &NewClient) -> String {
        let said = serde_json::to_string(&new.metadata).unwrap_or_default();
        let digest = self.0.engine.environment().digest("imported client", said.as_bytes());
        ClientId(Id::from_bytes(first(&digest.0))).text()
    }

    /// All clients, by their `client_id`.
    async fn all(self) -> Result<BTreeMap<String, Client>, ClientRefusal> {
        let mut all = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.list(after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            after = page.last().map(|client| client.client_id.clone());
            all.extend(page.into_iter().map(|client| (client.client_id.clone(), client)));
            if is_last {
                return Ok(all);
            }
        }
    }

    /// What the settings file keeps is changed there and nowhere else.
    fn check_origins(listed: &[Listed], there: &BTreeMap<String, Client>, import: Import) -> Result<(), ClientRefusal> {
        let kept = listed.iter().filter(|item| {
            import.origin != Origin::Settings
                && there.get(&item.client_id).is_some_and(|client| client.origin == Origin::Settings)
        });
        let wrong: Vec<InvalidClient> = kept
            .map(|item| {
                let detail = format!("{}: {KEPT}", item.client_id);
                let why = InvalidMetadata { member: "client_id", detail };
                InvalidClient { place: None, code: "kept_by_settings", why }
            })
            .take(TOLD)
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(ClientRefusal::Invalid(wrong)) }
    }

    /// Brings one client to what the list says. `false`: somebody else was faster.
    async fn bring(
        self,
        by: By<'_>,
        item: &Listed,
        before: Option<&Client>,
        import: Import,
        report: &mut BTreeMap<String, Imported>,
    ) -> Result<bool, ClientRefusal> {
        let Listed { client_id, new } = item;
        let (environment, now) = (self.0.engine.environment(), self.0.engine.now());
        let keeps = |before: &Client| match &new.secret {
            Some(given) => before.has_secret(given, &environment, now),
            None => before.secrets.iter().any(|stored| stored.is_good(now)),
        };
        let by_secret = new.metadata.token_endpoint_auth_method.is_by_secret();
        let kept = before.filter(|before| by_secret && keeps(before)).map(|before| before.secrets.clone());
        if let Some(before) = before
            && before.metadata == new.metadata
            && before.origin == import.origin
            && (kept.is_some() || !by_secret)
        {
            note(report, client_id, Outcome::Unchanged, None);
            return Ok(true);
        }
        let outcome = if before.is_some() { Outcome::Changed } else { Outcome::Created };
        if import.dry_run {
            note(report, client_id, outcome, None);
            return Ok(true);
        }
        let made = match &new.secret {
            None if by_secret && kept.is_none() => Some(ClientSecret::from_seed(self.0.engine.seed())),
            _ => None,
        };
        let write = |now: Timestamp| StoredClient {
            client_id: client_id.clone(),
            metadata: new.metadata.clone(),
            // What the list says is the only secret, unless it is the one of two already.
            secrets: kept.clone().unwrap_or_else(|| {
                let secret = made.as_ref().or(new.secret.as_ref());
                secret.iter().map(|secret| self.stored(secret, now)).collect()
            }),
            origin: import.origin,
            version: 0,
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
        };
        let done = match before {
            Some(before) => self.change(by, clients::CHANGE, before, &write).await?,
            None => self.register(by, &write).await?,
        };
        if done == Done::Done {
            note(report, client_id, outcome, made);
        }
        Ok(done == Done::Done)
    }
}

/// Notes what has become of a client. What was noted before is what we did; that it is so now is no news.
fn note(report: &mut BTreeMap<String, Imported>, client_id: &str, outcome: Outcome, secret: Option<ClientSecret>) {
    let noted = report.get(client_id).map(|before| before.outcome);
    if noted.is_none_or(|before| before == Outcome::Unchanged || outcome != Outcome::Unchanged) {
        report.insert(client_id.to_owned(), Imported { client_id: client_id.to_owned(), outcome, secret });
    }
}
