//! Changes of users: one statement for each kind of change in a batch.
//!
//! A step raises the number of a profile once, however much of it changes, so the version is counted on once a batch.

use std::collections::BTreeSet;

use cairn_actors::effects::Write;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, Value};

use super::changes::{Change, update};
use crate::entity::users::{Column, Entity};

/// The changes of one batch, by kind.
#[derive(Debug, Default)]
pub(super) struct Changes {
    passwords: Vec<Change>,
    suspended: Vec<Change>,
    rehashed: Vec<Change>,
    addresses: Vec<Change>,
    profiles: Vec<Change>,
    deletions: Vec<Change>,
    sign_ins: Vec<Change>,
    deleted: Vec<Vec<u8>>,
}

const PASSWORDS: [Column; 3] = [Column::Password, Column::PasswordChangedAt, Column::PasswordSuspendedAt];
const SUSPENDED: [Column; 1] = [Column::PasswordSuspendedAt];
const REHASHED: [Column; 1] = [Column::Password];
const ADDRESSES: [Column; 4] = [Column::Email, Column::EmailMail, Column::EmailKey, Column::UpdatedAt];
const PROFILES: [Column; 4] = [Column::Username, Column::FirstName, Column::LastName, Column::UpdatedAt];
const DELETIONS: [Column; 1] = [Column::Deletion];
const SIGN_INS: [Column; 1] = [Column::SignedInAt];

impl Changes {
    /// Takes a write, if it is a change of a user.
    pub(super) fn take(&mut self, write: &Write) {
        let text = |text: Option<&str>| Value::from(text.map(str::to_owned));
        match write {
            Write::SetPassword { user, password, at } => {
                let in_force = Value::BigInt(None);
                self.passwords.push(Change::new(user.0, [password.as_text().into(), at.0.into(), in_force]));
            }
            Write::SuspendPassword { user, at } => self.suspended.push(Change::new(user.0, [at.0.into()])),
            Write::Rehash { user, password, at: _ } => {
                self.rehashed.push(Change::new(user.0, [password.as_text().into()]));
            }
            Write::SetAddress { user, address, address_key, at } => self.addresses.push(Change::new(
                user.0,
                [address.typed().into(), address.mailed().into(), address_key.0.to_vec().into(), at.0.into()],
            )),
            Write::SetProfile { user, username, first_name, last_name, at } => self.profiles.push(Change::new(
                user.0,
                [
                    text(username.as_ref().map(|name| name.as_str())),
                    text(first_name.as_ref().map(|name| name.as_str())),
                    text(last_name.as_ref().map(|name| name.as_str())),
                    at.0.into(),
                ],
            )),
            Write::SetDeletion { user, flow, at: _ } => {
                let flow = flow.map(|flow| flow.bytes().to_vec());
                self.deletions.push(Change::new(user.0, [Value::from(flow)]));
            }
            Write::FirstSignIn { user, at } => self.sign_ins.push(Change::new(user.0, [at.0.into()])),
            Write::DeleteUser { user } => self.deleted.push(user.0.bytes().to_vec()),
            Write::CreateUser(_)
            | Write::CountFailure { .. }
            | Write::ClearFailures { .. }
            | Write::AddDevice { .. }
            | Write::SeeDevice { .. }
            | Write::ForgetDevice { .. }
            | Write::ForgetDevices { .. } => {}
        }
    }

    /// Writes them all.
    pub(super) async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        // A user who gives an address or a username up does so in the statement before the one that takes it.
        if !self.deleted.is_empty() {
            Entity::delete_many().filter(Column::Id.is_in(self.deleted)).exec(transaction).await?;
        }
        let counted = [&self.addresses, &self.profiles, &self.deletions];
        let counted: BTreeSet<&Vec<u8>> = counted.into_iter().flatten().map(Change::id).collect();
        if !counted.is_empty() {
            Entity::update_many()
                .col_expr(Column::Version, Expr::col(Column::Version).add(1))
                .filter(Column::Id.is_in(counted.into_iter().cloned()))
                .exec(transaction)
                .await?;
        }
        update::<Entity>(transaction, Column::Id, &PASSWORDS, &self.passwords).await?;
        update::<Entity>(transaction, Column::Id, &SUSPENDED, &self.suspended).await?;
        update::<Entity>(transaction, Column::Id, &REHASHED, &self.rehashed).await?;
        update::<Entity>(transaction, Column::Id, &ADDRESSES, &self.addresses).await?;
        update::<Entity>(transaction, Column::Id, &PROFILES, &self.profiles).await?;
        update::<Entity>(transaction, Column::Id, &DELETIONS, &self.deletions).await?;
        update::<Entity>(transaction, Column::Id, &SIGN_INS, &self.sign_ins).await
    }
}
