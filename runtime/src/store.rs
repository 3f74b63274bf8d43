//! The port to the database: rows, guards, events and the outbox, in the engine's own words.
//!
//! Whoever implements it is held to the contract suite in [`crate::testing`].

mod guards;
mod passing;
mod touches;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::effects::Guard;
use crate::flow::Domain;
use crate::id::{DeliveryId, FlowId, Id, InputId};

pub use self::guards::{GuardChange, GuardState, guard_changes};
pub use self::passing::{Front, Passing};
pub use self::touches::{Touch, Touched, Touches, runs};

/// A flow as it stands in its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its id.
    pub id: FlowId,
    /// Its [`crate::Flow::NAME`].
    pub kind: String,
    /// The shape of its state.
    pub schema: u32,
    /// 1 after the start, one more after each step; no gaps.
    pub version: u64,
    /// Where it stands.
    pub phase: String,
    /// Its state as JSON text, bytes kept as written.
    pub state: String,
    /// Its salt.
    pub salt: [u8; 16],
    /// When it must be woken; `None`: finished.
    pub wake_at: Option<Timestamp>,
    /// How often it was woken in vain since its last step.
    pub attempts: u32,
    /// Since when, and why, nobody may touch it.
    pub quarantined: Option<Quarantine>,
    /// Whose it is.
    pub user: Option<Id>,
    /// Through which client it came.
    pub client: Option<Id>,
    /// The flow that opened it.
    pub parent: Option<FlowId>,
    /// A keyed hash to search by.
    pub subject: Option<[u8; 32]>,
    /// When it was last written.
    pub touched_at: Timestamp,
}

impl Row {
    /// Whether an operator has ended the flow. A flow that has a phase of this name itself, and is in quarantine there
    /// before its own end, is not.
    pub fn was_ended_by_operator(&self) -> bool {
        self.quarantined.is_some() && self.phase == ENDED && self.wake_at.is_none()
    }

    /// Whether the flow waits for an operator's word.
    pub fn waits_for_operator(&self) -> bool {
        self.quarantined.is_some() && !self.was_ended_by_operator()
    }
}

/// A flow set aside for the operator, its bytes untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when.
    pub at: Timestamp,
    /// Why, for the operator.
    pub why: String,
}

/// What happened, for people, and the memory of outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The flow; for an act, the act's own id.
    pub flow: FlowId,
    /// The flow's version after it; 1 for an act.
    pub version: u64,
    /// The input that caused it; unique.
    pub input: InputId,
    /// The flow's kind or the act's name.
    pub kind: String,
    /// The input's name.
    pub name: String,
    /// The phase before; empty at a start and for an act.
    pub from: String,
    /// The phase after; empty for an act.
    pub to: String,
    /// What the flow showed after it, as JSON.
    pub public: String,
    /// What the asker was told, as JSON.
    pub outcome: String,
    /// A keyed hash of the request's body, to tell a repeat from another request under the same key.
    pub fingerprint: Option<[u8; 16]>,
    /// The node that committed it.
    pub node: String,
    /// The request or delivery that caused it, for the logs.
    pub trace: String,
    /// When.
    pub at: Timestamp,
    /// Whose history it belongs to, once that is known.
    pub user: Option<Id>,
}

/// One delivery as it stands in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its id, at every attempt the same.
    pub id: DeliveryId,
    /// The flow (or act) that asked for it.
    pub flow: FlowId,
    /// The kind of the flow that asked for it: where an answer goes.
    pub flow_kind: String,
    /// When set, its end is answered with this tag.
    pub tag: Option<String>,
    /// Its kind; `signal` and `answer` are the engine's own.
    pub kind: String,
    /// The name of its lane.
    pub lane: String,
    /// The flow that it is to be brought to, of a signal or an answer; `None` for what leaves the house.
    pub target: Option<FlowId>,
    /// Whose budget it counts against, by a keyed hash; see [`crate::Domain::charge`].
    pub budget: Option<[u8; 32]>,
    /// Who asked for it, by a keyed hash, where that counts.
    pub asked_by: Option<[u8; 32]>,
    /// What is carried, sealed. Empty once wiped.
    pub payload: Vec<u8>,
    /// Not before this instant.
    pub due: Timestamp,
    /// Not after this instant.
    pub expires: Option<Timestamp>,
    /// Never repeated.
    pub once: bool,
    /// How often it was claimed.
    pub attempts: u32,
    /// Until when a node has it in its hands.
    pub claimed_until: Option<Timestamp>,
    /// Which node that is.
    pub claimed_by: Option<String>,
    /// When it came to its end.
    pub settled: Option<Timestamp>,
    /// How: empty while open and when it succeeded; else why it is dead, or why the last attempt failed.
    pub note: String,
    /// Whether its end was bad.
    pub dead: bool,
    /// When it was committed.
    pub created: Timestamp,
}

/// The end of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Which.
    pub delivery: DeliveryId,
    /// When.
    pub at: Timestamp,
    /// `None`: it succeeded; else why it is dead.
    pub dead: Option<String>,
    /// Its payload is wiped in the same commit.
    pub forgets: bool,
}

/// A flow's row as a step leaves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row after the step; its version is `was + 1`.
    pub row: Row,
    /// The version that must stand there before; 0: there must be no row.
    pub was: u64,
}

/// One step, act or settlement, ready to be committed with others in one transaction.
#[derive(Debug)]
pub struct Item<D: Domain> {
    /// The input that caused it.
    pub input: InputId,
    /// The instant of the decision: claims that have expired by then count as free.
    pub at: Timestamp,
    /// Look for the input among the events before anything else: somebody may have brought it before.
    pub seen: bool,
    /// The flow's row.
    pub change: Option<Change>,
    /// A flow that must still be at this version though this item does not change it.
    pub expects: Option<(FlowId, u64)>,
    /// Conditions and claims, on the texts of [`Domain::guard`]. Where a key is named more than once, each guard is
    /// judged against what the one before it leaves: [`guard_changes`] is the meaning.
    pub guards: Vec<Guard<String>>,
    /// The domain's writes.
    pub writes: Vec<D::Write>,
    /// Flows that begin with it, each with its event.
    pub opened: Vec<(Row, Event)>,
    /// New deliveries.
    pub outbox: Vec<OutboxRow>,
    /// The delivery that ends with it.
    pub settles: Option<Settle>,
    /// What history says of it; `None` when it only holds or settles.
    pub event: Option<Event>,
}

// By hand, because the domain itself need not be one that can be cloned.
impl<D: Domain> Clone for Item<D> {
    fn clone(&self) -> Self {
        Self {
            input: self.input,
            at: self.at,
            seen: self.seen,
            change: self.change.clone(),
            expects: self.expects,
            guards: self.guards.clone(),
            writes: self.writes.clone(),
            opened: self.opened.clone(),
            outbox: self.outbox.clone(),
            settles: self.settles.clone(),
            event: self.event.clone(),
        }
    }
}

impl<D: Domain> Item<D> {
    /// An item that does nothing yet, decided at an instant.
    pub fn of(input: InputId, at: Timestamp) -> Self {
        Self {
            input,
            at,
            seen: false,
            change: None,
            expects: None,
            guards: Vec::new(),
            writes: Vec::new(),
            opened: Vec::new(),
            outbox: Vec::new(),
            settles: None,
            event: None,
        }
    }

    /// Whether it changes nothing, so that a read decides it.
    pub fn only_holds(&self) -> bool {
        self.change.is_none()
            && self.writes.is_empty()
            && self.opened.is_empty()
            && self.outbox.is_empty()
            && self.settles.is_none()
            && self.event.is_none()
            && self.guards.iter().all(|guard| matches!(guard, Guard::Hold(..)))
    }
}

/// What became of one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable.
    Done,
    /// Its input had been committed before; this is that event. Nothing was written now.
    Before(Box<Event>),
    /// Somebody else moved the flow (or took the id). Nothing was written.
    Stale,
    /// The delivery it would settle has been settled. Nothing was written.
    Settled,
    /// The guard at this place of [`Item::guards`] was lost. Nothing was written.
    Lost(usize),
}

/// Why the database did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Surely nothing was done: it could not be reached, or it was busy for too long.
    Unavailable(String),
    /// A COMMIT was sent and its answer lost: it may be durable or not.
    Ambiguous(String),
    /// Surely nothing was done, and the same again may well succeed (serialization failure, deadlock).
    Conflict(String),
    /// Surely nothing was done, and something is wrong with what was asked.
    Unexpected(String),
    /// Surely nothing was done: there is no room left.
    Full(String),
    /// The operating system failed to make a write durable. What would be read back may not be on disk:
    /// the process must end.
    SyncFailed(String),
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the database is not available: {why}"),
            Self::Ambiguous(why) => write!(f, "the answer to a commit was lost: {why}"),
            Self::Conflict(why) => write!(f, "the database asked to try again: {why}"),
            Self::Unexpected(why) => write!(f, "the database refused: {why}"),
            Self::Full(why) => write!(f, "there is no room: {why}"),
            Self::SyncFailed(why) => write!(f, "a write could not be made durable: {why}"),
        }
    }
}

impl std::error::Error for StoreFault {}

/// What is asked when due flows or deliveries are claimed.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The present instant.
    pub now: Timestamp,
    /// Until when nobody else may claim them.
    pub until: Timestamp,
    /// Who claims.
    pub node: String,
    /// At most this many.
    pub limit: u32,
}

/// A delivery that is put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postpone {
    /// Which.
    pub delivery: DeliveryId,
    /// Until when.
    pub due: Timestamp,
    /// Why, for people.
    pub note: String,
    /// Attempts that are taken back.
    pub uncounted: u32,
}

/// A due flow's claim that is given back before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaim {
    /// Which.
    pub flow: FlowId,
    /// The version that was claimed: of a flow that has moved meanwhile nothing is to be given back.
    pub version: u64,
    /// The node that claimed it.
    pub node: String,
    /// When its claim ends by itself. If it has, and another holds the flow by now, that claim stands.
    pub lapses: Timestamp,
    /// When it may be claimed again.
    pub until: Timestamp,
    /// Whether the attempt counts; it does not when the failure was not the flow's own.
    pub counts: bool,
}

/// Failures in a row after which an input that comes by itself puts its flow into quarantine.
pub const PATIENCE: u32 = 3;

/// The phase of a flow that an operator has ended. The mark of its quarantine stays.
pub const ENDED: &str = "ended";

/// What an operator may do with a flow in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Give it another three attempts, at once.
    Retry,
    /// Give up the input at which it failed, and all that it waits for.
    ///
    /// A wake-up that is due waits a day. Signals and answers to it that have failed [`PATIENCE`] times end dead; where
    /// somebody waits for the end of one, it expires instead, and its next attempt tells them so. Others are brought
    /// to it as before. Open deliveries of its own whose answer would come back to it end dead.
    Skip,
    /// End it: its phase becomes `ended`, it is never woken, its bytes stay.
    End,
}

/// What waits in the database, for an operator or for its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Flows in quarantine.
    pub quarantined: u64,
    /// Deliveries that wait.
    pub pending: u64,
    /// Deliveries that ended badly and are still remembered.
    pub dead: u64,
    /// When the oldest of the deliveries that wait was committed.
    pub oldest: Option<Timestamp>,
}

/// One thing that an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The invariant (`I1` to `I8`).
    pub invariant: String,
    /// The flow, if it is one.
    pub flow: Option<String>,
    /// What is wrong, for people.
    pub what: String,
}

/// What an audit found and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// What is wrong; empty when nothing is.
    pub findings: Vec<Finding>,
    /// How many flows were looked at.
    pub flows: u64,
    /// How many events.
    pub events: u64,
    /// How many deliveries.
    pub deliveries: u64,
}

/// Rows that go sooner than all others of their table: the domain says which, in [`Domain::retention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Which rows.
    pub rows: RuledRows,
    /// How long they are kept. Never under a day, for as long an input may be repeated.
    pub keep: Duration,
}

/// The rows of a [`RetentionRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuledRows {
    /// Events of flows (or acts) of one kind, by the input's name and the phase that it led to, each kept from when it
    /// happened. Their versions may be missing from a history that is older than the rule's span.
    Events {
        /// The flow's kind, or the act's name.
        kind: &'static str,
        /// The input's name.
        name: &'static str,
        /// The phase after it; empty for an act.
        to: &'static str,
    },
    /// Finished flows of one kind in one phase, each kept from its last step, and with it all its events and settled
    /// deliveries.
    Flows {
        /// The flow's kind.
        kind: &'static str,
        /// Its phase.
        phase: &'static str,
    },
}

/// Since when the histories of a kind of flow are whole, where some of its events go one by one before all others; an
/// hour is left for a clock that is not the auditor's.
pub fn whole_since(rules: &[RetentionRule], kind: &str, now: Timestamp) -> Option<Timestamp> {
    let of_kind = |rule: &&RetentionRule| matches!(rule.rows, RuledRows::Events { kind: of, .. } if of == kind);
    let shortest = rules.iter().filter(of_kind).map(|rule| rule.keep).min()?;
    Some(now.before(shortest.saturating_sub(Duration::from_secs(3_600))))
}

/// Rows that may go, table by table.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// The present instant, from which the spans of [`Domain::retention`] are counted. Claims that have expired by
    /// then go.
    pub now: Timestamp,
    /// Payloads of deliveries that were settled before this are wiped.
    pub payloads_before: Timestamp,
    /// Settled deliveries, events and finished flows from before this go.
    pub rows_before: Timestamp,
    /// At most this many rows of each table at once.
    pub limit: u32,
}

/// The database. Every write is called from the committer's task only, where nothing can drop it half way.
pub trait Store<D: Domain>: Send + Sync + 'static {
    /// Reads a flow.
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>>;
    /// Reads what an input led to.
    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>>;
    /// Reads a flow's history in order of versions.
    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>>;
    /// Reads all deliveries that a flow asked for, oldest first.
    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>>;
    /// Decides an item that [`Item::only_holds`] by reading.
    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>>;
    /// Commits a batch in one transaction: for each item all of it or nothing, one verdict each, in order.
    ///
    /// Items are judged in their order, each against what the items before it have left that stand: as if each were
    /// committed by itself. Those that depend on none before them (see [`runs`]) are written together, in a number of
    /// statements that does not grow with them; the committer brings no others.
    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>>;
    /// Claims flows that are due and unclaimed, counting the attempt. Those that failed before (`attempts > 0`) come
    /// one at a time and alone, so that a flow that takes the process down is known by name.
    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// What a claim of flows took whose answer was lost: the rows that are still its node's until that very instant, as it
    /// left them. The attempt is not counted again.
    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>>;
    /// Claims deliveries of a lane that are due and unclaimed, counting the attempt, oldest first.
    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>>;
    /// Puts deliveries off.
    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>>;
    /// Gives a due flow's claim back.
    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>>;
    /// Gives back all claims, whoever made them: the caller knows that no other process lives that has this database.
    /// Where several share one nobody can know that, and claims end by time alone. A flow that was claimed alone (more
    /// than one attempt) stays claimed until its claim ends by itself: should it be what ends the process, then not at
    /// every start.
    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Sets a flow aside; `version` guards against one that moved meanwhile.
    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>>;
    /// Does as the operator says with a flow in quarantine; `false` when it is not there.
    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>>;
    /// The next instant at which a flow or delivery becomes due, however far.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>>;
    /// Removes what may go, expired claims among it; gives the number of rows it touched.
    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>>;
    /// Counts the flows that are not finished. Takes longer the more there are.
    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>>;
    /// Counts what waits. Takes longer the more waits, and not the more flows there are.
    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>>;
    /// Looks for what must not be.
    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>>;
    /// Whether the database answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>>;
}
