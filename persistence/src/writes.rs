//! What auth writes besides rows of flows: one statement for each kind of write in a batch.

mod changes;
mod devices;
mod parts;
mod users;

use cairn_actors::effects::{Auth, Digest, NewUser, Write};
use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;
use sea_orm::{ActiveValue, ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use self::devices::Seen;
use self::users::Changes;
use crate::entity::{failures, users as table};
use crate::single::Part;
use crate::store::Writes;

/// The writes of auth.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthWrites;

impl Writes<Auth> for AuthWrites {
    fn apply<'a>(
        &'a self,
        transaction: &'a DatabaseTransaction,
        writes: Vec<&'a Write>,
    ) -> BoxFuture<'a, Result<(), DbErr>> {
        Box::pin(async move {
            let mut created = Vec::new();
            let mut changes = Changes::default();
            let mut seen = Seen::default();
            let mut failed = Vec::new();
            let mut cleared = Vec::new();
            for write in writes {
                match write {
                    Write::CreateUser(user) => created.push(model(user)?),
                    Write::CountFailure { id, of, by, at } => failed.push(failures::ActiveModel {
                        id: ActiveValue::Set(id.bytes().to_vec()),
                        of: ActiveValue::Set(of.0.to_vec()),
                        at: ActiveValue::Set(at.0),
                        by: ActiveValue::Set(Some(by.0.to_vec())),
                    }),
                    Write::ClearFailures { of, by, at } => cleared.push((*of, *by, *at)),
                    write => {
                        changes.take(write);
                        seen.take(write);
                    }
                }
            }
            if !failed.is_empty() {
                failures::Entity::insert_many(failed).exec_without_returning(transaction).await?;
            }
            clear_failures(transaction, &cleared).await?;
            if !created.is_empty() {
                table::Entity::insert_many(created).exec_without_returning(transaction).await?;
            }
            changes.apply(transaction).await?;
            seen.apply(transaction).await
        })
    }

    fn parts(&self, writes: &[&Write]) -> Result<Option<Vec<Part>>, DbErr> {
        parts::parts(writes)
    }
}

fn model(user: &NewUser) -> Result<table::ActiveModel, DbErr> {
    Ok(table::ActiveModel {
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
    })
}

/// Forgets what failed up to an instant each and came from one network, in one statement.
async fn clear_failures(
    transaction: &DatabaseTransaction,
    cleared: &[(Digest, Digest, Timestamp)],
) -> Result<(), DbErr> {
    if cleared.is_empty() {
        return Ok(());
    }
    let all = cleared.iter().fold(Condition::any(), |all, (of, by, at)| {
        let own = Condition::all()
            .add(failures::Column::Of.eq(of.0.to_vec()))
            .add(failures::Column::By.eq(by.0.to_vec()))
            .add(failures::Column::At.lte(at.0));
        all.add(own)
    });
    failures::Entity::delete_many().filter(all).exec(transaction).await?;
    Ok(())
}
