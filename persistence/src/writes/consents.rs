//! Consents: given, which replaces the one from before, and taken back.

use std::collections::{BTreeMap, BTreeSet};

use cairn_actors::effects::ConsentWrite;
use cairn_actors::identity::user_id::UserId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use serde_json::json;

use super::Table;
use crate::entity::consents::{ActiveModel, Column, Entity};
use crate::single::Part;

/// A user and a client.
type Key = (Vec<u8>, Vec<u8>);

/// What becomes of consents in one batch.
#[derive(Debug, Default)]
pub(super) struct Consents {
    /// Those that are given: scope, resources, and when.
    given: BTreeMap<Key, (String, String, i64)>,
    taken_back: BTreeSet<Key>,
    /// Users who are no more.
    without: Vec<Vec<u8>>,
}

impl Table for Consents {
    type Write = ConsentWrite;

    /// The fence of a consent, or the claim on it, is held by every step that writes it: two of one batch are about
    /// different ones, or the same in the order of the batch.
    fn take(&mut self, write: &ConsentWrite) {
        match write {
            ConsentWrite::Give { user, client, scope, resources, at } => {
                let key = (user.0.bytes().to_vec(), client.0.bytes().to_vec());
                self.taken_back.remove(&key);
                let resources = json!(resources).to_string();
                self.given.insert(key, (scope.to_string(), resources, at.0));
            }
            ConsentWrite::TakeBack { user, client } => {
                let key = (user.0.bytes().to_vec(), client.0.bytes().to_vec());
                self.given.remove(&key);
                self.taken_back.insert(key);
            }
        }
    }

    fn take_deletion(&mut self, user: UserId) {
        self.without.push(user.0.bytes().to_vec());
    }

    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if !self.taken_back.is_empty() || !self.without.is_empty() {
            let gone = Condition::any().add(Column::UserId.is_in(self.without));
            let gone = self.taken_back.into_iter().fold(gone, |gone, (user, client)| {
                gone.add(Condition::all().add(Column::UserId.eq(user)).add(Column::ClientId.eq(client)))
            });
            Entity::delete_many().filter(gone).exec(transaction).await?;
        }
        if self.given.is_empty() {
            return Ok(());
        }
        let rows = self.given.into_iter().map(|((user, client), (scope, resources, at))| ActiveModel {
            user_id: ActiveValue::Set(user),
            client_id: ActiveValue::Set(client),
            scope: ActiveValue::Set(scope),
            resources: ActiveValue::Set(resources),
            given_at: ActiveValue::Set(at),
        });
        let again = OnConflict::columns([Column::UserId, Column::ClientId])
            .update_columns([Column::Scope, Column::Resources, Column::GivenAt])
            .to_owned();
        Entity::insert_many(rows).on_conflict(again).exec_without_returning(transaction).await.map(|_| ())
    }

    /// A consent is given once for a client, and nobody waits for the journey that a transaction takes more.
    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        let nothing = self.given.is_empty() && self.taken_back.is_empty() && self.without.is_empty();
        Ok(nothing.then(Vec::new))
    }
}
