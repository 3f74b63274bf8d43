//! What a delivery carries, and the row of the outbox that it is sealed in.

use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, derive, derive_bytes};
use crate::effects::Outgoing;
use crate::flow::{Charge, Domain, Failure};
use crate::id::{DeliveryId, FlowId, Id};
use crate::lane::{Lane, SIGNALS};
use crate::store::OutboxRow;

/// The kind of a signal.
const SIGNAL: &str = "signal";
/// The kind of an answer.
const ANSWER: &str = "answer";
/// The kinds that every domain's deliveries have besides its own.
pub(crate) const KINDS: [&str; 2] = [SIGNAL, ANSWER];

/// What a delivery carries. Sealed, it stands in the outbox.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "snake_case")]
pub enum Payload<D: Domain> {
    /// To somebody outside: a letter, a webhook, a call to another provider.
    #[serde(rename = "world")]
    External(D::Delivery),
    /// To another flow.
    Signal {
        /// Its id.
        to: FlowId,
        /// Its [`crate::Flow::NAME`].
        kind: String,
        /// Its signal, as JSON.
        signal: serde_json::Value,
    },
    /// Back to the flow that sent a tagged signal. The engine writes it; no flow asks for one.
    Answer {
        /// Its id.
        to: FlowId,
        /// Its [`crate::Flow::NAME`].
        kind: String,
        /// The tag of the signal.
        tag: String,
        /// What became of it.
        result: Result<D::Answer, Failure>,
    },
}

// By hand, because the domain itself need not be one that can be cloned.
impl<D: Domain> Clone for Payload<D> {
    fn clone(&self) -> Self {
        match self {
            Self::External(delivery) => Self::External(delivery.clone()),
            Self::Signal { to, kind, signal } => Self::Signal { to: *to, kind: kind.clone(), signal: signal.clone() },
            Self::Answer { to, kind, tag, result } => {
                Self::Answer { to: *to, kind: kind.clone(), tag: tag.clone(), result: result.clone() }
            }
        }
    }
}

impl<D: Domain> Payload<D> {
    /// The kind in the outbox's column and in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::External(delivery) => D::kind(delivery),
            Self::Signal { .. } => SIGNAL,
            Self::Answer { .. } => ANSWER,
        }
    }

    /// The lane in which it is carried.
    pub fn lane(&self) -> &'static Lane {
        match self {
            Self::External(delivery) => D::lane(delivery),
            Self::Signal { .. } | Self::Answer { .. } => &SIGNALS,
        }
    }

    /// The flow that it is to be brought to, which its row names in the open.
    pub fn target(&self) -> Option<FlowId> {
        match self {
            Self::External(_) => None,
            Self::Signal { to, .. } | Self::Answer { to, .. } => Some(*to),
        }
    }

    /// What it is charged to.
    pub fn charge(&self, environment: &D::Environment) -> Option<Charge> {
        match self {
            Self::External(delivery) => D::charge(environment, delivery),
            Self::Signal { .. } | Self::Answer { .. } => None,
        }
    }

    /// Opens what stands in a row of the outbox.
    ///
    /// # Errors
    /// A sentence for the log.
    pub fn open(environment: &D::Environment, delivery: &OutboxRow) -> Result<Self, String> {
        let plain = D::open(environment, delivery.id.bytes(), &delivery.payload)?;
        serde_json::from_slice(&plain).map_err(|why| why.to_string())
    }
}

/// Who asks for deliveries, and when.
pub(crate) struct Sender<'a, D: Domain> {
    pub(crate) environment: &'a D::Environment,
    pub(crate) now: Timestamp,
    /// The flow, or the act.
    pub(crate) flow: FlowId,
    /// The flow's kind, or the act's name.
    pub(crate) kind: &'a str,
    /// What ids and seals are derived from.
    pub(crate) seed: &'a [u8; 32],
}

impl<D: Domain> Sender<'_, D> {
    /// The row of one delivery as it is committed, in nobody's hands. `number` tells those of one commit apart.
    pub(crate) fn row(&self, outgoing: &Outgoing<D>, number: u64) -> OutboxRow {
        let id = DeliveryId(Id::v7(self.now.0, derive_bytes(self.seed, "delivery", number)));
        let payload = &outgoing.payload;
        let plain = serde_json::to_vec(payload).unwrap_or_default();
        let charge = payload.charge(self.environment);
        OutboxRow {
            id,
            flow: self.flow,
            flow_kind: self.kind.to_owned(),
            tag: outgoing.tag.clone(),
            kind: payload.kind().to_owned(),
            lane: payload.lane().name.to_owned(),
            target: payload.target(),
            budget: charge.map(|charge| charge.budget),
            asked_by: charge.and_then(|charge| charge.asked_by),
            payload: D::seal(self.environment, id.bytes(), &plain, derive(self.seed, "sealing", number)),
            due: outgoing.due.unwrap_or(self.now).max(self.now),
            expires: outgoing.expires,
            once: outgoing.once,
            attempts: 0,
            claimed_until: None,
            claimed_by: None,
            settled: None,
            note: String::new(),
            dead: false,
            created: self.now,
        }
    }
}
