//! Reads the log of the store along, keeps the ledger of what was acknowledged and carried, and says which promise broke.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fate::Fate;
use super::workload::{Heard, Told};
use crate::clock::Timestamp;
use crate::effects::Guard;
use crate::flow::Domain;
use crate::id::{DeliveryId, FlowId, InputId};
use crate::outbox::DeliveryAttempt;
use crate::payload::Payload;
use crate::store::{Event, GuardState, OutboxRow, Row};
use crate::testing::store::{Logged, SimStore, Tables};

/// Broken promises after which nobody reads on.
const ENOUGH: usize = 12;

/// What the engine promises for every flow, I1 to I9 of the design, as far as one can see it from outside.
pub(super) struct Judge<D: Domain> {
    store: Arc<SimStore<D>>,
    environment: Arc<D::Environment>,
    fate: Arc<Fate>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    read: usize,
    flows: BTreeMap<FlowId, Stood>,
    guards: BTreeMap<String, GuardState>,
    inputs: BTreeSet<InputId>,
    settled: BTreeSet<DeliveryId>,
    ledger: BTreeMap<InputId, Told>,
    carried: BTreeMap<DeliveryId, Record>,
    broken: Vec<String>,
    violations: usize,
}

/// A flow as the log left it.
#[derive(Clone, Copy)]
struct Stood {
    version: u64,
    wake_at: Option<Timestamp>,
    touched_at: Timestamp,
}

/// What the world knows of one delivery.
struct Record {
    content: String,
    effects: u64,
    accepted: bool,
}

impl Book {
    fn broke(&mut self, promise: &str, what: String) {
        if self.broken.len() < ENOUGH {
            self.broken.push(format!("{promise}: {what}"));
        }
    }
}

impl<D: Domain> Judge<D> {
    pub(super) fn new(store: Arc<SimStore<D>>, environment: Arc<D::Environment>, fate: Arc<Fate>) -> Self {
        Self { store, environment, fate, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A promise is broken, says somebody else.
    pub(super) fn broke(&self, promise: &str, what: String) {
        self.fate.note(|| format!("BROKEN {promise}: {what}"));
        self.book().broke(promise, what);
    }

    pub(super) fn broken(&self) -> Vec<String> {
        self.book().broken.clone()
    }

    /// Reads what was committed since it last looked.
    pub(super) fn look(&self) {
        self.store.inspect(|tables| self.read(tables));
    }

    fn read(&self, tables: &Tables<D>) {
        let mut book = self.book();
        while let Some(line) = tables.log.get(book.read) {
            book.read += 1;
            self.weigh(&mut book, tables, line);
        }
        let known = book.violations;
        for violation in tables.violations.iter().skip(known) {
            book.broke("the committer's word to the store", violation.clone());
        }
        book.violations = tables.violations.len();
    }

    fn weigh(&self, book: &mut Book, tables: &Tables<D>, line: &Logged) {
        let event = tables.events.get(&line.input).filter(|_| line.has_event);
        self.fate.count(|figures| {
            figures.commits += 1;
            figures.woken += u64::from(event.is_some_and(|event| event.name == "woken"));
        });
        self.fate.note(|| tell(line, event));
        if line.has_event && !book.inputs.insert(line.input) {
            book.broke("I3", format!("the input {} took effect a second time", line.input));
        }
        if !line.has_event && (line.writes > 0 || !line.rows.is_empty()) {
            book.broke("I3", format!("the input {} wrote without an event to remember it by", line.input));
        }
        for row in &line.rows {
            weigh_row(book, row, event.filter(|event| event.flow == row.id));
        }
        for guard in &line.guards {
            if let Err(why) = weigh_guard(&mut book.guards, line.at, guard) {
                book.broke("I8", format!("{why}, by the input {}", line.input));
            }
        }
        if let Some(settled) = line.settled
            && !book.settled.insert(settled)
        {
            book.broke("I3", format!("the delivery {settled} was settled a second time"));
        }
    }

    /// An order was acknowledged with an outcome; gives whether its event is in the history.
    pub(super) fn acknowledged(&self, input: InputId, told: &Told) -> bool {
        self.look();
        let known = self.store.inspect(|tables| {
            let event = tables.events.get(&input).cloned();
            let version = tables.rows.get(&told.flow).map_or(0, |stored| stored.row.version);
            (event, version)
        });
        let mut book = self.book();
        match known {
            // It stayed, and another request with this very input moved the flow before the answer was read.
            (Some(event), _) if told.version < event.version && !told.repeated => false,
            (Some(event), _) => {
                if let Some(why) = differs(told, &event) {
                    book.broke("I1", format!("the input {input} was acknowledged with {told:?}, yet {why}"));
                }
                if let Some(before) = book.ledger.get(&input)
                    && (before.outcome != told.outcome || before.version != told.version)
                {
                    let what = format!("the input {input} was told {before:?} first and {told:?} later");
                    book.broke("I3", what);
                }
                book.ledger.insert(input, told.clone());
                true
            }
            (None, version) => {
                if book.ledger.contains_key(&input) {
                    book.broke("I1", format!("the event of the acknowledged input {input} is gone"));
                } else if told.version > version {
                    let what = format!("{input} was told {told:?}, and the row is at version {version}");
                    book.broke("I1", what);
                }
                false
            }
        }
    }

    /// What an outcome means, says the workload.
    pub(super) fn heard(&self, input: InputId, has_event: bool, heard: Heard, name: &str) {
        match heard {
            Heard::Moved if !has_event => {
                self.broke("I1", format!("{name}: the input {input} was acknowledged and left no trace"));
            }
            Heard::Moved | Heard::Anything => {}
            Heard::Wrong(why) => self.broke("the workload", format!("{name} ({input}): {why}")),
        }
    }

    /// A delivery has its effect now.
    pub(super) fn carried(&self, carried: &DeliveryAttempt<D>) {
        let json = |delivery: &D::Delivery| serde_json::to_string(delivery).unwrap_or_default();
        let content = format!("{} of {} at {:?}", json(&carried.delivery), carried.flow, carried.created);
        let first = !self.book().carried.contains_key(&carried.id);
        // Only the first time: later ones are held against it.
        let committed = self.store.inspect(|tables| {
            let delivery = tables.outbox.get(&carried.id).filter(|_| first)?;
            Some(match Payload::<D>::open(&self.environment, delivery) {
                Ok(Payload::External(open)) if json(&open) == json(&carried.delivery) => Ok(()),
                Ok(Payload::External(open)) => {
                    Err(format!("{} was carried as {content}, committed as {}", carried.id, json(&open)))
                }
                Ok(_) => Err(format!("{} was carried as {content}, and is the engine's own", carried.id)),
                Err(why) => Err(format!("{} was carried as {content}, and does not open: {why}", carried.id)),
            })
        });
        let once = self.store.inspect(|tables| tables.outbox.get(&carried.id).is_some_and(|delivery| delivery.once));
        let mut book = self.book();
        match committed {
            Some(Err(why)) => book.broke("I4", why),
            None if first => book.broke("I4", format!("{} was carried and never committed: {content}", carried.id)),
            _ => {}
        }
        let record = book.carried.entry(carried.id).or_insert_with(|| Record {
            content: content.clone(),
            effects: 0,
            accepted: false,
        });
        record.effects += 1;
        let (effects, other) = (record.effects, record.content != content);
        if other {
            book.broke("I6", format!("{} was carried once more with another content: {content}", carried.id));
        }
        if once && effects > 1 {
            book.broke("I6", format!("{} may happen at most once and was carried {effects} times", carried.id));
        }
        drop(book);
        self.fate.count(|figures| {
            figures.carried += 1;
            figures.carried_again += u64::from(effects > 1);
        });
    }

    /// Whether a delivery has had its effect before.
    pub(super) fn was_carried(&self, delivery: DeliveryId) -> bool {
        self.book().carried.contains_key(&delivery)
    }

    /// A courier says that a delivery was taken.
    pub(super) fn accepted(&self, delivery: DeliveryId) {
        if let Some(record) = self.book().carried.get_mut(&delivery) {
            record.accepted = true;
        }
    }

    /// All that must be true when nothing is under way.
    pub(super) fn rest(&self, now: Timestamp, may_be_set_aside: impl Fn(&Row) -> bool) {
        self.look();
        self.store.inspect(|tables| {
            let mut book = self.book();
            for (input, told) in book.ledger.clone() {
                let lost = match tables.events.get(&input) {
                    None => Some("its event is gone".to_owned()),
                    Some(event) => differs(&told, event),
                };
                if let Some(why) = lost {
                    book.broke("I1", format!("{input} was acknowledged with {told:?}, yet {why}"));
                }
            }
            // Who was set aside is named there as well (I7); whether that was right is judged by what was asked.
            for finding in tables.audit(now).findings.into_iter().filter(|finding| finding.invariant != "I7") {
                book.broke(&finding.invariant, format!("{:?}: {}", finding.flow, finding.what));
            }
            let rows: BTreeMap<FlowId, u64> =
                tables.rows.values().map(|stored| (stored.row.id, stored.row.version)).collect();
            let logged: BTreeMap<FlowId, u64> = book.flows.iter().map(|(flow, stood)| (*flow, stood.version)).collect();
            if rows != logged {
                book.broke("I1", "the rows are not as the log left them".to_owned());
            }
            for stored in tables.rows.values() {
                weigh_at_rest(&mut book, &stored.row, now, &may_be_set_aside);
            }
            let events: BTreeSet<InputId> = tables.events.keys().copied().collect();
            for (input, _) in &tables.written {
                if !events.contains(input) {
                    book.broke("I1", format!("what the input {input} wrote has no event"));
                }
            }
            for delivery in tables.outbox.values() {
                weigh_delivery(&mut book, delivery);
            }
        });
    }

    /// Counts what ended badly.
    pub(super) fn count(&self) {
        self.store.inspect(|tables| {
            let dead = tables.outbox.values().filter(|delivery| delivery.dead).count();
            let aside = tables.rows.values().filter(|stored| stored.row.quarantined.is_some()).count();
            self.fate.count(|figures| {
                figures.dead += dead as u64;
                figures.quarantined += aside as u64;
            });
        });
    }
}

/// How an event differs from what somebody was told of it.
fn differs(told: &Told, event: &Event) -> Option<String> {
    let outcome: serde_json::Value = serde_json::from_str(&event.outcome).ok()?;
    let same =
        (event.flow, event.version, &event.to, &outcome) == (told.flow, told.version, &told.phase, &told.outcome);
    (!same).then(|| format!("history says {event:?}"))
}

fn tell(line: &Logged, event: Option<&Event>) -> String {
    let what = event.map_or_else(String::new, |event| {
        let Event { kind, name, flow, from, to, version, outcome, node, .. } = event;
        format!("{node} {kind} {flow} {name}: {from} -> {to} at {version}, said {outcome}")
    });
    let guards = if line.guards.is_empty() { String::new() } else { format!(" {:?}", line.guards) };
    let settled = line.settled.map_or_else(String::new, |settled| format!(" settles {settled}"));
    let sent = if line.sent.is_empty() { String::new() } else { format!(" sends {:?}", line.sent) };
    format!("committed {} {what}{guards}{settled}{sent}", line.input)
}

/// A row as a step left it, against how the log knew it.
fn weigh_row(book: &mut Book, row: &Row, event: Option<&Event>) {
    let before = book.flows.get(&row.id).copied();
    let stood = Stood { version: row.version, wake_at: row.wake_at, touched_at: row.touched_at };
    book.flows.insert(row.id, stood);
    let expected = before.map_or(1, |before| before.version + 1);
    if row.version != expected {
        book.broke("I2", format!("{} {} is at version {} where {expected} follows", row.kind, row.id, row.version));
    }
    let (Some(before), Some(event)) = (before, event) else { return };
    if row.touched_at < before.touched_at {
        book.broke("time", format!("{} {} was written before its row was", row.kind, row.id));
    }
    let due = before.wake_at.is_some_and(|wake_at| wake_at <= event.at);
    if event.name == "woken" && !due {
        let what = format!("{} {} was woken at {:?}, due at {:?}", row.kind, row.id, event.at, before.wake_at);
        book.broke("I7", what);
    }
    if event.name != "woken" && due {
        let what = format!(
            "{} {} took {} at {:?}, overdue since {:?}",
            row.kind, row.id, event.name, event.at, before.wake_at
        );
        book.broke("I7", what);
    }
}

/// A condition or claim that stood, against a table of guards kept beside the store's own.
fn weigh_guard(guards: &mut BTreeMap<String, GuardState>, at: Timestamp, guard: &Guard<String>) -> Result<(), String> {
    let key = guard.key();
    let present = guards.get(key).copied().filter(|state| state.is_held(at));
    let number = present.map(|state| state.number);
    let mut claim = |expires| match guards.insert(key.clone(), GuardState { number: 0, expires }) {
        Some(before) if before.is_held(at) => Err(format!("{key} was claimed though somebody had it")),
        _ => Ok(()),
    };
    match guard {
        Guard::Claim(_) => claim(None),
        Guard::ClaimUntil(_, expires) => claim(Some(*expires)),
        Guard::Release(_) => {
            guards.remove(key);
            Ok(())
        }
        Guard::Hold(_, expected) if number == Some(*expected) => Ok(()),
        Guard::Hold(_, expected) => Err(format!("{key} was held at {expected}, and is at {number:?}")),
        Guard::Bump(_, expected) => {
            let fits = number.is_some() && expected.is_none_or(|expected| number == Some(expected));
            let expires = present.and_then(|state| state.expires);
            guards.insert(key.clone(), GuardState { number: number.unwrap_or(0) + 1, expires });
            if fits { Ok(()) } else { Err(format!("{key} was raised from {expected:?}, and was at {number:?}")) }
        }
    }
}

fn weigh_at_rest(book: &mut Book, row: &Row, now: Timestamp, may_be_set_aside: impl Fn(&Row) -> bool) {
    match &row.quarantined {
        Some(quarantine) if !may_be_set_aside(row) => {
            book.broke("I9", format!("{} {} is in quarantine: {}", row.kind, row.id, quarantine.why));
        }
        Some(_) => {}
        None if row.wake_at.is_some_and(|wake_at| wake_at <= now) => {
            let what = format!("{} {} is due since {:?}, and nobody wakes it", row.kind, row.id, row.wake_at);
            book.broke("I7", what);
        }
        None => {}
    }
}

fn weigh_delivery(book: &mut Book, delivery: &OutboxRow) {
    let OutboxRow { id, kind, settled, dead, note, .. } = delivery;
    let engines_own = kind == "signal" || kind == "answer";
    let accepted = book.carried.get(id).is_some_and(|record| record.accepted);
    match (settled, dead) {
        (None, _) => book.broke(
            "I5",
            format!("the {kind} {id} is neither delivered nor dead after {} attempts: {note}", delivery.attempts),
        ),
        (Some(_), true) if note.is_empty() => book.broke("I5", format!("the {kind} {id} is dead and does not say why")),
        (Some(_), false) if !engines_own && !accepted => {
            book.broke("I5", format!("the {kind} {id} counts as delivered, and nobody took it"));
        }
        (Some(_), _) => {}
    }
}
