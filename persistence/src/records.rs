//! What a batch carries to the database: the engine's values as cells of rows, borrowed from where they stand.

use std::borrow::Cow;

use cairn_runtime::Timestamp;
use cairn_runtime::store::{Event, GuardState, OutboxRow, Postpone, Row, Settle};
use data_encoding::HEXLOWER;
use sea_orm::{DbErr, Value};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Bytes as hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(self.0))
    }
}

/// One cell of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bytes(&'a [u8]),
    Text(Cow<'a, str>),
    Number(i64),
    Truth(bool),
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bytes(bytes) => Hex(bytes).serialize(to),
            Self::Text(text) => to.serialize_str(text),
            Self::Number(number) => to.serialize_i64(*number),
            Self::Truth(truth) => to.serialize_bool(*truth),
        }
    }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::BigInt(None),
            Cell::Bytes(bytes) => Self::Bytes(Some(bytes.to_vec())),
            Cell::Text(text) => Self::String(Some(text.into_owned())),
            Cell::Number(number) => Self::BigInt(Some(number)),
            Cell::Truth(truth) => Self::Bool(Some(truth)),
        }
    }
}

/// What can be a row of a statement's list.
pub(crate) trait Record {
    /// Its cells with their columns' names, in the order of the statement's columns.
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)>;
}

/// A record as a JSON object; what is null is left out.
pub(crate) struct JsonRow<'a, R>(pub(crate) &'a R);

impl<R: Record> Serialize for JsonRow<'_, R> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, cell) in self.0.cells().iter().filter(|(_, cell)| *cell != Cell::Null) {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}

/// The JSON of a list.
pub(crate) fn json<T: Serialize>(list: &[T]) -> Result<String, DbErr> {
    serde_json::to_string(list).map_err(|error| DbErr::Json(error.to_string()))
}

/// Text for people, which may have come from anywhere: PostgreSQL holds no NUL in a text.
pub(crate) fn readable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

fn bytes(bytes: &[u8]) -> Cell<'_> {
    Cell::Bytes(bytes)
}

fn some_bytes(bytes: Option<&[u8]>) -> Cell<'_> {
    bytes.map_or(Cell::Null, Cell::Bytes)
}

fn text(text: &str) -> Cell<'_> {
    Cell::Text(text.into())
}

fn some_text(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Null, |text| Cell::Text(text.into()))
}

fn number(number: u64) -> Cell<'static> {
    Cell::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

fn some_instant(at: Option<Timestamp>) -> Cell<'static> {
    at.map_or(Cell::Null, |at| Cell::Number(at.0))
}

/// A row of `flows`, unclaimed.
impl Record for Row {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        let quarantined = self.quarantined.as_ref();
        vec![
            ("id", bytes(self.id.bytes())),
            ("kind", text(&self.kind)),
            ("schema", number(self.schema.into())),
            ("version", number(self.version)),
            ("phase", text(&self.phase)),
            ("state", text(&self.state)),
            ("salt", bytes(&self.salt)),
            ("wake_at", some_instant(self.wake_at)),
            ("attempts", number(self.attempts.into())),
            ("quarantined_at", some_instant(quarantined.map(|quarantine| quarantine.at))),
            ("quarantine_why", quarantined.map_or(Cell::Null, |quarantine| Cell::Text(readable(&quarantine.why)))),
            ("claimed_until", Cell::Null),
            ("claimed_by", Cell::Null),
            ("user_id", some_bytes(self.user.as_ref().map(|id| id.bytes().as_slice()))),
            ("client_id", some_bytes(self.client.as_ref().map(|id| id.bytes().as_slice()))),
            ("parent", some_bytes(self.parent.as_ref().map(|id| id.bytes().as_slice()))),
            ("subject", some_bytes(self.subject.as_ref().map(<[u8; 32]>::as_slice))),
            ("touched_at", Cell::Number(self.touched_at.0)),
        ]
    }
}

/// A row of `events`.
impl Record for Event {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        vec![
            ("flow", bytes(self.flow.bytes())),
            ("version", number(self.version)),
            ("input", bytes(self.input.bytes())),
            ("kind", text(&self.kind)),
            ("name", text(&self.name)),
            ("from", text(&self.from)),
            ("to", text(&self.to)),
            ("public", text(&self.public)),
            ("outcome", text(&self.outcome)),
            ("fingerprint", some_bytes(self.fingerprint.as_ref().map(<[u8; 16]>::as_slice))),
            ("node", Cell::Text(readable(&self.node))),
            ("trace", Cell::Text(readable(&self.trace))),
            ("at", Cell::Number(self.at.0)),
            ("user_id", some_bytes(self.user.as_ref().map(|id| id.bytes().as_slice()))),
        ]
    }
}

/// A row of `outbox`.
impl Record for OutboxRow {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        vec![
            ("id", bytes(self.id.bytes())),
            ("flow", bytes(self.flow.bytes())),
            ("flow_kind", text(&self.flow_kind)),
            ("tag", some_text(self.tag.as_deref())),
            ("kind", text(&self.kind)),
            ("payload", bytes(&self.payload)),
            ("due", Cell::Number(self.due.0)),
            ("expires", some_instant(self.expires)),
            ("once", Cell::Truth(self.once)),
            ("attempts", number(self.attempts.into())),
            ("claimed_until", some_instant(self.claimed_until)),
            ("claimed_by", some_text(self.claimed_by.as_deref())),
            ("settled", some_instant(self.settled)),
            ("note", Cell::Text(readable(&self.note))),
            ("dead", Cell::Truth(self.dead)),
            ("created", Cell::Number(self.created.0)),
            ("target", some_bytes(self.target.as_ref().map(|flow| flow.bytes().as_slice()))),
            ("budget", some_bytes(self.budget.as_ref().map(<[u8; 32]>::as_slice))),
            ("asked_by", some_bytes(self.asked_by.as_ref().map(<[u8; 32]>::as_slice))),
            ("lane", text(&self.lane)),
        ]
    }
}

/// A row of `guards`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardRecord<'a> {
    pub(crate) key: &'a str,
    pub(crate) state: GuardState,
}

impl Record for GuardRecord<'_> {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        let GuardState { number, expires } = self.state;
        vec![("key", text(self.key)), ("value", Cell::Number(number)), ("expires", some_instant(expires))]
    }
}

/// The end of a delivery.
impl Record for Settle {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        vec![
            ("id", bytes(self.delivery.bytes())),
            ("settled", Cell::Number(self.at.0)),
            ("note", Cell::Text(readable(self.dead.as_deref().unwrap_or_default()))),
            ("dead", Cell::Truth(self.dead.is_some())),
            ("forgets", Cell::Truth(self.forgets)),
        ]
    }
}

/// A delivery that is put off, with the number of attempts that are taken back.
impl Record for Postpone {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        vec![
            ("id", bytes(self.delivery.bytes())),
            ("due", Cell::Number(self.due.0)),
            ("note", Cell::Text(readable(&self.note))),
            ("uncounted", number(self.uncounted.into())),
        ]
    }
}

impl<R: Record> Record for &R {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        (**self).cells()
    }
}
