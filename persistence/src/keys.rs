//! The keys in the database: made at the first start, read at every one, and the table of signing keys while we run.

use cairn_actors::secrets::master_key::MasterKey;
use cairn_actors::secrets::ring::{KeyId, Ring, RingError, SealedKey, SealedRing};
use cairn_actors::secrets::signing::schedule::{self, KeyChange};
use cairn_actors::secrets::signing::store::{Decide, SigningKeyStore};
use cairn_actors::secrets::signing::{SealedSigningKey, SigningError, SigningKeys};
use cairn_actors::secrets::signing_algorithm::SigningAlgorithm;
use cairn_runtime::Timestamp;
use cairn_runtime::store::StoreFault;
use futures_util::future::BoxFuture;
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QuerySelect,
};

use crate::connect::Database;
use crate::entity::{ring, settings, signing_keys};
use crate::fault::{Stage, fault};

/// The name under which the check value of the master key stands among the settings.
const CHECK: &str = "master_key_check";
/// The algorithms whose first key is made at the start. One of RS256 takes a moment, and is made when it is wanted.
const FIRST: [SigningAlgorithm; 2] = [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256];

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

/// Reads the ring and the signing keys; makes the first of each when there are none, also in a database of a release that
/// knew fewer algorithms. When two processes do so at once,
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
    let signing = SigningKeys::unseal(&ring, &read_signing(database.writer()).await?, now)?;
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
    lock(transaction).await?;
    let rows = read_signing(transaction).await?;
    let ring = Ring::unseal(master, &sealed)?;
    for algorithm in FIRST {
        if schedule::signing(&rows, algorithm, now).is_none() {
            insert(transaction, SealedSigningKey::generate(&ring, algorithm, now.0)?).await?;
        }
    }
    Ok(())
}

/// Keeps other processes from changing the signing keys until the transaction ends, by a row that is always there. On
/// SQLite the transaction itself does.
async fn lock<C: ConnectionTrait>(connection: &C) -> Result<(), DbErr> {
    settings::Entity::find_by_id(CHECK).lock_exclusive().one(connection).await.map(|_| ())
}

async fn insert<C: ConnectionTrait>(connection: &C, key: SealedSigningKey) -> Result<(), DbErr> {
    let row = signing_keys::ActiveModel {
        kid: ActiveValue::Set(key.kid),
        alg: ActiveValue::Set(key.alg),
        sealed: ActiveValue::Set(key.sealed),
        public_key: ActiveValue::Set(key.public),
        created_at: ActiveValue::Set(key.created_at),
        retired_at: ActiveValue::Set(key.retired_at),
    };
    signing_keys::Entity::insert(row).exec_without_returning(connection).await.map(|_| ())
}

/// The table of signing keys while a process runs.
#[derive(Clone, Debug)]
pub struct SigningKeyTable(Database);

impl SigningKeyTable {
    /// The table in this database.
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

impl SigningKeyStore for SigningKeyTable {
    fn read(&self) -> BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>> {
        let database = self.0.clone();
        Box::pin(async move { read_signing(database.readers()).await.map_err(|error| fault(Stage::Within, &error)) })
    }

    fn change(&self, decide: Decide) -> BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>> {
        let database = self.0.clone();
        Box::pin(async move { database.in_time(change(&database, decide)).await })
    }
}

async fn change(database: &Database, decide: Decide) -> Result<Vec<SealedSigningKey>, StoreFault> {
    let transaction = database.begin().await.map_err(|error| fault(Stage::Begin, &error))?;
    match change_within(&transaction, decide).await {
        Ok(rows) => transaction.commit().await.map(|()| rows).map_err(|error| fault(Stage::Commit, &error)),
        Err(error) => {
            if let Err(broken) = transaction.rollback().await {
                tracing::debug!(%broken, "a transaction could not be rolled back; its connection is given up");
            }
            Err(fault(Stage::Within, &error))
        }
    }
}

async fn change_within(transaction: &DatabaseTransaction, decide: Decide) -> Result<Vec<SealedSigningKey>, DbErr> {
    lock(transaction).await?;
    let rows = read_signing(transaction).await?;
    let KeyChange { add, retire, delete } = decide(&rows);
    if let Some((at, kids)) = retire {
        signing_keys::Entity::update_many()
            .set(signing_keys::ActiveModel { retired_at: ActiveValue::Set(Some(at.0)), ..Default::default() })
            .filter(signing_keys::Column::Kid.is_in(kids))
            .exec(transaction)
            .await?;
    }
    if !delete.is_empty() {
        let over = signing_keys::Column::Kid.is_in(delete);
        signing_keys::Entity::delete_many().filter(over).exec(transaction).await?;
    }
    if let Some(key) = add {
        insert(transaction, key).await?;
    }
    read_signing(transaction).await
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
