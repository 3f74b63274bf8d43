//! A gate owns a fence: tickets hold its number, and raising it voids them all with one write.

use serde::{Deserialize, Serialize};

use super::{HOUR, Toy, ToyKey};
use crate::clock::Timestamp;
use crate::effects::{go, stay};
use crate::flow::{Cx, Flow, Input, Lost, Named, Never, Step};
use crate::phases;

/// Where a gate stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It stands.
    Standing {
        /// The name of its fence.
        fence: String,
        /// The fence's number.
        number: i64,
        /// When it falls by itself.
        until: Timestamp,
    },
    /// It is gone, and its fence with it.
    Gone,
}

/// Builds a gate.
#[derive(Clone, Debug)]
pub struct Build {
    /// The name of its fence.
    pub fence: String,
}

/// What may be asked of a gate.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Shut out everybody who came before, and stay.
    Raise,
    /// Shut out everybody, and go.
    TearDown,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The fence has this number now.
    Stands {
        /// The number.
        number: i64,
    },
    /// There is another gate with this fence.
    Taken,
    /// It is gone.
    Gone,
}

impl Named for Build {
    fn name(&self) -> &'static str {
        "build"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::TearDown => "tear_down",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Standing = "standing",
        Gone = "gone",
    }
}

impl Flow for Gate {
    const NAME: &'static str = "gate";
    const PREFIX: &'static str = "gat";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Build;
    type Command = Ask;
    type Signal = Never;
    type Outcome = Says;

    fn start(asked: &Build, lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        if lost.is_some() {
            return stay().says(Says::Taken);
        }
        let fence = asked.fence.clone();
        go(Self::Standing { fence: fence.clone(), number: 0, until: cx.now.after(24 * HOUR) })
            .claim(ToyKey::Fence(fence))
            .says(Says::Stands { number: 0 })
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input, lost) {
            (Self::Standing { fence, number, until }, Input::Asked(Ask::Raise), None) => {
                let raised = Self::Standing { fence: fence.clone(), number: number + 1, until: *until };
                go(raised).bump_from(ToyKey::Fence(fence.clone()), *number).says(Says::Stands { number: number + 1 })
            }
            (Self::Standing { fence, .. }, Input::Asked(Ask::TearDown) | Input::Woken, None) => {
                go(Self::Gone).release(ToyKey::Fence(fence.clone())).says(Says::Gone)
            }
            // Nobody else touches a gate's fence. Should it be lost all the same, the gate is not what it believed.
            (Self::Standing { .. }, _, Some(_)) => go(Self::Gone).says(Says::Gone),
            (Self::Standing { number, .. }, Input::Answered { .. }, None) => {
                stay().says(Says::Stands { number: *number })
            }
            (_, Input::Told(never), _) => match *never {},
            (Self::Gone, _, _) => stay().says(Says::Gone),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Standing { until, .. } => Some(*until),
            Self::Gone => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Standing { .. } => Phase::Standing,
            Self::Gone => Phase::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::desk::{begin, on};
    use super::*;
    use crate::effects::Guard;
    use crate::testing::clock::BEGINNING;

    #[test]
    fn raising_bumps_the_fence_from_the_number_that_the_gate_believes() {
        let (gate, step) = begin::<Gate>(&Build { fence: "north".to_owned() });
        assert_eq!(step.effects.guards, [Guard::Claim(ToyKey::Fence("north".to_owned()))]);
        let (gate, _) = on(&gate, Input::Asked(Ask::Raise), BEGINNING);
        let (_, step) = on(&gate, Input::Asked(Ask::Raise), BEGINNING);
        assert_eq!(step.effects.guards, [Guard::Bump(ToyKey::Fence("north".to_owned()), Some(1))]);
        assert_eq!(step.says, Says::Stands { number: 2 });
    }

    #[test]
    fn a_gate_that_is_torn_down_gives_its_fence_back_and_is_finished() {
        let (gate, _) = begin::<Gate>(&Build { fence: "north".to_owned() });
        let (gate, step) = on(&gate, Input::Asked(Ask::TearDown), BEGINNING);
        assert_eq!(step.effects.guards, [Guard::Release(ToyKey::Fence("north".to_owned()))]);
        assert_eq!((gate.wake_at(), gate), (None, Gate::Gone));
    }
}
