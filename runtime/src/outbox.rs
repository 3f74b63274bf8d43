//! Deliveries after the commit: claimed, carried, answered; put off when that fails, dead when it must.
//!
//! Each lane is claimed apart and has its own room, back-off and breaker. What must stay true: nothing is carried that was
//! not committed, and a repeat carries the same id and content.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use tokio::sync::{Mutex, Notify};

use crate::clock::derive_bytes;
use crate::crash::Point;
use crate::effects::Outgoing;
use crate::engine::{Engine, Fault};
use crate::flow::{Domain, Failure};
use crate::id::{DeliveryId, FlowId, InputId};
use crate::lane::{LaneState, Place, SIGNALS};
use crate::payload::{Payload, Sender};
use crate::store::{Claim, Item, OutboxRow, PATIENCE, Postpone, Settle, Verdict};
use crate::turn::Answers;

/// Carries deliveries out of the house.
pub trait Courier<D: Domain>: Send + Sync + 'static {
    /// Carries one delivery to its end, or says why that was not possible. Bounds itself in number and time: it must
    /// be done well before the claim runs out.
    fn carry(&self, attempt: DeliveryAttempt<D>) -> BoxFuture<'_, Result<D::Answer, Trouble>>;

    /// Whether what it carried in a lane is read in the outbox afterwards, and so must stay there for a while. Else the
    /// payload is wiped by the commit that says that it arrived.
    fn is_read_later(&self, lane: &str) -> bool {
        let _ = lane;
        false
    }
}

/// What a courier is given.
#[derive(Clone, Debug)]
pub struct DeliveryAttempt<D: Domain> {
    /// The delivery's id, the same at every attempt.
    pub id: DeliveryId,
    /// The flow or act that asked for it.
    pub flow: FlowId,
    /// 1 at the first attempt.
    pub number: u32,
    /// When it was committed.
    pub created: crate::Timestamp,
    /// After this instant it is of no use.
    pub expires: Option<crate::Timestamp>,
    /// What to carry.
    pub delivery: D::Delivery,
}

/// Why a delivery did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may succeed later; `after` overrules the usual back-off. Of what may happen at most once this says that nobody
    /// knows whether it did: it is not repeated, but answered [`Failure::Unknown`].
    Later {
        /// For people.
        why: String,
        /// The shortest time to wait.
        after: Option<Duration>,
    },
    /// It never will, and surely had no effect that counts.
    Never(String),
}

/// Deliveries that one claim takes at most.
const MOST: usize = 256;

/// What the node knows of its deliveries in hand.
pub(crate) struct Outbox<D: Domain> {
    courier: Arc<dyn Courier<D>>,
    /// The lane of signals and answers.
    signals: LaneState,
    /// The domain's lanes.
    lanes: Vec<LaneState>,
    due: Notify,
    running: Mutex<()>,
}

impl<D: Domain> Outbox<D> {
    /// With room for at most so many deliveries in each lane.
    pub(crate) fn new(courier: Arc<dyn Courier<D>>, most: usize) -> Self {
        let lanes = D::LANES.iter().map(|lane| LaneState::new(*lane, most)).collect();
        Self { courier, signals: LaneState::new(SIGNALS, most), lanes, due: Notify::new(), running: Mutex::new(()) }
    }

    /// Something may be due in any lane.
    pub(crate) fn hint(&self) {
        self.lanes().for_each(LaneState::hint);
        self.due.notify_one();
    }

    /// These deliveries are due or will be.
    pub(crate) fn hint_of(&self, deliveries: &[OutboxRow]) {
        for delivery in deliveries.iter().filter(|delivery| delivery.claimed_by.is_none()) {
            self.lane(&delivery.lane).hint();
            self.due.notify_one();
        }
    }

    /// Places taken among the deliveries in hand, of all lanes.
    pub(crate) fn in_flight(&self) -> usize {
        self.lanes().map(LaneState::in_flight).sum()
    }

    fn lanes(&self) -> impl Iterator<Item = &LaneState> {
        std::iter::once(&self.signals).chain(&self.lanes)
    }

    /// A lane by its name. Nothing is ever claimed of one that is not listed, and what is sent into it shares the room of
    /// signals.
    fn lane(&self, name: &str) -> &LaneState {
        self.lanes.iter().find(|state| state.lane.name == name).unwrap_or(&self.signals)
    }
}

/// A delivery that goes from memory to its carrier as soon as it is durable.
pub(crate) struct HandOff<D: Domain> {
    delivery: OutboxRow,
    payload: Payload<D>,
    place: Place,
}

impl<D: Domain> HandOff<D> {
    /// Claims a delivery for this node in the very row that is to be committed, if there is room.
    pub(crate) fn of(engine: &Engine<D>, row: &mut OutboxRow, payload: &Payload<D>) -> Option<Self> {
        let now = engine.now();
        let place = engine.0.outbox.lane(&row.lane).reserve(now)?;
        row.attempts = 1;
        row.claimed_until = Some(now.after(engine.0.tuning.claim));
        row.claimed_by = Some(engine.node().to_owned());
        let delivery = OutboxRow { payload: Vec::new(), ..row.clone() };
        Some(Self { delivery, payload: payload.clone(), place })
    }

    /// From the committer: the delivery is durable and claimed by this node.
    pub(crate) fn go(self, engine: &Engine<D>) {
        let Self { delivery, payload, place } = self;
        let carrying = engine.clone();
        engine.0.host.spawn(Box::pin(async move {
            deliver(&carrying, delivery, Ok(payload)).await;
            drop(place);
        }));
    }
}

/// Claims what is due in every lane and sets it on its way; gives how many.
///
/// # Errors
/// What the store says.
pub(crate) async fn tick<D: Domain>(engine: &Engine<D>) -> Result<usize, Fault> {
    let mut count = 0;
    for lane in engine.0.outbox.lanes() {
        count += claim(engine, lane).await?;
    }
    Ok(count)
}

/// Claims what is due in one lane and sets it on its way; gives how many.
async fn claim<D: Domain>(engine: &Engine<D>, lane: &LaneState) -> Result<usize, Fault> {
    // A node that ends takes nothing up any more; what it has in hand goes on.
    if engine.is_draining() {
        return Ok(0);
    }
    let now = engine.now();
    let free = lane.free(now).min(MOST);
    if free == 0 {
        return Ok(0);
    }
    let claim = Claim {
        now,
        until: now.after(engine.0.tuning.claim),
        node: engine.node().to_owned(),
        limit: u32::try_from(free).unwrap_or(1),
    };
    let name = lane.lane.name;
    let claimed = engine.chore(move |store| Box::pin(async move { store.claim_deliveries(name, claim).await })).await?;
    let count = claimed.len();
    for delivery in claimed {
        engine.0.host.pass(Point::DeliveryClaimed);
        let place = lane.reserve(now);
        let carrying = engine.clone();
        engine.0.host.spawn(Box::pin(async move {
            let opened = Payload::<D>::open(&carrying.environment(), &delivery);
            deliver(&carrying, OutboxRow { payload: Vec::new(), ..delivery }, opened).await;
            drop(place);
        }));
    }
    Ok(count)
}

/// Looks for due deliveries when hinted at, and by itself now and then: what was lost in memory is found here.
pub(crate) async fn run<D: Domain>(engine: Engine<D>) {
    let _alone = engine.0.outbox.running.lock().await;
    // Kept over the rounds: whatever is hinted at meanwhile, everything is looked at when it is time.
    let mut poll = engine.0.host.sleep(engine.0.tuning.poll);
    let mut all = true;
    loop {
        if all {
            poll = engine.0.host.sleep(engine.0.tuning.poll);
        }
        let mut more = false;
        for lane in engine.0.outbox.lanes() {
            // Read in either case: what was hinted at before the claim is found by it.
            let hinted = lane.take_hint();
            if !all && !hinted {
                continue;
            }
            match claim(&engine, lane).await {
                Ok(count) if count >= MOST => {
                    lane.hint();
                    more = true;
                }
                Ok(_) => {}
                Err(why) => {
                    lane.hint();
                    tracing::warn!(lane = lane.lane.name, %why, "due deliveries could not be claimed");
                }
            }
        }
        all = if more {
            (&mut poll).now_or_never().is_some()
        } else {
            let hinted = std::pin::pin!(engine.0.outbox.due.notified());
            match select(&mut poll, hinted).await {
                Either::Left(_) => true,
                Either::Right(_) => false,
            }
        };
    }
}

/// Brings one claimed delivery to its end, or puts it off.
async fn deliver<D: Domain>(engine: &Engine<D>, delivery: OutboxRow, opened: Result<Payload<D>, String>) {
    let now = engine.now();
    let kind = delivery.kind.clone();
    let count = |result: &'static str| {
        metrics::counter!(crate::telemetry::DELIVERIES, "kind" => kind.clone(), "result" => result).increment(1);
    };
    if delivery.claimed_until.is_some_and(|until| until <= now) {
        return; // somebody else may have it by now, and it is theirs to end
    }
    let outcome = match opened {
        Err(why) => {
            tracing::error!(delivery = %delivery.id, why, "a delivery cannot be opened");
            Outcome::Failed(Failure::Refused(format!("it cannot be opened: {why}")))
        }
        // Asked before the expiry: whoever had it before may have sent it, and time does not undo that.
        Ok(_) if delivery.once && delivery.attempts > 1 => Outcome::Failed(Failure::Unknown),
        Ok(_) if delivery.expires.is_some_and(|expires| expires <= now) => Outcome::Failed(Failure::Expired),
        Ok(payload) => carry(engine, &delivery, payload).await,
    };
    let ended = match outcome {
        Outcome::Ended => Ok(()),
        Outcome::Succeeded(answer) => {
            count("accepted");
            engine.0.host.pass(Point::DeliverySent);
            end(engine, &delivery, Ok(answer)).await
        }
        Outcome::Failed(failure) => {
            count(if failure == Failure::Unknown { "unknown" } else { "dead" });
            end(engine, &delivery, Err(failure)).await
        }
        Outcome::Later { why, after, counts } => {
            count("retrying");
            postpone(engine, &delivery, why, after, counts).await
        }
    };
    if let Err(why) = ended {
        // Its claim runs out, and it is found again.
        tracing::warn!(delivery = %delivery.id, %why, "the end of a delivery could not be committed");
    }
}

enum Outcome<D: Domain> {
    /// Its end is committed already.
    Ended,
    Succeeded(D::Answer),
    Failed(Failure),
    Later {
        why: String,
        after: Option<Duration>,
        counts: bool,
    },
}

async fn carry<D: Domain>(engine: &Engine<D>, delivery: &OutboxRow, payload: Payload<D>) -> Outcome<D> {
    let settle = Settle { delivery: delivery.id, at: engine.now(), dead: None, forgets: true };
    let (to, kind, told) = match payload {
        Payload::External(what) => {
            let carrying = DeliveryAttempt {
                id: delivery.id,
                flow: delivery.flow,
                number: delivery.attempts,
                created: delivery.created,
                expires: delivery.expires,
                delivery: what,
            };
            let carried = engine.0.outbox.courier.carry(carrying).await;
            let lane = engine.0.outbox.lane(&delivery.lane);
            lane.attempted(!matches!(carried, Err(Trouble::Later { .. })), engine.now());
            return match carried {
                Ok(answer) => Outcome::Succeeded(answer),
                // What must not be repeated is not put off either; and whoever cannot say that it failed does not know.
                Err(Trouble::Later { .. }) if delivery.once => Outcome::Failed(Failure::Unknown),
                Err(Trouble::Later { why, after }) => Outcome::Later { why, after, counts: true },
                Err(Trouble::Never(why)) => Outcome::Failed(Failure::Refused(why)),
            };
        }
        Payload::Signal { to, kind, signal } => {
            let Some(known) = engine.kind(&kind) else {
                return Outcome::Failed(Failure::Refused(format!("there are no flows of kind {kind}")));
            };
            let answers = delivery.tag.as_ref().map(|tag| Answers {
                flow: delivery.flow,
                kind: delivery.flow_kind.clone(),
                tag: tag.clone(),
            });
            (to, kind, known.tell(engine.clone(), to, signal, settle, answers).await)
        }
        Payload::Answer { to, kind, tag, result } => {
            let Some(known) = engine.kind(&kind) else {
                return Outcome::Failed(Failure::Refused(format!("there are no flows of kind {kind}")));
            };
            (to, kind, known.answer(engine.clone(), to, tag, result, settle).await)
        }
    };
    match told {
        Ok(()) | Err(Fault::Settled) => Outcome::Ended,
        Err(Fault::NotFound) => Outcome::Failed(Failure::Refused("there is no such flow".to_owned())),
        Err(fault) => blame(engine, delivery, to, &kind, fault).await,
    }
}

/// A flow did not take what came by itself: after three failures of its own it is set aside, the input waits.
async fn blame<D: Domain>(
    engine: &Engine<D>,
    delivery: &OutboxRow,
    to: FlowId,
    kind: &str,
    fault: Fault,
) -> Outcome<D> {
    match fault {
        Fault::Defect(why) => {
            // After each third, so that an operator's retry is worth as much as the first time.
            if delivery.attempts.is_multiple_of(PATIENCE)
                && let Ok(Some(row)) = engine.0.store.load(to).await
                && row.quarantined.is_none()
            {
                let why = format!("{} failed {} times: {why}", delivery.kind, delivery.attempts);
                let _ = engine.quarantine(to, kind, row.version, &why).await;
            }
            Outcome::Later { why, after: None, counts: true }
        }
        Fault::Ended => Outcome::Failed(Failure::Refused("the operator has ended the flow".to_owned())),
        Fault::Quarantined => Outcome::Later {
            why: "the flow is in quarantine".to_owned(),
            after: Some(Duration::from_secs(60)),
            counts: false,
        },
        other => Outcome::Later { why: other.to_string(), after: None, counts: false },
    }
}

/// Commits the end of a delivery: with the step that its answer causes, or alone.
async fn end<D: Domain>(
    engine: &Engine<D>,
    delivery: &OutboxRow,
    result: Result<D::Answer, Failure>,
) -> Result<(), Fault> {
    let settle = Settle {
        delivery: delivery.id,
        at: engine.now(),
        dead: result.as_ref().err().map(|failure| match failure {
            Failure::Refused(why) => why.clone(),
            Failure::Unknown => "interrupted; whether it had its effect is not known".to_owned(),
            Failure::Expired => "its time ran out".to_owned(),
        }),
        // What failed is of use to who looks for the reason.
        forgets: result.is_ok() && !engine.0.outbox.courier.is_read_later(&delivery.lane),
    };
    if let Some(tag) = &delivery.tag
        && let Some(kind) = engine.kind(&delivery.flow_kind)
    {
        let told = kind.answer(engine.clone(), delivery.flow, tag.clone(), result.clone(), settle.clone()).await;
        match told {
            Ok(()) | Err(Fault::Settled) => return Ok(()),
            Err(Fault::NotFound | Fault::Ended) => {} // nobody is left to be answered
            // The end is known and must not be carried again: it waits in the outbox as an answer of its own. How often
            // it was carried says nothing of the flow; from here on the answer's own attempts do.
            Err(fault) => return park(engine, delivery, tag, result, settle, &fault).await,
        }
    }
    let mut item = Item::of(InputId(delivery.id.0), settle.at);
    item.settles = Some(settle);
    match engine.commit(item, Vec::new()).await? {
        Verdict::Done | Verdict::Settled | Verdict::Before(_) | Verdict::Stale | Verdict::Lost(_) => Ok(()),
    }
}

/// Settles a delivery and puts its answer into the outbox in one commit, for a flow that could not take it now.
async fn park<D: Domain>(
    engine: &Engine<D>,
    delivery: &OutboxRow,
    tag: &str,
    result: Result<D::Answer, Failure>,
    settle: Settle,
    why: &Fault,
) -> Result<(), Fault> {
    let now = engine.now();
    let seed = engine.seed();
    let (to, kind) = (delivery.flow, &delivery.flow_kind);
    let answer = Payload::<D>::Answer { to, kind: kind.clone(), tag: tag.to_owned(), result };
    // Its own end is answered to nobody, or it would be parked for ever.
    let outgoing = Outgoing::new(answer).after(now, Duration::from_secs(1));
    let sender = Sender { environment: &*engine.environment(), now, flow: to, kind, seed: &seed };
    let mut row = sender.row(&outgoing, 0);
    // The failure that brought it here is the first of those after which the flow is set aside.
    row.attempts = u32::from(matches!(why, Fault::Defect(_)));
    row.note = why.to_string();
    let mut item = Item::of(InputId(row.id.0), now);
    item.settles = Some(settle);
    item.outbox.push(row);
    engine.commit(item, Vec::new()).await.map(|_| ())
}

/// The lane's back-off for the attempts that were heard of, a quarter of it by chance; never past the expiry.
async fn postpone<D: Domain>(
    engine: &Engine<D>,
    delivery: &OutboxRow,
    why: String,
    after: Option<Duration>,
    counts: bool,
) -> Result<(), Fault> {
    // Attempts of which nothing was heard, because the process died, have met nobody who is to be left in peace.
    let unheard = if delivery.note.is_empty() { delivery.attempts.saturating_sub(1) } else { 0 };
    let uncounted = if counts { unheard } else { 1 };
    let attempts = delivery.attempts.saturating_sub(unheard);
    let doubled = engine.0.outbox.lane(&delivery.lane).lane.back_off.after(attempts);
    let [chance] = derive_bytes::<1>(&engine.seed(), "jitter", 0);
    let span = match after {
        Some(span) => span.max(Duration::from_millis(500)),
        None => doubled.mul_f64(1.0 - f64::from(chance) / 1024.0),
    };
    let mut due = engine.now().after(span);
    if let Some(expires) = delivery.expires {
        due = due.min(expires);
    }
    tracing::info!(delivery = %delivery.id, kind = delivery.kind, attempt = delivery.attempts, why, "put off");
    let postponed = vec![Postpone { delivery: delivery.id, due, note: why, uncounted }];
    engine.chore(move |store| Box::pin(async move { store.postpone(&postponed).await })).await?;
    Ok(())
}
