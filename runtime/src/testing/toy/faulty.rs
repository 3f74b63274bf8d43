//! A flow that does what no flow may: it panics when it is asked, woken, told or answered, or cannot be read back.

use serde::{Deserialize, Serialize};

use super::{HOUR, MINUTE, Toy, ToyDelivery, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{Outgoing, go, stay};
use crate::flow::{Cx, Flow, Input, Lost, Named, Step};
use crate::phases;

/// Where a faulty flow stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Faulty {
    /// It lives, with its defects.
    Alive {
        /// When it panics.
        defects: Defects,
        /// How often it did what it was asked.
        done: u32,
        /// When it is woken.
        until: Timestamp,
    },
    /// It has ended well.
    Over,
    /// It can be written, and never be read.
    #[serde(skip_deserializing)]
    Unreadable,
}

/// When a faulty flow panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defects {
    /// Whenever it is woken.
    pub woken: bool,
    /// Whenever it is told.
    pub told: bool,
    /// Whenever it is answered.
    pub answered: bool,
    /// Until this instant, as though a better release came then.
    pub mended_at: Option<Timestamp>,
}

/// Begins a faulty flow.
#[derive(Clone, Debug, Default)]
pub struct Begin {
    /// When it panics.
    pub defects: Defects,
    /// Panics at once.
    pub stillborn: bool,
    /// Has something delivered whose answer comes back.
    pub asks_the_world: bool,
}

/// What may be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Something that it can do.
    Work,
    /// Something at which it panics.
    Panic,
    /// To go where nobody can read it.
    BecomeUnreadable,
    /// To write without going anywhere, which the contract forbids.
    WriteWhileStaying,
}

/// What it may be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told;

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It did it.
    Done {
        /// How often so far.
        done: u32,
    },
    /// It is over.
    Over,
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
            Self::Panic => "panic",
            Self::BecomeUnreadable => "become_unreadable",
            Self::WriteWhileStaying => "write_while_staying",
        }
    }
}

impl Named for Told {
    fn name(&self) -> &'static str {
        "told"
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Alive = "alive",
        Over = "over",
        Unreadable = "unreadable",
    }
}

impl Flow for Faulty {
    const NAME: &'static str = "faulty";
    const PREFIX: &'static str = "fau";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Begin;
    type Command = Ask;
    type Signal = Told;
    type Outcome = Says;

    fn start(asked: &Begin, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        assert!(!asked.stillborn, "a faulty flow panics as it begins");
        let alive = go(Self::Alive { defects: asked.defects, done: 0, until: cx.now.after(MINUTE) });
        let note = ToyDelivery::Note { to: "environment".to_owned(), text: "answer me".to_owned() };
        let going = if asked.asks_the_world { alive.send(Outgoing::external(note).tagged("note")) } else { alive };
        going.says(Says::Done { done: 0 })
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        let Self::Alive { defects, done, until } = self else { return stay().says(Says::Over) };
        let broken = defects.mended_at.is_none_or(|mended_at| cx.now < mended_at);
        let does = || {
            let done = done + 1;
            go(Self::Alive { defects: *defects, done, until: until.after(HOUR) })
                .write(ToyWrite::add("faulty", 1))
                .says(Says::Done { done })
        };
        match input {
            Input::Asked(Ask::Panic) if broken => panic!("a faulty flow panics when it is asked to"),
            Input::Told(_) if broken && defects.told => panic!("a faulty flow panics when it is told"),
            Input::Woken if broken && defects.woken => panic!("a faulty flow panics when it is woken"),
            Input::Answered { .. } if broken && defects.answered => panic!("a faulty flow panics when it is answered"),
            Input::Asked(Ask::BecomeUnreadable) => go(Self::Unreadable).says(Says::Over),
            Input::Asked(Ask::WriteWhileStaying) => {
                let mut step = stay::<Self>().says(Says::Done { done: *done });
                step.effects.writes.push(ToyWrite::add("smuggled", 1));
                step
            }
            Input::Asked(Ask::Work | Ask::Panic) | Input::Told(_) | Input::Answered { .. } => does(),
            Input::Woken => go(Self::Over).says(Says::Over),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Alive { until, .. } => Some(*until),
            // It believes that it lives: only so is it found by whoever wakes it, and set aside.
            Self::Unreadable => Some(Timestamp(0)),
            Self::Over => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Alive { .. } => Phase::Alive,
            Self::Over => Phase::Over,
            Self::Unreadable => Phase::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::desk::{begin, cx, on};
    use super::*;
    use crate::flow::Failure;
    use crate::testing::clock::BEGINNING;

    fn alive(defects: Defects) -> Faulty {
        begin::<Faulty>(&Begin { defects, ..Begin::default() }).0
    }

    fn panics(flow: &Faulty, input: &Input<Faulty>, now: Timestamp) -> bool {
        catch_unwind(AssertUnwindSafe(|| flow.on(input, None, &cx(now)))).is_err()
    }

    #[test]
    fn it_panics_at_the_defects_it_has_and_at_no_others() {
        let answered = || Input::Answered { tag: "note".to_owned(), result: Err(Failure::Unknown) };
        let woken = alive(Defects { woken: true, ..Defects::default() });
        let told = alive(Defects { told: true, ..Defects::default() });
        let asked = alive(Defects { answered: true, ..Defects::default() });
        assert_eq!([&woken, &told, &asked].map(|flow| panics(flow, &Input::Woken, BEGINNING)), [true, false, false]);
        assert_eq!(
            [&woken, &told, &asked].map(|flow| panics(flow, &Input::Told(Told), BEGINNING)),
            [false, true, false]
        );
        assert_eq!([&woken, &told, &asked].map(|flow| panics(flow, &answered(), BEGINNING)), [false, false, true]);
        assert!(panics(&alive(Defects::default()), &Input::Asked(Ask::Panic), BEGINNING));
    }

    #[test]
    fn a_better_release_mends_it() {
        let mended_at = BEGINNING.after(MINUTE);
        let flow = alive(Defects { woken: true, mended_at: Some(mended_at), ..Defects::default() });
        assert!(panics(&flow, &Input::Woken, BEGINNING));
        assert!(!panics(&flow, &Input::Woken, mended_at));
    }

    #[test]
    fn what_it_writes_when_it_becomes_unreadable_does_not_decode() {
        let step = alive(Defects::default()).on(&Input::Asked(Ask::BecomeUnreadable), None, &cx(BEGINNING));
        let text = serde_json::to_string(&step.to.unwrap()).unwrap();
        assert!(serde_json::from_str::<Faulty>(&text).is_err());
    }

    #[test]
    fn otherwise_it_works() {
        let (flow, step) = on(&alive(Defects::default()), Input::Asked(Ask::Work), BEGINNING);
        assert_eq!(step.says, Says::Done { done: 1 });
        let (_, step) = on(&flow, Input::Asked(Ask::Work), BEGINNING);
        assert_eq!(step.says, Says::Done { done: 2 });
    }
}
