//! The durable-actor engine: a flow decides, the whole step is committed in one transaction, and only then believed.
//!
//! What is deliberately absent: anything of auth, any knowledge of the database behind [`store::Store`], replay.

mod act;
pub mod clock;
mod committer;
pub mod crash;
mod draft;
pub mod effects;
pub mod engine;
pub mod flow;
pub mod id;
pub mod lane;
pub mod look;
pub mod nursery;
pub mod outbox;
mod payload;
mod phase;
mod router;
pub mod shell;
pub mod slot;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod turn;
mod wait;
mod wake;

pub use act::ActStep;
pub use clock::{Clock, Dice, Timestamp};
pub use effects::{Effects, Going, Guard, Outgoing, go, open, stay};
pub use engine::{Asker, Engine, Fault, Host, Method, Parts, Reply, Tuning};
pub use flow::{Charge, Cx, Domain, Failure, Flow, Input, Lost, Named, Never, Public, Retain, Step};
pub use id::{DeliveryId, FlowId, Id, InputId};
pub use lane::Lane;
pub use look::Snapshot;
pub use payload::Payload;
pub use phase::Phase;
pub use wake::pump;
