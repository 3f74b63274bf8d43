//! The durable-actor engine: a flow decides, the whole step is committed in one transaction, and only then believed.
//!
//! What is deliberately absent: anything of auth, any knowledge of the database behind [`store::Store`], replay.

pub mod clock;
pub mod effects;
pub mod flow;
pub mod id;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use clock::{Clock, Dice, Timestamp};
pub use effects::{Effects, Guard, Outgoing, go, open, stay};
pub use flow::{Cx, Domain, Failure, Flow, Input, Lost, Named, Never, Public, Step};
pub use id::{DeliveryId, FlowId, Id, InputId};
