//! What the sentences begin with: ids, rows, events, deliveries and items that are right unless a sentence spoils them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::effects::Guard;
use crate::id::{DeliveryId, FlowId, InputId};
use crate::store::{Change, Claim, Event, Item, OutboxRow, Row, Settle};
use crate::testing::clock::{BEGINNING, Rng};
use crate::testing::toy::{NOTES, Toy, ToyWrite};

/// So many seconds after the beginning.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(BEGINNING.0 + seconds * 1000)
}

fn bytes(kind: u64, number: u64) -> [u8; 16] {
    Rng::new((kind << 56) | number).bytes16()
}

/// The flow of this number. Ids are scattered: their order is not the order of their numbers.
pub fn flow(number: u64) -> FlowId {
    FlowId::from_bytes(bytes(1, number))
}

/// The input of this number.
pub fn input(number: u64) -> InputId {
    InputId::from_bytes(bytes(2, number))
}

/// The delivery of this number.
pub fn delivery_id(number: u64) -> DeliveryId {
    DeliveryId::from_bytes(bytes(3, number))
}

/// A row at version 1 that must be woken an hour after the beginning.
pub fn row(number: u64) -> Row {
    Row {
        id: flow(number),
        kind: "toy".to_owned(),
        schema: 1,
        version: 1,
        phase: "open".to_owned(),
        state: format!(r#"{{"open":{{"number":{number}}}}}"#),
        salt: bytes(4, number),
        wake_at: Some(at(3_600)),
        attempts: 0,
        quarantined: None,
        user: None,
        client: None,
        parent: None,
        subject: None,
        touched_at: at(0),
    }
}

/// The event of a row as it stands, caused by an input.
pub fn event(row: &Row, input: InputId) -> Event {
    Event {
        flow: row.id,
        version: row.version,
        input,
        kind: row.kind.clone(),
        name: "asked".to_owned(),
        from: if row.version == 1 { String::new() } else { "open".to_owned() },
        to: row.phase.clone(),
        public: format!(r#"{{"phase":"{}"}}"#, row.phase),
        outcome: format!(r#"{{"version":{}}}"#, row.version),
        fingerprint: None,
        node: "one".to_owned(),
        trace: format!("trace-{input}"),
        at: row.touched_at,
        user: row.user,
    }
}

/// A delivery of a flow that is due at the beginning.
pub fn delivery(number: u64, from: FlowId) -> OutboxRow {
    OutboxRow {
        id: delivery_id(number),
        flow: from,
        flow_kind: "toy".to_owned(),
        tag: None,
        kind: "note".to_owned(),
        lane: NOTES.name.to_owned(),
        target: None,
        budget: None,
        asked_by: None,
        payload: format!("note {number}").into_bytes(),
        due: at(0),
        expires: None,
        once: false,
        attempts: 0,
        claimed_until: None,
        claimed_by: None,
        settled: None,
        note: String::new(),
        dead: false,
        created: at(0),
    }
}

/// A claim by a node at an instant, for a minute, of at most a hundred.
pub fn claim(node: &str, now: Timestamp) -> Claim {
    Claim { now, until: now.after(Duration::from_secs(60)), node: node.to_owned(), limit: 100 }
}

/// An item in the making.
#[derive(Debug)]
pub struct Draft {
    /// The item.
    pub item: Item<Toy>,
}

/// The start of the flow of this number.
pub fn start(number: u64) -> Draft {
    start_of(row(number))
}

/// The start of a flow with this row.
pub fn start_of(row: Row) -> Draft {
    let mut item = Item::of(row.id.started_by(), at(0));
    item.event = Some(event(&row, item.input));
    item.change = Some(Change { row, was: 0 });
    Draft { item }
}

/// A step from a row as it stands, caused by the input of this number.
pub fn step(from: &Row, number: u64) -> Draft {
    let mut item = Item::of(input(number), at(0));
    let row = Row {
        version: from.version + 1,
        state: format!(r#"{{"open":{{"input":{number}}}}}"#),
        attempts: 0,
        ..from.clone()
    };
    item.event = Some(event(&row, item.input));
    item.change = Some(Change { row, was: from.version });
    Draft { item }
}

/// An act: an event under its own id, and no row.
pub fn act(number: u64) -> Draft {
    let mut item = Item::of(input(number), at(0));
    let as_row = Row { id: item.input.starts(), phase: String::new(), ..row(number) };
    item.event = Some(Event { kind: "act".to_owned(), ..event(&as_row, item.input) });
    Draft { item }
}

/// An item that only holds, until more is added.
pub fn nothing(number: u64) -> Draft {
    Draft { item: Item::of(input(number), at(0)) }
}

impl Draft {
    /// Takes a key.
    pub fn claim(self, key: &str) -> Self {
        self.guard(Guard::Claim(key.to_owned()))
    }

    /// Takes a key until an instant.
    pub fn claim_until(self, key: &str, expires: Timestamp) -> Self {
        self.guard(Guard::ClaimUntil(key.to_owned(), expires))
    }

    /// Gives a key back.
    pub fn release(self, key: &str) -> Self {
        self.guard(Guard::Release(key.to_owned()))
    }

    /// Holds a key's number.
    pub fn hold(self, key: &str, number: i64) -> Self {
        self.guard(Guard::Hold(key.to_owned(), number))
    }

    /// Raises a key's number.
    pub fn bump(self, key: &str) -> Self {
        self.guard(Guard::Bump(key.to_owned(), None))
    }

    /// Raises a key's number from this one.
    pub fn bump_from(self, key: &str, number: i64) -> Self {
        self.guard(Guard::Bump(key.to_owned(), Some(number)))
    }

    /// Adds a guard.
    pub fn guard(mut self, guard: Guard<String>) -> Self {
        self.item.guards.push(guard);
        self
    }

    /// Adds to a counter.
    pub fn add(mut self, counter: &str, by: i64) -> Self {
        self.item.writes.push(ToyWrite::add(counter, by));
        self
    }

    /// Has something delivered.
    pub fn sends(mut self, delivery: OutboxRow) -> Self {
        self.item.outbox.push(delivery);
        self
    }

    /// Opens the flow of this number. Its event has an input of its own.
    pub fn opens(mut self, number: u64) -> Self {
        let row = row(number);
        let event = event(&row, row.id.started_by());
        self.item.opened.push((row, event));
        self
    }

    /// Settles a delivery well.
    pub fn settles(mut self, number: u64) -> Self {
        self.item.settles = Some(Settle { delivery: delivery_id(number), at: at(1), dead: None, forgets: false });
        self
    }

    /// Settles a delivery well, and nobody reads it afterwards.
    pub fn forgets(mut self, number: u64) -> Self {
        self.item.settles = Some(Settle { delivery: delivery_id(number), at: at(1), dead: None, forgets: true });
        self
    }

    /// Settles a delivery badly.
    pub fn buries(mut self, number: u64, why: &str) -> Self {
        self.item.settles =
            Some(Settle { delivery: delivery_id(number), at: at(1), dead: Some(why.to_owned()), forgets: false });
        self
    }

    /// Expects a flow at a version.
    pub fn expects(mut self, flow: FlowId, version: u64) -> Self {
        self.item.expects = Some((flow, version));
        self
    }

    /// Is decided at another instant.
    pub fn decided(mut self, at: Timestamp) -> Self {
        self.item.at = at;
        self
    }

    /// Comes from the input of this number.
    pub fn caused_by(mut self, number: u64) -> Self {
        self.item.input = input(number);
        self.with_event(|event| event.input = input(number))
    }

    /// Has the input looked for first.
    pub fn seen(mut self) -> Self {
        self.item.seen = true;
        self
    }

    /// Has the row woken at another instant, or never.
    pub fn wakes(self, wake_at: Option<Timestamp>) -> Self {
        self.with_row(|row| row.wake_at = wake_at)
    }

    /// Changes the row that it leaves.
    pub fn with_row(mut self, change: impl FnOnce(&mut Row)) -> Self {
        let changed = self.item.change.as_mut().expect("an item with a row");
        change(&mut changed.row);
        self
    }

    /// Changes the event that it leaves.
    pub fn with_event(mut self, change: impl FnOnce(&mut Event)) -> Self {
        change(self.item.event.as_mut().expect("an item with an event"));
        self
    }

    /// The row that it leaves.
    pub fn row(&self) -> Row {
        self.item.change.clone().expect("an item with a row").row
    }

    /// The event that it leaves.
    pub fn event(&self) -> Event {
        self.item.event.clone().expect("an item with an event")
    }

    /// One of everything that an item can bring: a claim and a bump of its own, a write, two deliveries, an opened flow.
    ///
    /// The fence `fence:NUMBER` must be there. Traces: `name:NUMBER`, counter `everything`, flow `10_000 + NUMBER`.
    pub fn with_everything(self, number: u64) -> Self {
        let from = self.item.change.as_ref().map_or(self.item.input.starts(), |change| change.row.id);
        self.claim(&format!("name:{number}"))
            .bump(&format!("fence:{number}"))
            .add("everything", 1)
            .sends(delivery(20_000 + 2 * number, from))
            .sends(delivery(20_001 + 2 * number, from))
            .opens(10_000 + number)
    }
}
