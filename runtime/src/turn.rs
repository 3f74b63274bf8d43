//! The life of a command in one function: decide, have the whole step committed, and only then believe it.
//!
//! Shell, direct path, wake-ups and the simulation all call [`turn`]. Nothing is believed before it is committed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::clock::{Timestamp, derive, derive_bytes};
use crate::crash::Point;
use crate::draft::{Draft, Writer, row_of};
use crate::engine::{Asker, Engine, Fault, Method, Reply};
use crate::flow::{Cx, Domain, Flow, Input, Lost, Named, Shown, Step};
use crate::id::{FlowId, InputId};
use crate::look::{at_large, decode};
use crate::store::{Change, Event, Item, Row, Settle, Verdict};

/// How often one input is decided again before the caller is told that others were faster.
pub(crate) const ROUNDS: usize = 8;

/// One input on its way to a flow, with what is remembered of it.
pub(crate) struct Envelope<F: Flow> {
    pub(crate) asker: Asker,
    /// The delivery that ends with the step that this causes.
    pub(crate) settles: Option<Settle>,
    /// Who is answered that a signal was taken.
    pub(crate) answers: Option<Answers>,
    pub(crate) what: What<F>,
}

/// Where the answer to a tagged signal goes.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) flow: FlowId,
    pub(crate) kind: String,
    pub(crate) tag: String,
}

pub(crate) enum What<F: Flow> {
    Start(F::Start),
    Input(Input<F>),
}

impl<F: Flow> Envelope<F> {
    pub(crate) fn asked(asker: Asker, command: F::Command) -> Self {
        Self { asker, settles: None, answers: None, what: What::Input(Input::Asked(command)) }
    }

    pub(crate) fn start(asker: Asker, start: F::Start) -> Self {
        Self { asker, settles: None, answers: None, what: What::Start(start) }
    }

    /// The wake-up of a flow at a version: its id is the same on every node, so that it takes effect once.
    pub(crate) fn woken(flow: FlowId, version: u64) -> Self {
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(flow.bytes()) {
            *to = *from;
        }
        let input = InputId::from_bytes(derive_bytes(&seed, "woken", version));
        let asker = Asker { input, repeatable: false, fingerprint: None, trace: Arc::from("wake") };
        Self { asker, settles: None, answers: None, what: What::Input(Input::Woken) }
    }

    fn is_woken(&self) -> bool {
        matches!(self.what, What::Input(Input::Woken))
    }

    fn name(&self) -> &'static str {
        match &self.what {
            What::Start(start) => start.name(),
            What::Input(input) => input.name(),
        }
    }
}

/// What a shell believes of its flow: a cache of one row, or nothing.
#[derive(Debug)]
pub(crate) struct Cell<F: Flow> {
    pub(crate) flow: FlowId,
    believed: Option<Believed<F>>,
}

#[derive(Debug)]
struct Believed<F> {
    state: F,
    row: Row,
}

impl<F: Flow> Cell<F> {
    pub(crate) fn of(flow: FlowId) -> Self {
        Self { flow, believed: None }
    }

    /// A cell that begins with a row somebody has just read.
    pub(crate) fn with(row: Row) -> Result<Self, String> {
        let state = decode::<F>(&row)?;
        Ok(Self { flow: row.id, believed: Some(Believed { state, row: lean(row) }) })
    }

    /// Whether the flow is known to have come to its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.believed.as_ref().is_some_and(|believed| believed.row.wake_at.is_none())
    }

    /// The version that should have been woken by now, if the flow is overdue.
    fn overdue(&self, now: Timestamp) -> Option<u64> {
        let row = &self.believed.as_ref()?.row;
        row.wake_at.filter(|at| *at <= now).map(|_| row.version)
    }

    /// What an input led to before, if it was brought to this very flow.
    fn recalled(&self, event: Event, asker: &Asker) -> Result<Reply<F::Outcome>, Fault> {
        if event.flow == self.flow && event.kind == F::NAME { remembered(event, asker) } else { Err(Fault::Mismatch) }
    }

    fn forget(&mut self) {
        self.believed = None;
    }

    fn believe(&mut self, state: F, row: Row) {
        self.believed = Some(Believed { state, row: lean(row) });
    }

    /// Reads the row unless something is believed; whether it had to.
    async fn load_if_empty(&mut self, engine: &Engine<F::Domain>) -> Result<bool, Fault> {
        if self.believed.is_some() {
            return Ok(false);
        }
        engine.0.host.pass(Point::Activated);
        let row = engine.0.store.load(self.flow).await?.ok_or(Fault::NotFound)?;
        if row.kind != F::NAME {
            return Err(Fault::NotFound);
        }
        at_large(&row)?;
        match decode::<F>(&row) {
            Ok(state) => self.believe(state, row),
            Err(why) => {
                engine.quarantine(row.id, F::NAME, row.version, &format!("its state does not decode: {why}")).await?;
                return Err(Fault::Quarantined);
            }
        }
        Ok(true)
    }

    /// Whether the row still has the version that is believed. A step that stays is not judged by a commit, and another
    /// node, a wake-up or an input that went without this shell may have moved the row since. What has ended does not move.
    async fn is_current(&self, engine: &Engine<F::Domain>) -> Result<bool, Fault> {
        let Some(believed) = self.believed.as_ref().filter(|believed| believed.row.wake_at.is_some()) else {
            return Ok(true);
        };
        let mut item = Item::of(believed.row.id.started_by(), engine.now());
        item.expects = Some((believed.row.id, believed.row.version));
        Ok(engine.0.store.check(&item).await? == Verdict::Done)
    }
}

/// The state stands beside the row once decoded; its text is not kept twice.
fn lean(mut row: Row) -> Row {
    row.state = String::new();
    row
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Runs a decision; a panic in it becomes a defect that harms nobody else.
pub(crate) fn caught<T>(engine: &Engine<impl Domain>, name: &str, decide: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(decide)).map_err(|panic| {
        let why = said(&*panic);
        engine.count_defect();
        tracing::error!(flow = name, why, "a decision panicked");
        Fault::Defect(format!("a decision of {name} panicked: {why}"))
    })
}

/// Brings one input to one flow. `doubt`: this very input may be committed already, or about to be, by a shell that
/// died with it in its hands.
///
/// A wake-up whose flow has moved meanwhile is [`Fault::Settled`]: the new state says anew when it is due.
pub(crate) async fn turn<F: Flow>(
    cell: &mut Cell<F>,
    envelope: &Envelope<F>,
    doubt: bool,
    engine: &Engine<F::Domain>,
) -> Result<Reply<F::Outcome>, Fault> {
    let mut doubt = doubt || envelope.asker.repeatable;
    if doubt && let Some(event) = engine.0.store.event(envelope.asker.input).await? {
        return cell.recalled(event, &envelope.asker);
    }
    let begins = matches!(envelope.what, What::Start(_));
    let mut lost: Option<Lost<F>> = None;
    let mut fresh = begins;
    for _ in 0..ROUNDS {
        if !begins {
            fresh |= cell.load_if_empty(engine).await?;
            if !envelope.is_woken() {
                wake_overdue(cell, engine).await?;
            }
        }
        let (step, draft) = decide(cell, envelope, lost.as_ref(), engine).inspect_err(|_| cell.forget())?;
        let Some(Draft { mut item, keys, hand_offs }) = draft else {
            // Its twin, brought at the same time elsewhere, may have moved the flow to where this one stays.
            if doubt && let Some(event) = engine.0.store.event(envelope.asker.input).await? {
                cell.forget();
                return cell.recalled(event, &envelope.asker);
            }
            if !fresh && !cell.is_current(engine).await? {
                cell.forget();
                lost = None;
                continue;
            }
            let (version, phase) = cell
                .believed
                .as_ref()
                .map_or((0, String::new()), |believed| (believed.row.version, believed.row.phase.clone()));
            let flow = cell.flow;
            return Ok(Reply { flow, outcome: step.says, version, phase, method: Method::Actor, repeated: false });
        };
        item.seen = doubt;
        let row = item.change.as_ref().map(|change| change.row.clone());
        let verdict = if item.only_holds() {
            engine.0.store.check(&item).await?
        } else {
            engine.0.host.pass(Point::Decided);
            engine.commit(item, hand_offs).await.inspect_err(|_| cell.forget())?
        };
        match verdict {
            Verdict::Done => {
                engine.0.host.pass(Point::Acknowledged);
                if let (Some(to), Some(row)) = (step.to, row) {
                    cell.believe(to, row);
                }
                let (version, phase) = cell
                    .believed
                    .as_ref()
                    .map_or((0, String::new()), |believed| (believed.row.version, believed.row.phase.clone()));
                let flow = cell.flow;
                return Ok(Reply { flow, outcome: step.says, version, phase, method: Method::Actor, repeated: false });
            }
            Verdict::Before(event) => {
                cell.forget();
                return cell.recalled(*event, &envelope.asker);
            }
            Verdict::Settled => {
                cell.forget();
                return Err(Fault::Settled);
            }
            Verdict::Stale if begins => {
                // The id is taken: by this very input, brought twice at once, or by one that was made up.
                let event = engine.0.store.event(envelope.asker.input).await?.ok_or(Fault::Mismatch)?;
                return cell.recalled(event, &envelope.asker);
            }
            Verdict::Stale => {
                metrics::counter!(crate::telemetry::STALE, "flow" => F::NAME).increment(1);
                cell.forget();
                fresh = false;
                if envelope.is_woken() {
                    return Err(Fault::Settled);
                }
                // Whoever moved it may have brought this input, and the fresh state need not lose what the old one lost.
                doubt = true;
                lost = None;
            }
            Verdict::Lost(place) => {
                let key = keys.into_iter().nth(place);
                lost = key.map(Lost);
            }
        }
    }
    Err(Fault::Contended)
}

impl<D: Domain> Engine<D> {
    /// What this asker was told before, if it has asked before.
    ///
    /// # Errors
    /// [`Fault::Mismatch`] when it was another request under the same key; or the database is away.
    pub async fn recall<O: serde::de::DeserializeOwned>(&self, asker: &Asker) -> Result<Option<Reply<O>>, Fault> {
        if !asker.repeatable {
            return Ok(None);
        }
        self.0.store.event(asker.input).await?.map(|event| remembered(event, asker)).transpose()
    }
}

/// Wakes a flow whose instant has come, before it is given anything else; again when that leads to where it is overdue.
async fn wake_overdue<F: Flow>(cell: &mut Cell<F>, engine: &Engine<F::Domain>) -> Result<(), Fault> {
    for _ in 0..ROUNDS {
        let Some(version) = cell.overdue(engine.now()) else { return Ok(()) };
        match Box::pin(turn(cell, &Envelope::woken(cell.flow, version), false, engine)).await {
            Ok(reply) if reply.version == version => return Ok(()), // it stays; that is for the pump to count
            Ok(_) | Err(Fault::Settled) => {
                cell.load_if_empty(engine).await?;
            }
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::Contended)
}

/// What a repeat is told: what the first was told, if it is the same request.
pub(crate) fn remembered<O: serde::de::DeserializeOwned>(event: Event, asker: &Asker) -> Result<Reply<O>, Fault> {
    if asker.fingerprint.is_some() && asker.fingerprint != event.fingerprint {
        return Err(Fault::Mismatch);
    }
    let outcome = serde_json::from_str(&event.outcome)
        .map_err(|why| Fault::Defect(format!("a remembered outcome does not decode: {why}")))?;
    Ok(Reply {
        flow: event.flow,
        outcome,
        version: event.version,
        phase: event.to,
        method: Method::Actor,
        repeated: true,
    })
}

/// A step without its effects, and what is to be committed.
type Decided<F> = (Step<F>, Option<Draft<<F as Flow>::Domain>>);

/// Decides, and writes the step down as an item; `None` when there is nothing to commit.
fn decide<F: Flow>(
    cell: &Cell<F>,
    envelope: &Envelope<F>,
    lost: Option<&Lost<F>>,
    engine: &Engine<F::Domain>,
) -> Result<Decided<F>, Fault> {
    let environment = engine.environment();
    let seed = engine.0.dice.seed();
    let before = cell.believed.as_ref().filter(|_| !matches!(envelope.what, What::Start(_)));
    let touched = before.map_or(Timestamp(i64::MIN), |believed| believed.row.touched_at);
    // Nor before what it is woken for: somebody's clock has seen that instant, though this one may have jumped back since.
    let due = before.filter(|_| envelope.is_woken()).and_then(|believed| believed.row.wake_at);
    let now = engine.now().max(touched).max(due.unwrap_or(touched));
    let salt = before.map_or_else(|| derive_bytes(&seed, "salt", 0), |believed| believed.row.salt);
    let was = before.map_or(0, |believed| believed.row.version);
    let cx = Cx::<F::Domain>::new(now, cell.flow, was, salt, derive(&seed, "decision", 0), &environment);

    let mut step = caught(engine, F::NAME, || match (&envelope.what, before) {
        (What::Start(start), _) => Some(F::start(start, lost, &cx)),
        (What::Input(input), Some(believed)) => Some(believed.state.on(input, lost, &cx)),
        (What::Input(_), None) => None,
    })?
    .ok_or(Fault::NotFound)?;

    if step.to.is_none() && !step.effects.only_holds() {
        engine.count_defect();
        return Err(Fault::Defect(format!("{} wrote without going anywhere", F::NAME)));
    }
    if step.to.is_none() && step.effects.is_empty() && envelope.settles.is_none() {
        return Ok((step, None));
    }

    let writer = Writer { engine, environment: &environment, seed: &seed, now, flow: cell.flow, kind: F::NAME };
    let mut item = writer.item(&envelope.asker, envelope.settles.clone());
    let effects = std::mem::take(&mut step.effects);
    let outcome = serde_json::to_string(&step.says).map_err(|why| Fault::Defect(why.to_string()))?;
    match &step.to {
        Some(to) => {
            let (shown, wake_at, state) =
                caught(engine, F::NAME, || (Shown::of(to), to.wake_at(), serde_json::to_string(to)))?;
            let state = state.map_err(|why| Fault::Defect(why.to_string()))?;
            let from = before.map_or(String::new(), |believed| believed.row.phase.clone());
            let public = serde_json::to_string(&shown).unwrap_or_default();
            let event = Event {
                user: shown.public.user,
                flow: cell.flow,
                version: was + 1,
                input: envelope.asker.input,
                kind: F::NAME.to_owned(),
                name: envelope.name().to_owned(),
                from,
                to: shown.phase.to_owned(),
                public,
                outcome,
                fingerprint: envelope.asker.fingerprint,
                node: engine.node().to_owned(),
                trace: envelope.asker.trace.to_string(),
                at: now,
            };
            let row = row_of(cell.flow, F::NAME, F::SCHEMA, was + 1, shown, state, salt, wake_at, now);
            item.change = Some(Change { row, was });
            item.event = Some(event);
        }
        None => item.expects = before.map(|believed| (cell.flow, believed.row.version)),
    }
    Ok((step, Some(writer.finish(item, &effects, envelope.answers.as_ref()))))
}
