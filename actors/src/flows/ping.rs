//! Ping: the smallest real flow. One actor, two commits; what an operator asks whether the engine turns.

use std::time::Duration;

use cairn_runtime::{Cx, Flow, Input, Lost, Named, Never, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use crate::effects::Auth;

/// The phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Ping {
    /// Asked, and not yet answered.
    Asked {
        /// When it is given up.
        until: Timestamp,
    },
    /// Answered, or given up.
    Done,
}

/// Opens a ping.
#[derive(Debug)]
pub struct Start;

impl Named for Start {
    fn name(&self) -> &'static str {
        "ping"
    }
}

/// Answers it.
#[derive(Debug)]
pub struct Pong;

impl Named for Pong {
    fn name(&self) -> &'static str {
        "pong"
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Asked = "asked",
        Done = "done",
    }
}

impl Flow for Ping {
    const NAME: &'static str = "ping";
    const PREFIX: &'static str = "png";
    type Domain = Auth;
    type Phase = Phase;
    type Start = Start;
    type Command = Pong;
    type Signal = Never;
    type Outcome = ();

    fn start(_asked: &Start, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        go(Self::Asked { until: cx.now.after(Duration::from_secs(60)) }).says(())
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::Asked { .. }, Input::Asked(Pong) | Input::Woken) => go(Self::Done).says(()),
            (Self::Done, Input::Asked(Pong) | Input::Woken) | (_, Input::Answered { .. }) => stay().says(()),
            (_, Input::Told(never)) => match *never {},
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Asked { until } => Some(*until),
            Self::Done => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Asked { .. } => Phase::Asked,
            Self::Done => Phase::Done,
        }
    }
}
