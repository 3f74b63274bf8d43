//! The signing keys while the process runs: made when they are wanted, read again for what other nodes did, rotated and
//! deleted when their time has come.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_runtime::store::StoreFault;
use cairn_runtime::{Fault, Timestamp};

use super::{Refusal, Services};
use crate::secrets::signing::schedule::{self, KeyChange, KeyState};
use crate::secrets::signing::store::SigningKeyStore;
use crate::secrets::signing::{SealedSigningKey, SigningError, SigningKeys};
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// Tokens that name an unknown key cause one reading of the table in this time, however many they are.
const REREAD_EVERY: Duration = Duration::from_secs(10);

/// What it takes to change the signing keys. Clones share it.
#[derive(Clone)]
pub struct KeyManager(Arc<Shared>);

struct Shared {
    table: Arc<dyn SigningKeyStore>,
    /// Held while the table is read or changed and what is there now takes effect, so that no older reading does so
    /// after a newer one; and while a key is made, so that it is made once.
    turn: tokio::sync::Mutex<()>,
    /// When the table was last read for the sake of an unknown key.
    reread_at: Mutex<Option<Timestamp>>,
}

impl KeyManager {
    /// Over the table of signing keys.
    pub fn new(table: Arc<dyn SigningKeyStore>) -> Self {
        Self(Arc::new(Shared { table, turn: tokio::sync::Mutex::default(), reread_at: Mutex::default() }))
    }

    /// Whether an unknown key is worth a reading of the table now.
    fn may_reread(&self, now: Timestamp) -> bool {
        let mut last = self.0.reread_at.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back does not stop the readings.
        let may = last.is_none_or(|last| now >= last.after(REREAD_EVERY) || now < last);
        if may {
            *last = Some(now);
        }
        may
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyManager")
    }
}

/// A signing key as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// Its name in headers of tokens.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Since when it is published.
    pub since: Timestamp,
    /// What it is for.
    pub state: KeyState,
}

/// What is rotated, and when the new keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// One algorithm, which has no key as yet perhaps; or all that have one.
    pub algorithm: Option<SigningAlgorithm>,
    /// The new key signs at once, and the others of its algorithm no more.
    pub at_once: bool,
}

impl Rotation {
    /// The algorithms to rotate, given the rows of the table.
    pub fn algorithms(self, rows: &[SealedSigningKey], now: Timestamp) -> Vec<SigningAlgorithm> {
        let has_one = |algorithm: &SigningAlgorithm| schedule::signing(rows, *algorithm, now).is_some();
        match self.algorithm {
            Some(algorithm) => vec![algorithm],
            None => SigningAlgorithm::ALL.into_iter().filter(has_one).collect(),
        }
    }
}

/// The rows of the table as an operator sees them: by algorithm, the oldest first.
pub fn views(rows: &[SealedSigningKey], now: Timestamp, access_ttl: Duration) -> Vec<KeyView> {
    let kept = schedule::kept_for(access_ttl);
    let mut views: Vec<_> = rows
        .iter()
        .map(|row| KeyView {
            kid: row.kid.clone(),
            algorithm: row.alg.clone(),
            since: Timestamp(row.created_at),
            state: schedule::state(rows, row, now, kept),
        })
        .collect();
    views.sort_by(|one, other| (&one.algorithm, one.since, &one.kid).cmp(&(&other.algorithm, other.since, &other.kid)));
    views
}

impl Services {
    /// The name of the key of an algorithm that signs now. The first of an algorithm is made here, which of RS256 takes a
    /// moment.
    ///
    /// # Errors
    /// The database is away, or a key cannot be made.
    pub async fn signing_key(&self, algorithm: SigningAlgorithm) -> Result<String, Refusal> {
        if let Some(kid) = self.current_key(algorithm) {
            return Ok(kid);
        }
        let _turn = self.keys.0.turn.lock().await;
        // Another request of this node may have made it meanwhile, or another node.
        if self.current_key(algorithm).is_none() {
            self.adopt(&self.keys.0.table.read().await?)?;
        }
        if let Some(kid) = self.current_key(algorithm) {
            return Ok(kid);
        }
        let key = self.generate(algorithm).await?;
        let rows = self.change_keys(move |rows| schedule::ensure(rows, key)).await?;
        self.adopt(&rows)?;
        self.current_key(algorithm).ok_or_else(|| defect("a signing key that was just made is not there"))
    }

    fn current_key(&self, algorithm: SigningAlgorithm) -> Option<String> {
        self.engine.environment().signing.current(algorithm, self.engine.now()).map(str::to_owned)
    }

    /// All signing keys, as the table has them now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn signing_keys(&self) -> Result<Vec<KeyView>, Refusal> {
        let _turn = self.keys.0.turn.lock().await;
        let rows = self.keys.0.table.read().await?;
        self.adopt(&rows)?;
        Ok(views(&rows, self.engine.now(), self.engine.environment().settings.access_ttl))
    }

    /// Makes the successors of the keys that sign. Where one is on its way already, none is made, unless it is to sign at
    /// once.
    ///
    /// # Errors
    /// The database is away, or a key cannot be made.
    pub async fn rotate_signing_keys(&self, rotation: Rotation) -> Result<Vec<KeyView>, Refusal> {
        let _turn = self.keys.0.turn.lock().await;
        let mut rows = self.keys.0.table.read().await?;
        for algorithm in rotation.algorithms(&rows, self.engine.now()) {
            if !rotation.at_once && schedule::is_coming(&rows, algorithm, self.engine.now()) {
                continue;
            }
            let (key, now) = (self.generate(algorithm).await?, self.engine.now());
            rows = self.change_keys(move |rows| schedule::rotate(rows, key, now, rotation.at_once)).await?;
            self.adopt(&rows)?;
        }
        Ok(views(&rows, self.engine.now(), self.engine.environment().settings.access_ttl))
    }

    /// What has to be done now and then: reads the table again, makes the successors of keys that are older than `most`
    /// (`None`: keys become as old as they will), and deletes the keys that are over.
    ///
    /// # Errors
    /// The database is away, or a key cannot be made. All that was done before that holds.
    pub async fn tend_signing_keys(&self, most: Option<Duration>) -> Result<(), Refusal> {
        let _turn = self.keys.0.turn.lock().await;
        let mut rows = self.keys.0.table.read().await?;
        self.adopt(&rows)?;
        for algorithm in SigningAlgorithm::ALL {
            let now = self.engine.now();
            let Some(most) = most.filter(|most| schedule::is_due(&rows, algorithm, now, *most)) else { continue };
            let key = self.generate(algorithm).await?;
            // Another node may have done it meanwhile.
            let decide = move |rows: &[SealedSigningKey]| match schedule::is_due(rows, algorithm, now, most) {
                true => schedule::rotate(rows, key, now, false),
                false => KeyChange::default(),
            };
            rows = self.change_keys(decide).await?;
            self.adopt(&rows)?;
        }
        let (now, kept) = (self.engine.now(), schedule::kept_for(self.engine.environment().settings.access_ttl));
        if schedule::tidy(&rows, now, kept) != KeyChange::default() {
            rows = self.change_keys(move |rows| schedule::tidy(rows, now, kept)).await?;
            self.adopt(&rows)?;
        }
        Ok(())
    }

    /// Reads the table again because a token names a key that is not known here. Whether it did: not where it was done
    /// a moment ago.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn reread_for_unknown_key(&self) -> Result<bool, Refusal> {
        if !self.keys.may_reread(self.engine.now()) {
            return Ok(false);
        }
        let _turn = self.keys.0.turn.lock().await;
        self.adopt(&self.keys.0.table.read().await?)?;
        Ok(true)
    }

    /// Sets the gauges of the keys that sign.
    pub fn measure_signing_keys(&self) {
        let environment = self.engine.environment();
        for algorithm in SigningAlgorithm::ALL {
            if let Some(row) = schedule::signing(environment.signing.rows(), algorithm, self.engine.now()) {
                let gauge =
                    metrics::gauge!("cairn_signing_key_created_timestamp_seconds", "algorithm" => algorithm.name());
                gauge.set(Duration::from_millis(row.created_at.unsigned_abs()).as_secs_f64());
            }
        }
    }

    async fn generate(&self, algorithm: SigningAlgorithm) -> Result<SealedSigningKey, Refusal> {
        let (environment, now) = (self.engine.environment(), self.engine.now());
        let making = move || SealedSigningKey::generate(&environment.ring, algorithm, now.0);
        let made = tokio::task::spawn_blocking(making).await.map_err(|why| defect(&why.to_string()))?;
        made.map_err(|why| unusable(&why))
    }

    /// Changes the table between two batches of the committer, and logs what has changed.
    async fn change_keys(
        &self,
        decide: impl FnOnce(&[SealedSigningKey]) -> KeyChange + Send + 'static,
    ) -> Result<Vec<SealedSigningKey>, StoreFault> {
        let table = Arc::clone(&self.keys.0.table);
        let logged = move |rows: &[SealedSigningKey]| {
            let change = decide(rows);
            if let Some(key) = &change.add {
                tracing::info!(kid = key.kid, algorithm = key.alg, "a signing key is added");
            }
            if !change.delete.is_empty() {
                tracing::info!(kids = ?change.delete, "signing keys that are over are deleted");
            }
            change
        };
        self.engine.chore(move |_| table.change(Box::new(logged))).await
    }

    /// Has the engine sign and verify with these rows, unless it does already.
    fn adopt(&self, rows: &[SealedSigningKey]) -> Result<(), Refusal> {
        let environment = self.engine.environment();
        if !environment.signing.are_of(rows) {
            let keys = SigningKeys::unseal(&environment.ring, rows, self.engine.now()).map_err(|why| unusable(&why))?;
            self.engine.set_environment(Arc::new(environment.with_signing(Arc::new(keys))));
        }
        Ok(())
    }
}

fn unusable(why: &SigningError) -> Refusal {
    defect(&why.to_string())
}

fn defect(why: &str) -> Refusal {
    Refusal::Fault(Fault::Defect(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct NoTable;

    impl SigningKeyStore for NoTable {
        fn read(&self) -> futures_util::future::BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn change(
            &self,
            _: crate::secrets::signing::store::Decide,
        ) -> futures_util::future::BoxFuture<'static, Result<Vec<SealedSigningKey>, StoreFault>> {
            self.read()
        }
    }

    #[test]
    fn unknown_keys_cause_one_reading_in_ten_seconds() {
        let keys = KeyManager::new(Arc::new(NoTable));
        for (seconds, may) in
            [(100, true), (100, false), (109, false), (110, true), (119, false), (50, true), (51, false)]
        {
            assert_eq!(keys.may_reread(Timestamp(seconds * 1_000)), may, "at {seconds}");
        }
    }
}
