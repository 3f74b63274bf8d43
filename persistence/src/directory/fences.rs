//! Numbers of fences.

use std::collections::HashMap;

use cairn_actors::directory::Fences;
use cairn_actors::effects::{Auth, Key};
use cairn_runtime::Domain;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::read_fault;
use crate::connect::Database;
use crate::entity::guards;

/// Fences over a database.
#[derive(Debug)]
pub(super) struct SqlFences(pub(super) Database);

impl Fences for SqlFences {
    fn numbers<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<i64>>, StoreFault>> {
        Box::pin(async move {
            let texts: Vec<String> = keys.iter().map(Auth::guard).collect();
            let found: Vec<(String, i64)> = guards::Entity::find()
                .filter(guards::Column::Key.is_in(texts.iter().map(String::as_str)))
                .select_only()
                .columns([guards::Column::Key, guards::Column::Value])
                .into_tuple()
                .all(self.0.readers())
                .await
                .map_err(read_fault)?;
            let found: HashMap<String, i64> = found.into_iter().collect();
            Ok(texts.iter().map(|text| found.get(text).copied()).collect())
        })
    }
}
