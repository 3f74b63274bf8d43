//! The life of a command in one function: decide, have the whole step committed, and only then believe it.
//!
//! Shell, direct path, wake-ups and the simulation all call [`turn`]. Nothing is believed before it is committed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::clock::{Timestamp, derive, derive_bytes};
use crate::committer::Handed;
use crate::crash::Point;
use crate::effects::{Effects, Opened, Outgoing, Parcel};
use crate::engine::{Asker, Engine, Fault, Method, Reply};
use crate::flow::{Cx, Domain, Flow, Input, Lost, Named, Public, Step};
use crate::id::{DeliveryId, FlowId, Id, InputId};
use crate::look::{at_large, decode};
use crate::outbox::Carried;
use crate::store::{Change, Delivery, Event, Item, Row, Settle, Verdict};

/// How often one input is decided again before the caller is told that others were faster.
const ROUNDS: usize = 8;

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
        let Some((mut item, keys, handed)) = draft else {
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
            engine.commit(item, handed).await.inspect_err(|_| cell.forget())?
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
fn remembered<O: serde::de::DeserializeOwned>(event: Event, asker: &Asker) -> Result<Reply<O>, Fault> {
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

type Draft<D> = Option<(Item<D>, Vec<<D as Domain>::Key>, Vec<Handed<D>>)>;

/// Decides, and writes the step down as an item; `None` when there is nothing to commit.
fn decide<F: Flow>(
    cell: &Cell<F>,
    envelope: &Envelope<F>,
    lost: Option<&Lost<F>>,
    engine: &Engine<F::Domain>,
) -> Result<(Step<F>, Draft<F::Domain>), Fault> {
    let world = engine.world();
    let seed = engine.0.dice.seed();
    let before = cell.believed.as_ref().filter(|_| !matches!(envelope.what, What::Start(_)));
    let touched = before.map_or(Timestamp(i64::MIN), |believed| believed.row.touched_at);
    // Nor before what it is woken for: somebody's clock has seen that instant, though this one may have jumped back since.
    let due = before.filter(|_| envelope.is_woken()).and_then(|believed| believed.row.wake_at);
    let now = engine.now().max(touched).max(due.unwrap_or(touched));
    let salt = before.map_or_else(|| derive_bytes(&seed, "salt", 0), |believed| believed.row.salt);
    let was = before.map_or(0, |believed| believed.row.version);
    let cx = Cx::<F::Domain>::new(now, cell.flow, was, salt, derive(&seed, "decision", 0), &world);

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

    let mut item = Item::of(envelope.asker.input, now);
    item.settles.clone_from(&envelope.settles);
    let effects = std::mem::take(&mut step.effects);
    let outcome = serde_json::to_string(&step.says).map_err(|why| Fault::Defect(why.to_string()))?;
    match &step.to {
        Some(to) => {
            let (public, wake_at, state) =
                caught(engine, F::NAME, || (to.public(), to.wake_at(), serde_json::to_string(to)))?;
            let state = state.map_err(|why| Fault::Defect(why.to_string()))?;
            let from = before.map_or(String::new(), |believed| believed.row.phase.clone());
            let shown = serde_json::to_string(&public).unwrap_or_default();
            let event = Event {
                user: public.user,
                flow: cell.flow,
                version: was + 1,
                input: envelope.asker.input,
                kind: F::NAME.to_owned(),
                name: envelope.name().to_owned(),
                from,
                to: public.phase.to_owned(),
                public: shown,
                outcome,
                fingerprint: envelope.asker.fingerprint,
                node: engine.node().to_owned(),
                trace: envelope.asker.trace.to_string(),
                at: now,
            };
            let row = row_of(cell.flow, F::NAME, F::SCHEMA, was + 1, public, state, salt, wake_at, now);
            item.change = Some(Change { row, was });
            item.event = Some(event);
        }
        None => item.expects = before.map(|believed| (cell.flow, believed.row.version)),
    }
    let scribe = Scribe { engine, world: &world, seed: &seed, now, flow: cell.flow, kind: F::NAME };
    let handed = scribe.write(&mut item, &effects, envelope.answers.as_ref());
    let keys = effects.guards.iter().map(|guard| guard.key().clone()).collect();
    Ok((step, Some((item, keys, handed))))
}

#[expect(clippy::too_many_arguments, reason = "a row has as many columns; each is named at the two callers")]
fn row_of(
    id: FlowId,
    kind: &str,
    schema: u32,
    version: u64,
    public: Public,
    state: String,
    salt: [u8; 16],
    wake_at: Option<Timestamp>,
    now: Timestamp,
) -> Row {
    Row {
        id,
        kind: kind.to_owned(),
        schema,
        version,
        phase: public.phase.to_owned(),
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

/// Writes a step's effects down as rows.
struct Scribe<'a, D: Domain> {
    engine: &'a Engine<D>,
    world: &'a D::World,
    seed: &'a [u8; 32],
    now: Timestamp,
    flow: FlowId,
    kind: &'static str,
}

impl<D: Domain> Scribe<'_, D> {
    fn write(&self, item: &mut Item<D>, effects: &Effects<D>, answers: Option<&Answers>) -> Vec<Handed<D>> {
        item.guards = effects.guards.iter().map(|guard| guard.map(D::guard)).collect();
        item.writes.clone_from(&effects.writes);
        let trace = item.event.as_ref().map_or(String::new(), |event| event.trace.clone());
        for (number, opened) in effects.opened.iter().enumerate() {
            item.opened.push(self.opened(opened, number as u64, &trace));
        }
        let mut handed = Vec::new();
        for (number, outgoing) in effects.outgoing.iter().enumerate() {
            let carried = match &outgoing.parcel {
                Parcel::World(delivery) => Carried::World(delivery.clone()),
                Parcel::Signal { to, kind, signal } => {
                    Carried::Signal { to: *to, kind: kind.clone(), signal: signal.clone() }
                }
            };
            self.deliver(item, &mut handed, number as u64, outgoing, carried);
        }
        if let Some(to) = answers {
            let carried = Carried::Answer {
                to: to.flow,
                kind: to.kind.clone(),
                tag: to.tag.clone(),
                result: Ok(D::Answer::default()),
            };
            let outgoing = Outgoing {
                parcel: Parcel::Signal { to: to.flow, kind: String::new(), signal: serde_json::Value::Null },
                tag: None,
                due: None,
                expires: None,
                once: false,
            };
            self.deliver(item, &mut handed, effects.outgoing.len() as u64, &outgoing, carried);
        }
        handed
    }

    fn opened(&self, opened: &Opened, number: u64, trace: &str) -> (Row, Event) {
        let row = row_of(
            opened.flow,
            opened.kind,
            opened.schema,
            1,
            opened.public.clone(),
            opened.state.clone(),
            opened.salt,
            opened.wake_at,
            self.now,
        );
        let event = Event {
            user: opened.public.user,
            flow: opened.flow,
            version: 1,
            input: InputId::from_bytes(derive_bytes(self.seed, "opened", number)),
            kind: opened.kind.to_owned(),
            name: opened.input.to_owned(),
            from: String::new(),
            to: opened.public.phase.to_owned(),
            public: serde_json::to_string(&opened.public).unwrap_or_default(),
            outcome: opened.outcome.clone(),
            fingerprint: None,
            node: self.engine.node().to_owned(),
            trace: trace.to_owned(),
            at: self.now,
        };
        (row, event)
    }

    fn deliver(
        &self,
        item: &mut Item<D>,
        handed: &mut Vec<Handed<D>>,
        number: u64,
        outgoing: &Outgoing<D>,
        carried: Carried<D>,
    ) {
        let id = DeliveryId(Id::v7(self.now.0, derive_bytes(self.seed, "delivery", number)));
        let plain = serde_json::to_vec(&carried).unwrap_or_default();
        let payload = D::seal(self.world, id.bytes(), &plain, derive(self.seed, "sealing", number));
        let charge = carried.charge(self.world);
        let due = outgoing.due.unwrap_or(self.now).max(self.now);
        // What may be tried again goes straight from memory to its carrier: its claim is committed with it.
        let at_hand = due <= self.now && !outgoing.once && self.engine.0.outbox.reserve();
        let delivery = Delivery {
            id,
            flow: self.flow,
            flow_kind: self.kind.to_owned(),
            tag: outgoing.tag.clone(),
            kind: carried.kind().to_owned(),
            target: carried.target(),
            budget: charge.map(|charge| charge.budget),
            asked_by: charge.and_then(|charge| charge.asked_by),
            payload,
            due,
            expires: outgoing.expires,
            once: outgoing.once,
            attempts: u32::from(at_hand),
            claimed_until: at_hand.then(|| self.engine.now().after(self.engine.0.tuning.claim)),
            claimed_by: at_hand.then(|| self.engine.node().to_owned()),
            settled: None,
            note: String::new(),
            dead: false,
            created: self.now,
        };
        if at_hand {
            let bare = Delivery { payload: Vec::new(), ..delivery.clone() };
            handed.push(Handed::new(self.engine, bare, carried));
        }
        item.outbox.push(delivery);
    }
}

/// What an act decides: what the asker is told, what is committed, and what history may show.
#[must_use = "an act that is not committed never happened"]
#[derive(Debug)]
pub struct Deed<O, D: Domain> {
    /// What the asker is told.
    pub says: O,
    /// What is committed. Without effects nothing happened, and nothing is remembered.
    pub effects: Effects<D>,
    /// Whose history it belongs to.
    pub user: Option<Id>,
    /// What history shows.
    pub public: serde_json::Value,
}

impl<D: Domain> Engine<D> {
    /// Commits what belongs to no flow: a pure function of command and facts, with an event and no row.
    ///
    /// `decide` is called again with the guard that was lost.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn act<O>(
        &self,
        name: &'static str,
        asker: Asker,
        mut decide: impl FnMut(Option<&D::Key>, &Cx<'_, D>) -> Deed<O, D> + Send,
    ) -> Result<Reply<O>, Fault>
    where
        O: serde::Serialize + serde::de::DeserializeOwned + Send,
    {
        let _admitted = self.admit()?;
        if let Some(before) = self.recall(&asker).await? {
            return Ok(before);
        }
        let flow = asker.input.starts();
        let mut lost: Option<D::Key> = None;
        for _ in 0..ROUNDS {
            let (item, keys, handed, says) = {
                let world = self.world();
                let seed = self.0.dice.seed();
                let now = self.now();
                let cx =
                    Cx::<D>::new(now, flow, 0, derive_bytes(&seed, "salt", 0), derive(&seed, "decision", 0), &world);
                let deed = caught(self, name, || decide(lost.as_ref(), &cx))?;
                if deed.effects.is_empty() {
                    let phase = String::new();
                    return Ok(Reply {
                        flow,
                        outcome: deed.says,
                        version: 0,
                        phase,
                        method: Method::Direct,
                        repeated: false,
                    });
                }
                let mut item = Item::of(asker.input, now);
                item.seen = true; // nothing but its event tells a repeated act from a new one
                item.event = Some(Event {
                    user: deed.user,
                    flow,
                    version: 1,
                    input: asker.input,
                    kind: name.to_owned(),
                    name: name.to_owned(),
                    from: String::new(),
                    to: String::new(),
                    public: deed.public.to_string(),
                    outcome: serde_json::to_string(&deed.says).map_err(|why| Fault::Defect(why.to_string()))?,
                    fingerprint: asker.fingerprint,
                    node: self.node().to_owned(),
                    trace: asker.trace.to_string(),
                    at: now,
                });
                let scribe = Scribe { engine: self, world: &world, seed: &seed, now, flow, kind: name };
                let handed = scribe.write(&mut item, &deed.effects, None);
                let keys: Vec<D::Key> = deed.effects.guards.iter().map(|guard| guard.key().clone()).collect();
                (item, keys, handed, deed.says)
            };
            match self.commit(item, handed).await? {
                Verdict::Done => {
                    let phase = String::new();
                    return Ok(Reply {
                        flow,
                        outcome: says,
                        version: 1,
                        phase,
                        method: Method::Direct,
                        repeated: false,
                    });
                }
                Verdict::Before(event) => return remembered(*event, &asker),
                Verdict::Lost(place) => lost = keys.into_iter().nth(place),
                Verdict::Stale | Verdict::Settled => {}
            }
        }
        Err(Fault::Contended)
    }
}
