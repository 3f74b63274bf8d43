//! The floor: the rows of a step as the engine had them committed, and the statements that carry them, without engine.

use std::collections::VecDeque;

use cairn_actors::effects::Auth;
use cairn_runtime::store::{Event, Item, OutboxRow, Row};
use cairn_runtime::{Id, InputId};
use serde_json::{Value, json};

pub const FLOWS: &[(&str, Kind)] = &[
    ("id", Kind::Bytes),
    ("kind", Kind::Text),
    ("schema", Kind::Integer),
    ("version", Kind::Big),
    ("phase", Kind::Text),
    ("state", Kind::Text),
    ("salt", Kind::Bytes),
    ("wake_at", Kind::Big),
    ("attempts", Kind::Integer),
    ("quarantined_at", Kind::Big),
    ("quarantine_why", Kind::Text),
    ("claimed_until", Kind::Big),
    ("claimed_by", Kind::Text),
    ("user_id", Kind::Bytes),
    ("client_id", Kind::Bytes),
    ("parent", Kind::Bytes),
    ("subject", Kind::Bytes),
    ("touched_at", Kind::Big),
];

pub const EVENTS: &[(&str, Kind)] = &[
    ("flow", Kind::Bytes),
    ("version", Kind::Big),
    ("input", Kind::Bytes),
    ("kind", Kind::Text),
    ("name", Kind::Text),
    ("from", Kind::Text),
    ("to", Kind::Text),
    ("public", Kind::Text),
    ("outcome", Kind::Text),
    ("fingerprint", Kind::Bytes),
    ("node", Kind::Text),
    ("trace", Kind::Text),
    ("at", Kind::Big),
    ("user_id", Kind::Bytes),
];

pub const OUTBOX: &[(&str, Kind)] = &[
    ("id", Kind::Bytes),
    ("flow", Kind::Bytes),
    ("flow_kind", Kind::Text),
    ("tag", Kind::Text),
    ("kind", Kind::Text),
    ("payload", Kind::Bytes),
    ("due", Kind::Big),
    ("expires", Kind::Big),
    ("once", Kind::Boolean),
    ("attempts", Kind::Integer),
    ("claimed_until", Kind::Big),
    ("claimed_by", Kind::Text),
    ("settled", Kind::Big),
    ("note", Kind::Text),
    ("dead", Kind::Boolean),
    ("created", Kind::Big),
    ("target", Kind::Bytes),
    ("budget", Kind::Bytes),
    ("asked_by", Kind::Bytes),
    ("lane", Kind::Text),
];

const ENDS: &[(&str, Kind)] =
    &[("id", Kind::Bytes), ("settled", Kind::Big), ("note", Kind::Text), ("dead", Kind::Boolean)];

/// How a column travels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bytes,
    Text,
    Integer,
    Big,
    Boolean,
}

/// The statements of a commit on SQLite, word for word those of `persistence/src/sql.rs`.
pub struct Texts {
    pub lock_flows: &'static str,
    pub lock_outbox: &'static str,
    pub insert_flows: &'static str,
    pub insert_events: &'static str,
    pub update_flows: &'static str,
    pub insert_outbox: &'static str,
    pub settle_outbox: &'static str,
}

pub fn names(columns: &[(&str, Kind)]) -> String {
    columns.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn unfolded(columns: &[(&str, Kind)]) -> String {
    let wanted = columns.iter().map(|(name, kind)| match kind {
        Kind::Bytes => format!("unhex(r.value ->> '{name}') AS \"{name}\""),
        _ => format!("r.value ->> '{name}' AS \"{name}\""),
    });
    format!("(SELECT {} FROM jsonb_each(?1) AS r)", wanted.collect::<Vec<_>>().join(", "))
}

impl Texts {
    pub fn sqlite() -> Self {
        let ids = r#"(SELECT unhex(r.value) AS "id" FROM json_each(?1) AS r)"#;
        let insert = |table: &str, columns: &[(&str, Kind)], key: &str| {
            let (names, rows) = (names(columns), unfolded(columns));
            format!(
                r#"INSERT INTO "{table}" ({names}) SELECT {names} FROM {rows} AS n WHERE true ORDER BY "{key}" ON CONFLICT DO NOTHING RETURNING "{key}""#
            )
        };
        let changed: Vec<String> =
            FLOWS.iter().skip(1).map(|(name, _)| format!(r#""{name}" = excluded."{name}""#)).collect();
        let (flows, rows, changed) = (names(FLOWS), unfolded(FLOWS), changed.join(", "));
        let update_flows = format!(
            r#"INSERT INTO "flows" ({flows}) SELECT {flows} FROM {rows} AS n WHERE true ORDER BY "id" ON CONFLICT ("id") DO UPDATE SET {changed} WHERE "flows"."version" = excluded."version" - 1"#
        );
        let (outbox, rows) = (names(OUTBOX), unfolded(OUTBOX));
        let insert_outbox =
            format!(r#"INSERT INTO "outbox" ({outbox}) SELECT {outbox} FROM {rows} AS n WHERE true ORDER BY "id""#);
        let settle_outbox = format!(
            r#"UPDATE "outbox" SET "settled" = n."settled", "note" = n."note", "dead" = n."dead", "claimed_until" = NULL, "claimed_by" = NULL FROM {} AS n WHERE "outbox"."id" = n."id""#,
            unfolded(ENDS)
        );
        let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        Self {
            lock_flows: keep(format!(
                r#"SELECT t."id", t."version", t."quarantined_at" FROM "flows" AS t JOIN {ids} AS n ON t."id" = n."id" ORDER BY t."id""#
            )),
            lock_outbox: keep(format!(
                r#"SELECT t."id", t."settled" FROM "outbox" AS t JOIN {ids} AS n ON t."id" = n."id" ORDER BY t."id""#
            )),
            insert_flows: keep(insert("flows", FLOWS, "id")),
            insert_events: keep(insert("events", EVENTS, "input")),
            update_flows: keep(update_flows),
            insert_outbox: keep(insert_outbox),
            settle_outbox: keep(settle_outbox),
        }
    }
}

/// One step's rows.
pub struct Rows {
    pub row: Row,
    pub event: Event,
    pub delivery: OutboxRow,
}

/// Makes rows like those of a sample: of as many flows as there are clients, each one version on at each step.
pub struct Mill {
    sample: Item<Auth>,
    flows: Vec<(Id, u64)>,
    next: usize,
    made: u64,
    /// Deliveries that were not settled yet, oldest first.
    pub open: VecDeque<Id>,
}

/// The parameters of one transaction.
#[derive(Default)]
pub struct Batch {
    pub ids: String,
    pub rows: String,
    pub events: String,
    pub outbox: String,
    pub ended: String,
    pub ends: String,
    pub steps: usize,
}

impl Mill {
    pub fn new(sample: Item<Auth>, flows: usize) -> Self {
        let first = sample.change.as_ref().unwrap().row.touched_at.0;
        let mut mill = Self { sample, flows: Vec::new(), next: 0, made: 0, open: VecDeque::new() };
        for _ in 0..flows {
            let id = mill.id(first);
            mill.flows.push((id, 0));
        }
        mill
    }

    /// Time-ordered, as the engine's are.
    fn id(&mut self, millis: i64) -> Id {
        self.made += 1;
        let mut noise = [0_u8; 10];
        let mixed = self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        noise[2..].copy_from_slice(&mixed);
        // Some thousand a second.
        Id::v7(millis + i64::try_from(self.made / 8).unwrap(), noise)
    }

    /// The rows with which all flows begin.
    pub fn begin(&mut self) -> String {
        let rows: Vec<Value> = (0..self.flows.len()).map(|_| flow_json(&self.step().row)).collect();
        self.open.clear();
        Value::Array(rows).to_string()
    }

    /// The next flow's next step.
    pub fn step(&mut self) -> Rows {
        let place = self.next % self.flows.len();
        self.next += 1;
        let millis = self.sample.change.as_ref().unwrap().row.touched_at.0;
        let (input, letter) = (self.id(millis), self.id(millis));
        let (flow, version) = &mut self.flows[place];
        *version += 1;
        let mut row = self.sample.change.as_ref().unwrap().row.clone();
        (row.id.0, row.version) = (*flow, *version);
        let mut event = self.sample.event.clone().unwrap();
        (event.flow.0, event.version, event.input) = (*flow, *version, InputId(input));
        let mut delivery = self.sample.outbox[0].clone();
        (delivery.id.0, delivery.flow.0) = (letter, *flow);
        self.open.push_back(letter);
        Rows { row, event, delivery }
    }

    /// One transaction of so many steps that settles so many of the deliveries from before it.
    pub fn batch(&mut self, steps: usize, settles: usize) -> Batch {
        assert!(steps <= self.flows.len(), "no flow twice in a batch");
        let ended: Vec<Id> = (0..settles).map_while(|_| self.open.pop_front()).collect();
        let rows: Vec<Rows> = (0..steps).map(|_| self.step()).collect();
        let list =
            |values: Vec<Value>| if values.is_empty() { String::new() } else { Value::Array(values).to_string() };
        let sorted = |mut ids: Vec<Id>| {
            ids.sort_unstable();
            list(ids.iter().map(|id| json!(hex(id.bytes()))).collect())
        };
        let at = self.sample.change.as_ref().unwrap().row.touched_at.0;
        let end = |id: &Id| json!({ "id": hex(id.bytes()), "settled": at, "note": "", "dead": false });
        Batch {
            ids: sorted(rows.iter().map(|rows| rows.row.id.0).collect()),
            rows: list(rows.iter().map(|rows| flow_json(&rows.row)).collect()),
            events: list(rows.iter().map(|rows| event_json(&rows.event)).collect()),
            outbox: list(rows.iter().map(|rows| delivery_json(&rows.delivery)).collect()),
            ends: list(ended.iter().map(end).collect()),
            ended: sorted(ended),
            steps,
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn flow_json(row: &Row) -> Value {
    json!({
        "id": hex(row.id.bytes()), "kind": row.kind, "schema": row.schema, "version": row.version,
        "phase": row.phase, "state": row.state, "salt": hex(&row.salt), "wake_at": row.wake_at.map(|at| at.0),
        "attempts": row.attempts, "quarantined_at": null, "quarantine_why": null, "user_id": null,
        "client_id": null, "parent": null, "subject": null, "touched_at": row.touched_at.0,
    })
}

fn event_json(event: &Event) -> Value {
    json!({
        "flow": hex(event.flow.bytes()), "version": event.version, "input": hex(event.input.bytes()),
        "kind": event.kind, "name": event.name, "from": event.from, "to": event.to, "public": event.public,
        "outcome": event.outcome, "fingerprint": null, "node": event.node, "trace": event.trace, "at": event.at.0, "user_id": null,
    })
}

fn delivery_json(delivery: &OutboxRow) -> Value {
    json!({
        "id": hex(delivery.id.bytes()), "flow": hex(delivery.flow.bytes()), "flow_kind": delivery.flow_kind,
        "tag": delivery.tag, "kind": delivery.kind, "payload": hex(&delivery.payload), "due": delivery.due.0,
        "expires": delivery.expires.map(|at| at.0), "once": delivery.once, "attempts": delivery.attempts,
        "claimed_until": delivery.claimed_until.map(|at| at.0), "claimed_by": delivery.claimed_by,
        "settled": null, "note": delivery.note, "dead": delivery.dead, "created": delivery.created.0,
        "target": null, "budget": delivery.budget.as_ref().map(|budget| hex(budget)),
        "asked_by": delivery.asked_by.as_ref().map(|asker| hex(asker)),
        "lane": delivery.lane,
    })
}
