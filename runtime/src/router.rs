//! Finds the live shell of a flow or wakes one; when none can be had, brings the input to the flow without.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::{SemaphorePermit, oneshot};

use crate::clock::Clock;
use crate::crash::Point;
use crate::engine::{Asker, Engine, Fault, Method, Reply};
use crate::flow::{Domain, Failure, Flow, Input};
use crate::id::FlowId;
use crate::shell::{Ask, FlowBody, Mailbox, Message};
use crate::slot::{Action, Event, Slot};
use crate::store::{Row, Settle};
use crate::turn::{Answers, Cell, Envelope, What, turn};

type Shells = HashMap<FlowId, Slot<Arc<dyn Mailbox>, Message>>;
type SlotAction = Action<Arc<dyn Mailbox>, Message>;

const SHARDS: usize = 64;

/// All slots of a node, behind as many locks as there are shards; no lock is held while anything is awaited or dropped.
pub(crate) struct Slots {
    shards: Vec<Mutex<Shells>>,
    generation: AtomicU64,
    shells: AtomicUsize,
    cap: usize,
    clock: Arc<dyn Clock>,
    sweeping: tokio::sync::Mutex<()>,
}

impl Slots {
    pub(crate) fn new(cap: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            generation: AtomicU64::new(0),
            shells: AtomicUsize::new(0),
            cap,
            clock,
            sweeping: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn active(&self) -> usize {
        self.shells.load(Ordering::Relaxed)
    }

    /// Slots that are not vacant.
    pub(crate) fn taken(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, flow: FlowId) -> Option<&Mutex<Shells>> {
        // The last byte of a derived or time-ordered id is random in both.
        self.shards.get(usize::from(flow.bytes().last().copied().unwrap_or(0)) % SHARDS)
    }

    fn apply(&self, flow: FlowId, event: Event<Arc<dyn Mailbox>, Message>) -> SlotAction {
        let Some(shard) = self.shard(flow) else { return Action::Nothing };
        let next = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = slots.remove(&flow).unwrap_or(Slot::Vacant);
        // The last handle of a dead shell may take messages along, and each of them comes back to this lock.
        let shell = if let Slot::Active { shell, .. } = &before { Some(Arc::clone(shell)) } else { None };
        let (after, action) = before.step(event, next, self.cap);
        if !after.is_vacant() {
            slots.insert(flow, after);
        }
        drop(slots);
        drop(shell);
        action
    }

    /// The flows whose shells may be idle; looked at shard by shard so that no lock is held long.
    fn flows(&self) -> Vec<FlowId> {
        let of = |shard: &Mutex<Shells>| -> Vec<FlowId> {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .filter(|(_, slot)| matches!(slot, Slot::Active { inflight: 0, .. }))
                .map(|(flow, _)| *flow)
                .collect()
        };
        let mut flows: Vec<FlowId> = self.shards.iter().flat_map(of).collect();
        flows.sort_unstable(); // a map's own order differs from run to run, and a simulation must replay exactly
        flows
    }

    fn mailbox(&self, flow: FlowId) -> Option<Arc<dyn Mailbox>> {
        match self.shard(flow)?.lock().unwrap_or_else(PoisonError::into_inner).get(&flow) {
            Some(Slot::Active { shell, .. }) => Some(Arc::clone(shell)),
            _ => None,
        }
    }
}

/// Frees the slot when the shell's body is dropped, whatever the way it went.
pub(crate) struct Freed {
    slots: Arc<Slots>,
    flow: FlowId,
    generation: u64,
    again: Arc<dyn Fn(SlotAction) + Send + Sync>,
}

impl Drop for Freed {
    fn drop(&mut self) {
        self.slots.shells.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(crate::telemetry::SHELLS).decrement(1.0);
        (self.again)(self.slots.apply(self.flow, Event::Gone(self.generation)));
    }
}

/// Counts a message as in flight until it is dropped, served or not.
pub(crate) struct Held {
    slots: Arc<Slots>,
    flow: FlowId,
    generation: u64,
    pub(crate) finished: bool,
    again: Arc<dyn Fn(SlotAction) + Send + Sync>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let at = self.slots.clock.now().0;
        let event = Event::Answered { generation: self.generation, at, finished: self.finished };
        (self.again)(self.slots.apply(self.flow, event));
    }
}

/// A kind of flow, its type forgotten: what wake-ups, signals and answers need.
pub(crate) trait Kind<D: Domain>: Send + Sync {
    /// Wakes a flow whose row has just been claimed, without a shell.
    fn wake(&self, engine: Engine<D>, row: Row) -> BoxFuture<'static, Result<(), Fault>>;
    /// Brings a signal to a flow.
    fn tell(
        &self,
        engine: Engine<D>,
        to: FlowId,
        signal: serde_json::Value,
        settle: Settle,
        answers: Option<Answers>,
    ) -> BoxFuture<'static, Result<(), Fault>>;
    /// Brings the end of a delivery to the flow that asked for it.
    fn answer(
        &self,
        engine: Engine<D>,
        to: FlowId,
        tag: String,
        result: Result<D::Answer, Failure>,
        settle: Settle,
    ) -> BoxFuture<'static, Result<(), Fault>>;
}

pub(crate) struct Of<F>(PhantomData<fn() -> F>);

impl<F> Of<F> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F: Flow> Kind<F::Domain> for Of<F> {
    fn wake(&self, engine: Engine<F::Domain>, row: Row) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            let version = row.version;
            let mut cell = match Cell::<F>::with(row.clone()) {
                Ok(cell) => cell,
                Err(why) => {
                    let why = format!("its state does not decode: {why}");
                    engine.quarantine(row.id, F::NAME, version, &why).await?;
                    return Ok(());
                }
            };
            let reply = turn(&mut cell, &Envelope::woken(row.id, version), false, &engine).await?;
            if reply.version == version {
                return Err(Fault::Defect(format!("{} was woken and stayed", F::NAME)));
            }
            Ok(())
        })
    }

    fn tell(
        &self,
        engine: Engine<F::Domain>,
        to: FlowId,
        signal: serde_json::Value,
        settle: Settle,
        answers: Option<Answers>,
    ) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            let signal = serde_json::from_value(signal)
                .map_err(|why| Fault::Defect(format!("a signal to {} does not decode: {why}", F::NAME)))?;
            let envelope = carried(&engine, settle, answers, Input::Told(signal));
            engine.ask::<F>(to, Arc::new(envelope)).await.map(|_| ())
        })
    }

    fn answer(
        &self,
        engine: Engine<F::Domain>,
        to: FlowId,
        tag: String,
        result: Result<<F::Domain as Domain>::Answer, Failure>,
        settle: Settle,
    ) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            let envelope = carried(&engine, settle, None, Input::Answered { tag, result });
            engine.ask::<F>(to, Arc::new(envelope)).await.map(|_| ())
        })
    }
}

/// An input that a delivery brings: its id is the delivery's, so that it counts once on whichever node it arrives.
fn carried<F: Flow>(
    engine: &Engine<F::Domain>,
    settle: Settle,
    answers: Option<Answers>,
    input: Input<F>,
) -> Envelope<F> {
    let delivery = settle.delivery;
    let asker = Asker {
        input: crate::id::InputId(delivery.0),
        repeatable: false,
        fingerprint: None,
        trace: Arc::from(format!("delivery {delivery} on {}", engine.node())),
    };
    Envelope { asker, settles: Some(settle), answers, what: What::Input(input) }
}

impl<D: Domain> Engine<D> {
    /// Starts a flow. Its id is the input's: the same asker starts it once.
    ///
    /// # Errors
    /// [`Fault`]; after [`Fault::Unavailable`] the same asker may safely try again.
    pub async fn start<F: Flow<Domain = D>>(&self, asker: Asker, start: F::Start) -> Result<Reply<F::Outcome>, Fault> {
        let _admitted = self.admit()?;
        let flow = asker.input.starts();
        self.ask::<F>(flow, Arc::new(Envelope::start(asker, start))).await
    }

    /// Asks a flow.
    ///
    /// # Errors
    /// [`Fault`]; after [`Fault::Unavailable`] the same asker may safely try again.
    pub async fn call<F: Flow<Domain = D>>(
        &self,
        flow: FlowId,
        asker: Asker,
        command: F::Command,
    ) -> Result<Reply<F::Outcome>, Fault> {
        let _admitted = self.admit()?;
        self.ask::<F>(flow, Arc::new(Envelope::asked(asker, command))).await
    }

    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, Fault> {
        if self.is_draining() {
            return Err(Fault::Unavailable("this node is about to stop".to_owned()));
        }
        if !self.is_available() {
            return Err(Fault::Unavailable("the database is away".to_owned()));
        }
        self.0.admitted.try_acquire().map_err(|_| {
            metrics::counter!(crate::telemetry::REFUSED, "where" => "commands").increment(1);
            Fault::Overloaded
        })
    }

    pub(crate) async fn ask<F: Flow<Domain = D>>(
        &self,
        flow: FlowId,
        envelope: Arc<Envelope<F>>,
    ) -> Result<Reply<F::Outcome>, Fault> {
        self.0.host.pass(Point::BeforeRouting);
        let (reply, answer) = oneshot::channel();
        let ask = Ask::<F> { envelope: Arc::clone(&envelope), reply };
        let message = Message { what: Box::new(ask), held: None };
        let action = self.0.slots.apply(flow, Event::Call(message));
        if let Action::Refuse(_) = action {
            metrics::counter!(crate::telemetry::REFUSED, "where" => "flow").increment(1);
            return Err(Fault::Overloaded);
        }
        self.follow::<F>(flow, action);
        let patience = self.0.host.sleep(self.0.tuning.patience);
        if let Either::Left((Ok(reply), _)) = select(answer, patience).await {
            return reply;
        }
        self.directly(flow, envelope).await
    }

    /// Without a shell: there was none to be had, or it died with the input in its hands. The input is looked for first,
    /// so that what the shell may have done counts once.
    async fn directly<F: Flow<Domain = D>>(
        &self,
        flow: FlowId,
        envelope: Arc<Envelope<F>>,
    ) -> Result<Reply<F::Outcome>, Fault> {
        metrics::counter!(crate::telemetry::DIRECT, "flow" => F::NAME).increment(1);
        let mut reply = turn(&mut Cell::of(flow), &envelope, true, self).await?;
        reply.method = Method::Direct;
        // What nobody can repeat was found because our own shell had committed it.
        reply.repeated &= envelope.asker.repeatable;
        Ok(reply)
    }

    /// Does what a slot's transition asked for. Never called with a lock in hand.
    fn follow<F: Flow<Domain = D>>(&self, flow: FlowId, action: SlotAction) {
        match action {
            Action::Nothing => {}
            Action::Hatch(generation) => self.hatch::<F>(flow, generation),
            Action::Send(generation, shell, messages) => {
                let again = self.again::<F>(flow);
                for mut message in messages {
                    message.held = Some(Held {
                        slots: Arc::clone(&self.0.slots),
                        flow,
                        generation,
                        finished: false,
                        again: Arc::clone(&again),
                    });
                    // A message that comes back is dropped: its caller goes without a shell.
                    drop(shell.send(message));
                }
            }
            Action::Stop(shell) => {
                self.0.host.pass(Point::Passivating);
                shell.stop();
            }
            Action::Refuse(message) => drop(message),
            Action::Fail(messages) => drop(messages),
        }
    }

    fn again<F: Flow<Domain = D>>(&self, flow: FlowId) -> Arc<dyn Fn(SlotAction) + Send + Sync> {
        let engine = self.clone();
        Arc::new(move |action| engine.follow::<F>(flow, action))
    }

    /// Activation runs in a task of its own: a caller that goes away does not take it along.
    fn hatch<F: Flow<Domain = D>>(&self, flow: FlowId, generation: u64) {
        let engine = self.clone();
        let slots = Arc::clone(&self.0.slots);
        slots.shells.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(crate::telemetry::SHELLS).increment(1.0);
        metrics::counter!(crate::telemetry::ACTIVATIONS, "flow" => F::NAME).increment(1);
        let freed = Freed { slots, flow, generation, again: self.again::<F>(flow) };
        let body = FlowBody::<F>::new(Cell::of(flow), self.clone(), freed);
        let hatching = self.0.host.hatch(flow, Box::new(body));
        self.0.host.spawn(Box::pin(async move {
            let event = match hatching.await {
                Some(shell) => Event::Hatched(generation, shell),
                None => Event::NotHatched(generation),
            };
            let action = engine.0.slots.apply(flow, event);
            engine.follow::<F>(flow, action);
        }));
    }

    /// Kills a flow's shell at its next await, as a chaos test or an operator would; the flow does not notice.
    pub fn kill_shell(&self, flow: FlowId) -> bool {
        let shell = self.0.slots.mailbox(flow);
        if let Some(shell) = &shell {
            shell.kill();
        }
        shell.is_some()
    }

    /// Stops the shells that have had nothing to do for this long; gives how many were told to.
    pub fn passivate_idle(&self, idle: Duration) -> usize {
        let before = self.now().0.saturating_sub(i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        let mut stopped = 0;
        for flow in self.0.slots.flows() {
            if let Action::Stop(shell) = self.0.slots.apply(flow, Event::Idle { before }) {
                self.0.host.pass(Point::Passivating);
                shell.stop();
                stopped += 1;
            }
        }
        stopped
    }
}

/// Stops idle shells now and then; sooner when there are too many.
pub(crate) async fn sweep<D: Domain>(engine: Engine<D>) {
    let _alone = engine.0.slots.sweeping.lock().await;
    loop {
        engine.0.host.sleep(Duration::from_secs(5)).await;
        let crowded = engine.active() > engine.0.tuning.shells;
        let idle = if crowded { Duration::from_secs(1) } else { engine.0.tuning.idle };
        engine.passivate_idle(idle);
    }
}
