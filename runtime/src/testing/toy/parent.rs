//! A parent opens children within its own first step, hears when each is done, and may call them all off.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child::{self, Child};
use super::{Toy, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{Effects, go, open, stay};
use crate::flow::{Cx, Flow, Input, Lost, Named, Step};
use crate::id::FlowId;
use crate::phases;

/// Where a parent stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parent {
    /// Some children are out.
    Waiting {
        /// Those who have not said that they are done.
        out: Vec<FlowId>,
        /// How many have.
        home: u32,
        /// When it calls the others off.
        until: Timestamp,
    },
    /// All came home.
    Complete {
        /// How many there were.
        home: u32,
    },
    /// It called off those who were out.
    CalledOff {
        /// How many had come home before.
        home: u32,
    },
}

/// Sends children out.
#[derive(Clone, Debug)]
pub struct SendOut {
    /// How many.
    pub children: u32,
    /// How long the parent waits for them.
    pub patience: Duration,
}

/// What may be asked of a parent.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Who is out?
    Look,
    /// Call them off.
    CallOff,
}

/// What a child may tell its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hear {
    /// It is done.
    Done {
        /// Which child.
        child: FlowId,
    },
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// These are out.
    Out {
        /// The children.
        out: Vec<FlowId>,
    },
    /// All are home, or nobody was sent.
    Complete,
    /// They were called off.
    CalledOff,
}

impl Named for SendOut {
    fn name(&self) -> &'static str {
        "send_out"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::CallOff => "call_off",
        }
    }
}

impl Named for Hear {
    fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Waiting = "waiting",
        Complete = "complete",
        CalledOff = "called_off",
    }
}

impl Flow for Parent {
    const NAME: &'static str = "parent";
    const PREFIX: &'static str = "par";
    type Domain = Toy;
    type Phase = Phase;
    type Start = SendOut;
    type Command = Ask;
    type Signal = Hear;
    type Outcome = Says;

    fn start(asked: &SendOut, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        if asked.children == 0 {
            return stay().says(Says::Complete);
        }
        let until = cx.now.after(asked.patience);
        let sent: Vec<(FlowId, Effects<Toy>)> = (0..asked.children)
            .map(|number| {
                let begin = child::Begin { parent: cx.flow, until };
                let (child, _, first_step) = open::<Child>(&begin, u64::from(number), cx);
                (child, first_step)
            })
            .collect();
        let out: Vec<FlowId> = sent.iter().map(|(child, _)| *child).collect();
        let waiting = go(Self::Waiting { out: out.clone(), home: 0, until });
        sent.into_iter()
            .fold(waiting, |going, (_, first_step)| going.with(first_step))
            .write(ToyWrite::add("sent out", i64::from(asked.children)))
            .says(Says::Out { out })
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input) {
            (Self::Waiting { out, home, until }, Input::Told(Hear::Done { child })) if out.contains(child) => {
                let out: Vec<FlowId> = out.iter().filter(|other| *other != child).copied().collect();
                let home = home + 1;
                let came_home = ToyWrite::add("came home", 1);
                if out.is_empty() {
                    go(Self::Complete { home }).write(came_home).says(Says::Complete)
                } else {
                    let waiting = Self::Waiting { out: out.clone(), home, until: *until };
                    go(waiting).write(came_home).says(Says::Out { out })
                }
            }
            (Self::Waiting { out, home, .. }, Input::Asked(Ask::CallOff) | Input::Woken) => out
                .iter()
                .fold(go(Self::CalledOff { home: *home }), |going, child| {
                    going.tell::<Child>(*child, &child::Hear::CallOff)
                })
                .says(Says::CalledOff),
            // A child that is not out any more, or a look: nothing happens.
            (Self::Waiting { out, .. }, Input::Told(_) | Input::Asked(Ask::Look) | Input::Answered { .. }) => {
                stay().says(Says::Out { out: out.clone() })
            }
            (Self::Complete { .. }, _) => stay().says(Says::Complete),
            (Self::CalledOff { .. }, _) => stay().says(Says::CalledOff),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Complete { .. } | Self::CalledOff { .. } => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Waiting { .. } => Phase::Waiting,
            Self::Complete { .. } => Phase::Complete,
            Self::CalledOff { .. } => Phase::CalledOff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HOUR;
    use super::super::desk::{begin, on};
    use super::*;
    use crate::payload::Payload;
    use crate::testing::clock::BEGINNING;

    fn two() -> (Parent, Step<Parent>, Vec<FlowId>) {
        let (parent, step) = begin::<Parent>(&SendOut { children: 2, patience: HOUR });
        let Says::Out { out } = step.says.clone() else { panic!("two are out") };
        (parent, step, out)
    }

    #[test]
    fn children_begin_in_their_parents_first_step() {
        let (_, step, out) = two();
        let opened: Vec<FlowId> = step.effects.opened.iter().map(|opened| opened.flow).collect();
        assert_eq!(opened, out);
        assert_ne!(out[0], out[1]);
        assert!(step.effects.opened.iter().all(|opened| opened.shown.public.parent == Some(super::super::desk::FLOW)));
    }

    #[test]
    fn a_parent_is_complete_when_the_last_child_is_home_and_counts_none_twice() {
        let (parent, _, out) = two();
        let told = |child: FlowId| Input::Told(Hear::Done { child });
        let (parent, first) = on(&parent, told(out[0]), BEGINNING);
        assert_eq!(first.says, Says::Out { out: vec![out[1]] });
        let (parent, again) = on(&parent, told(out[0]), BEGINNING);
        assert!(again.to.is_none() && again.effects.is_empty());
        let (parent, last) = on(&parent, told(out[1]), BEGINNING);
        assert_eq!((last.says, parent), (Says::Complete, Parent::Complete { home: 2 }));
    }

    #[test]
    fn only_those_who_are_out_are_called_off() {
        let (parent, _, out) = two();
        let (parent, _) = on(&parent, Input::Told(Hear::Done { child: out[0] }), BEGINNING);
        for input in [Input::Asked(Ask::CallOff), Input::Woken] {
            let (ended, step) = on(&parent, input, BEGINNING);
            assert_eq!(ended, Parent::CalledOff { home: 1 });
            let [outgoing] = step.effects.outgoing.as_slice() else { panic!("one signal") };
            assert!(matches!(&outgoing.payload, Payload::Signal { to, .. } if *to == out[1]));
        }
    }
}
