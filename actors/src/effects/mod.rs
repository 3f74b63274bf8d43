//! The closed vocabularies of auth: what may be written, claimed, delivered and answered. A new word breaks every place
//! that must answer it, on purpose.

mod delivery;
mod key;
mod retention;
mod write;

use cairn_runtime::store::RetentionRule;
use cairn_runtime::{Charge, Domain, Lane};
use serde::{Deserialize, Serialize};

pub use self::delivery::{AskedBy, Delivery, MAIL};
pub use self::key::Key;
pub use self::write::{
    ClientWrite, ConsentWrite, DeviceWrite, FailureWrite, NewUser, ResourceWrite, StoredClient, UserWrite, Write,
};
use crate::environment::Environment;
use crate::letters::Letter;

/// The domain of auth.
#[derive(Clone, Copy, Debug)]
pub enum Auth {}

/// What the world answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was taken.
    #[default]
    Accepted,
}

impl Domain for Auth {
    type Write = Write;
    type Key = Key;
    type Delivery = Delivery;
    type Answer = Answer;
    type Environment = Environment;

    const KINDS: &'static [&'static str] = Delivery::KINDS;
    const LANES: &'static [Lane] = &[MAIL];

    fn guard(key: &Key) -> String {
        key.text()
    }

    fn retention() -> &'static [RetentionRule] {
        &retention::RULES
    }

    fn kind(delivery: &Delivery) -> &'static str {
        delivery.mailed().map_or(Delivery::NOBODY, Letter::name)
    }

    fn lane(delivery: &Delivery) -> &'static Lane {
        delivery.lane()
    }

    /// Letters to one mailbox are counted by their budget classes, and within that by the network that asked for them. What goes
    /// to nobody waits for room as often and as long, in a budget class that no letter is paid from.
    fn charge(environment: &Environment, delivery: &Delivery) -> Option<Charge> {
        let (letter, by, nobody) = match delivery {
            Delivery::Letter(letter) => (letter, None, ""),
            Delivery::AskedLetter { letter, by } => (letter, Some(by), ""),
            Delivery::ToNobody { letter, by } => (letter, Some(by), " of nobody"),
        };
        let known = if by.is_some_and(|by| by.known) { " of known browsers" } else { "" };
        let of = [letter.budget_class(), nobody, known, " ", &letter.to().mailbox()].concat();
        let budget = environment.digest("mail budget", of.as_bytes()).0;
        Some(Charge { budget, asked_by: by.map(|by| by.network.0) })
    }

    fn seal(environment: &Environment, context: &[u8], plain: &[u8], seed: [u8; 32]) -> Vec<u8> {
        environment.seal("outbox", context, plain, seed)
    }

    fn open(environment: &Environment, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        environment.ring.open("outbox", context, sealed).map_err(|why| why.to_string())
    }
}
