//! What auth writes besides rows of flows: one statement for each kind of write in a batch.

use cairn_actors::effects::{Auth, NewUser, UserId, Write};
use cairn_actors::hasher::SealedHash;
use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use crate::entity::users;
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
            let mut passwords = Vec::new();
            for write in writes {
                match write {
                    Write::CreateUser(user) => created.push(model(user)?),
                    Write::SetPassword { user, password, at } => passwords.push((*user, password, *at)),
                }
            }
            if !created.is_empty() {
                users::Entity::insert_many(created).exec_without_returning(transaction).await?;
            }
            set_passwords(transaction, &passwords).await
        })
    }
}

fn model(user: &NewUser) -> Result<users::ActiveModel, DbErr> {
    Ok(users::ActiveModel {
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
        version: ActiveValue::Set(1),
    })
}

/// Several users' passwords in one statement: `CASE id WHEN … THEN … END`.
async fn set_passwords(
    transaction: &DatabaseTransaction,
    passwords: &[(UserId, &SealedHash, Timestamp)],
) -> Result<(), DbErr> {
    if passwords.is_empty() {
        return Ok(());
    }
    let mut hashes = CaseStatement::new();
    let mut instants = CaseStatement::new();
    for (user, hash, at) in passwords {
        let id = user.0.bytes().to_vec();
        hashes = hashes.case(users::Column::Id.eq(id.clone()), Expr::val(hash.as_text()).cast_as("text"));
        instants = instants.case(users::Column::Id.eq(id), Expr::val(at.0).cast_as("bigint"));
    }
    let ids = passwords.iter().map(|(user, ..)| user.0.bytes().to_vec());
    users::Entity::update_many()
        .col_expr(users::Column::Password, hashes.into())
        .col_expr(users::Column::UpdatedAt, instants.into())
        .filter(users::Column::Id.is_in(ids))
        .exec(transaction)
        .await?;
    Ok(())
}
