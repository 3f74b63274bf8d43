//! An errand happens at most once. When it is interrupted nobody can know whether it did, and a person must look.

use serde::{Deserialize, Serialize};

use super::{HOUR, Toy, ToyAnswer, ToyDelivery, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{go, stay};
use crate::flow::{Cx, Failure, Flow, Input, Lost, Named, Never, Step};
use crate::phases;

const CHARGE: &str = "charge";

/// Where an errand stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// Somebody is out on it.
    Out {
        /// How much it costs, in cents.
        cents: i64,
        /// When silence means that nobody knows.
        until: Timestamp,
    },
    /// It was done.
    Done,
    /// It surely was not done.
    NotDone,
    /// Nobody knows; a person must look.
    Unsure {
        /// How much it costs, in cents.
        cents: i64,
        /// When the person is reminded.
        remind: Timestamp,
    },
}

/// Sends somebody on an errand.
#[derive(Clone, Debug)]
pub struct Go {
    /// Which card pays.
    pub card: String,
    /// How much, in cents.
    pub cents: i64,
}

/// What may be asked of an errand.
#[derive(Clone, Debug)]
pub enum Ask {
    /// How does it stand?
    Look,
    /// A person has looked: it was done, or it was not.
    Found {
        /// Whether it was.
        done: bool,
    },
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Somebody is out on it.
    Out,
    /// It was done.
    Done,
    /// It surely was not done.
    NotDone,
    /// Nobody knows.
    Unsure,
}

impl Named for Go {
    fn name(&self) -> &'static str {
        "go"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Found { .. } => "found",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Out = "out",
        Done = "done",
        NotDone = "not_done",
        Unsure = "unsure",
    }
}

impl Flow for Errand {
    const NAME: &'static str = "errand";
    const PREFIX: &'static str = "err";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Go;
    type Command = Ask;
    type Signal = Never;
    type Outcome = Says;

    fn start(asked: &Go, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        go(Self::Out { cents: asked.cents, until: cx.now.after(HOUR) })
            .deliver_once(ToyDelivery::Charge { card: asked.card.clone(), cents: asked.cents }, CHARGE)
            .says(Says::Out)
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        let done = |cents: i64| go(Self::Done).write(ToyWrite::add("charged", cents)).says(Says::Done);
        let not_done = || go(Self::NotDone).says(Says::NotDone);
        let unsure = |cents: i64| {
            go(Self::Unsure { cents, remind: cx.now.after(24 * HOUR) }).deliver(look(cx)).says(Says::Unsure)
        };
        match (self, input) {
            (Self::Out { cents, .. }, Input::Answered { result, .. }) => match result {
                Ok(ToyAnswer::Charged { .. }) => done(*cents),
                Err(Failure::Refused(_) | Failure::Expired) => not_done(),
                Ok(_) | Err(Failure::Unknown) => unsure(*cents),
            },
            (Self::Out { cents, .. } | Self::Unsure { cents, .. }, Input::Woken) => unsure(*cents),

            // An answer that comes after the silence is better than a guess.
            (Self::Unsure { cents, .. }, Input::Answered { result: Ok(ToyAnswer::Charged { .. }), .. })
            | (Self::Unsure { cents, .. }, Input::Asked(Ask::Found { done: true })) => done(*cents),
            (Self::Unsure { .. }, Input::Answered { result: Err(Failure::Refused(_) | Failure::Expired), .. })
            | (Self::Unsure { .. }, Input::Asked(Ask::Found { done: false })) => not_done(),

            (_, Input::Told(never)) => match *never {},
            (_, Input::Asked(_) | Input::Answered { .. } | Input::Woken) => stay().says(self.stands()),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Out { until, .. } => Some(*until),
            Self::Unsure { remind, .. } => Some(*remind),
            Self::Done | Self::NotDone => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Out { .. } => Phase::Out,
            Self::Done => Phase::Done,
            Self::NotDone => Phase::NotDone,
            Self::Unsure { .. } => Phase::Unsure,
        }
    }
}

impl Errand {
    const fn stands(&self) -> Says {
        match self {
            Self::Out { .. } => Says::Out,
            Self::Done => Says::Done,
            Self::NotDone => Says::NotDone,
            Self::Unsure { .. } => Says::Unsure,
        }
    }
}

fn look(cx: &Cx<'_, Toy>) -> ToyDelivery {
    let text = format!("{}: was it done?", cx.flow.0.text("errand"));
    ToyDelivery::Note { to: "clerk".to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::super::desk::{begin, on};
    use super::*;
    use crate::testing::clock::BEGINNING;

    fn answered(result: Result<ToyAnswer, Failure>) -> Input<Errand> {
        Input::Answered { tag: CHARGE.to_owned(), result }
    }

    fn out() -> Errand {
        begin::<Errand>(&Go { card: "4242".to_owned(), cents: 500 }).0
    }

    #[test]
    fn an_errand_is_sent_at_most_once() {
        let (_, step) = begin::<Errand>(&Go { card: "4242".to_owned(), cents: 500 });
        let [outgoing] = step.effects.outgoing.as_slice() else { panic!("one delivery") };
        assert!(outgoing.once && outgoing.tag.as_deref() == Some(CHARGE));
    }

    #[test]
    fn an_interrupted_errand_asks_a_person_and_charges_nothing() {
        let (errand, step) = on(&out(), answered(Err(Failure::Unknown)), BEGINNING);
        assert_eq!(step.says, Says::Unsure);
        assert!(step.effects.writes.is_empty() && step.effects.outgoing.len() == 1);
        assert_eq!(errand.wake_at(), Some(BEGINNING.after(24 * HOUR)));
        let (found, step) = on(&errand, Input::Asked(Ask::Found { done: true }), BEGINNING);
        assert_eq!((found, step.effects.writes), (Errand::Done, vec![ToyWrite::add("charged", 500)]));
    }

    #[test]
    fn what_was_done_is_counted_once_whatever_comes_after() {
        let charged = || answered(Ok(ToyAnswer::Charged { receipt: "r1".to_owned() }));
        let (errand, step) = on(&out(), charged(), BEGINNING);
        assert_eq!(step.effects.writes, [ToyWrite::add("charged", 500)]);
        for input in
            [charged(), answered(Err(Failure::Unknown)), Input::Asked(Ask::Found { done: false }), Input::Woken]
        {
            let (_, step) = on(&errand, input, BEGINNING);
            assert!(step.to.is_none() && step.effects.is_empty());
        }
    }

    #[test]
    fn a_refused_errand_was_surely_not_done() {
        let (errand, _) = on(&out(), answered(Err(Failure::Refused("limit".to_owned()))), BEGINNING);
        assert_eq!((errand.wake_at(), errand), (None, Errand::NotDone));
    }
}
