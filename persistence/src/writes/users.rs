//! Users: new ones, and one statement for each kind of change in a batch.
//!
//! A step raises the number of a profile once, however much of it changes, so the version is counted on once a batch.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cairn_actors::effects::{NewUser, UserWrite};
use cairn_actors::identity::user_id::UserId;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, Value};

use super::Table;
use super::rows::{self, Change, update};
use crate::entity::users::{ActiveModel, Column, Entity};
use crate::single::{Part, insert};

/// What becomes of users in one batch, by kind.
#[derive(Debug, Default)]
pub(super) struct Users {
    created: Vec<ActiveModel>,
    passwords: Vec<Change>,
    suspended: Vec<Change>,
    rehashed: Vec<Change>,
    addresses: Vec<Change>,
    profiles: Vec<Change>,
    deletions: Vec<Change>,
    sign_ins: Vec<Change>,
    deleted: Vec<Vec<u8>>,
    /// Users that a write is about.
    known: BTreeSet<UserId>,
    /// Two writes are about one user.
    meet: bool,
}

const PASSWORDS: [Column; 3] = [Column::Password, Column::PasswordChangedAt, Column::PasswordSuspendedAt];
const SUSPENDED: [Column; 1] = [Column::PasswordSuspendedAt];
const REHASHED: [Column; 1] = [Column::Password];
const ADDRESSES: [Column; 4] = [Column::Email, Column::EmailMail, Column::EmailKey, Column::UpdatedAt];
const PROFILES: [Column; 4] = [Column::Username, Column::FirstName, Column::LastName, Column::UpdatedAt];
const DELETIONS: [Column; 1] = [Column::Deletion];
const SIGN_INS: [Column; 1] = [Column::SignedInAt];

static INSERT: LazyLock<String> = LazyLock::new(|| insert::<Entity>("users", "id"));
static SET_PASSWORD: LazyLock<String> = LazyLock::new(|| rows::update_text::<Entity>(Column::Id, &PASSWORDS));
static REHASH: LazyLock<String> = LazyLock::new(|| rows::update_text::<Entity>(Column::Id, &REHASHED));
static FIRST_SIGN_IN: LazyLock<String> = LazyLock::new(|| rows::update_text::<Entity>(Column::Id, &SIGN_INS));

impl Table for Users {
    type Write = UserWrite;

    fn take(&mut self, write: &UserWrite) {
        let text = |text: Option<&str>| Value::from(text.map(str::to_owned));
        let user = match write {
            UserWrite::Create(new) => {
                self.created.push(row(new));
                &new.id
            }
            UserWrite::SetPassword { user, password, at } => {
                let in_force = Value::BigInt(None);
                self.passwords.push(Change::new(user.0, [password.as_text().into(), at.0.into(), in_force]));
                user
            }
            UserWrite::SuspendPassword { user, at } => {
                self.suspended.push(Change::new(user.0, [at.0.into()]));
                user
            }
            UserWrite::Rehash { user, password, at: _ } => {
                self.rehashed.push(Change::new(user.0, [password.as_text().into()]));
                user
            }
            UserWrite::SetAddress { user, address, address_key, at } => {
                let key = address_key.0.to_vec();
                let cells = [address.typed().into(), address.mailed().into(), key.into(), at.0.into()];
                self.addresses.push(Change::new(user.0, cells));
                user
            }
            UserWrite::SetProfile { user, username, first_name, last_name, at } => {
                let cells = [
                    text(username.as_ref().map(|name| name.as_str())),
                    text(first_name.as_ref().map(|name| name.as_str())),
                    text(last_name.as_ref().map(|name| name.as_str())),
                    at.0.into(),
                ];
                self.profiles.push(Change::new(user.0, cells));
                user
            }
            UserWrite::SetDeletion { user, flow, at: _ } => {
                let flow = flow.map(|flow| flow.bytes().to_vec());
                self.deletions.push(Change::new(user.0, [Value::from(flow)]));
                user
            }
            UserWrite::FirstSignIn { user, at } => {
                self.sign_ins.push(Change::new(user.0, [at.0.into()]));
                user
            }
            UserWrite::Delete { user } => {
                self.deleted.push(user.0.bytes().to_vec());
                user
            }
        };
        self.meet |= !self.known.insert(*user);
    }

    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if !self.created.is_empty() {
            Entity::insert_many(self.created).exec_without_returning(transaction).await?;
        }
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

    fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
        let rare = [&self.suspended, &self.addresses, &self.profiles, &self.deletions];
        if self.meet || !self.deleted.is_empty() || rare.iter().any(|changes| !changes.is_empty()) {
            return Ok(None);
        }
        let mut parts = Vec::new();
        rows::add(&mut parts, &INSERT, &rows::inserted(&self.created)?)?;
        for (text, columns, changes) in [
            (&SET_PASSWORD, &PASSWORDS[..], self.passwords),
            (&REHASH, &REHASHED[..], self.rehashed),
            (&FIRST_SIGN_IN, &SIGN_INS[..], self.sign_ins),
        ] {
            rows::add(&mut parts, text, &rows::changed::<Entity>(Column::Id, columns, changes)?)?;
        }
        Ok(Some(parts))
    }
}

/// A row of `users`, as a registration makes it.
fn row(user: &NewUser) -> ActiveModel {
    ActiveModel {
        id: ActiveValue::Set(user.id.0.bytes().to_vec()),
        email: ActiveValue::Set(user.address.typed().to_owned()),
        email_mail: ActiveValue::Set(user.address.mailed().to_owned()),
        email_key: ActiveValue::Set(user.address_key.0.to_vec()),
        username: ActiveValue::Set(user.username.as_ref().map(ToString::to_string)),
        first_name: ActiveValue::Set(user.first_name.as_ref().map(|name| name.as_str().to_owned())),
        last_name: ActiveValue::Set(user.last_name.as_ref().map(|name| name.as_str().to_owned())),
        password: ActiveValue::Set(Some(user.password.as_text().to_owned())),
        roles: ActiveValue::Set("[]".to_owned()),
        email_verified_at: ActiveValue::Set(Some(user.at.0)),
        created_at: ActiveValue::Set(user.at.0),
        updated_at: ActiveValue::Set(user.at.0),
        version: ActiveValue::Set(0),
        deletion: ActiveValue::Set(None),
        signed_in_at: ActiveValue::Set(None),
        password_changed_at: ActiveValue::Set(None),
        password_suspended_at: ActiveValue::Set(None),
    }
}

#[cfg(test)]
mod tests {
    use cairn_actors::identity::address::Address;
    use cairn_actors::secrets::digest::Digest;
    use cairn_actors::secrets::hasher::SealedHash;
    use cairn_runtime::{Id, Timestamp};
    use serde_json::json;

    use super::*;

    fn user(number: u8) -> UserId {
        UserId(Id::from_bytes([number; 16]))
    }

    fn created(number: u8) -> UserWrite {
        UserWrite::Create(Box::new(NewUser {
            id: user(number),
            address: Address::parse("ada@example.org").unwrap(),
            address_key: Digest([number; 32]),
            username: None,
            first_name: None,
            last_name: None,
            password: SealedHash::from_text("sealed".to_owned()),
            at: Timestamp(1),
        }))
    }

    fn batch(writes: &[UserWrite]) -> Users {
        let mut users = Users::default();
        writes.iter().for_each(|write| users.take(write));
        users
    }

    fn count(writes: &[UserWrite]) -> Option<usize> {
        batch(writes).parts().unwrap().map(|parts| parts.len())
    }

    #[test]
    fn writes_about_one_user_and_rare_ones_take_a_transaction() {
        let at = Timestamp(2);
        let signs_in = |number| UserWrite::FirstSignIn { user: user(number), at };
        assert_eq!(count(&[created(1), created(2), signs_in(3), signs_in(4)]), Some(2));
        assert_eq!(count(&[created(1), signs_in(1)]), None);
        assert_eq!(count(&[signs_in(1), UserWrite::SuspendPassword { user: user(2), at }]), None);
        assert_eq!(count(&[UserWrite::Delete { user: user(1) }]), None);
    }

    #[test]
    fn a_row_of_a_part_has_its_cells_in_json_and_nothing_where_there_is_none() {
        let at = Timestamp(2);
        let password = SealedHash::from_text("sealed".to_owned());
        let set = batch(&[UserWrite::SetPassword { user: user(10), password, at }]);
        let rows = rows::changed::<Entity>(Column::Id, &PASSWORDS, set.passwords).unwrap();
        let (id, none) = ("0a".repeat(16), serde_json::Value::Null);
        let row = json!({ "id": id, "password": "sealed", "password_changed_at": 2, "password_suspended_at": none });
        assert_eq!(rows, [row]);
        let new = rows::inserted(&batch(&[created(10)]).created).unwrap();
        assert_eq!((&new[0]["id"], &new[0]["email_key"]), (&json!(id), &json!("0a".repeat(32))));
        assert_eq!((&new[0]["username"], &new[0]["version"]), (&none, &json!(0)));
    }

    #[test]
    fn the_part_of_a_change_names_its_columns_and_no_others() {
        let text = rows::update_text::<Entity>(Column::Id, &SIGN_INS);
        assert!(text.starts_with(r#"UPDATE "users" SET "signed_in_at" = n."signed_in_at" FROM "#), "{text}");
        assert!(text.contains(r#"AS r("id" text, "signed_in_at" bigint)"#), "{text}");
        assert!(text.contains(Part::CONDITION), "{text}");
    }
}
