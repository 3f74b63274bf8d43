//! Managing OAuth clients: one by one, and as lists that files hold.

mod import;
mod refusal;

use std::time::Duration;

use cairn_runtime::{Id, Timestamp};
use serde_json::Value;

pub use self::import::{Import, ImportReport, Imported, Outcome};
pub use self::refusal::{ClientRefusal, InvalidClient};
use super::{Services, TRIES, first};
use crate::acts::clients::{self, Author, Done};
use crate::effects::StoredClient;
use crate::environment::Environment;
use crate::oauth::client::{Client, ClientId, ClientSecret, InvalidMetadata, Metadata, Origin, StoredSecret};

/// The longest `client_id` and the longest secret, in bytes.
const LONGEST: usize = 255;
/// The `client_id` that tokens of people's own sessions name.
const OWN: &str = "cairn";

/// Who manages clients, and by which request.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub author: Author,
    /// The request's id, for history and logs.
    pub trace: &'a str,
}

/// A client that is to be registered.
#[derive(Debug)]
pub struct NewClient {
    /// Its `client_id`; `None`: one is made.
    pub client_id: Option<String>,
    /// Its secret; `None`: one is made, if the client authenticates by one.
    pub secret: Option<ClientSecret>,
    /// What is registered of it.
    pub metadata: Metadata,
}

impl NewClient {
    /// Reads metadata with the members `client_id` and `client_secret` among it.
    ///
    /// # Errors
    /// The first member that no client can have.
    pub fn parse(mut value: Value) -> Result<Self, InvalidMetadata> {
        let mut text = |member: &'static str| match value.as_object_mut().and_then(|members| members.remove(member)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_visible(&text) => Ok(Some(text)),
            Some(_) => {
                let detail = format!("send 1 to {LONGEST} characters of visible ASCII");
                Err(InvalidMetadata { member, detail })
            }
        };
        let (client_id, secret) = (text("client_id")?, text("client_secret")?);
        if client_id.as_deref() == Some(OWN) {
            let detail = format!("{OWN} is what tokens of people's own sessions name: take another");
            return Err(InvalidMetadata { member: "client_id", detail });
        }
        let metadata = Metadata::parse(value)?;
        if secret.is_some() && !metadata.token_endpoint_auth_method.is_by_secret() {
            let detail = "this client does not authenticate by a secret: leave it out".to_owned();
            return Err(InvalidMetadata { member: "client_secret", detail });
        }
        Ok(Self { client_id, secret: secret.map(ClientSecret::shown), metadata })
    }
}

/// A client as it is now, with its secret where one was made for it.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Client,
    /// Its new secret, which is told once.
    pub secret: Option<ClientSecret>,
}

/// Manages clients.
#[derive(Clone, Copy, Debug)]
pub struct Clients<'a>(&'a Services);

impl Services {
    /// The clients.
    pub fn clients(&self) -> Clients<'_> {
        Clients(self)
    }
}

impl Clients<'_> {
    /// How long the secret before is good besides the new one, unless somebody says otherwise.
    pub const OVERLAP: Duration = Duration::from_secs(86_400);
    /// How long it is good at most.
    pub const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 86_400);

    /// The client of a `client_id`.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`], or the database is away.
    pub async fn get(self, client_id: &str) -> Result<Client, ClientRefusal> {
        // The id is made from the text, and two texts with one id would take 2¹²⁸ tries.
        self.0.directory.clients.by_id(ClientId::of(client_id)).await?.ok_or(ClientRefusal::NotFound)
    }

    /// Clients in the order of their `client_id`, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list(self, after: Option<&str>, limit: u32) -> Result<Vec<Client>, ClientRefusal> {
        Ok(self.0.directory.clients.list(after, limit).await?)
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientRefusal::Invalid`] where the `client_id` is taken.
    pub async fn add(self, by: By<'_>, origin: Origin, new: NewClient) -> Result<Registered, ClientRefusal> {
        let client_id = new.client_id.unwrap_or_else(|| ClientId(Id::from_bytes(first(&self.0.engine.seed()))).text());
        let (secret, made) = self.secret(&new.metadata, new.secret);
        let write = |now| StoredClient {
            client_id: client_id.clone(),
            metadata: new.metadata.clone(),
            secrets: secret.iter().map(|secret| self.stored(secret, now)).collect(),
            origin,
            version: 0,
            created_at: now,
            updated_at: now,
        };
        match self.register(by, &write).await? {
            Done::Done => {
                let client = self.get(&client_id).await?;
                Ok(Registered { client, secret: secret.filter(|_| made) })
            }
            Done::Taken | Done::Changed => {
                Err(ClientRefusal::invalid("client_id", "taken", "this one is registered already"))
            }
        }
    }

    /// Gives a client other metadata, if its registration still has the number `version`, where one is named. A client that
    /// authenticates by a secret from now on is given one.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`], [`ClientRefusal::Changed`], [`ClientRefusal::Invalid`] where the settings file keeps the
    /// client.
    pub async fn update(
        self,
        by: By<'_>,
        client_id: &str,
        version: Option<i64>,
        metadata: Metadata,
    ) -> Result<Registered, ClientRefusal> {
        for _ in 0..TRIES {
            let before = self.to_be_changed(by, client_id).await?;
            if version.is_some_and(|version| version != before.version) {
                return Err(ClientRefusal::Changed);
            }
            let by_secret = metadata.token_endpoint_auth_method.is_by_secret();
            let now = self.0.engine.now();
            let has_one = before.secrets.iter().any(|stored| stored.is_good(now));
            let (secret, _) = if has_one { (None, false) } else { self.secret(&metadata, None) };
            if secret.is_none() && metadata == before.metadata {
                return Ok(Registered { client: before, secret: None });
            }
            let write = |now: Timestamp| {
                let kept = before.secrets.iter().filter(|stored| by_secret && stored.is_good(now)).cloned();
                let secrets = kept.chain(secret.iter().map(|secret| self.stored(secret, now))).collect();
                StoredClient { metadata: metadata.clone(), secrets, updated_at: now, ..before.stored() }
            };
            if self.change(by, clients::CHANGE, &before, &write).await? == Done::Done {
                return Ok(Registered { client: self.get(client_id).await?, secret });
            }
        }
        Err(ClientRefusal::Changed)
    }

    /// Gives a client another secret. The one before is good for `overlap` more; nothing that was granted ends.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`], [`ClientRefusal::Invalid`] where the client has no secret or the settings file keeps it.
    pub async fn rotate_secret(
        self,
        by: By<'_>,
        client_id: &str,
        overlap: Duration,
    ) -> Result<Registered, ClientRefusal> {
        if overlap > Self::LONGEST_OVERLAP {
            return Err(ClientRefusal::invalid("overlap", "too_long", "send at most 30 days"));
        }
        for _ in 0..TRIES {
            let before = self.to_be_changed(by, client_id).await?;
            let (Some(secret), _) = self.secret(&before.metadata, None) else {
                let detail = "this client does not authenticate by a secret";
                return Err(ClientRefusal::invalid("token_endpoint_auth_method", "no_secret", detail));
            };
            let write = |now: Timestamp| {
                let newest =
                    before.secrets.iter().filter(|stored| stored.is_good(now)).max_by_key(|stored| stored.created_at);
                let end = now.after(overlap);
                let kept = newest.filter(|_| !overlap.is_zero()).map(|stored| StoredSecret {
                    expires_at: Some(stored.expires_at.map_or(end, |sooner| sooner.min(end))),
                    ..stored.clone()
                });
                let secrets = kept.into_iter().chain([self.stored(&secret, now)]).collect();
                StoredClient { secrets, updated_at: now, ..before.stored() }
            };
            if self.change(by, clients::ROTATE_SECRET, &before, &write).await? == Done::Done {
                return Ok(Registered { client: self.get(client_id).await?, secret: Some(secret) });
            }
        }
        Err(ClientRefusal::Changed)
    }

    /// Deletes a client; all that it was granted is over.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`], [`ClientRefusal::Invalid`] where the settings file keeps the client.
    pub async fn delete(self, by: By<'_>, client_id: &str) -> Result<(), ClientRefusal> {
        for _ in 0..TRIES {
            let before = self.to_be_changed(by, client_id).await?;
            if self.remove(by, &before).await? == Done::Done {
                return Ok(());
            }
        }
        Err(ClientRefusal::Changed)
    }

    /// A client that is not the settings file's, unless it is the file that changes it.
    async fn to_be_changed(self, by: By<'_>, client_id: &str) -> Result<Client, ClientRefusal> {
        let client = self.get(client_id).await?;
        if client.origin == Origin::Settings && by.author != Author::Settings {
            return Err(ClientRefusal::invalid("client_id", "kept_by_settings", KEPT));
        }
        Ok(client)
    }

    async fn register(
        self,
        by: By<'_>,
        write: &(dyn Fn(Timestamp) -> StoredClient + Sync),
    ) -> Result<Done, ClientRefusal> {
        let (engine, asker) = (&self.0.engine, self.0.engine.asker(by.trace));
        let reply =
            engine.act(clients::REGISTER, asker, |lost, cx| clients::register(write(cx.now), by.author, lost)).await?;
        Ok(reply.outcome)
    }

    async fn change(
        self,
        by: By<'_>,
        name: &'static str,
        before: &Client,
        write: &(dyn Fn(Timestamp) -> StoredClient + Sync),
    ) -> Result<Done, ClientRefusal> {
        let (engine, asker) = (&self.0.engine, self.0.engine.asker(by.trace));
        let reply = engine.act(name, asker, |lost, cx| clients::change(before, write(cx.now), by.author, lost)).await?;
        Ok(reply.outcome)
    }

    async fn remove(self, by: By<'_>, before: &Client) -> Result<Done, ClientRefusal> {
        let (engine, asker) = (&self.0.engine, self.0.engine.asker(by.trace));
        let reply = engine.act(clients::DELETE, asker, |lost, _| clients::delete(before, by.author, lost)).await?;
        Ok(reply.outcome)
    }

    /// The secret that a client has from now on, and whether it was made here.
    fn secret(self, metadata: &Metadata, given: Option<ClientSecret>) -> (Option<ClientSecret>, bool) {
        match given {
            Some(given) => (Some(given), false),
            None if metadata.token_endpoint_auth_method.is_by_secret() => {
                (Some(ClientSecret::from_seed(self.0.engine.seed())), true)
            }
            None => (None, false),
        }
    }

    fn stored(self, secret: &ClientSecret, now: Timestamp) -> StoredSecret {
        let environment: &Environment = &self.0.engine.environment();
        StoredSecret { digest: secret.digest(environment), created_at: now, expires_at: None }
    }
}

/// What is said of a client that is the settings file's.
const KEPT: &str = "the settings file keeps this client: change it there";

/// Whether a text is 1 to 255 characters of visible ASCII (RFC 6749 appendix A.1 and A.2).
fn is_visible(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
