//! The contract: a flow is an enum and pure functions over it; a step is data. Nothing here waits, reads or rolls dice.

use std::fmt::Debug;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::clock::{Timestamp, derive_bytes};
use crate::effects::Effects;
use crate::id::{FlowId, Id};
use crate::lane::Lane;
use crate::phase::Phase;
use crate::store::{RetentionRule, RuledRows};

/// The closed vocabularies that all flows of one product share.
pub trait Domain: Sized + Send + Sync + 'static {
    /// What a step may write besides its own row, in its own transaction.
    type Write: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// What a step may claim, release, hold or bump.
    type Key: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// What a step may have carried out into the world after its commit.
    type Delivery: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// What the world answers to a delivery. The default answers a signal that was taken.
    type Answer: Serialize + DeserializeOwned + Clone + Debug + Default + Send + Sync + 'static;
    /// The key ring and the settings: what a decision may know besides state, input and time.
    type Environment: Send + Sync + 'static;

    /// Every value of [`Domain::kind`].
    const KINDS: &'static [&'static str];
    /// Every value of [`Domain::lane`].
    const LANES: &'static [Lane];

    /// The one text of a key, as it stands in the table of guards. Holds no personal data in clear.
    fn guard(key: &Self::Key) -> String;
    /// The kind of a delivery: a metric label.
    fn kind(delivery: &Self::Delivery) -> &'static str;
    /// The lane in which a delivery is carried.
    fn lane(delivery: &Self::Delivery) -> &'static Lane;
    /// What a delivery is charged to. `None`: it is not counted.
    fn charge(environment: &Self::Environment, delivery: &Self::Delivery) -> Option<Charge> {
        let _ = (environment, delivery);
        None
    }
    /// Rows that are kept for less time than all others.
    fn retention() -> &'static [RetentionRule] {
        &[]
    }
    /// Seals what waits in the outbox, under a random seed. `context` must be given again to open it.
    fn seal(environment: &Self::Environment, context: &[u8], plain: &[u8], seed: [u8; 32]) -> Vec<u8>;
    /// Opens what [`Domain::seal`] sealed.
    ///
    /// # Errors
    /// A sentence for the log when it was sealed elsewhere, or altered.
    fn open(environment: &Self::Environment, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// What a delivery is charged to, by keyed hashes: those with the same budget are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The budget.
    pub budget: [u8; 32],
    /// Who asked for the delivery: of one budget, one asker may use up a share only. `None`: nobody in particular.
    pub asked_by: Option<[u8; 32]>,
}

/// One durable conversation, written as data. [`crate::turn`] gives it life; `shell.rs` is the actor around it.
///
/// Every function is pure, synchronous and total: no I/O, no clock, no dice, no panic.
pub trait Flow: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The word for this flow everywhere: kind in the database, metric label, folder of templates, golden, test file.
    const NAME: &'static str;
    /// What the text of its id begins with (`reg_…`): three letters that no other flow has.
    const PREFIX: &'static str;
    /// The version of the shape that [`Flow`] is written in; see [`Flow::upcast`].
    const SCHEMA: u32 = 1;
    /// Rows of it that are kept for less time than all others.
    const RETENTION: &'static [Retain<Self::Phase>] = &[];
    /// The vocabularies.
    type Domain: Domain;
    /// Where it may stand. Declared by [`crate::phases!`].
    type Phase: Phase;
    /// What opens it. May hold secrets, hence cannot be serialized.
    type Start: Named + Send + Sync + 'static;
    /// What somebody may ask of it. May hold secrets, hence cannot be serialized.
    type Command: Named + Send + Sync + 'static;
    /// What other flows may tell it.
    type Signal: Named + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// What the asker is told. Stored with the event, so that a repeat is told the same; holds no secrets.
    type Outcome: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;

    /// The first step. A step without a state refuses: no row comes to be.
    fn start(asked: &Self::Start, lost: Option<&Lost<Self>>, cx: &Cx<'_, Self::Domain>) -> Step<Self>;
    /// Every later step. `lost` names the guard for which the same input was undone a moment ago.
    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, cx: &Cx<'_, Self::Domain>) -> Step<Self>;
    /// When the flow must be woken if nothing happens before; `None`: it is finished.
    fn wake_at(&self) -> Option<Timestamp>;
    /// Where it stands.
    fn phase(&self) -> Self::Phase;
    /// What else history and inspectors may see: no secret, no personal data in clear.
    fn public(&self) -> Public {
        Public::default()
    }

    /// Brings an older release's state to the present shape. Additive fields need no upcast (`#[serde(default)]`).
    ///
    /// # Errors
    /// A sentence for the operator; the flow goes to quarantine, its bytes untouched.
    fn upcast(schema: u32, state: serde_json::Value) -> Result<serde_json::Value, String> {
        if schema == Self::SCHEMA { Ok(state) } else { Err(format!("no way from schema {schema} to {}", Self::SCHEMA)) }
    }
}

/// Rows of one flow that are kept for less time than all others of their table. Never under a day, for as long an input
/// may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain<P> {
    /// Events of steps, each from when it happened.
    Steps {
        /// The input's name.
        input: &'static str,
        /// The phase after the step.
        to: P,
        /// For how long.
        span: Duration,
    },
    /// Finished flows, each from its last step, with all their events and settled deliveries.
    Finished {
        /// The phase in which they finished.
        phase: P,
        /// For how long.
        span: Duration,
    },
}

/// The rules of one flow, in the words of the store.
pub fn retention<F: Flow>() -> Vec<RetentionRule> {
    let rule = |rule: &Retain<F::Phase>| match *rule {
        Retain::Steps { input, to, span } => {
            RetentionRule { rows: RuledRows::Events { kind: F::NAME, name: input, to: to.word() }, keep: span }
        }
        Retain::Finished { phase, span } => {
            RetentionRule { rows: RuledRows::Flows { kind: F::NAME, phase: phase.word() }, keep: span }
        }
    };
    F::RETENTION.iter().map(rule).collect()
}

/// Says the name of an input, as history shows it.
pub trait Named {
    /// One lower-case word of the field.
    fn name(&self) -> &'static str;
}

impl Named for () {
    fn name(&self) -> &'static str {
        "nothing"
    }
}

/// For a flow that takes no signals, or no commands.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub enum Never {}

impl Named for Never {
    fn name(&self) -> &'static str {
        match *self {}
    }
}

/// What comes to a flow.
pub enum Input<F: Flow> {
    /// Somebody asked.
    Asked(F::Command),
    /// Another flow told.
    Told(F::Signal),
    /// The instant of [`Flow::wake_at`] has come.
    Woken,
    /// A delivery that carried a tag came to its end, good or bad.
    Answered {
        /// The tag that the delivery was given.
        tag: String,
        /// What the world said.
        result: Result<<F::Domain as Domain>::Answer, Failure>,
    },
}

impl<F: Flow> Input<F> {
    /// The name that history shows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Asked(command) => command.name(),
            Self::Told(signal) => signal.name(),
            Self::Woken => "woken",
            Self::Answered { .. } => "answered",
        }
    }
}

/// Why a delivery that mattered did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Failure {
    /// It was given up, and surely had no effect that counts.
    Refused(String),
    /// It was interrupted, and nobody can know whether it had its effect. Never repeated.
    Unknown,
    /// Its time ran out before it succeeded.
    Expired,
}

/// The guard for which a step was undone.
#[derive(Clone, Debug)]
pub struct Lost<F: Flow>(pub <F::Domain as Domain>::Key);

/// What a flow shows of itself besides its phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Public {
    /// Whose it is, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Id>,
    /// Through which client it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Id>,
    /// The flow that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<FlowId>,
    /// A keyed hash to search by.
    #[serde(skip)]
    pub subject: Option<[u8; 32]>,
    /// What else may be shown, masked where it is personal.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub shown: serde_json::Value,
}

/// All that a flow shows of itself, as history keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// The public word for where it stands (`awaiting_code`).
    pub phase: &'static str,
    /// What else it shows.
    #[serde(flatten)]
    pub public: Public,
}

impl Shown {
    /// What a state shows.
    pub fn of<F: Flow>(state: &F) -> Self {
        Self { phase: state.phase().word(), public: state.public() }
    }
}

/// What a decision may know besides state and input.
pub struct Cx<'a, D: Domain> {
    /// The present instant, never before the instant at which the row was last written.
    pub now: Timestamp,
    /// The flow that decides.
    pub flow: FlowId,
    /// Its version before this step; 0 at the start.
    pub version: u64,
    /// The random salt of the flow's row. The MACs of its credentials go over it.
    pub salt: [u8; 16],
    /// The key ring and the settings.
    pub environment: &'a D::Environment,
    pub(crate) seed: [u8; 32],
}

impl<'a, D: Domain> Cx<'a, D> {
    /// A view for a test, or for whoever decides without an engine.
    pub fn new(
        now: Timestamp,
        flow: FlowId,
        version: u64,
        salt: [u8; 16],
        seed: [u8; 32],
        environment: &'a D::Environment,
    ) -> Self {
        Self { now, flow, version, salt, environment, seed }
    }

    /// `N` unforeseeable bytes (at most 32), the same for the same label within one decision.
    pub fn bytes<const N: usize>(&self, label: &str) -> [u8; N] {
        derive_bytes(&self.seed, label, 0)
    }

    /// A fresh time-ordered id, the same for the same label within one decision.
    pub fn id(&self, label: &str) -> Id {
        Id::v7(self.now.0, self.bytes(label))
    }

    /// The view of a flow that is opened within this step.
    pub(crate) fn child(&self, flow: FlowId, number: u64) -> Cx<'a, D> {
        Cx {
            now: self.now,
            flow,
            version: 0,
            salt: derive_bytes(&self.seed, "child's salt", number),
            environment: self.environment,
            seed: derive_bytes(&self.seed, "child's seed", number),
        }
    }
}

/// What a flow decided: where it goes, what is committed with that, and what the asker is told.
#[must_use = "a step that is not committed never happened"]
#[derive(Debug)]
pub struct Step<F: Flow> {
    /// The next state; `None` stays (and may then only hold).
    pub to: Option<F>,
    /// What the asker is told.
    pub says: F::Outcome,
    /// What is committed with it.
    pub effects: Effects<F::Domain>,
}
