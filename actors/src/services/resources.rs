//! Managing resources, the services that access tokens are for.

use serde::Deserialize;

use super::Services;
use super::clients::{By, ClientRefusal, InvalidClient};
use crate::acts::clients::Author;
use crate::acts::resources;
use crate::directory::MOST_RESOURCES;
use crate::oauth::client::{InvalidMetadata, Origin};
use crate::oauth::resource::Resource;
use crate::oauth::scope::Scope;
use crate::oauth::uri::AbsoluteUri;

/// The longest name, in characters.
const LONGEST_NAME: usize = 200;
/// The longest scope, in bytes.
const LONGEST_SCOPE: usize = 4_096;
/// The longest life of an access token that may be asked for, in seconds.
const LONGEST_LIFE: u64 = 86_400;

/// A resource as it is written down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenResource {
    /// Its URI.
    pub uri: String,
    /// The scopes that tokens for it may have, with a space between two.
    #[serde(default)]
    pub scope: String,
    /// Its name, as people are shown it.
    #[serde(default)]
    pub name: Option<String>,
    /// How long access tokens for it are good at most, in seconds.
    #[serde(default)]
    pub access_token_ttl: Option<u64>,
}

/// A resource as it was written down, read.
struct Read {
    uri: AbsoluteUri,
    scope: Scope,
    name: Option<String>,
    access_token_ttl: Option<u64>,
}

impl WrittenResource {
    fn read(self) -> Result<Read, InvalidMetadata> {
        let invalid = |member, detail: String| InvalidMetadata { member, detail };
        let uri = AbsoluteUri::parse(&self.uri)
            .map_err(|_| invalid("uri", "send an absolute URI without a fragment".to_owned()))?;
        let scope = Scope::parse(&self.scope).map_err(|why| invalid("scope", why.to_string()))?;
        if scope.to_string().len() > LONGEST_SCOPE {
            return Err(invalid("scope", format!("send at most {LONGEST_SCOPE} bytes")));
        }
        let is_long = |name: &String| name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control);
        if self.name.as_ref().is_some_and(is_long) {
            return Err(invalid("name", format!("send at most {LONGEST_NAME} characters on one line")));
        }
        if self.access_token_ttl.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
            return Err(invalid("access_token_ttl", format!("send 1 to {LONGEST_LIFE} seconds")));
        }
        let name = self.name.filter(|name| !name.trim().is_empty());
        Ok(Read { uri, scope, name, access_token_ttl: self.access_token_ttl })
    }
}

/// Manages resources.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a>(&'a Services);

impl Services {
    /// The resources.
    pub fn resources(&self) -> Resources<'_> {
        Resources(self)
    }
}

impl Resources<'_> {
    /// All of them, in the order of their URIs.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list(self) -> Result<Vec<Resource>, ClientRefusal> {
        Ok(self.0.directory.resources.all().await?)
    }

    /// Registers a resource, or puts this registration in the place of the one there is.
    ///
    /// # Errors
    /// [`ClientRefusal::Invalid`], also where the settings file keeps the resource or there are too many.
    pub async fn save(self, by: By<'_>, written: WrittenResource) -> Result<Resource, ClientRefusal> {
        let read = written.read()?;
        let there = self.list().await?;
        let before = there.iter().find(|resource| resource.uri == read.uri);
        if before.is_some_and(|before| before.origin == Origin::Settings) {
            return Err(ClientRefusal::invalid("uri", "kept_by_settings", KEPT));
        }
        if before.is_none() && there.len() >= MOST_RESOURCES as usize {
            let detail = format!("there are {MOST_RESOURCES} resources, and no more are kept: delete one");
            return Err(ClientRefusal::invalid("uri", "too_many", detail));
        }
        let uri = read.uri.clone();
        self.write(by, Origin::Administrator, read).await?;
        self.0.directory.resources.by_uri(&uri).await?.ok_or(ClientRefusal::NotFound)
    }

    /// Deletes a resource. Tokens for it that are out stay good until they end.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`], [`ClientRefusal::Invalid`] where the settings file keeps the resource.
    pub async fn delete(self, by: By<'_>, uri: &str) -> Result<(), ClientRefusal> {
        let uri = AbsoluteUri::parse(uri).map_err(|_| ClientRefusal::NotFound)?;
        let before = self.0.directory.resources.by_uri(&uri).await?.ok_or(ClientRefusal::NotFound)?;
        if before.origin == Origin::Settings && by.author != Author::Settings {
            return Err(ClientRefusal::invalid("uri", "kept_by_settings", KEPT));
        }
        self.remove(by, uri).await
    }

    /// Brings the resources of the settings file to what it says, and deletes those that it says no longer. Gives how many
    /// were changed or deleted.
    ///
    /// # Errors
    /// [`ClientRefusal::Invalid`] with every resource that is none, and then nothing is changed.
    pub async fn sync(self, by: By<'_>, written: Vec<WrittenResource>) -> Result<usize, ClientRefusal> {
        let (mut listed, mut wrong) = (Vec::<Read>::new(), Vec::new());
        for (place, written) in written.into_iter().enumerate() {
            let mut refuse = |code, why| wrong.push(InvalidClient { place: Some(place), code, why });
            match written.read() {
                Ok(read) if listed.iter().any(|known| known.uri == read.uri) => {
                    let detail = "this resource stands in the list twice".to_owned();
                    refuse("doubled", InvalidMetadata { member: "uri", detail });
                }
                Ok(read) => listed.push(read),
                Err(why) => refuse("invalid", why),
            }
        }
        if !wrong.is_empty() {
            return Err(ClientRefusal::Invalid(wrong));
        }
        let there = self.list().await?;
        let mut changed = 0;
        for gone in there.iter().filter(|resource| resource.origin == Origin::Settings) {
            if !listed.iter().any(|read| read.uri == gone.uri) {
                self.remove(by, gone.uri.clone()).await?;
                changed += 1;
            }
        }
        for read in listed {
            let is_so = there.iter().any(|there| {
                there.uri == read.uri
                    && there.scope == read.scope
                    && there.name == read.name
                    && there.access_token_ttl == read.access_token_ttl
                    && there.origin == Origin::Settings
            });
            if !is_so {
                self.write(by, Origin::Settings, read).await?;
                changed += 1;
            }
        }
        Ok(changed)
    }

    async fn write(self, by: By<'_>, origin: Origin, read: Read) -> Result<(), ClientRefusal> {
        let Read { uri, scope, name, access_token_ttl } = read;
        let asker = self.0.engine.asker(by.trace);
        let act = self.0.engine.act(resources::SAVE, asker, |_, cx| {
            let (uri, scope, name) = (uri.clone(), scope.clone(), name.clone());
            let (created_at, updated_at) = (cx.now, cx.now);
            resources::save(Resource { uri, scope, name, access_token_ttl, origin, created_at, updated_at }, by.author)
        });
        act.await?;
        Ok(())
    }

    async fn remove(self, by: By<'_>, uri: AbsoluteUri) -> Result<(), ClientRefusal> {
        let asker = self.0.engine.asker(by.trace);
        self.0.engine.act(resources::DELETE, asker, |_, _| resources::delete(uri.clone(), by.author)).await?;
        Ok(())
    }
}

/// What is said of a resource that is the settings file's.
const KEPT: &str = "the settings file keeps this resource: change it there";
