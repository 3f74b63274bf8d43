//! OAuth clients: whole rows, new or in the place of what was there, and those that go.

use std::collections::BTreeMap;

use cairn_actors::effects::{ClientWrite, StoredClient};
use cairn_actors::oauth::client::ClientId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use super::Table;
use super::rows::{as_json, as_word};
use crate::entity::clients::{ActiveModel, Column, Entity};
use crate::single::Part;

/// What becomes of clients in one batch: of each, the last that is said of it; `None`: it goes.
#[derive(Debug, Default)]
pub(super) struct Clients(BTreeMap<ClientId, Option<StoredClient>>);

/// What a row that is there takes over from another.
const CHANGED: [Column; 5] = [Column::Metadata, Column::Secrets, Column::Origin, Column::Version, Column::UpdatedAt];

impl Table for Clients {
    type Write = ClientWrite;

    fn take(&mut self, write: &ClientWrite) {
        match write {
            ClientWrite::Save(client) => self.0.insert(ClientId::of(&client.client_id), Some((**client).clone())),
            ClientWrite::Delete { client } => self.0.insert(*client, None),
        };
    }

    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let gone = self.0.iter().filter(|(_, client)| client.is_none()).map(|(id, _)| id.0.bytes().to_vec());
        let gone: Vec<Vec<u8>> = gone.collect();
        let saved = self.0.into_iter().filter_map(|(id, client)| client.map(|client| row(id, client)));
        let saved = saved.collect::<Result<Vec<_>, DbErr>>()?;
        if !gone.is_empty() {
            Entity::delete_many().filter(Column::Id.is_in(gone)).exec(transaction).await?;
        }
        if !saved.is_empty() {
            let instead = OnConflict::column(Column::Id).update_columns(CHANGED).to_owned();
            Entity::insert_many(saved).on_conflict(instead).exec_without_returning(transaction).await?;
        }
        Ok(())
    }

    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        // Clients change rarely: nobody waits for the transaction.
        Ok(self.0.is_empty().then(Vec::new))
    }
}

fn row(id: ClientId, client: StoredClient) -> Result<ActiveModel, DbErr> {
    Ok(ActiveModel {
        id: ActiveValue::Set(id.0.bytes().to_vec()),
        client_id: ActiveValue::Set(client.client_id),
        metadata: ActiveValue::Set(as_json(&client.metadata)?),
        secrets: ActiveValue::Set(as_json(&client.secrets)?),
        origin: ActiveValue::Set(as_word(&client.origin)?),
        version: ActiveValue::Set(client.version),
        created_at: ActiveValue::Set(client.created_at.0),
        updated_at: ActiveValue::Set(client.updated_at.0),
    })
}
