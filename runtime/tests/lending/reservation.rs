//! Reservation: a reader waits for a copy that is lent, and is told when it is back.

use cairn_runtime::testing::toy::{Toy, ToyDelivery};
use cairn_runtime::{Cx, Flow, FlowId, Input, Lost, Named, Never, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use crate::lending::{self, DAY, Lending};

/// Where a reservation stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Reservation {
    /// The copy is out.
    Waiting { reader: String, until: Timestamp },
    /// The copy is back, and the reader knows.
    Ready,
    /// It took too long.
    Expired,
}

/// What opens it.
#[derive(Debug)]
pub struct Reserve {
    pub loan: FlowId,
    pub reader: String,
}

/// What other flows may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hear {
    /// The copy is back.
    Free,
}

impl Named for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }
}

impl Named for Hear {
    fn name(&self) -> &'static str {
        "free"
    }
}

// begin: flow
phases! {
    /// Where it stands.
    pub enum Phase {
        Waiting = "waiting",
        Ready = "ready",
        Expired = "expired",
    }
}

impl Flow for Reservation {
    const NAME: &'static str = "reservation";
    const PREFIX: &'static str = "res";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Reserve;
    type Command = Never;
    type Signal = Hear;
    type Outcome = ();

    fn start(asked: &Reserve, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        go(Self::Waiting { reader: asked.reader.clone(), until: cx.now.after(30 * DAY) })
            .tell::<Lending>(asked.loan, &lending::Hear::Wanted { by: cx.flow })
            .says(())
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input) {
            (Self::Waiting { reader, .. }, Input::Told(Hear::Free)) => {
                let letter = ToyDelivery::Note { to: reader.clone(), text: "your book is here".to_owned() };
                go(Self::Ready).deliver(letter).says(())
            }
            (Self::Waiting { .. }, Input::Woken) => go(Self::Expired).says(()),
            (_, Input::Asked(never)) => match *never {},
            (_, Input::Told(_) | Input::Woken | Input::Answered { .. }) => stay().says(()),
        }
    }
    // end: flow

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Ready | Self::Expired => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Waiting { .. } => Phase::Waiting,
            Self::Ready => Phase::Ready,
            Self::Expired => Phase::Expired,
        }
    }
}
