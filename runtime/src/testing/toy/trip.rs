//! A trip is a saga: a room is booked, then a card is charged; when the second fails, the first is undone.

use serde::{Deserialize, Serialize};

use super::{HOUR, Toy, ToyAnswer, ToyDelivery, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{Going, Outgoing, go, stay};
use crate::flow::{Cx, Failure, Flow, Input, Lost, Named, Never, Step};
use crate::phases;

/// The tag of the booking's answer.
const ROOM: &str = "room";
/// The tag of the charge's answer.
const CARD: &str = "card";
/// The tag of the cancellation's answer.
const UNDONE: &str = "undone";

/// Where a trip stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trip {
    /// A room is being booked.
    Booking {
        /// What was asked.
        plan: Plan,
        /// When silence counts as an answer.
        until: Timestamp,
    },
    /// The room is booked, the card is being charged.
    Charging {
        /// What was asked.
        plan: Plan,
        /// The room.
        room: String,
        /// When silence counts as an answer.
        until: Timestamp,
    },
    /// The room is being given back.
    Cancelling {
        /// Under which reference it was booked.
        reference: String,
        /// When somebody must look after it.
        until: Timestamp,
    },
    /// Room and charge stand.
    Booked {
        /// The room.
        room: String,
        /// The receipt.
        receipt: String,
    },
    /// Nothing stands, unless the clerk was told otherwise.
    Ended,
}

/// What a trip is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where to sleep.
    pub hotel: String,
    /// What to pay with.
    pub card: String,
    /// How much, in cents.
    pub cents: i64,
}

/// What may be asked of a trip.
#[derive(Clone, Debug)]
pub enum Ask {
    /// How does it stand?
    Look,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It is on its way.
    Underway,
    /// It is booked and paid.
    Booked {
        /// The room.
        room: String,
        /// The receipt.
        receipt: String,
    },
    /// It will not be.
    Ended,
}

impl Named for Plan {
    fn name(&self) -> &'static str {
        "plan"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Booking = "booking",
        Charging = "charging",
        Cancelling = "cancelling",
        Booked = "booked",
        Ended = "ended",
    }
}

impl Flow for Trip {
    const NAME: &'static str = "trip";
    const PREFIX: &'static str = "tri";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Plan;
    type Command = Ask;
    type Signal = Never;
    type Outcome = Says;

    fn start(plan: &Plan, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        let book = ToyDelivery::Book { hotel: plan.hotel.clone(), reference: reference(cx) };
        go(Self::Booking { plan: plan.clone(), until: cx.now.after(2 * HOUR) })
            .send(Outgoing::external(book).tagged(ROOM).until(cx.now.after(HOUR)))
            .says(Says::Underway)
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input) {
            (_, Input::Asked(Ask::Look)) => stay().says(self.stands()),

            (Self::Booking { plan, .. }, Input::Answered { tag, result }) if tag == ROOM => match result {
                Ok(ToyAnswer::Booked { room }) => {
                    let charge = ToyDelivery::Charge { card: plan.card.clone(), cents: plan.cents };
                    go(Self::Charging { plan: plan.clone(), room: room.clone(), until: cx.now.after(2 * HOUR) })
                        .send(Outgoing::external(charge).tagged(CARD).until(cx.now.after(HOUR)).once())
                        .says(Says::Underway)
                }
                Err(Failure::Refused(_)) => go(Self::Ended).write(ToyWrite::add("no room", 1)).says(Says::Ended),
                // It may have been booked by an attempt that nobody heard of.
                Ok(_) | Err(Failure::Unknown | Failure::Expired) => cancel(reference(cx), cx).says(Says::Ended),
            },

            (Self::Charging { room, .. }, Input::Answered { tag, result }) if tag == CARD => match result {
                Ok(ToyAnswer::Charged { receipt }) => go(Self::Booked { room: room.clone(), receipt: receipt.clone() })
                    .write(ToyWrite::add("trips", 1))
                    .says(Says::Booked { room: room.clone(), receipt: receipt.clone() }),
                Err(Failure::Refused(_) | Failure::Expired) => cancel(reference(cx), cx).says(Says::Ended),
                Ok(_) | Err(Failure::Unknown) => cancel(reference(cx), cx)
                    .deliver(tell_the_clerk(cx, "nobody knows whether the card was charged"))
                    .says(Says::Ended),
            },

            (Self::Cancelling { .. }, Input::Answered { tag, result }) if tag == UNDONE => match result {
                Ok(_) => go(Self::Ended).write(ToyWrite::add("undone", 1)).says(Says::Ended),
                Err(_) => go(Self::Ended).deliver(tell_the_clerk(cx, "the hotel does not cancel")).says(Says::Ended),
            },

            // Deliveries end, well or badly; whoever is woken has outlived all of them and trusts none.
            (Self::Booking { .. }, Input::Woken) => cancel(reference(cx), cx).says(Says::Ended),
            (Self::Charging { .. }, Input::Woken) => {
                cancel(reference(cx), cx).deliver(tell_the_clerk(cx, "the charge was never answered")).says(Says::Ended)
            }
            (Self::Cancelling { .. }, Input::Woken) => {
                go(Self::Ended).deliver(tell_the_clerk(cx, "the hotel never answered")).says(Says::Ended)
            }

            (_, Input::Told(never)) => match *never {},
            // An answer that comes late was given up before.
            (_, Input::Answered { .. }) | (Self::Booked { .. } | Self::Ended, Input::Woken) => {
                stay().says(self.stands())
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Booking { until, .. } | Self::Charging { until, .. } | Self::Cancelling { until, .. } => Some(*until),
            Self::Booked { .. } | Self::Ended => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Booking { .. } => Phase::Booking,
            Self::Charging { .. } => Phase::Charging,
            Self::Cancelling { .. } => Phase::Cancelling,
            Self::Booked { .. } => Phase::Booked,
            Self::Ended => Phase::Ended,
        }
    }
}

impl Trip {
    fn stands(&self) -> Says {
        match self {
            Self::Booking { .. } | Self::Charging { .. } => Says::Underway,
            Self::Booked { room, receipt } => Says::Booked { room: room.clone(), receipt: receipt.clone() },
            Self::Cancelling { .. } | Self::Ended => Says::Ended,
        }
    }
}

/// The trip's own name in the hotel's book.
fn reference(cx: &Cx<'_, Toy>) -> String {
    cx.flow.0.text("trip")
}

/// The compensation. It is safe to ask for though nothing was booked.
fn cancel(reference: String, cx: &Cx<'_, Toy>) -> Going<Trip> {
    let give_back = ToyDelivery::Cancel { reference: reference.clone() };
    go(Trip::Cancelling { reference, until: cx.now.after(2 * HOUR) })
        .send(Outgoing::external(give_back).tagged(UNDONE).until(cx.now.after(HOUR)))
}

fn tell_the_clerk(cx: &Cx<'_, Toy>, what: &str) -> ToyDelivery {
    ToyDelivery::Note { to: "clerk".to_owned(), text: format!("{}: {what}", reference(cx)) }
}

#[cfg(test)]
mod tests {
    use super::super::desk::{begin, on};
    use super::*;
    use crate::testing::clock::BEGINNING;

    fn answered(tag: &str, result: Result<ToyAnswer, Failure>) -> Input<Trip> {
        Input::Answered { tag: tag.to_owned(), result }
    }

    fn sent(step: &Step<Trip>) -> Vec<(&'static str, Option<&str>, bool)> {
        let outgoing = step.effects.outgoing.iter();
        outgoing.map(|out| (out.payload.kind(), out.tag.as_deref(), out.once)).collect()
    }

    fn planned() -> (Trip, Step<Trip>) {
        begin::<Trip>(&Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 })
    }

    fn charging() -> (Trip, Step<Trip>) {
        on(&planned().0, answered(ROOM, Ok(ToyAnswer::Booked { room: "7".to_owned() })), BEGINNING)
    }

    #[test]
    fn a_trip_books_then_charges_once_and_stands() {
        let (_, first) = planned();
        assert_eq!(sent(&first), [("book", Some(ROOM), false)]);
        let (trip, second) = charging();
        assert_eq!(sent(&second), [("charge", Some(CARD), true)]);
        let (trip, third) = on(&trip, answered(CARD, Ok(ToyAnswer::Charged { receipt: "r1".to_owned() })), BEGINNING);
        assert_eq!(third.effects.writes, [ToyWrite::add("trips", 1)]);
        assert_eq!((trip.phase(), trip.wake_at()), (Phase::Booked, None));
    }

    #[test]
    fn a_hotel_without_a_room_ends_the_trip_with_nothing_to_undo() {
        let (trip, step) = on(&planned().0, answered(ROOM, Err(Failure::Refused("full".to_owned()))), BEGINNING);
        assert_eq!((sent(&step), trip), (vec![], Trip::Ended));
    }

    #[test]
    fn a_refused_card_gives_the_room_back() {
        let (trip, step) = on(&charging().0, answered(CARD, Err(Failure::Refused("limit".to_owned()))), BEGINNING);
        assert_eq!(sent(&step), [("cancel", Some(UNDONE), false)]);
        let (trip, step) = on(&trip, answered(UNDONE, Ok(ToyAnswer::Taken)), BEGINNING);
        assert_eq!((step.effects.writes, trip), (vec![ToyWrite::add("undone", 1)], Trip::Ended));
    }

    #[test]
    fn a_charge_that_nobody_knows_of_is_undone_and_looked_into() {
        for input in [answered(CARD, Err(Failure::Unknown)), Input::Woken] {
            let (trip, step) = on(&charging().0, input, BEGINNING);
            assert_eq!(sent(&step), [("cancel", Some(UNDONE), false), ("note", None, false)]);
            assert_eq!(trip.phase(), Phase::Cancelling);
        }
    }

    #[test]
    fn an_answer_to_a_part_that_was_given_up_changes_nothing() {
        let (cancelling, _) = on(&charging().0, answered(CARD, Err(Failure::Expired)), BEGINNING);
        let late = answered(CARD, Ok(ToyAnswer::Charged { receipt: "r1".to_owned() }));
        let (_, step) = on(&cancelling, late, BEGINNING);
        assert!(step.to.is_none() && step.effects.is_empty());
    }

    #[test]
    fn every_trip_that_goes_on_will_be_woken() {
        for trip in [planned().0, charging().0, on(&planned().0, Input::Woken, BEGINNING).0] {
            assert!(trip.wake_at().is_some(), "{trip:?}");
        }
    }
}
