//! The world outside of a toy domain: a hotel, a bank and a letter box that remember everything, and their moods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::host::strike;
use crate::flow::Domain;
use crate::id::DeliveryId;
use crate::outbox::{Courier, DeliveryAttempt, Trouble};
use crate::testing::sweep::Attempt;
use crate::testing::toy::{Toy, ToyAnswer, ToyDelivery};

/// How the world takes one delivery. Without one, it does as it is asked.
#[derive(Debug)]
pub enum Mood {
    /// It never will.
    Refuse,
    /// Not now; perhaps after this span.
    Later(Option<Duration>),
    /// The carrier drops dead before anything is done.
    StrikeBefore,
    /// It is done, and the carrier drops dead before it can say so.
    StrikeAfter,
    /// It is done when this has come, or its sender is gone.
    Wait(oneshot::Receiver<()>),
}

/// The world.
#[derive(Debug, Default)]
pub struct Town {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    attempts: Vec<Attempt<Toy>>,
    moods: BTreeMap<&'static str, VecDeque<Mood>>,
    rooms: BTreeSet<String>,
    charged: Vec<(DeliveryId, i64)>,
    notes: Vec<String>,
}

impl Town {
    /// Has the next delivery of this kind taken in this mood; several are used up in order.
    pub fn next(&self, kind: &'static str, mood: Mood) {
        self.memory().moods.entry(kind).or_default().push_back(mood);
    }

    /// All attempts so far, in order.
    pub fn attempts(&self) -> Vec<Attempt<Toy>> {
        self.memory().attempts.clone()
    }

    /// The references under which a room is booked and not given back.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.memory().rooms.clone()
    }

    /// All charges, each with the delivery that brought it.
    pub fn charged(&self) -> Vec<(DeliveryId, i64)> {
        self.memory().charged.clone()
    }

    /// All notes that arrived, doubles included.
    pub fn notes(&self) -> Vec<String> {
        self.memory().notes.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn does(&self, attempt: &DeliveryAttempt<Toy>) -> ToyAnswer {
        let mut memory = self.memory();
        match &attempt.delivery {
            ToyDelivery::Note { text, .. } => {
                memory.notes.push(text.clone());
                ToyAnswer::Taken
            }
            ToyDelivery::Book { reference, .. } => {
                memory.rooms.insert(reference.clone());
                ToyAnswer::Booked { room: "7".to_owned() }
            }
            ToyDelivery::Cancel { reference } => {
                memory.rooms.remove(reference);
                ToyAnswer::Taken
            }
            ToyDelivery::Charge { cents, .. } => {
                memory.charged.push((attempt.id, *cents));
                ToyAnswer::Charged { receipt: format!("r{}", memory.charged.len()) }
            }
        }
    }
}

impl Courier<Toy> for Town {
    fn carry(&self, attempt: DeliveryAttempt<Toy>) -> BoxFuture<'_, Result<ToyAnswer, Trouble>> {
        let mood = {
            let mut memory = self.memory();
            let made = Attempt {
                id: attempt.id,
                flow: attempt.flow,
                number: attempt.number,
                delivery: attempt.delivery.clone(),
            };
            memory.attempts.push(made);
            memory.moods.get_mut(Toy::kind(&attempt.delivery)).and_then(VecDeque::pop_front)
        };
        Box::pin(async move {
            match mood {
                None => Ok(self.does(&attempt)),
                Some(Mood::Refuse) => Err(Trouble::Never("the receiver says no".to_owned())),
                Some(Mood::Later(after)) => Err(Trouble::Later { why: "the world is busy".to_owned(), after }),
                Some(Mood::StrikeBefore) => {
                    strike();
                    Err(Trouble::Never("nobody hears this".to_owned()))
                }
                Some(Mood::StrikeAfter) => {
                    let answer = self.does(&attempt);
                    strike();
                    Ok(answer)
                }
                Some(Mood::Wait(until)) => {
                    let _ = until.await;
                    Ok(self.does(&attempt))
                }
            }
        })
    }
}
