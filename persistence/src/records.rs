//! What a batch carries to the database, as JSON: borrowed from the items, written straight into text.

use std::borrow::Cow;

use cairn_runtime::store::{Delivery, Event, Postpone, Row, Settle};
use data_encoding::HEXLOWER;
use sea_orm::DbErr;
use serde::{Serialize, Serializer};

/// Bytes as hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(self.0))
    }
}

/// Text for people, which may have come from anywhere: PostgreSQL holds no NUL in a text.
pub(crate) fn readable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The JSON of a list of records.
pub(crate) fn json<T: Serialize>(records: &[T]) -> Result<String, DbErr> {
    serde_json::to_string(records).map_err(|error| DbErr::Json(error.to_string()))
}

/// A row of `flows`, unclaimed.
#[derive(Serialize)]
pub(crate) struct FlowRecord<'a> {
    id: Hex<'a>,
    kind: &'a str,
    schema: u32,
    version: u64,
    phase: &'a str,
    state: &'a str,
    salt: Hex<'a>,
    wake_at: Option<i64>,
    attempts: u32,
    quarantined_at: Option<i64>,
    quarantine_why: Option<Cow<'a, str>>,
    user_id: Option<Hex<'a>>,
    client_id: Option<Hex<'a>>,
    parent: Option<Hex<'a>>,
    subject: Option<Hex<'a>>,
    touched_at: i64,
}

impl<'a> From<&'a Row> for FlowRecord<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            id: Hex(row.id.bytes()),
            kind: &row.kind,
            schema: row.schema,
            version: row.version,
            phase: &row.phase,
            state: &row.state,
            salt: Hex(&row.salt),
            wake_at: row.wake_at.map(|at| at.0),
            attempts: row.attempts,
            quarantined_at: row.quarantined.as_ref().map(|quarantine| quarantine.at.0),
            quarantine_why: row.quarantined.as_ref().map(|quarantine| readable(&quarantine.why)),
            user_id: row.user.as_ref().map(|id| Hex(id.bytes())),
            client_id: row.client.as_ref().map(|id| Hex(id.bytes())),
            parent: row.parent.as_ref().map(|id| Hex(id.bytes())),
            subject: row.subject.as_ref().map(|hash| Hex(hash)),
            touched_at: row.touched_at.0,
        }
    }
}

/// A row of `events`.
#[derive(Serialize)]
pub(crate) struct EventRecord<'a> {
    flow: Hex<'a>,
    version: u64,
    input: Hex<'a>,
    kind: &'a str,
    name: &'a str,
    from: &'a str,
    to: &'a str,
    public: &'a str,
    outcome: &'a str,
    fingerprint: Option<Hex<'a>>,
    node: Cow<'a, str>,
    trace: Cow<'a, str>,
    at: i64,
}

impl<'a> From<&'a Event> for EventRecord<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            flow: Hex(event.flow.bytes()),
            version: event.version,
            input: Hex(event.input.bytes()),
            kind: &event.kind,
            name: &event.name,
            from: &event.from,
            to: &event.to,
            public: &event.public,
            outcome: &event.outcome,
            fingerprint: event.fingerprint.as_ref().map(|hash| Hex(hash)),
            node: readable(&event.node),
            trace: readable(&event.trace),
            at: event.at.0,
        }
    }
}

/// A row of `outbox`.
#[derive(Serialize)]
pub(crate) struct DeliveryRecord<'a> {
    id: Hex<'a>,
    flow: Hex<'a>,
    flow_kind: &'a str,
    tag: Option<&'a str>,
    kind: &'a str,
    payload: Hex<'a>,
    due: i64,
    expires: Option<i64>,
    once: bool,
    attempts: u32,
    claimed_until: Option<i64>,
    claimed_by: Option<&'a str>,
    settled: Option<i64>,
    note: Cow<'a, str>,
    dead: bool,
    created: i64,
}

impl<'a> From<&'a Delivery> for DeliveryRecord<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            id: Hex(delivery.id.bytes()),
            flow: Hex(delivery.flow.bytes()),
            flow_kind: &delivery.flow_kind,
            tag: delivery.tag.as_deref(),
            kind: &delivery.kind,
            payload: Hex(&delivery.payload),
            due: delivery.due.0,
            expires: delivery.expires.map(|at| at.0),
            once: delivery.once,
            attempts: delivery.attempts,
            claimed_until: delivery.claimed_until.map(|at| at.0),
            claimed_by: delivery.claimed_by.as_deref(),
            settled: delivery.settled.map(|at| at.0),
            note: readable(&delivery.note),
            dead: delivery.dead,
            created: delivery.created.0,
        }
    }
}

/// A row of `guards`.
#[derive(Serialize)]
pub(crate) struct GuardRecord<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: i64,
}

/// The end of a delivery.
#[derive(Serialize)]
pub(crate) struct SettleRecord<'a> {
    id: Hex<'a>,
    settled: i64,
    note: Cow<'a, str>,
    dead: bool,
}

impl<'a> From<&'a Settle> for SettleRecord<'a> {
    fn from(settle: &'a Settle) -> Self {
        Self {
            id: Hex(settle.delivery.bytes()),
            settled: settle.at.0,
            note: readable(settle.dead.as_deref().unwrap_or_default()),
            dead: settle.dead.is_some(),
        }
    }
}

/// A delivery that is put off.
#[derive(Serialize)]
pub(crate) struct PostponeRecord<'a> {
    id: Hex<'a>,
    due: i64,
    note: Cow<'a, str>,
    /// How many attempts are taken back.
    uncounted: u8,
}

impl<'a> From<&'a Postpone> for PostponeRecord<'a> {
    fn from(postpone: &'a Postpone) -> Self {
        Self {
            id: Hex(postpone.delivery.bytes()),
            due: postpone.due.0,
            note: readable(&postpone.note),
            uncounted: u8::from(!postpone.counts),
        }
    }
}
