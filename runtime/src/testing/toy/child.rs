//! A child works for the parent that opened it, tells it when it is done, and can be called off.

use serde::{Deserialize, Serialize};

use super::parent::{self, Parent};
use super::{Toy, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{go, stay};
use crate::flow::{Cx, Flow, Input, Lost, Named, Public, Step};
use crate::id::FlowId;
use crate::phases;

/// Where a child stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Child {
    /// It works.
    Working {
        /// Whom it tells when it is done.
        parent: FlowId,
        /// How much it has done.
        done: u32,
        /// When it is done whatever it has done.
        until: Timestamp,
    },
    /// It is done, and has said so.
    Done {
        /// Who opened it.
        parent: FlowId,
    },
    /// It was called off.
    CalledOff {
        /// Who opened it.
        parent: FlowId,
    },
}

/// Begins to work.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Whom it tells when it is done.
    pub parent: FlowId,
    /// When it is done at the latest.
    pub until: Timestamp,
}

/// What may be asked of a child.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Do a little.
    Work,
    /// Be done.
    Finish,
}

/// What a parent may tell its child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hear {
    /// It is not needed any more.
    CallOff,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It has done this much.
    Working {
        /// How much.
        done: u32,
    },
    /// It is done.
    Done,
    /// It was called off.
    CalledOff,
}

impl Named for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Finish => "finish",
        }
    }
}

impl Named for Hear {
    fn name(&self) -> &'static str {
        match self {
            Self::CallOff => "call_off",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Working = "working",
        Done = "done",
        CalledOff = "called_off",
    }
}

impl Flow for Child {
    const NAME: &'static str = "child";
    const PREFIX: &'static str = "chi";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Begin;
    type Command = Ask;
    type Signal = Hear;
    type Outcome = Says;

    fn start(asked: &Begin, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        go(Self::Working { parent: asked.parent, done: 0, until: asked.until }).says(Says::Working { done: 0 })
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input) {
            (Self::Working { parent, done, until }, Input::Asked(Ask::Work)) => {
                let done = done + 1;
                go(Self::Working { parent: *parent, done, until: *until })
                    .write(ToyWrite::add("work", 1))
                    .says(Says::Working { done })
            }
            (Self::Working { parent, .. }, Input::Asked(Ask::Finish) | Input::Woken) => {
                go(Self::Done { parent: *parent })
                    .tell::<Parent>(*parent, &parent::Hear::Done { child: cx.flow })
                    .says(Says::Done)
            }
            (Self::Working { parent, .. }, Input::Told(Hear::CallOff)) => {
                go(Self::CalledOff { parent: *parent }).write(ToyWrite::add("called off", 1)).says(Says::CalledOff)
            }
            (Self::Working { done, .. }, Input::Answered { .. }) => stay().says(Says::Working { done: *done }),
            // Done crossed with being called off: what came first counts.
            (Self::Done { .. }, _) => stay().says(Says::Done),
            (Self::CalledOff { .. }, _) => stay().says(Says::CalledOff),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Working { until, .. } => Some(*until),
            Self::Done { .. } | Self::CalledOff { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Working { .. } => Phase::Working,
            Self::Done { .. } => Phase::Done,
            Self::CalledOff { .. } => Phase::CalledOff,
        }
    }

    fn public(&self) -> Public {
        let (Self::Working { parent, .. } | Self::Done { parent } | Self::CalledOff { parent }) = self;
        Public { parent: Some(*parent), ..Public::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::desk::{FLOW, begin, on};
    use super::*;
    use crate::payload::Payload;
    use crate::testing::clock::BEGINNING;

    const PARENT: FlowId = FlowId::from_bytes([7; 16]);

    fn working() -> Child {
        begin::<Child>(&Begin { parent: PARENT, until: BEGINNING }).0
    }

    #[test]
    fn a_child_that_is_done_tells_its_parent_its_own_name() {
        let (child, step) = on(&working(), Input::Asked(Ask::Finish), BEGINNING);
        let [outgoing] = step.effects.outgoing.as_slice() else { panic!("one signal") };
        let Payload::Signal { to, kind, signal } = &outgoing.payload else { panic!("a signal") };
        assert_eq!((*to, kind.as_str()), (PARENT, Parent::NAME));
        assert_eq!(serde_json::from_value::<parent::Hear>(signal.clone()).unwrap(), parent::Hear::Done { child: FLOW });
        assert_eq!(child.wake_at(), None);
    }

    #[test]
    fn a_child_that_was_called_off_is_silent_for_ever() {
        let (child, step) = on(&working(), Input::Told(Hear::CallOff), BEGINNING);
        assert!(step.effects.outgoing.is_empty());
        let (_, step) = on(&child, Input::Asked(Ask::Finish), BEGINNING);
        assert!(step.to.is_none() && step.effects.is_empty());
    }

    #[test]
    fn a_child_that_was_done_before_it_was_called_off_stays_done() {
        let (child, _) = on(&working(), Input::Woken, BEGINNING);
        let (child, step) = on(&child, Input::Told(Hear::CallOff), BEGINNING);
        assert_eq!((child, step.says), (Child::Done { parent: PARENT }, Says::Done));
    }
}
