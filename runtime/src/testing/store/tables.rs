//! The tables of the store in memory, and what the port means when it is said in plain, synchronous words.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::effects::Guard;
use crate::flow::Domain;
use crate::id::{DeliveryId, FlowId, InputId};
use crate::store::{
    Audit, Backlog, Claim, Event, Finding, GuardChange, GuardState, Item, OutboxRow, PATIENCE, Postpone, Quarantine,
    Retention, Row, RuledRows, Settle, StoreFault, Touched, Unclaim, Verb, Verdict, guard_changes, runs, whole_since,
};

/// The phase of a flow that an operator ended.
const ENDED: &str = "ended";
/// How long a wake-up waits that an operator had skipped.
const DAY_IN_MILLIS: i64 = 86_400_000;
/// The note of what an operator gave up.
const SKIPPED: &str = "skipped by the operator";

/// A row, and who has it in hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The row.
    pub row: Row,
    /// Until when nobody else may claim it.
    pub claimed_until: Option<Timestamp>,
    /// Who claimed it.
    pub claimed_by: Option<String>,
}

/// One item as it was committed: a line of the log that a simulation reads along.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The input that caused it.
    pub input: InputId,
    /// When it was decided.
    pub at: Timestamp,
    /// Whether history says something of it.
    pub has_event: bool,
    /// The rows as it left them, the flow's own first, without their states.
    pub rows: Vec<Row>,
    /// Its conditions and claims, all of which stood.
    pub guards: Vec<Guard<String>>,
    /// How many of the domain's writes came with it.
    pub writes: usize,
    /// The deliveries that began with it.
    pub sent: Vec<DeliveryId>,
    /// The delivery that ended with it.
    pub settled: Option<DeliveryId>,
}

/// All that the store in memory holds. Everything public is for looking at; only the store changes it.
#[derive(Debug)]
pub struct Tables<D: Domain> {
    /// The flows.
    pub rows: BTreeMap<FlowId, Stored>,
    /// The events, by the input that caused each.
    pub events: BTreeMap<InputId, Event>,
    /// The guards and their numbers.
    pub guards: BTreeMap<String, i64>,
    /// The deliveries.
    pub outbox: BTreeMap<DeliveryId, OutboxRow>,
    /// The domain's writes in the order of their commits, each with the input that caused it.
    pub written: Vec<(InputId, D::Write)>,
    /// What was committed, item by item.
    pub log: Vec<Logged>,
    /// Where a caller did what the engine never does, in sentences: items of a batch that depend on each other, a version
    /// that jumps.
    pub violations: Vec<String>,
    /// When claims expire, of those that do.
    expiries: BTreeMap<String, Timestamp>,
    due_flows: BTreeSet<(Timestamp, FlowId)>,
    due_deliveries: BTreeSet<(Timestamp, DeliveryId)>,
    history: BTreeMap<(FlowId, u64), InputId>,
    sent: BTreeMap<FlowId, Vec<DeliveryId>>,
}

impl<D: Domain> Default for Tables<D> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            events: BTreeMap::new(),
            guards: BTreeMap::new(),
            outbox: BTreeMap::new(),
            written: Vec::new(),
            log: Vec::new(),
            violations: Vec::new(),
            expiries: BTreeMap::new(),
            due_flows: BTreeSet::new(),
            due_deliveries: BTreeSet::new(),
            history: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }
}

// By hand, because the domain itself need not be one that can be cloned.
impl<D: Domain> Clone for Tables<D> {
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            events: self.events.clone(),
            guards: self.guards.clone(),
            outbox: self.outbox.clone(),
            written: self.written.clone(),
            log: self.log.clone(),
            violations: self.violations.clone(),
            expiries: self.expiries.clone(),
            due_flows: self.due_flows.clone(),
            due_deliveries: self.due_deliveries.clone(),
            history: self.history.clone(),
            sent: self.sent.clone(),
        }
    }
}

impl<D: Domain> Tables<D> {
    /// A flow's events in order of versions.
    pub fn history(&self, flow: FlowId) -> Vec<Event> {
        let inputs = self.history.range((flow, 0)..=(flow, u64::MAX));
        inputs.filter_map(|(_, input)| self.events.get(input)).cloned().collect()
    }

    /// What a flow asked to have delivered, oldest first.
    pub fn deliveries(&self, flow: FlowId) -> Vec<OutboxRow> {
        let ids = self.sent.get(&flow).into_iter().flatten();
        let mut all: Vec<OutboxRow> = ids.filter_map(|id| self.outbox.get(id)).cloned().collect();
        all.sort_by_key(|delivery| (delivery.created, delivery.id));
        all
    }

    /// What would become of an item if it were committed alone and now.
    pub fn decide(&self, item: &Item<D>) -> Verdict {
        if item.seen
            && let Some(event) = self.events.get(&item.input)
        {
            return Verdict::Before(Box::new(event.clone()));
        }
        let version = |flow: &FlowId| self.rows.get(flow).map_or(0, |stored| stored.row.version);
        if let Some(change) = &item.change {
            let set_aside = self.rows.get(&change.row.id).is_some_and(|stored| stored.row.quarantined.is_some());
            if set_aside || version(&change.row.id) != change.was {
                return Verdict::Stale;
            }
        }
        if item.expects.as_ref().is_some_and(|(flow, expected)| version(flow) != *expected)
            || item.opened.iter().any(|(row, _)| self.rows.contains_key(&row.id))
        {
            return Verdict::Stale;
        }
        if let Err(place) = self.guard_changes(item) {
            return Verdict::Lost(place);
        }
        if let Some(settle) = &item.settles
            && self.outbox.get(&settle.delivery).is_none_or(|delivery| delivery.settled.is_some())
        {
            return Verdict::Settled;
        }
        Verdict::Done
    }

    fn guard_changes<'a>(&self, item: &'a Item<D>) -> Result<Vec<GuardChange<'a>>, usize> {
        guard_changes(&item.guards, item.at, |key| {
            let number = *self.guards.get(key)?;
            Some(GuardState { number, expires: self.expiries.get(key).copied() })
        })
    }

    /// Commits a batch: all that can be done of it, or nothing at all when it breaks a constraint.
    pub fn commit(&mut self, batch: &[Item<D>]) -> Result<Vec<Verdict>, StoreFault> {
        self.watch(batch);
        let runs = runs(batch);
        let before = (runs.len() > 1).then(|| self.clone());
        let mut verdicts = Vec::with_capacity(batch.len());
        for run in runs {
            match self.commit_run(run) {
                Ok(judged) => verdicts.extend(judged),
                Err(fault) => {
                    if let Some(before) = before {
                        *self = before;
                    }
                    return Err(fault);
                }
            }
        }
        Ok(verdicts)
    }

    /// Commits items that do not depend on each other.
    fn commit_run(&mut self, run: &[Item<D>]) -> Result<Vec<Verdict>, StoreFault> {
        let verdicts: Vec<Verdict> = run.iter().map(|item| self.decide(item)).collect();
        let won = || run.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Done).map(|(item, _)| item);
        for item in won() {
            let events = item.event.iter().chain(item.opened.iter().map(|(_, event)| event));
            if let Some(taken) = events.map(|event| event.input).find(|input| self.events.contains_key(input)) {
                return Err(StoreFault::Unexpected(format!("the input {taken} has an event")));
            }
            if let Some(taken) = item.outbox.iter().find(|delivery| self.outbox.contains_key(&delivery.id)) {
                return Err(StoreFault::Unexpected(format!("the delivery {} is there", taken.id)));
            }
        }
        for item in won() {
            self.apply(item);
        }
        Ok(verdicts)
    }

    fn apply(&mut self, item: &Item<D>) {
        let rows = item.change.iter().map(|change| &change.row).chain(item.opened.iter().map(|(row, _)| row));
        self.log.push(Logged {
            input: item.input,
            at: item.at,
            has_event: item.event.is_some(),
            rows: rows.map(|row| Row { state: String::new(), ..row.clone() }).collect(),
            guards: item.guards.clone(),
            writes: item.writes.len(),
            sent: item.outbox.iter().map(|delivery| delivery.id).collect(),
            settled: item.settles.as_ref().map(|settle| settle.delivery),
        });
        if let Some(change) = &item.change {
            self.put(Stored { row: change.row.clone(), claimed_until: None, claimed_by: None });
        }
        for change in self.guard_changes(item).unwrap_or_default() {
            match change {
                GuardChange::Insert { key, state, .. } | GuardChange::Update { key, state } => {
                    self.guards.insert(key.to_owned(), state.number);
                    match state.expires {
                        Some(expires) => self.expiries.insert(key.to_owned(), expires),
                        None => self.expiries.remove(key),
                    };
                }
                GuardChange::Delete { key } => {
                    self.guards.remove(key);
                    self.expiries.remove(key);
                }
            }
        }
        self.written.extend(item.writes.iter().map(|write| (item.input, write.clone())));
        for (row, event) in &item.opened {
            self.put(Stored { row: row.clone(), claimed_until: None, claimed_by: None });
            self.happened(event);
        }
        if let Some(event) = &item.event {
            self.happened(event);
        }
        for delivery in &item.outbox {
            self.sent.entry(delivery.flow).or_default().push(delivery.id);
            self.due_deliveries.insert((delivery.due, delivery.id));
            self.outbox.insert(delivery.id, delivery.clone());
        }
        if let Some(settle) = &item.settles {
            self.settle(settle);
        }
    }

    fn put(&mut self, stored: Stored) {
        let id = stored.row.id;
        if let Some(wake_at) = self.rows.get(&id).and_then(|old| old.row.wake_at) {
            self.due_flows.remove(&(wake_at, id));
        }
        if let Some(wake_at) = stored.row.wake_at.filter(|_| stored.row.quarantined.is_none()) {
            self.due_flows.insert((wake_at, id));
        }
        self.rows.insert(id, stored);
    }

    fn happened(&mut self, event: &Event) {
        self.history.insert((event.flow, event.version), event.input);
        self.events.insert(event.input, event.clone());
    }

    fn settle(&mut self, settle: &Settle) {
        let Some(delivery) = self.outbox.get_mut(&settle.delivery) else { return };
        self.due_deliveries.remove(&(delivery.due, delivery.id));
        delivery.settled = Some(settle.at);
        delivery.dead = settle.dead.is_some();
        delivery.note = settle.dead.clone().unwrap_or_default();
        if settle.forgets {
            delivery.payload = Vec::new();
        }
        delivery.claimed_until = None;
        delivery.claimed_by = None;
    }

    /// Notes where the caller did what the engine never does: items of one batch that depend on each other, a version
    /// that jumps, a change without its event.
    fn watch(&mut self, batch: &[Item<D>]) {
        let mut touched = Touched::default();
        for item in batch {
            if let Some(change) = &item.change {
                if change.row.version != change.was + 1 {
                    self.violations
                        .push(format!("{} goes from {} to {}", change.row.id, change.was, change.row.version));
                }
                if item.event.as_ref().is_none_or(|event| event.version != change.row.version) {
                    self.violations.push(format!("{} changes without its event", change.row.id));
                }
            }
            let touches = item.touches();
            if touched.clashes(&touches) {
                self.violations.push(format!("the item of input {} depends on another of its batch", item.input));
            }
            touched.add(touches);
        }
    }

    /// Claims due flows: many that never failed, or one that did.
    pub fn claim_due(&mut self, claim: &Claim) -> Vec<Row> {
        let due = self.due_flows.iter().take_while(|(wake_at, _)| *wake_at <= claim.now);
        let free: Vec<&Stored> = due
            .filter_map(|(_, id)| self.rows.get(id))
            .filter(|stored| stored.claimed_until.is_none_or(|until| until <= claim.now))
            .collect();
        // Whoever failed before goes first when it has waited longest, so that neither kind starves the other.
        let alone = free.first().is_some_and(|first| first.row.attempts > 0);
        let taken: Vec<FlowId> = if alone {
            free.iter().take(1.min(claim.limit as usize)).map(|stored| stored.row.id).collect()
        } else {
            let fresh = free.iter().filter(|stored| stored.row.attempts == 0);
            fresh.take(claim.limit as usize).map(|stored| stored.row.id).collect()
        };
        let mut rows = Vec::with_capacity(taken.len());
        for id in taken {
            if let Some(stored) = self.rows.get_mut(&id) {
                stored.row.attempts += 1;
                stored.claimed_until = Some(claim.until);
                stored.claimed_by = Some(claim.node.clone());
                rows.push(stored.row.clone());
            }
        }
        rows
    }

    /// What a claim took, read once more.
    pub fn claimed(&self, claim: &Claim) -> Vec<Row> {
        let its = |stored: &&Stored| {
            stored.claimed_until == Some(claim.until) && stored.claimed_by.as_ref() == Some(&claim.node)
        };
        let free = |stored: &&Stored| stored.row.quarantined.is_none();
        self.rows.values().filter(its).filter(free).map(|stored| stored.row.clone()).collect()
    }

    /// Claims due deliveries of a lane, oldest first.
    pub fn claim_deliveries(&mut self, lane: &str, claim: &Claim) -> Vec<OutboxRow> {
        let due = self.due_deliveries.iter().take_while(|(due, _)| *due <= claim.now);
        let taken: Vec<DeliveryId> = due
            .filter_map(|(_, id)| self.outbox.get(id))
            .filter(|delivery| delivery.lane == lane)
            .filter(|delivery| delivery.claimed_until.is_none_or(|until| until <= claim.now))
            .take(claim.limit as usize)
            .map(|delivery| delivery.id)
            .collect();
        let mut claimed = Vec::with_capacity(taken.len());
        for id in taken {
            if let Some(delivery) = self.outbox.get_mut(&id) {
                delivery.attempts += 1;
                delivery.claimed_until = Some(claim.until);
                delivery.claimed_by = Some(claim.node.clone());
                claimed.push(delivery.clone());
            }
        }
        claimed
    }

    /// Puts open deliveries off.
    pub fn postpone(&mut self, postponed: &[Postpone]) {
        for later in postponed {
            let Some(delivery) = self.outbox.get_mut(&later.delivery).filter(|open| open.settled.is_none()) else {
                continue;
            };
            self.due_deliveries.remove(&(delivery.due, delivery.id));
            delivery.due = later.due;
            delivery.note.clone_from(&later.note);
            delivery.claimed_until = None;
            delivery.claimed_by = None;
            delivery.attempts = delivery.attempts.saturating_sub(later.uncounted);
            self.due_deliveries.insert((delivery.due, delivery.id));
        }
    }

    /// Has a flow's claim end at another instant.
    pub fn unclaim(&mut self, back: &Unclaim) {
        let Some(stored) = self.rows.get_mut(&back.flow).filter(|stored| stored.row.version == back.version) else {
            return;
        };
        if stored.claimed_by.as_ref() == Some(&back.node) && stored.claimed_until == Some(back.lapses) {
            stored.claimed_until = Some(back.until);
            stored.claimed_by = None;
        }
        if !back.counts {
            stored.row.attempts = stored.row.attempts.saturating_sub(1);
        }
    }

    /// Gives back all that is claimed, but for flows that were claimed alone; the attempts stay counted.
    pub fn release_claims(&mut self) {
        let among_others = |stored: &&mut Stored| stored.claimed_by.is_some() && stored.row.attempts <= 1;
        for stored in self.rows.values_mut().filter(among_others) {
            stored.claimed_until = None;
            stored.claimed_by = None;
        }
        for delivery in self.outbox.values_mut().filter(|delivery| delivery.claimed_by.is_some()) {
            delivery.claimed_until = None;
            delivery.claimed_by = None;
        }
    }

    /// Sets a flow aside that still has this version.
    pub fn quarantine(&mut self, flow: FlowId, version: u64, at: Timestamp, why: &str) {
        let Some(mut stored) = self.rows.get(&flow).cloned() else { return };
        if stored.row.version == version && stored.row.quarantined.is_none() {
            stored.row.quarantined = Some(Quarantine { at, why: why.to_owned() });
            self.put(stored);
        }
    }

    /// Does as the operator says.
    pub fn operate(&mut self, flow: FlowId, verb: Verb, now: Timestamp) -> bool {
        let Some(mut stored) = self.rows.get(&flow).cloned() else { return false };
        if !stored.row.waits_for_operator() {
            return false;
        }
        stored.claimed_until = None;
        stored.claimed_by = None;
        match verb {
            Verb::Retry => {
                stored.row.quarantined = None;
                stored.row.attempts = 0;
            }
            Verb::Skip => {
                stored.row.quarantined = None;
                stored.row.attempts = 0;
                if stored.row.wake_at.is_some_and(|wake_at| wake_at <= now) {
                    stored.claimed_until = Some(Timestamp(now.0.saturating_add(DAY_IN_MILLIS)));
                }
                for id in self.sent.get(&flow).cloned().unwrap_or_default() {
                    let open = |delivery: &&OutboxRow| delivery.settled.is_none() && delivery.tag.is_some();
                    if self.outbox.get(&id).as_ref().is_some_and(open) {
                        self.give_up(id, now);
                    }
                }
                let failed = |delivery: &&OutboxRow| {
                    delivery.target == Some(flow) && delivery.settled.is_none() && delivery.attempts >= PATIENCE
                };
                let failed: Vec<(DeliveryId, bool)> =
                    self.outbox.values().filter(failed).map(|delivery| (delivery.id, delivery.tag.is_some())).collect();
                for (id, awaited) in failed {
                    if awaited {
                        self.expire(id, now);
                    } else {
                        self.give_up(id, now);
                    }
                }
            }
            Verb::End => {
                // The mark stays: whoever reads the row must not take its bytes for a flow that lives.
                stored.row.phase = ENDED.to_owned();
                stored.row.wake_at = None;
                stored.row.touched_at = now;
            }
        }
        self.put(stored);
        true
    }

    fn give_up(&mut self, delivery: DeliveryId, at: Timestamp) {
        self.settle(&Settle { delivery, at, dead: Some(SKIPPED.to_owned()), forgets: false });
    }

    /// Whoever waits for its end is told of it by whoever claims it next.
    fn expire(&mut self, delivery: DeliveryId, at: Timestamp) {
        let Some(delivery) = self.outbox.get_mut(&delivery) else { return };
        self.due_deliveries.remove(&(delivery.due, delivery.id));
        delivery.due = at;
        delivery.expires = Some(at);
        delivery.note = SKIPPED.to_owned();
        delivery.claimed_until = None;
        delivery.claimed_by = None;
        self.due_deliveries.insert((delivery.due, delivery.id));
    }

    /// The next instant at which something may be claimed.
    pub fn next_due(&self) -> Option<Timestamp> {
        let flow = |id: &FlowId| self.rows.get(id)?.claimed_until;
        let delivery = |id: &DeliveryId| self.outbox.get(id)?.claimed_until;
        let flows = soonest(self.due_flows.iter().map(|(due, id)| (*due, flow(id))));
        let deliveries = soonest(self.due_deliveries.iter().map(|(due, id)| (*due, delivery(id))));
        flows.into_iter().chain(deliveries).min()
    }

    /// Removes what may go, the oldest first.
    pub fn retain(&mut self, retention: Retention) -> u64 {
        let (before, limit) = (retention.rows_before, retention.limit as usize);
        let mut touched = 0;

        let settled = self.outbox.values().filter(|delivery| delivery.settled.is_some_and(|at| at < before));
        for id in settled.map(|delivery| delivery.id).take(limit).collect::<Vec<_>>() {
            if let Some(gone) = self.outbox.remove(&id)
                && let Some(sent) = self.sent.get_mut(&gone.flow)
            {
                sent.retain(|other| *other != id);
            }
            touched += 1;
        }
        let wiped = |delivery: &&mut OutboxRow| {
            delivery.settled.is_some_and(|at| at < retention.payloads_before) && !delivery.payload.is_empty()
        };
        for delivery in self.outbox.values_mut().filter(wiped).take(limit) {
            delivery.payload = Vec::new();
            touched += 1;
        }
        let mut over: Vec<(Timestamp, String)> =
            self.expiries.iter().map(|(key, expires)| (*expires, key.clone())).collect();
        over.retain(|(expires, _)| *expires <= retention.now);
        over.sort_unstable();
        for (_, key) in over.into_iter().take(limit) {
            self.expiries.remove(&key);
            self.guards.remove(&key);
            touched += 1;
        }
        for rule in D::retention() {
            let before = retention.now.before(rule.keep);
            if let RuledRows::Flows { kind, phase } = rule.rows {
                let over = |stored: &&Stored| {
                    let row = &stored.row;
                    row.kind == kind && row.phase == phase && row.wake_at.is_none() && row.touched_at < before
                };
                for flow in self.rows.values().filter(over).map(|stored| stored.row.id).take(limit).collect::<Vec<_>>()
                {
                    touched += self.remove_flow(flow);
                }
            }
        }
        let short = |event: &Event| {
            D::retention().iter().any(|rule| match rule.rows {
                RuledRows::Events { kind, name, to } => {
                    (kind, name, to) == (&event.kind, &event.name, &event.to)
                        && event.at < retention.now.before(rule.keep)
                }
                RuledRows::Flows { .. } => false,
            })
        };
        let mut old: Vec<(Timestamp, u64, InputId, FlowId)> = self
            .events
            .values()
            .filter(|event| event.at < before || short(event))
            .map(|event| (event.at, event.version, event.input, event.flow))
            .collect();
        old.sort_unstable();
        for (_, version, input, flow) in old.into_iter().take(limit) {
            self.events.remove(&input);
            self.history.remove(&(flow, version));
            touched += 1;
        }
        let finished =
            self.rows.values().filter(|stored| stored.row.wake_at.is_none() && stored.row.touched_at < before);
        for id in finished.map(|stored| stored.row.id).take(limit).collect::<Vec<_>>() {
            self.rows.remove(&id);
            touched += 1;
        }
        touched
    }

    /// Removes a flow with its events and settled deliveries; gives the number of rows.
    fn remove_flow(&mut self, flow: FlowId) -> u64 {
        let mut removed = u64::from(self.rows.remove(&flow).is_some());
        let events: Vec<(u64, InputId)> =
            self.history.range((flow, 0)..=(flow, u64::MAX)).map(|((_, version), input)| (*version, *input)).collect();
        for (version, input) in events {
            self.history.remove(&(flow, version));
            self.events.remove(&input);
            removed += 1;
        }
        let outbox = &mut self.outbox;
        if let Some(sent) = self.sent.get_mut(&flow) {
            sent.retain(|id| {
                let settled = outbox.get(id).is_some_and(|delivery| delivery.settled.is_some());
                if settled {
                    outbox.remove(id);
                    removed += 1;
                }
                !settled
            });
        }
        removed
    }

    /// Counts.
    pub fn live(&self) -> u64 {
        self.rows.values().filter(|stored| stored.row.wake_at.is_some()).count() as u64
    }

    /// Counts what waits.
    pub fn backlog(&self) -> Backlog {
        let set_aside = |stored: &&Stored| stored.row.waits_for_operator();
        Backlog {
            quarantined: self.rows.values().filter(set_aside).count() as u64,
            pending: self.due_deliveries.len() as u64,
            dead: self.outbox.values().filter(|delivery| delivery.dead).count() as u64,
            oldest: self
                .outbox
                .values()
                .filter(|delivery| delivery.settled.is_none())
                .map(|delivery| delivery.created)
                .min(),
        }
    }

    /// Looks for gaps between a flow's versions, and between its last event and its row.
    pub fn audit(&self, now: Timestamp) -> Audit {
        let mut findings = Vec::new();
        let mut last: BTreeMap<FlowId, u64> = BTreeMap::new();
        let mut gap = |flow: FlowId, what: String| {
            findings.push(Finding { invariant: "I2".to_owned(), flow: Some(flow.to_string()), what });
        };
        // Of a kind of flow whose events go one by one, only those count that are too young for that.
        let whole = |flow: &FlowId, input: &InputId| {
            let kind = self.rows.get(flow).map(|stored| stored.row.kind.as_str());
            let since = kind.and_then(|kind| whole_since(D::retention(), kind, now));
            since.is_none_or(|since| self.events.get(input).is_some_and(|event| event.at > since))
        };
        for ((flow, version), _) in self.history.iter().filter(|((flow, _), input)| whole(flow, input)) {
            if let Some(before) = last.insert(*flow, *version)
                && before + 1 != *version
            {
                gap(*flow, format!("version {version} follows {before}"));
            }
        }
        for (flow, version) in &last {
            let row = self.rows.get(flow).map(|stored| stored.row.version);
            if row.is_some_and(|row| row != *version) {
                gap(*flow, format!("the row has version {row:?}, the last event {version}"));
            }
        }
        for (flow, stored) in &self.rows {
            if let Some(quarantine) = stored.row.quarantined.as_ref().filter(|_| stored.row.waits_for_operator()) {
                let what = format!("the {} flow is in quarantine: {}", stored.row.kind, quarantine.why);
                findings.push(Finding { invariant: "I7".to_owned(), flow: Some(flow.to_string()), what });
            }
        }
        Audit {
            findings,
            flows: self.rows.len() as u64,
            events: self.events.len() as u64,
            deliveries: self.outbox.len() as u64,
        }
    }
}

/// Of things in order of their due, each perhaps in somebody's hands until an instant, the first to be had.
fn soonest(due: impl Iterator<Item = (Timestamp, Option<Timestamp>)>) -> Option<Timestamp> {
    let mut first: Option<Timestamp> = None;
    for (due, claimed_until) in due {
        if first.is_some_and(|first| first <= due) {
            break;
        }
        let free = claimed_until.map_or(due, |until| until.max(due));
        first = Some(first.map_or(free, |first| first.min(free)));
    }
    first
}
