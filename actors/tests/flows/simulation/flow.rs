//! What the simulation must be told of one flow: what people ask of it, what its history must say, and what must be true
//! of its rows. A flow, or an act, is one file with an implementation of [`SimulatedFlow`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use cairn_actors::effects::{Auth, Write};
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, Seal};
use cairn_runtime::store::{Event, Row};
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::testing::store::Logged;
use cairn_runtime::{Fault, FlowId, InputId};
use serde::de::DeserializeOwned;

use super::ledger::Ledger;
use super::people::Common;
use super::rows::View;

/// One flow or act: what people know of it and have asked, and its part of the ledger.
pub(super) trait SimulatedFlow: Default + Send + 'static {
    /// The kind of its events.
    const NAME: &'static str;
    /// Where people come to with it if they try for long enough, as the tally counts: `told` with an outcome, `came to be`
    /// with a last phase.
    const WAYS: &'static [&'static str];
    /// What its requests bring that must stand in no last state, in no outcome and in nothing that history shows.
    const PERSONAL: &'static [&'static str] = &[];
    /// What of that an outcome may hold all the same.
    const TOLD: &'static [&'static str] = &[];
    /// A question, as far as its answer is judged by it.
    type Asked: fmt::Debug + Send;

    /// What somebody asks next; `None`: nothing can be asked now.
    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Self::Asked>>;

    /// Why what is asked now must not be granted, where that is certain beforehand.
    fn doom(&self, common: &Common, asked: &Self::Asked) -> Option<String>;

    /// Takes an answer.
    ///
    /// # Errors
    /// Why this must not have been told.
    fn hear(
        &mut self,
        common: &mut Common,
        asked: &Self::Asked,
        told: &Told,
        doom: Option<String>,
    ) -> Result<Heard, String>;

    /// Takes one of its events into the ledger, the common part and its own, and complains there of what must not be.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>);

    /// Whether a row has come to its end.
    fn is_over(row: &Row) -> bool {
        row.wake_at.is_none()
    }

    /// Whether this event may come after the end.
    fn may_follow_the_end(_event: &str) -> bool {
        false
    }

    /// What a letter of its steps holds, and whether its addressee is who should get it; `None`: it sends no such letter.
    fn letter(&self, _ledger: &Ledger, _letter: &Letter, _flow: FlowId) -> Option<Reading> {
        None
    }

    /// The letters that were due so far, counted by name, of those that are sent once for each thing that happened.
    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    /// Holds a row against the ledger. An act has none.
    fn row(&self, _view: &mut View<'_>, _row: &Row) {}

    /// Names the keys that are held for the flow besides those of accounts and those of its rows.
    fn keys(&self, _view: &mut View<'_>) {}
}

/// An order, and the time that passes between reading what it is built from and giving it.
pub(super) struct Plan<A> {
    asked: A,
    order: Order<Auth>,
    after: Duration,
}

impl<A> Plan<A> {
    pub(super) fn at_once(asked: A, order: Order<Auth>) -> Self {
        Self { asked, order, after: Duration::ZERO }
    }

    /// Hashing takes its time, and a busy pool more.
    pub(super) fn hashed(asked: A, order: Order<Auth>, rng: &mut Rng) -> Self {
        let after = Duration::from_millis(if rng.chance(200) { rng.below(4_000) } else { rng.below(400) });
        Self { asked, order, after }
    }
}

/// What was committed with one event.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) event: &'a Event,
    pub(super) line: &'a Logged,
    pub(super) writes: &'a [(InputId, Write)],
}

impl Step<'_> {
    /// What was said.
    pub(super) fn says<O: DeserializeOwned>(&self) -> O {
        serde_json::from_str(&self.event.outcome).expect("an outcome decodes")
    }

    /// What history shows.
    pub(super) fn public(&self) -> serde_json::Value {
        serde_json::from_str(&self.event.public).expect("what is public is JSON")
    }
}

/// What a letter is to its reader.
pub(super) struct Reading {
    /// What its code and link are rendered from.
    pub(super) credential: Option<(Purpose, Seal)>,
    /// Whether it may go to where it goes.
    pub(super) is_known: bool,
}

impl Reading {
    /// A letter that holds nothing.
    pub(super) fn plain(is_known: bool) -> Self {
        Self { credential: None, is_known }
    }

    pub(super) fn with(purpose: Purpose, seal: &Seal, is_known: bool) -> Self {
        Self { credential: Some((purpose, seal.clone())), is_known }
    }
}

/// A flow together with what clients wait for, without its types.
pub(super) trait Actor: Send {
    /// The kind of its events.
    fn name(&self) -> &'static str;
    /// See [`SimulatedFlow::WAYS`].
    fn ways(&self) -> &'static [&'static str];
    /// See [`SimulatedFlow::PERSONAL`].
    fn personal(&self) -> &'static [&'static str];
    /// See [`SimulatedFlow::TOLD`].
    fn may_tell(&self) -> &'static [&'static str];
    /// Plans a client's next order; gives the time after which it is given, if anything can be asked now.
    fn plan(&mut self, client: usize, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Duration>;
    /// Gives the order that was planned.
    fn give(&mut self, client: usize, common: &Common) -> Order<Auth>;
    /// Takes the answer to what was given.
    fn hear(&mut self, client: usize, common: &mut Common, answer: &Result<Told, Fault>) -> Heard;
    /// See [`SimulatedFlow::committed`].
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>);
    /// See [`SimulatedFlow::is_over`].
    fn is_over(&self, row: &Row) -> bool;
    /// See [`SimulatedFlow::may_follow_the_end`].
    fn may_follow_the_end(&self, event: &str) -> bool;
    /// See [`SimulatedFlow::letter`].
    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading>;
    /// See [`SimulatedFlow::letters_due`].
    fn letters_due(&self) -> Vec<(&'static str, usize)>;
    /// See [`SimulatedFlow::row`].
    fn row(&self, view: &mut View<'_>, row: &Row);
    /// See [`SimulatedFlow::keys`].
    fn keys(&self, view: &mut View<'_>);
}

/// A flow, planned so often among all of them.
pub(super) struct Weighted {
    pub(super) weight: u64,
    pub(super) actor: Box<dyn Actor>,
}

/// A flow that nobody has asked anything yet.
pub(super) fn weighted<F: SimulatedFlow>(weight: u64) -> Weighted {
    let actor = Typed { flow: F::default(), planned: BTreeMap::new(), asked: BTreeMap::new() };
    Weighted { weight, actor: Box::new(actor) }
}

struct Typed<F: SimulatedFlow> {
    flow: F,
    planned: BTreeMap<usize, Plan<F::Asked>>,
    /// What each client asked, and why it must not get what it asks for.
    asked: BTreeMap<usize, (F::Asked, Option<String>)>,
}

impl<F: SimulatedFlow> Actor for Typed<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn ways(&self) -> &'static [&'static str] {
        F::WAYS
    }

    fn personal(&self) -> &'static [&'static str] {
        F::PERSONAL
    }

    fn may_tell(&self) -> &'static [&'static str] {
        F::TOLD
    }

    fn plan(&mut self, client: usize, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Duration> {
        let plan = self.flow.plan(common, desk)?;
        let after = plan.after;
        self.planned.insert(client, plan);
        Some(after)
    }

    fn give(&mut self, client: usize, common: &Common) -> Order<Auth> {
        let Plan { asked, order, .. } = self.planned.remove(&client).expect("it was planned");
        let doom = self.flow.doom(common, &asked);
        self.asked.insert(client, (asked, doom));
        order
    }

    fn hear(&mut self, client: usize, common: &mut Common, answer: &Result<Told, Fault>) -> Heard {
        let (asked, doom) = self.asked.remove(&client).expect("a client that hears has asked");
        let told = match answer {
            Ok(told) => told,
            Err(fault) => return Heard::Wrong(format!("{asked:?} met {fault}")),
        };
        match self.flow.hear(common, &asked, told, doom) {
            Ok(heard) => heard,
            Err(why) => Heard::Wrong(format!("{asked:?} was told {:?}: {why}", told.outcome)),
        }
    }

    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        self.flow.committed(ledger, step);
    }

    fn is_over(&self, row: &Row) -> bool {
        F::is_over(row)
    }

    fn may_follow_the_end(&self, event: &str) -> bool {
        F::may_follow_the_end(event)
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading> {
        self.flow.letter(ledger, letter, flow)
    }

    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        self.flow.letters_due()
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        self.flow.row(view, row);
    }

    fn keys(&self, view: &mut View<'_>) {
        self.flow.keys(view);
    }
}
