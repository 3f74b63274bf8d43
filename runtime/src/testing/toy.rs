//! A small domain and seven small flows in it: the models of `docs/flows.md`, and what the engine's own tests run.
//!
//! | flow | what it shows |
//! |---|---|
//! | [`gate`] | owns a fence: whoever holds its number falls when it is bumped |
//! | [`ticket`] | claims a name, holds a fence, takes steps, expires |
//! | [`parent`], [`child`] | one flow opens others within its own step, and they tell each other |
//! | [`trip`] | a saga: what was done is undone when a later part fails |
//! | [`errand`] | something that may happen at most once, and nobody may know whether it did |
//! | [`faulty`] | everything that a flow must not do |

pub mod child;
pub mod errand;
pub mod faulty;
pub mod gate;
pub mod parent;
pub mod ticket;
pub mod trip;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::Domain;
use crate::lane::{BreakerRule, Lane};
use crate::store::{RetentionRule, RuledRows};

pub use self::child::Child;
pub use self::errand::Errand;
pub use self::faulty::Faulty;
pub use self::gate::Gate;
pub use self::parent::Parent;
pub use self::ticket::Ticket;
pub use self::trip::Trip;

/// The toy domain.
#[derive(Debug)]
pub enum Toy {}

/// What a toy step may write: it adds to a counter, and the order does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToyWrite {
    /// Adds to a counter, which begins at 0.
    Add {
        /// Which counter.
        counter: String,
        /// How much; less than 0 takes away.
        by: i64,
    },
}

impl ToyWrite {
    /// Adds to a counter.
    pub fn add(counter: &str, by: i64) -> Self {
        Self::Add { counter: counter.to_owned(), by }
    }
}

/// What a toy step may claim, hold or bump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToyKey {
    /// A name that one flow has.
    Name(String),
    /// A number that is raised to shut out whoever came before.
    Fence(String),
}

/// What a toy step may have carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToyDelivery {
    /// A note to somebody.
    Note {
        /// Who.
        to: String,
        /// What.
        text: String,
    },
    /// Books a room under the trip's own reference: twice the same reference is one room.
    Book {
        /// Where.
        hotel: String,
        /// The reference.
        reference: String,
    },
    /// Gives back whatever was booked under a reference, if anything was.
    Cancel {
        /// The reference.
        reference: String,
    },
    /// Charges a card. Twice is twice.
    Charge {
        /// Which card.
        card: String,
        /// How much, in cents.
        cents: i64,
    },
}

/// What the world answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToyAnswer {
    /// It was taken.
    #[default]
    Taken,
    /// A room is booked.
    Booked {
        /// Which.
        room: String,
    },
    /// A card was charged.
    Charged {
        /// The receipt's number.
        receipt: String,
    },
}

/// Ticks are kept for three days, and what is spent for one.
const RETENTION: &[RetentionRule] = &[
    RetentionRule {
        rows: RuledRows::Events { kind: "toy", name: "tick", to: "open" },
        keep: Duration::from_secs(3 * 86_400),
    },
    RetentionRule { rows: RuledRows::Flows { kind: "toy", phase: "spent" }, keep: Duration::from_secs(86_400) },
];

/// Notes.
pub const NOTES: Lane = Lane::named("notes");

/// Hotel and bank, which are left alone for a while when nothing gets through to them.
pub const CALLS: Lane = Lane {
    breaker: Some(BreakerRule { failures: 20, rest: Duration::from_secs(1), longest: Duration::from_secs(8) }),
    ..Lane::named("calls")
};

impl Domain for Toy {
    type Write = ToyWrite;
    type Key = ToyKey;
    type Delivery = ToyDelivery;
    type Answer = ToyAnswer;
    type Environment = ();

    const KINDS: &'static [&'static str] = &["book", "cancel", "charge", "note"];
    const LANES: &'static [Lane] = &[CALLS, NOTES];

    fn guard(key: &ToyKey) -> String {
        match key {
            ToyKey::Name(name) => format!("name:{name}"),
            ToyKey::Fence(name) => format!("fence:{name}"),
        }
    }

    fn retention() -> &'static [RetentionRule] {
        RETENTION
    }

    fn kind(delivery: &ToyDelivery) -> &'static str {
        match delivery {
            ToyDelivery::Note { .. } => "note",
            ToyDelivery::Book { .. } => "book",
            ToyDelivery::Cancel { .. } => "cancel",
            ToyDelivery::Charge { .. } => "charge",
        }
    }

    fn lane(delivery: &ToyDelivery) -> &'static Lane {
        match delivery {
            ToyDelivery::Note { .. } => &NOTES,
            ToyDelivery::Book { .. } | ToyDelivery::Cancel { .. } | ToyDelivery::Charge { .. } => &CALLS,
        }
    }

    /// No secret is kept from anybody here, yet it opens in its own context only, as a real seal does.
    fn seal(_world: &(), context: &[u8], plain: &[u8], seed: [u8; 32]) -> Vec<u8> {
        let length = u8::try_from(context.len()).expect("a context of less than 256 bytes");
        let mask = seed.first().copied().unwrap_or_default();
        let masked = plain.iter().map(|byte| byte ^ mask);
        [length, mask].into_iter().chain(context.iter().copied()).chain(masked).collect()
    }

    fn open(_world: &(), context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (head, body) = sealed.split_at_checked(2).ok_or("too short for a seal")?;
        let &[length, mask] = head else { return Err("too short for a seal".to_owned()) };
        let (sealed_for, masked) = body.split_at_checked(usize::from(length)).ok_or("too short for its context")?;
        if sealed_for == context {
            Ok(masked.iter().map(|byte| byte ^ mask).collect())
        } else {
            Err("sealed for another context".to_owned())
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What the unit tests of the toy flows share: a view to decide with, and a walk through JSON, as a restart takes it.
#[cfg(test)]
mod desk {
    use super::Toy;
    use crate::clock::Timestamp;
    use crate::flow::{Cx, Flow, Input, Step};
    use crate::id::FlowId;
    use crate::testing::clock::BEGINNING;

    pub(super) const FLOW: FlowId = FlowId::from_bytes([1; 16]);

    pub(super) fn cx(now: Timestamp) -> Cx<'static, Toy> {
        Cx::new(now, FLOW, 1, [2; 16], [3; 32], &())
    }

    pub(super) fn begin<F: Flow<Domain = Toy>>(asked: &F::Start) -> (F, Step<F>) {
        let step = F::start(asked, None, &cx(BEGINNING));
        (stored(step.to.clone().expect("it begins")), step)
    }

    /// Steps, and lets the new state pass through its stored form.
    pub(super) fn on<F: Flow<Domain = Toy>>(flow: &F, input: Input<F>, now: Timestamp) -> (F, Step<F>) {
        let step = flow.on(&input, None, &cx(now));
        (stored(step.to.clone().unwrap_or_else(|| flow.clone())), step)
    }

    pub(super) fn stored<F: Flow>(flow: F) -> F {
        let text = serde_json::to_string(&flow).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_context_only() {
        use crate::flow::Domain;
        let sealed = Toy::seal(&(), b"delivery", b"plain", [9; 32]);
        assert_eq!(Toy::open(&(), b"delivery", &sealed), Ok(b"plain".to_vec()));
        assert!(Toy::open(&(), b"another", &sealed).is_err());
        assert!(Toy::open(&(), b"delivery", &[]).is_err());
        assert!(Toy::open(&(), b"delivery", &[40, 0, 1]).is_err());
    }
}
