//! Writes a decision down: its row, its event and its effects become one item for the committer.

use crate::clock::{Timestamp, derive_bytes};
use crate::effects::{Effects, Opened, Outgoing};
use crate::engine::{Asker, Engine};
use crate::flow::{Domain, Shown};
use crate::id::{FlowId, InputId};
use crate::outbox::HandOff;
use crate::payload::{Payload, Sender};
use crate::store::{Event, Item, Row, Settle};
use crate::turn::Answers;

/// What a decision comes to, ready for the committer.
pub(crate) struct Draft<D: Domain> {
    pub(crate) item: Item<D>,
    /// The keys of the item's guards, in their order, in the flow's words.
    pub(crate) keys: Vec<D::Key>,
    /// Those of the item's deliveries that go from memory to their carrier.
    pub(crate) hand_offs: Vec<HandOff<D>>,
}

/// Who decides, and from what ids and seals are derived.
pub(crate) struct Writer<'a, D: Domain> {
    pub(crate) engine: &'a Engine<D>,
    pub(crate) environment: &'a D::Environment,
    pub(crate) seed: &'a [u8; 32],
    pub(crate) now: Timestamp,
    /// The flow, or the act.
    pub(crate) flow: FlowId,
    /// The flow's kind, or the act's name.
    pub(crate) kind: &'static str,
}

#[expect(clippy::too_many_arguments, reason = "a row has as many columns; each is named at the two callers")]
pub(crate) fn row_of(
    id: FlowId,
    kind: &str,
    schema: u32,
    version: u64,
    shown: Shown,
    state: String,
    salt: [u8; 16],
    wake_at: Option<Timestamp>,
    now: Timestamp,
) -> Row {
    let Shown { phase, public } = shown;
    Row {
        id,
        kind: kind.to_owned(),
        schema,
        version,
        phase: phase.to_owned(),
        state,
        salt,
        wake_at,
        attempts: 0,
        quarantined: None,
        user: public.user,
        client: public.client,
        parent: public.parent,
        subject: public.subject,
        touched_at: now,
    }
}

impl<D: Domain> Writer<'_, D> {
    /// An item without effects.
    pub(crate) fn item(&self, asker: &Asker, settles: Option<Settle>) -> Item<D> {
        let mut item = Item::of(asker.input, self.now);
        item.settles = settles;
        item
    }

    /// Adds the effects of a decision, and the answer to the signal that caused it.
    pub(crate) fn finish(&self, mut item: Item<D>, effects: &Effects<D>, answers: Option<&Answers>) -> Draft<D> {
        item.guards = effects.guards.iter().map(|guard| guard.map(D::guard)).collect();
        item.writes.clone_from(&effects.writes);
        let trace = item.event.as_ref().map_or(String::new(), |event| event.trace.clone());
        for (number, opened) in (0..).zip(&effects.opened) {
            item.opened.push(self.opened(opened, number, &trace));
        }
        let answer = answers.map(|to| {
            let (to, kind, tag) = (to.flow, to.kind.clone(), to.tag.clone());
            Outgoing::new(Payload::Answer { to, kind, tag, result: Ok(D::Answer::default()) })
        });
        let mut hand_offs = Vec::new();
        for (number, outgoing) in (0..).zip(effects.outgoing.iter().chain(&answer)) {
            hand_offs.extend(self.deliver(&mut item, outgoing, number));
        }
        let keys = effects.guards.iter().map(|guard| guard.key().clone()).collect();
        Draft { item, keys, hand_offs }
    }

    fn opened(&self, opened: &Opened, number: u64, trace: &str) -> (Row, Event) {
        let row = row_of(
            opened.flow,
            opened.kind,
            opened.schema,
            1,
            opened.shown.clone(),
            opened.state.clone(),
            opened.salt,
            opened.wake_at,
            self.now,
        );
        let event = Event {
            user: opened.shown.public.user,
            flow: opened.flow,
            version: 1,
            input: InputId::from_bytes(derive_bytes(self.seed, "opened", number)),
            kind: opened.kind.to_owned(),
            name: opened.input.to_owned(),
            from: String::new(),
            to: opened.shown.phase.to_owned(),
            public: serde_json::to_string(&opened.shown).unwrap_or_default(),
            outcome: opened.outcome.clone(),
            fingerprint: None,
            node: self.engine.node().to_owned(),
            trace: trace.to_owned(),
            at: self.now,
        };
        (row, event)
    }

    /// Adds a delivery. What may be tried again goes straight from memory to its carrier, if there is room: its claim is
    /// committed with it.
    fn deliver(&self, item: &mut Item<D>, outgoing: &Outgoing<D>, number: u64) -> Option<HandOff<D>> {
        let Self { environment, now, flow, kind, seed, .. } = *self;
        let mut row = Sender { environment, now, flow, kind, seed }.row(outgoing, number);
        let may_go = row.due <= now && !row.once;
        let hand_off = if may_go { HandOff::of(self.engine, &mut row, &outgoing.payload) } else { None };
        item.outbox.push(row);
        hand_off
    }
}
