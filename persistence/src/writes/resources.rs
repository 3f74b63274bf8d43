//! Resources: whole rows, new or in the place of what was there, and those that go.

use std::collections::BTreeMap;

use cairn_actors::effects::ResourceWrite;
use cairn_actors::oauth::resource::Resource;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use super::Table;
use super::rows::as_word;
use crate::entity::resources::{ActiveModel, Column, Entity};
use crate::single::Part;

/// What becomes of resources in one batch: of each URI, the last that is said of it; `None`: it goes.
#[derive(Debug, Default)]
pub(super) struct Resources(BTreeMap<String, Option<Resource>>);

/// What a row that is there takes over from another.
const CHANGED: [Column; 5] = [Column::Scope, Column::Name, Column::AccessTokenTtl, Column::Origin, Column::UpdatedAt];

impl Table for Resources {
    type Write = ResourceWrite;

    fn take(&mut self, write: &ResourceWrite) {
        match write {
            ResourceWrite::Save(resource) => self.0.insert(resource.uri.to_string(), Some((**resource).clone())),
            ResourceWrite::Delete { uri } => self.0.insert(uri.to_string(), None),
        };
    }

    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let gone = self.0.iter().filter(|(_, resource)| resource.is_none()).map(|(uri, _)| uri.clone());
        let gone: Vec<String> = gone.collect();
        let saved = self.0.into_values().flatten().map(row).collect::<Result<Vec<_>, DbErr>>()?;
        if !gone.is_empty() {
            Entity::delete_many().filter(Column::Uri.is_in(gone)).exec(transaction).await?;
        }
        if !saved.is_empty() {
            let instead = OnConflict::column(Column::Uri).update_columns(CHANGED).to_owned();
            Entity::insert_many(saved).on_conflict(instead).exec_without_returning(transaction).await?;
        }
        Ok(())
    }

    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        // Resources change rarely: nobody waits for the transaction.
        Ok(self.0.is_empty().then(Vec::new))
    }
}

fn row(resource: Resource) -> Result<ActiveModel, DbErr> {
    let seconds = resource.access_token_ttl.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    Ok(ActiveModel {
        uri: ActiveValue::Set(resource.uri.to_string()),
        scope: ActiveValue::Set(resource.scope.to_string()),
        name: ActiveValue::Set(resource.name),
        access_token_ttl: ActiveValue::Set(seconds),
        origin: ActiveValue::Set(as_word(&resource.origin)?),
        created_at: ActiveValue::Set(resource.created_at.0),
        updated_at: ActiveValue::Set(resource.updated_at.0),
    })
}
