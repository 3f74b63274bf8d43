//! The keys in the database: made at the first start, read at every one.

use cairn_actors::secrets::master_key::MasterKey;
use cairn_actors::secrets::ring::{KeyId, Ring, RingError, SealedKey, SealedRing};
use cairn_actors::secrets::signing::{SealedSigningKey, SigningError, SigningKeys};
use cairn_runtime::Timestamp;
use sea_orm::{ActiveValue, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait};

use crate::connect::Database;
use crate::entity::{ring, settings, signing_keys};

/// The name under which the check value of the master key stands among the settings.
const CHECK: &str = "master_key_check";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database.
    #[error("the keys could not be read or stored: {0}")]
    Database(#[from] DbErr),
    /// The ring does not open.
    #[error("{0}")]
    Ring(#[from] RingError),
    /// The signing keys do not open.
    #[error("{0}")]
    Signing(#[from] SigningError),
}

/// Reads the ring and the signing keys; makes the first of each when there are none. When two processes do so at once,
/// one of them loses and reads what the other made.
///
/// # Errors
/// See [`KeysError`]; a master key that is not this database's is told apart from damage.
pub async fn open(database: &Database, master: &MasterKey, now: Timestamp) -> Result<(Ring, SigningKeys), KeysError> {
    let made = make(database, master, now).await;
    let sealed = read_ring(database.writer()).await?;
    if sealed.keys.is_empty() {
        made?;
        return Err(RingError::Incomplete.into());
    }
    let ring = Ring::unseal(master, &sealed)?;
    let signing = SigningKeys::unseal(&ring, &read_signing(database.writer()).await?)?;
    Ok((ring, signing))
}

/// Whether the database has keys already.
///
/// # Errors
/// What the database says.
pub async fn exist(database: &Database) -> Result<bool, DbErr> {
    Ok(ring::Entity::find().one(database.writer()).await?.is_some())
}

async fn make(database: &Database, master: &MasterKey, now: Timestamp) -> Result<(), KeysError> {
    let transaction = database.begin().await?;
    let made = make_within(&transaction, master, now).await;
    match made {
        Ok(()) => transaction.commit().await.map_err(KeysError::from),
        Err(why) => {
            transaction.rollback().await?;
            Err(why)
        }
    }
}

async fn make_within(transaction: &DatabaseTransaction, master: &MasterKey, now: Timestamp) -> Result<(), KeysError> {
    let mut sealed = read_ring(transaction).await?;
    if sealed.keys.is_empty() {
        sealed = SealedRing::generate(master, now.0)?;
        let check = sealed.keys.first().map(|key| key.check.clone()).unwrap_or_default();
        let setting =
            settings::ActiveModel { name: ActiveValue::Set(CHECK.to_owned()), value: ActiveValue::Set(check) };
        settings::Entity::insert(setting).exec_without_returning(transaction).await?;
        let rows = sealed.keys.iter().map(|key| ring::ActiveModel {
            id: ActiveValue::Set(i32::try_from(key.id.0).unwrap_or(i32::MAX)),
            sealed: ActiveValue::Set(key.sealed.clone()),
            created_at: ActiveValue::Set(key.created_at),
            retired_at: ActiveValue::Set(None),
        });
        ring::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    if read_signing(transaction).await?.is_empty() {
        let key = SealedSigningKey::generate(&Ring::unseal(master, &sealed)?, now.0)?;
        let row = signing_keys::ActiveModel {
            kid: ActiveValue::Set(key.kid),
            alg: ActiveValue::Set(key.alg),
            sealed: ActiveValue::Set(key.sealed),
            public_key: ActiveValue::Set(key.public),
            created_at: ActiveValue::Set(key.created_at),
            retired_at: ActiveValue::Set(key.retired_at),
        };
        signing_keys::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    Ok(())
}

async fn read_ring<C: ConnectionTrait>(connection: &C) -> Result<SealedRing, DbErr> {
    let check = settings::Entity::find_by_id(CHECK).one(connection).await?.map(|row| row.value).unwrap_or_default();
    let rows = ring::Entity::find().all(connection).await?;
    let keys = rows.into_iter().map(|row| {
        let id = KeyId(u32::try_from(row.id).map_err(|_| DbErr::Type("a key of the ring below zero".to_owned()))?);
        Ok(SealedKey { id, check: check.clone(), sealed: row.sealed, created_at: row.created_at })
    });
    Ok(SealedRing { keys: keys.collect::<Result<_, DbErr>>()? })
}

async fn read_signing<C: ConnectionTrait>(connection: &C) -> Result<Vec<SealedSigningKey>, DbErr> {
    let rows = signing_keys::Entity::find().all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|row| SealedSigningKey {
            kid: row.kid,
            alg: row.alg,
            sealed: row.sealed,
            public: row.public_key,
            created_at: row.created_at,
            retired_at: row.retired_at,
        })
        .collect())
}
