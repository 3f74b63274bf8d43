//! Changes of users: one statement for each kind of change in a batch, `CASE id WHEN … THEN …` for each column.
//!
//! A step raises the number of a profile once, however much of it changes, so the version is counted on once a batch.

use std::collections::BTreeSet;

use cairn_actors::effects::{UserId, Write};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryFilter, Value};

use crate::entity::users::{Column, Entity};

/// The changes of one batch, by kind.
#[derive(Debug, Default)]
pub(super) struct Changes {
    passwords: Vec<Change>,
    rehashed: Vec<Change>,
    addresses: Vec<Change>,
    profiles: Vec<Change>,
    deletions: Vec<Change>,
    sign_ins: Vec<Change>,
    deleted: Vec<Vec<u8>>,
}

/// One user, and the new cells in the order of the columns of its kind.
#[derive(Debug)]
struct Change {
    id: Vec<u8>,
    cells: Vec<Value>,
}

impl Change {
    fn new(user: UserId, cells: impl IntoIterator<Item = Value>) -> Self {
        Self { id: user.0.bytes().to_vec(), cells: cells.into_iter().collect() }
    }
}

const PASSWORDS: [Column; 2] = [Column::Password, Column::PasswordChangedAt];
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
                self.passwords.push(Change::new(*user, [password.as_text().into(), at.0.into()]));
            }
            Write::Rehash { user, password, at: _ } => {
                self.rehashed.push(Change::new(*user, [password.as_text().into()]));
            }
            Write::SetAddress { user, address, address_key, at } => self.addresses.push(Change::new(
                *user,
                [address.typed().into(), address.mailed().into(), address_key.0.to_vec().into(), at.0.into()],
            )),
            Write::SetProfile { user, username, first_name, last_name, at } => self.profiles.push(Change::new(
                *user,
                [
                    text(username.as_ref().map(|name| name.as_str())),
                    text(first_name.as_ref().map(|name| name.as_str())),
                    text(last_name.as_ref().map(|name| name.as_str())),
                    at.0.into(),
                ],
            )),
            Write::SetDeletion { user, flow, at: _ } => {
                let flow = flow.map(|flow| flow.bytes().to_vec());
                self.deletions.push(Change::new(*user, [Value::from(flow)]));
            }
            Write::FirstSignIn { user, at } => self.sign_ins.push(Change::new(*user, [at.0.into()])),
            Write::DeleteUser { user } => self.deleted.push(user.0.bytes().to_vec()),
            Write::CreateUser(_) | Write::CountFailure { .. } | Write::ClearFailures { .. } => {}
        }
    }

    /// Writes them all.
    pub(super) async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        // A user who gives an address or a username up does so in the statement before the one that takes it.
        if !self.deleted.is_empty() {
            Entity::delete_many().filter(Column::Id.is_in(self.deleted)).exec(transaction).await?;
        }
        let counted = [&self.addresses, &self.profiles, &self.deletions];
        let counted: BTreeSet<&Vec<u8>> = counted.into_iter().flatten().map(|change| &change.id).collect();
        if !counted.is_empty() {
            Entity::update_many()
                .col_expr(Column::Version, Expr::col(Column::Version).add(1))
                .filter(Column::Id.is_in(counted.into_iter().cloned()))
                .exec(transaction)
                .await?;
        }
        update(transaction, &PASSWORDS, &self.passwords).await?;
        update(transaction, &REHASHED, &self.rehashed).await?;
        update(transaction, &ADDRESSES, &self.addresses).await?;
        update(transaction, &PROFILES, &self.profiles).await?;
        update(transaction, &DELETIONS, &self.deletions).await?;
        update(transaction, &SIGN_INS, &self.sign_ins).await
    }
}

/// Several users' columns in one statement.
async fn update(transaction: &DatabaseTransaction, columns: &[Column], changes: &[Change]) -> Result<(), DbErr> {
    if changes.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let mut update = Entity::update_many();
    for (at, column) in columns.iter().enumerate() {
        let mut case = CaseStatement::new();
        for change in changes {
            let cell = change.cells.get(at).cloned().unwrap_or(Value::BigInt(None));
            let kind = kind(backend, *column);
            case = case.case(Column::Id.eq(change.id.clone()), Expr::val(cell).cast_as(kind));
        }
        update = update.col_expr(*column, case.into());
    }
    let ids = changes.iter().map(|change| change.id.clone());
    update.filter(Column::Id.is_in(ids)).exec(transaction).await.map(|_| ())
}

/// What a cell is cast as: PostgreSQL cannot tell the type of a parameter in a branch.
fn kind(backend: DbBackend, column: Column) -> &'static str {
    match column {
        Column::EmailKey | Column::Deletion if backend == DbBackend::Postgres => "bytea",
        Column::EmailKey | Column::Deletion => "blob",
        Column::UpdatedAt | Column::PasswordChangedAt | Column::SignedInAt => "bigint",
        _ => "text",
    }
}
