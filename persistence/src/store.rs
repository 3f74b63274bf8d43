//! The engine's port to the database, over SQL: what it reads is here, what it writes is next door.

use std::collections::HashMap;
use std::marker::PhantomData;

use cairn_runtime::store::{
    Audit, Backlog, Claim, Event, GuardState, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim,
    Verb, Verdict, guard_changes,
};
use cairn_runtime::{Domain, FlowId, InputId, Timestamp};
use futures_util::future::BoxFuture;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::connect::Database;
use crate::entity::{events, flows, instant, outbox, settings};
use crate::fault::{Stage, fault};
use crate::single::Part;
use crate::sql::Texts;
use crate::{commit, due, operator, single, upkeep};

/// How the domain's writes become rows.
pub trait Writes<D: Domain>: Send + Sync + 'static {
    /// Writes what a batch's winners wrote, in order, within the batch's own transaction: one statement for each kind
    /// of write that is present, however many there are of it. Never called with nothing.
    ///
    /// An error undoes the whole batch, which is then tried in halves, so what may be refused in a race belongs
    /// behind a guard.
    fn apply<'a>(&'a self, txn: &'a DatabaseTransaction, writes: Vec<&'a D::Write>)
    -> BoxFuture<'a, Result<(), DbErr>>;

    /// The same as parts of the one statement that a batch is on PostgreSQL if nothing in it is contested. `None` when
    /// it takes a transaction: when one of these writes must see what another did. Never called with nothing.
    ///
    /// # Errors
    /// When they cannot be written down.
    fn parts(&self, writes: &[&D::Write]) -> Result<Option<Vec<Part>>, DbErr> {
        let _ = writes;
        Ok(None)
    }
}

/// The engine's store over SQLite or PostgreSQL.
#[derive(Debug)]
pub struct SqlStore<D, W> {
    database: Database,
    texts: Texts,
    single: Option<single::Texts>,
    writes: W,
    domain: PhantomData<fn() -> D>,
}

impl<D: Domain, W: Writes<D>> SqlStore<D, W> {
    pub(crate) fn new(database: Database, writes: W) -> Self {
        let texts = Texts::new(database.backend());
        let single = single::Texts::new(database.backend());
        Self { database, texts, single, writes, domain: PhantomData }
    }

    /// The database beneath.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// In one statement if nothing is contested, else in a transaction.
    async fn commit_now(&self, batch: &[Item<D>]) -> Result<Vec<Verdict>, StoreFault> {
        if let Some(texts) = &self.single
            && let Some(verdicts) = single::commit(&self.database, texts, &self.writes, batch).await?
        {
            return Ok(verdicts);
        }
        commit::commit(&self.database, &self.texts, &self.writes, batch).await
    }

    /// One read decides an item that changes nothing.
    async fn check_now(&self, item: &Item<D>) -> Result<Verdict, StoreFault> {
        if item.seen
            && let Some(event) = self.event(item.input).await?
        {
            return Ok(Verdict::Before(Box::new(event)));
        }
        let keys: Vec<&str> = item.guards.iter().map(|guard| guard.key().as_str()).collect();
        if keys.is_empty() && item.expects.is_none() {
            return Ok(Verdict::Done);
        }
        let expected = item.expects.as_ref();
        let flow = expected.map(|(flow, _)| data_encoding::HEXLOWER.encode(flow.bytes())).unwrap_or_default();
        let read = async {
            let statement = self.texts.check(&keys, flow)?;
            let mut guards: HashMap<String, GuardState> = HashMap::new();
            let mut version = 0;
            for row in self.database.readers().query_all_raw(statement).await? {
                let (key, number): (Option<String>, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                match key {
                    Some(key) => {
                        guards.insert(key, GuardState { number, expires: instant(row.try_get_by_index(2)?) });
                    }
                    None => version = crate::entity::number(number)?,
                }
            }
            Ok((guards, version))
        };
        let (guards, version): (HashMap<String, GuardState>, u64) = read.await.map_err(|error| unread(&error))?;
        if expected.is_some_and(|(_, expected)| *expected != version) {
            return Ok(Verdict::Stale);
        }
        let changes = guard_changes(&item.guards, item.at, |key| guards.get(key).copied());
        Ok(changes.map_or_else(Verdict::Lost, |_| Verdict::Done))
    }
}

fn unread(error: &DbErr) -> StoreFault {
    fault(Stage::Within, error)
}

fn all<M, T: TryFrom<M, Error = DbErr>>(models: Result<Vec<M>, DbErr>) -> Result<Vec<T>, StoreFault> {
    models.and_then(|models| models.into_iter().map(T::try_from).collect()).map_err(|error| unread(&error))
}

/// The one row that a key finds. It is asked for without the builder's `one`, which adds a LIMIT with its number as a
/// parameter: SQLite prepares such a statement anew at each call, and that costs as much as the read.
fn one<M, T: TryFrom<M, Error = DbErr>>(models: Result<Vec<M>, DbErr>) -> Result<Option<T>, StoreFault> {
    let first = models.map(|models| models.into_iter().next());
    first.and_then(|model| model.map(T::try_from).transpose()).map_err(|error| unread(&error))
}

impl<D: Domain, W: Writes<D>> Store<D> for SqlStore<D, W> {
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        Box::pin(async move {
            let rows = flows::Entity::find_by_id(flow.bytes().to_vec()).all(self.database.readers()).await;
            one(rows)
        })
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        Box::pin(async move {
            let rows = events::Entity::find_by_id(input.bytes().to_vec()).all(self.database.readers()).await;
            one(rows)
        })
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        Box::pin(async move {
            let history = events::Entity::find()
                .filter(events::Column::Flow.eq(flow.bytes().to_vec()))
                .order_by_asc(events::Column::Version);
            all(history.all(self.database.readers()).await)
        })
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(async move {
            let deliveries = outbox::Entity::find()
                .filter(outbox::Column::Flow.eq(flow.bytes().to_vec()))
                .order_by_asc(outbox::Column::Created)
                .order_by_asc(outbox::Column::Id);
            all(deliveries.all(self.database.readers()).await)
        })
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(self.check_now(item))
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(self.database.in_time(self.commit_now(batch)))
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move { due::claim_flows(&self.database, &claim).await })
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move { due::claimed_flows(&self.database, &claim).await })
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(async move { due::claim_deliveries(&self.database, lane, &claim).await })
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(due::postpone(&self.database, &self.texts, postponed))
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(due::unclaim(&self.database, back))
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(due::release_claims(&self.database))
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(due::quarantine(&self.database, flow, version, at, why))
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(self.database.in_time(operator::operate(&self.database, flow, verb, now)))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        Box::pin(due::next_due(&self.database))
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(upkeep::retain(&self.database, D::retention(), retention))
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(upkeep::live(&self.database))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        Box::pin(upkeep::backlog(&self.database))
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        Box::pin(upkeep::audit(&self.database, D::retention(), now))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        // A row is asked for, because a connection to a file answers a mere ping by itself.
        Box::pin(async move {
            let row = settings::Entity::find().limit(1).one(self.database.readers()).await;
            row.map(|_| ()).map_err(|error| fault(Stage::Begin, &error))
        })
    }
}
