//! The one transaction: a batch of items, for each all of it or nothing, in a number of statements that does not grow.
//!
//! The order is what keeps it free of errors and of deadlocks. First everything is read and locked, each table in the
//! order of its key: who is stale or lost is out, with nothing left behind. Then what somebody else may insert at the
//! same moment (keys, ids, inputs) is inserted where it is absent: who comes second there is named by what is not
//! returned, and what it had inserted is taken back. What is left can only succeed.
//!
//! Items that depend on one before them in the batch, which the committer never brings, go through the same stages once
//! those before them are written, in the same transaction.

use std::collections::{BTreeSet, HashMap, HashSet};

use cairn_runtime::store::{
    Event, GuardChange, GuardState, Item, OutboxRow, Row, Settle, StoreFault, Verdict, guard_changes, runs,
};
use cairn_runtime::{DeliveryId, Domain, FlowId, Guard, InputId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, QueryResult};
use serde::Serialize;

use crate::connect::Database;
use crate::entity::{events, id, instant};
use crate::fault::{Stage, fault};
use crate::pools::Transaction;
use crate::records::{GuardRecord, Hex, Record};
use crate::sql::{Keyed, ROWS, Texts, Wide};
use crate::store::Writes;

/// Commits a batch; see [`cairn_runtime::store::Store::commit`].
pub(crate) async fn commit<D: Domain, W: Writes<D>>(
    database: &Database,
    texts: &Texts,
    writes: &W,
    batch: &[Item<D>],
) -> Result<Vec<Verdict>, StoreFault> {
    let txn = database.begin().await.map_err(|error| fault(Stage::Begin, &error))?;
    let mut fates = Vec::with_capacity(batch.len());
    let mut done = Ok(());
    for run in runs(batch) {
        let mut work = Work::new(&txn, texts, run);
        done = work.run(writes).await;
        fates.extend(work.fates);
        if done.is_err() {
            break;
        }
    }
    match done {
        Ok(()) if fates.iter().any(|fate| matches!(fate, Fate::Standing)) => {
            txn.commit().await.map_err(|error| fault(Stage::Commit, &error))?;
        }
        Ok(()) => roll_back(txn).await,
        Err(error) => {
            roll_back(txn).await;
            return Err(fault(Stage::Within, &error));
        }
    }
    Ok(fates.into_iter().map(Fate::verdict).collect())
}

async fn roll_back(txn: Transaction) {
    if let Err(error) = txn.rollback().await {
        // The pool looks at the connection before it gives it to anybody else.
        tracing::debug!(%error, "a transaction could not be rolled back; its connection is given up");
    }
}

/// What is known so far of what becomes of an item.
enum Fate {
    Standing,
    /// Out, for this reason, unless its input turns out to have been committed before.
    Out(Verdict),
    Before(Box<Event>),
}

impl Fate {
    fn verdict(self) -> Verdict {
        match self {
            Self::Standing => Verdict::Done,
            Self::Out(verdict) => verdict,
            Self::Before(event) => Verdict::Before(event),
        }
    }
}

struct Work<'a, D: Domain> {
    txn: &'a DatabaseTransaction,
    texts: &'a Texts,
    batch: &'a [Item<D>],
    fates: Vec<Fate>,
    /// What each item's guards come to; empty for who is out before they are looked at.
    changes: Vec<Vec<GuardChange<'a>>>,
    /// Of items that are out since: what they have inserted.
    taken_back: TakenBack<'a>,
}

#[derive(Default)]
struct TakenBack<'a> {
    keys: BTreeSet<&'a str>,
    ids: BTreeSet<Hex<'a>>,
    inputs: BTreeSet<Hex<'a>>,
}

impl<'a, D: Domain> Work<'a, D> {
    fn new(txn: &'a DatabaseTransaction, texts: &'a Texts, batch: &'a [Item<D>]) -> Self {
        let fates = batch.iter().map(|_| Fate::Standing).collect();
        let changes = batch.iter().map(|_| Vec::new()).collect();
        Self { txn, texts, batch, fates, changes, taken_back: TakenBack::default() }
    }

    async fn run<W: Writes<D>>(&mut self, writes: &W) -> Result<(), DbErr> {
        self.find_seen().await?;
        self.judge_flows().await?;
        self.judge_guards().await?;
        self.judge_settles().await?;
        self.insert_claims().await?;
        self.insert_flows().await?;
        self.insert_events().await?;
        self.take_back().await?;
        self.write(writes).await?;
        self.find_losers().await
    }

    fn standing(&self) -> impl Iterator<Item = (usize, &'a Item<D>)> + '_ {
        let standing = |(place, item): (usize, &'a Item<D>)| {
            matches!(self.fates.get(place), Some(Fate::Standing)).then_some((place, item))
        };
        self.batch.iter().enumerate().filter_map(standing)
    }

    fn judge(&mut self, judged: Vec<(usize, Verdict)>) {
        for (place, verdict) in judged {
            if let Some(fate) = self.fates.get_mut(place) {
                *fate = Fate::Out(verdict);
            }
        }
    }

    /// What was brought before is told what it led to then.
    async fn find_seen(&mut self) -> Result<(), DbErr> {
        let inputs = self.batch.iter().filter(|item| item.seen).map(|item| item.input).collect();
        self.look_up(inputs).await
    }

    /// Whoever is out may be so because somebody had brought the same input, perhaps this very batch, whose answer was
    /// lost. Its event is there then: whoever won has committed.
    async fn find_losers(&mut self) -> Result<(), DbErr> {
        let out = |(item, fate): (&Item<D>, &Fate)| matches!(fate, Fate::Out(_)).then_some(item.input);
        let inputs = self.batch.iter().zip(&self.fates).filter_map(out).collect();
        self.look_up(inputs).await
    }

    async fn look_up(&mut self, inputs: Vec<InputId>) -> Result<(), DbErr> {
        let wanted: Vec<Hex<'_>> = inputs.iter().map(|input| Hex(input.bytes())).collect();
        let mut found: HashMap<InputId, Event> = HashMap::new();
        for row in self.query(&self.texts.find_events, &wanted).await? {
            let event = Event::try_from(events::Model::from_query_result(&row, "")?)?;
            found.insert(event.input, event);
        }
        for (item, fate) in self.batch.iter().zip(&mut self.fates) {
            if let Some(event) = found.remove(&item.input) {
                *fate = Fate::Before(Box::new(event));
            }
        }
        Ok(())
    }

    /// Who decided on a version that is no longer there is stale.
    async fn judge_flows(&mut self) -> Result<(), DbErr> {
        let mut ids = BTreeSet::new();
        for (_, item) in self.standing() {
            ids.extend(item.change.iter().map(|change| Hex(change.row.id.bytes())));
            ids.extend(item.expects.iter().map(|(flow, _)| Hex(flow.bytes())));
            ids.extend(item.opened.iter().map(|(row, _)| Hex(row.id.bytes())));
        }
        let mut found: HashMap<FlowId, (u64, bool)> = HashMap::new();
        for row in self.query(&self.texts.lock_flows, &sorted(ids)).await? {
            let version: i64 = row.try_get_by_index(1)?;
            let quarantined: Option<i64> = row.try_get_by_index(2)?;
            found.insert(FlowId(first_id(&row)?), (crate::entity::number(version)?, quarantined.is_some()));
        }
        let version = |flow: &FlowId| found.get(flow).map_or(0, |(version, _)| *version);
        let stale = |item: &Item<D>| {
            item.change.as_ref().is_some_and(|change| {
                // Nobody may touch what is set aside.
                version(&change.row.id) != change.was || found.get(&change.row.id).is_some_and(|(_, aside)| *aside)
            }) || item.expects.as_ref().is_some_and(|(flow, expected)| version(flow) != *expected)
                || item.opened.iter().any(|(row, _)| found.contains_key(&row.id))
        };
        let judged =
            self.standing().filter(|(_, item)| stale(item)).map(|(place, _)| (place, Verdict::Stale)).collect();
        self.judge(judged);
        Ok(())
    }

    /// Who finds a key taken, or a number moved, has lost. What is found free may be taken by another node a moment
    /// later: see [`Work::insert_claims`].
    async fn judge_guards(&mut self) -> Result<(), DbErr> {
        let mut keys = BTreeSet::new();
        let mut changes = false;
        for guard in self.standing().flat_map(|(_, item)| &item.guards) {
            keys.insert(guard.key().as_str());
            // A claim that may expire is often made where an expired one stands, and then it changes that row.
            changes |= matches!(guard, Guard::Release(_) | Guard::Bump(..) | Guard::ClaimUntil(..));
        }
        // One mode for all of them: two statements would lock in two orders, and a lock that is raised later waits for
        // whoever waits for it.
        let text = if changes { &self.texts.lock_guards } else { &self.texts.share_guards };
        let mut found: HashMap<String, GuardState> = HashMap::new();
        for row in self.query(text, &sorted(keys)).await? {
            let state = GuardState { number: row.try_get_by_index(1)?, expires: instant(row.try_get_by_index(2)?) };
            found.insert(row.try_get_by_index(0)?, state);
        }
        let mut lost = Vec::new();
        let mut standing = Vec::new();
        for (place, item) in self.standing().filter(|(_, item)| !item.guards.is_empty()) {
            match guard_changes(&item.guards, item.at, |key| found.get(key).copied()) {
                Ok(changes) => standing.push((place, changes)),
                Err(guard) => lost.push((place, Verdict::Lost(guard))),
            }
        }
        for (place, changes) in standing {
            if let Some(slot) = self.changes.get_mut(place) {
                *slot = changes;
            }
        }
        self.judge(lost);
        Ok(())
    }

    /// A delivery ends once.
    async fn judge_settles(&mut self) -> Result<(), DbErr> {
        let settles = |(place, item): (usize, &'a Item<D>)| Some((place, item.settles.as_ref()?.delivery));
        let settles: Vec<(usize, DeliveryId)> = self.standing().filter_map(settles).collect();
        let ids = settles.iter().map(|(_, delivery)| Hex(delivery.bytes())).collect();
        let mut open: HashSet<DeliveryId> = HashSet::new();
        for row in self.query(&self.texts.lock_outbox, &sorted(ids)).await? {
            let settled: Option<i64> = row.try_get_by_index(1)?;
            if settled.is_none() {
                open.insert(DeliveryId(first_id(&row)?));
            }
        }
        let ended = settles.iter().filter(|(_, delivery)| !open.contains(delivery));
        let judged = ended.map(|(place, _)| (*place, Verdict::Settled)).collect();
        self.judge(judged);
        Ok(())
    }

    async fn insert_claims(&mut self) -> Result<(), DbErr> {
        let insert = |(place, change): (usize, &GuardChange<'a>)| match *change {
            GuardChange::Insert { key, state, place: guard } => Some((place, guard, GuardRecord { key, state })),
            GuardChange::Update { .. } | GuardChange::Delete { .. } => None,
        };
        let claims: Vec<(usize, usize, GuardRecord<'a>)> = self.standing_changes().filter_map(insert).collect();
        let records: Vec<GuardRecord<'_>> = claims.iter().map(|(.., record)| *record).collect();
        let mut taken: HashSet<String> = HashSet::new();
        for row in self.insert(&self.texts.claim_guards, &records).await? {
            taken.insert(row.try_get_by_index(0)?);
        }
        let lost = claims.iter().filter(|(.., record)| !taken.contains(record.key));
        let mut lost: Vec<(usize, usize)> = lost.map(|(place, guard, _)| (*place, *guard)).collect();
        // The first of several lost claims is the one that is named: it is judged last.
        lost.sort_unstable_by(|a, b| b.cmp(a));
        self.judge(lost.into_iter().map(|(place, guard)| (place, Verdict::Lost(guard))).collect());
        for (place, _, record) in &claims {
            if taken.contains(record.key) && !self.stands(*place) {
                self.taken_back.keys.insert(record.key);
            }
        }
        Ok(())
    }

    async fn insert_flows(&mut self) -> Result<(), DbErr> {
        let mut rows = Vec::new();
        for (place, item) in self.standing() {
            let started = item.change.iter().filter(|change| change.was == 0).map(|change| &change.row);
            rows.extend(started.chain(item.opened.iter().map(|(row, _)| row)).map(|row| (place, row)));
        }
        let records: Vec<&Row> = rows.iter().map(|(_, row)| *row).collect();
        let mut inserted: HashSet<FlowId> = HashSet::new();
        for row in self.insert(&self.texts.insert_flows, &records).await? {
            inserted.insert(FlowId(first_id(&row)?));
        }
        let lost = rows.iter().filter(|(_, row)| !inserted.contains(&row.id));
        let judged: Vec<(usize, Verdict)> = lost.map(|(place, _)| (*place, Verdict::Stale)).collect();
        self.lose_after_claims(judged);
        for (place, row) in &rows {
            if inserted.contains(&row.id) && !self.stands(*place) {
                self.taken_back.ids.insert(Hex(row.id.bytes()));
            }
        }
        Ok(())
    }

    async fn insert_events(&mut self) -> Result<(), DbErr> {
        let mut all = Vec::new();
        for (place, item) in self.standing() {
            all.extend(item.event.iter().chain(item.opened.iter().map(|(_, event)| event)).map(|event| (place, event)));
        }
        let records: Vec<&Event> = all.iter().map(|(_, event)| *event).collect();
        let mut inserted: HashSet<InputId> = HashSet::new();
        for row in self.insert(&self.texts.insert_events, &records).await? {
            inserted.insert(InputId(first_id(&row)?));
        }
        let lost = all.iter().filter(|(_, event)| !inserted.contains(&event.input));
        let judged: Vec<(usize, Verdict)> = lost.map(|(place, _)| (*place, Verdict::Stale)).collect();
        for (place, _) in &judged {
            let Some(item) = self.batch.get(*place) else { continue };
            let started = item.change.iter().filter(|change| change.was == 0).map(|change| &change.row);
            let ids = started.chain(item.opened.iter().map(|(row, _)| row)).map(|row| Hex(row.id.bytes()));
            self.taken_back.ids.extend(ids);
        }
        self.lose_after_claims(judged);
        for (place, event) in &all {
            if inserted.contains(&event.input) && !self.stands(*place) {
                self.taken_back.inputs.insert(Hex(event.input.bytes()));
            }
        }
        Ok(())
    }

    /// Has items lose whose claims are all inserted already.
    fn lose_after_claims(&mut self, judged: Vec<(usize, Verdict)>) {
        for (place, _) in &judged {
            let changes = self.changes.get(*place).into_iter().flatten();
            self.taken_back.keys.extend(changes.filter_map(|change| match *change {
                GuardChange::Insert { key, .. } => Some(key),
                GuardChange::Update { .. } | GuardChange::Delete { .. } => None,
            }));
        }
        self.judge(judged);
    }

    /// Whoever is out leaves nothing behind.
    async fn take_back(&mut self) -> Result<(), DbErr> {
        let taken_back = std::mem::take(&mut self.taken_back);
        self.execute(&self.texts.delete_guards, &sorted(taken_back.keys)).await?;
        self.execute(&self.texts.delete_flows, &sorted(taken_back.ids)).await?;
        self.execute(&self.texts.delete_events, &sorted(taken_back.inputs)).await?;
        Ok(())
    }

    /// What nobody can contest any more.
    async fn write<W: Writes<D>>(&mut self, writes: &W) -> Result<(), DbErr> {
        let mut changed: Vec<&Row> = Vec::new();
        let mut outbox: Vec<&OutboxRow> = Vec::new();
        let mut settled: Vec<&Settle> = Vec::new();
        let mut written: Vec<&D::Write> = Vec::new();
        for (_, item) in self.standing() {
            changed.extend(item.change.iter().filter(|change| change.was > 0).map(|change| &change.row));
            outbox.extend(&item.outbox);
            settled.extend(&item.settles);
            written.extend(&item.writes);
        }
        let mut set: Vec<GuardRecord<'_>> = Vec::new();
        let mut freed: Vec<&str> = Vec::new();
        for (_, change) in self.standing_changes() {
            match *change {
                GuardChange::Insert { .. } => {}
                GuardChange::Update { key, state } => set.push(GuardRecord { key, state }),
                GuardChange::Delete { key } => freed.push(key),
            }
        }
        let updated = self.put(&self.texts.update_flows, &changed).await?;
        if updated != changed.len() as u64 {
            return Err(DbErr::Custom(format!("{} rows were locked, {updated} of them written", changed.len())));
        }
        self.put(&self.texts.insert_outbox, &outbox).await?;
        self.put(&self.texts.settle_outbox, &settled).await?;
        self.put(&self.texts.update_guards, &set).await?;
        self.execute(&self.texts.delete_guards, &freed).await?;
        if !written.is_empty() {
            writes.apply(self.txn, written).await?;
        }
        Ok(())
    }

    fn stands(&self, place: usize) -> bool {
        matches!(self.fates.get(place), Some(Fate::Standing))
    }

    fn standing_changes(&self) -> impl Iterator<Item = (usize, &GuardChange<'a>)> + '_ {
        let standing = self.changes.iter().enumerate().filter(|(place, _)| self.stands(*place));
        standing.flat_map(|(place, changes)| changes.iter().map(move |change| (place, change)))
    }

    async fn query<T: Serialize>(&self, text: &Keyed, keys: &[T]) -> Result<Vec<QueryResult>, DbErr> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.txn.query_all_raw(self.texts.keyed(text, keys)?).await
    }

    async fn execute<T: Serialize>(&self, text: &Keyed, keys: &[T]) -> Result<(), DbErr> {
        if keys.is_empty() {
            return Ok(());
        }
        self.txn.execute_raw(self.texts.keyed(text, keys)?).await.map(|_| ())
    }

    /// Inserts rows and gives what comes back of them.
    async fn insert<R: Record>(&self, text: &Wide, records: &[R]) -> Result<Vec<QueryResult>, DbErr> {
        let mut inserted = Vec::with_capacity(records.len());
        for records in records.chunks(ROWS) {
            inserted.extend(self.txn.query_all_raw(self.texts.wide(text, records)?).await?);
        }
        Ok(inserted)
    }

    /// Writes rows and gives how many were written.
    async fn put<R: Record>(&self, text: &Wide, records: &[R]) -> Result<u64, DbErr> {
        let mut written = 0;
        for records in records.chunks(ROWS) {
            written += self.txn.execute_raw(self.texts.wide(text, records)?).await?.rows_affected();
        }
        Ok(written)
    }
}

fn sorted<T>(set: BTreeSet<T>) -> Vec<T> {
    set.into_iter().collect()
}

fn first_id(row: &QueryResult) -> Result<cairn_runtime::Id, DbErr> {
    id(&row.try_get_by_index::<Vec<u8>>(0)?)
}
