//! Resources, the services that access tokens are for.

use cairn_actors::directory::{MOST_RESOURCES, Resources};
use cairn_actors::oauth::resource::Resource;
use cairn_actors::oauth::scope::Scope;
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;
use sea_orm::{DbErr, EntityTrait, QueryOrder, QuerySelect};

use super::clients::from_word;
use super::read_fault;
use crate::connect::Database;
use crate::entity::{number, resources};

/// Resources over a database.
#[derive(Debug)]
pub(super) struct SqlResources(pub(super) Database);

impl Resources for SqlResources {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Resource>, StoreFault>> {
        Box::pin(async move {
            let all = resources::Entity::find()
                .order_by_asc(resources::Column::Uri)
                .limit(u64::from(MOST_RESOURCES))
                .all(self.0.readers())
                .await
                .map_err(read_fault)?;
            all.into_iter().map(read).collect::<Result<_, _>>().map_err(read_fault)
        })
    }

    fn by_uri<'a>(&'a self, uri: &'a AbsoluteUri) -> BoxFuture<'a, Result<Option<Resource>, StoreFault>> {
        Box::pin(async move {
            let found = resources::Entity::find_by_id(uri.as_str()).one(self.0.readers()).await.map_err(read_fault)?;
            found.map(read).transpose().map_err(read_fault)
        })
    }
}

fn read(stored: resources::Model) -> Result<Resource, DbErr> {
    let odd = |why: &dyn std::fmt::Display| DbErr::Type(format!("the resource {}: {why}", stored.uri));
    Ok(Resource {
        uri: AbsoluteUri::parse(&stored.uri).map_err(|why| odd(&why))?,
        scope: Scope::parse(&stored.scope).map_err(|why| odd(&why))?,
        name: stored.name,
        access_token_ttl: stored.access_token_ttl.map(number).transpose()?,
        origin: from_word(stored.origin)?,
        created_at: Timestamp(stored.created_at),
        updated_at: Timestamp(stored.updated_at),
    })
}
