//! Three flows more, for what no toy flow shows: an answered signal, a state that is overdue again at once, old bytes.

use std::time::Duration;

use cairn_runtime::testing::toy::{Child, Faulty, Toy, child, faulty};
use cairn_runtime::{
    Cx, Failure, Flow, FlowId, Input, Lost, Named, Never, Outgoing, Step, Timestamp, go, phases, stay,
};
use serde::{Deserialize, Serialize};

/// Tells a child something and wants to know what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Herald {
    pub(crate) to: FlowId,
    pub(crate) heard: Vec<Result<(), Failure>>,
    pub(crate) until: Timestamp,
}

/// Calls a child off, or tells a faulty flow, and waits for the answer.
#[derive(Clone, Debug)]
pub(crate) struct Announce {
    pub(crate) to: FlowId,
    pub(crate) is_faulty: bool,
    pub(crate) expires: Option<Timestamp>,
}

impl Named for Announce {
    fn name(&self) -> &'static str {
        "announce"
    }
}

phases! {
    pub(crate) enum HeraldPhase {
        Waiting = "waiting",
    }
}

impl Flow for Herald {
    const NAME: &'static str = "herald";
    const PREFIX: &'static str = "her";
    type Domain = Toy;
    type Phase = HeraldPhase;
    type Start = Announce;
    type Command = Never;
    type Signal = Never;
    type Outcome = usize;

    fn start(asked: &Announce, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        let signal = if asked.is_faulty {
            Outgoing::signal::<Faulty>(asked.to, &faulty::Told)
        } else {
            Outgoing::signal::<Child>(asked.to, &child::Hear::CallOff)
        };
        let signal = signal.tagged("told");
        let signal = match asked.expires {
            Some(expires) => signal.until(expires),
            None => signal,
        };
        let until = cx.now.after(Duration::from_secs(365 * 86_400));
        go(Self { to: asked.to, heard: Vec::new(), until }).send(signal).says(0)
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        match input {
            Input::Answered { tag, result } => {
                assert_eq!(tag, "told");
                let mut heard = self.heard.clone();
                heard.push(result.clone().map(|_| ()));
                let count = heard.len();
                go(Self { heard, ..self.clone() }).says(count)
            }
            Input::Asked(never) | Input::Told(never) => match *never {},
            Input::Woken => stay().says(self.heard.len()),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.until)
    }

    fn phase(&self) -> HeraldPhase {
        HeraldPhase::Waiting
    }
}

/// Beats once a minute, and makes up for every beat that it missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metronome {
    pub(crate) beats: u32,
    pub(crate) next: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Count;

impl Named for Count {
    fn name(&self) -> &'static str {
        "count"
    }
}

phases! {
    pub(crate) enum MetronomePhase {
        Beating = "beating",
    }
}

impl Flow for Metronome {
    const NAME: &'static str = "metronome";
    const PREFIX: &'static str = "met";
    type Domain = Toy;
    type Phase = MetronomePhase;
    type Start = ();
    type Command = Count;
    type Signal = Never;
    type Outcome = u32;

    fn start(_asked: &(), _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        go(Self { beats: 0, next: cx.now.after(super::MINUTE) }).says(0)
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        match input {
            Input::Woken => {
                let beats = self.beats + 1;
                go(Self { beats, next: self.next.after(super::MINUTE) }).says(beats)
            }
            Input::Asked(Count) | Input::Answered { .. } => stay().says(self.beats),
            Input::Told(never) => match *never {},
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.next)
    }

    fn phase(&self) -> MetronomePhase {
        MetronomePhase::Beating
    }
}

/// Its older shape cannot be read: the upcast panics, or refuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Elder;

phases! {
    pub(crate) enum ElderPhase {
        Old = "old",
    }
}

impl Flow for Elder {
    const NAME: &'static str = "elder";
    const PREFIX: &'static str = "eld";
    const SCHEMA: u32 = 3;
    type Domain = Toy;
    type Phase = ElderPhase;
    type Start = ();
    type Command = ();
    type Signal = Never;
    type Outcome = ();

    fn start(_asked: &(), _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        stay().says(())
    }

    fn on(&self, _input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        stay().says(())
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn phase(&self) -> ElderPhase {
        ElderPhase::Old
    }

    fn upcast(schema: u32, _state: serde_json::Value) -> Result<serde_json::Value, String> {
        assert!(schema > 1, "an upcast panics");
        Err("an upcast refuses".to_owned())
    }
}

/// Its older shape called the number a count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Renamed {
    pub(crate) number: u32,
}

phases! {
    pub(crate) enum RenamedPhase {
        Counted = "counted",
    }
}

impl Flow for Renamed {
    const NAME: &'static str = "renamed";
    const PREFIX: &'static str = "ren";
    const SCHEMA: u32 = 2;
    type Domain = Toy;
    type Phase = RenamedPhase;
    type Start = ();
    type Command = Never;
    type Signal = Never;
    type Outcome = ();

    fn start(_asked: &(), _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        stay().says(())
    }

    fn on(&self, _input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        stay().says(())
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn phase(&self) -> RenamedPhase {
        RenamedPhase::Counted
    }

    fn upcast(_schema: u32, state: serde_json::Value) -> Result<serde_json::Value, String> {
        Ok(serde_json::json!({ "number": state["count"] }))
    }
}
