//! A store in memory: what every store must do, without a disk, and with a database's bad days on demand.

mod faulty;
mod tables;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::faulty::{Aim, Dropped, FaultyStore, MODES, Mode};
pub use self::tables::{Logged, Stored, Tables};
use crate::clock::Timestamp;
use crate::flow::Domain;
use crate::id::{FlowId, InputId};
use crate::store::{
    Audit, Backlog, Claim, Event, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim, Verb, Verdict,
};
use crate::testing::clock::Rng;

/// A way to let driven time pass.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// How often the store in memory has a bad moment. All zero: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// Of a thousand calls, how many find the database away, with nothing done.
    pub lost: u32,
    /// Of a thousand writes, how many get no answer: done, not done, or done a little later, behind the caller's back.
    pub ambiguous: u32,
    /// Of a thousand calls, how many take their time, before or after the work.
    pub late: u32,
    /// How long such a call may take, when there is a way to let time pass.
    pub slowest: Duration,
}

struct FaultSource {
    rates: FaultRates,
    rng: Rng,
    sleep: Option<Sleep>,
    down: bool,
}

/// A call's plan, drawn before it begins.
struct CallPlan {
    before: Option<BoxFuture<'static, ()>>,
    after: Option<BoxFuture<'static, ()>>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy)]
enum Fault {
    Away,
    DoneUnanswered,
    UndoneUnanswered,
    Ghost,
}

struct Memory<D: Domain> {
    tables: Tables<D>,
    /// Batches whose COMMIT is on its way though its sender has been told that the answer is lost. They hold their
    /// locks: whatever writes waits for them, whatever only reads does not see them.
    ghosts: Vec<Vec<Item<D>>>,
}

/// The store in memory. One mutex, and no waiting unless a [`FaultRates`] asks for it.
pub struct SimStore<D: Domain> {
    memory: Mutex<Memory<D>>,
    source: Mutex<FaultSource>,
}

impl<D: Domain> Default for SimStore<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Domain> SimStore<D> {
    /// An empty store without faults.
    pub fn new() -> Self {
        let source = FaultSource { rates: FaultRates::default(), rng: Rng::new(0), sleep: None, down: false };
        Self {
            memory: Mutex::new(Memory { tables: Tables::default(), ghosts: Vec::new() }),
            source: Mutex::new(source),
        }
    }

    /// From now on has bad moments, in the order of this seed. Without `sleep`, late calls yield a few times.
    pub fn set_faults(&self, rates: FaultRates, seed: u64, sleep: Option<Sleep>) {
        let mut source = self.source();
        source.rates = rates;
        source.rng = Rng::new(seed);
        source.sleep = sleep;
    }

    /// Has no bad moments any more, answers, and lets every commit arrive that is still on its way.
    pub fn clear_faults(&self) {
        let mut source = self.source();
        source.rates = FaultRates::default();
        source.down = false;
        drop(source);
        self.memory().arrive();
    }

    /// Takes the database away, or brings it back.
    pub fn set_down(&self, down: bool) {
        self.source().down = down;
    }

    /// Looks at the tables as they are now.
    pub fn inspect<R>(&self, look: impl FnOnce(&Tables<D>) -> R) -> R {
        look(&self.memory().tables)
    }

    /// The rows, in order of ids.
    pub fn rows(&self) -> Vec<Row> {
        self.inspect(|tables| tables.rows.values().map(|stored| stored.row.clone()).collect())
    }

    /// The events, in order of their inputs.
    pub fn events(&self) -> Vec<Event> {
        self.inspect(|tables| tables.events.values().cloned().collect())
    }

    /// The guards and their numbers.
    pub fn guards(&self) -> BTreeMap<String, i64> {
        self.inspect(|tables| tables.guards.clone())
    }

    /// The deliveries, in order of ids.
    pub fn outbox(&self) -> Vec<OutboxRow> {
        self.inspect(|tables| tables.outbox.values().cloned().collect())
    }

    /// The domain's writes in the order of their commits, each with the input that caused it.
    pub fn written(&self) -> Vec<(InputId, D::Write)> {
        self.inspect(|tables| tables.written.clone())
    }

    /// Where a caller broke its word, in sentences; see [`Tables::violations`].
    pub fn violations(&self) -> Vec<String> {
        self.inspect(|tables| tables.violations.clone())
    }

    fn memory(&self) -> MutexGuard<'_, Memory<D>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self) -> MutexGuard<'_, FaultSource> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read<T>(&self, work: impl FnOnce(&Tables<D>) -> T) -> Result<T, StoreFault> {
        let plan = self.source().draw(false);
        pass(plan.before).await;
        if matches!(plan.fault, Some(Fault::Away)) {
            return Err(StoreFault::Unavailable("it could not be reached".to_owned()));
        }
        let answer = work(&self.memory().tables);
        pass(plan.after).await;
        Ok(answer)
    }

    async fn write<T>(&self, work: impl FnOnce(&mut Tables<D>) -> T) -> Result<T, StoreFault> {
        let plan = self.source().draw(true);
        pass(plan.before).await;
        let answer = match plan.fault {
            Some(Fault::Away) => return Err(StoreFault::Unavailable("it could not be reached".to_owned())),
            Some(Fault::UndoneUnanswered) => None,
            Some(Fault::DoneUnanswered | Fault::Ghost) => {
                work(self.memory().arrive());
                None
            }
            None => Some(work(self.memory().arrive())),
        };
        pass(plan.after).await;
        answer.ok_or_else(|| StoreFault::Ambiguous("the connection was cut".to_owned()))
    }
}

impl<D: Domain> Memory<D> {
    /// The tables, once every commit that was on its way has arrived.
    fn arrive(&mut self) -> &mut Tables<D> {
        for batch in std::mem::take(&mut self.ghosts) {
            // Whatever it says, nobody listens.
            let _ = self.tables.commit(&batch);
        }
        &mut self.tables
    }
}

impl FaultSource {
    fn draw(&mut self, writes: bool) -> CallPlan {
        if self.down {
            return CallPlan { before: None, after: None, fault: Some(Fault::Away) };
        }
        let FaultRates { lost, ambiguous, late, .. } = self.rates;
        let before = if self.rng.chance(late) { Some(self.delay()) } else { None };
        let after = if self.rng.chance(late) { Some(self.delay()) } else { None };
        let fault = if self.rng.chance(lost) {
            Some(Fault::Away)
        } else if writes && self.rng.chance(ambiguous) {
            self.rng.pick(&[Fault::DoneUnanswered, Fault::UndoneUnanswered, Fault::Ghost]).copied()
        } else {
            None
        };
        CallPlan { before, after, fault }
    }

    fn delay(&mut self) -> BoxFuture<'static, ()> {
        let turns = self.rng.between(1, 8);
        let slowest = u64::try_from(self.rates.slowest.as_millis()).unwrap_or(u64::MAX);
        let millis = self.rng.below(slowest);
        match &self.sleep {
            Some(sleep) if millis > 0 => sleep(Duration::from_millis(millis)),
            _ => Box::pin(Yields(turns)),
        }
    }
}

/// Lets others go first, this many times.
struct Yields(u64);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn pass(delay: Option<BoxFuture<'static, ()>>) {
    if let Some(delay) = delay {
        delay.await;
    }
}

impl<D: Domain> Store<D> for SimStore<D> {
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        Box::pin(self.read(move |tables| tables.rows.get(&flow).map(|stored| stored.row.clone())))
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        Box::pin(self.read(move |tables| tables.events.get(&input).cloned()))
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        Box::pin(self.read(move |tables| tables.history(flow)))
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.read(move |tables| tables.deliveries(flow)))
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(self.read(|tables| tables.decide(item)))
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            let plan = self.source().draw(true);
            pass(plan.before).await;
            let answer = {
                let mut memory = self.memory();
                match plan.fault {
                    Some(Fault::Away) => return Err(StoreFault::Unavailable("it could not be reached".to_owned())),
                    Some(Fault::UndoneUnanswered) => None,
                    Some(Fault::DoneUnanswered) => memory.arrive().commit(batch).map(|_| None)?,
                    Some(Fault::Ghost) => {
                        memory.arrive();
                        memory.ghosts.push(batch.to_vec());
                        None
                    }
                    None => Some(memory.arrive().commit(batch)?),
                }
            };
            pass(plan.after).await;
            answer.ok_or_else(|| StoreFault::Ambiguous("the connection was cut".to_owned()))
        })
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.write(move |tables| tables.claim_due(&claim)))
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.read(move |tables| tables.claimed(&claim)))
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.write(move |tables| tables.claim_deliveries(lane, &claim)))
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.write(|tables| tables.postpone(postponed)))
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.write(move |tables| tables.unclaim(back)))
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.write(Tables::release_claims))
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.write(move |tables| tables.quarantine(flow, version, at, why)))
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(self.write(move |tables| tables.operate(flow, verb, now)))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        Box::pin(self.read(Tables::next_due))
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.write(move |tables| tables.retain(retention)))
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.read(Tables::live))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        Box::pin(self.read(Tables::backlog))
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        Box::pin(self.read(move |tables| tables.audit(now)))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.read(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::clock::FixedClock;
    use crate::testing::executor::Executor;
    use crate::testing::suite::given::{Draft, act, flow, row, start, step};
    use crate::testing::toy::Toy;

    fn draft() -> [Item<Toy>; 1] {
        [start(1).add("a", 1).seen().item]
    }

    #[tokio::test]
    async fn after_an_ambiguous_commit_the_same_batch_again_says_what_became_of_it() {
        let mut fates = BTreeSet::new();
        for seed in 0..64 {
            let store = SimStore::<Toy>::new();
            store.set_faults(FaultRates { ambiguous: 1000, ..FaultRates::default() }, seed, None);
            assert!(matches!(store.commit(&draft()).await, Err(StoreFault::Ambiguous(_))));
            let seen_at_once = store.load(flow(1)).await.unwrap().is_some();
            store.clear_faults();
            let again = store.commit(&draft()).await.unwrap();
            assert!(matches!(again.as_slice(), [Verdict::Done | Verdict::Before(_)]), "{again:?}");
            assert_eq!(store.written().len(), 1, "once, whatever the first answer would have been");
            fates.insert((seen_at_once, again == [Verdict::Done]));
        }
        let durable_undone_and_on_its_way = BTreeSet::from([(true, false), (false, true), (false, false)]);
        assert_eq!(fates, durable_undone_and_on_its_way);
    }

    #[tokio::test]
    async fn a_lost_call_has_done_nothing() {
        let store = SimStore::<Toy>::new();
        store.set_faults(FaultRates { lost: 500, ..FaultRates::default() }, 1, None);
        let mut done = 0;
        for number in 0..100 {
            match store.commit(&[act(number).add("a", 1).item]).await {
                Ok(_) => done += 1,
                Err(StoreFault::Unavailable(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(store.written().len(), done);
        assert!((30..70).contains(&done), "about half of a hundred: {done}");
        store.set_down(true);
        assert!(matches!(store.ping().await, Err(StoreFault::Unavailable(_))));
    }

    #[test]
    fn a_late_call_takes_driven_time_and_others_overtake_it() {
        let executor = Executor::new(3, Arc::new(FixedClock::default()));
        let node = executor.node("one");
        let sleep: Sleep = Arc::new(move |span| node.sleep(span));
        let store = Arc::new(SimStore::<Toy>::new());
        let slowest = Duration::from_secs(2);
        store.set_faults(FaultRates { late: 500, slowest, ..FaultRates::default() }, 1, Some(sleep));
        let writer = Arc::clone(&store);
        executor.block_on(async move {
            let batches: Vec<[Item<Toy>; 1]> = (0..20).map(|number| [act(number).add("a", 1).item]).collect();
            futures_util::future::join_all(batches.iter().map(|batch| writer.commit(batch))).await;
        });
        assert!(executor.elapsed() > Duration::ZERO && executor.elapsed() <= 2 * slowest);
        let order: Vec<InputId> = store.written().into_iter().map(|(input, _)| input).collect();
        let asked: Vec<InputId> = (0..20).map(|number| act(number).item.input).collect();
        assert_eq!(BTreeSet::from_iter(&order), BTreeSet::from_iter(&asked));
        assert_ne!(order, asked);
    }

    #[tokio::test]
    async fn a_caller_that_breaks_its_word_is_written_down() {
        let store = SimStore::<Toy>::new();
        let batch = |drafts: Vec<Draft>| drafts.into_iter().map(|draft| draft.item).collect::<Vec<_>>();
        store.commit(&batch(vec![start(1).hold("a", 0), start(2).hold("a", 1), act(7).claim("b")])).await.unwrap();
        assert_eq!(store.violations(), Vec::<String>::new(), "two may hold one key");
        store.commit(&batch(vec![act(1).hold("b", 0), act(2).bump("b")])).await.unwrap();
        store.commit(&batch(vec![step(&row(1), 3), act(4).expects(flow(1), 1)])).await.unwrap();
        assert_eq!(store.violations().len(), 2, "{:?}", store.violations());
    }

    #[tokio::test]
    async fn a_second_event_of_one_input_is_refused_as_a_database_would() {
        let store = SimStore::<Toy>::new();
        store.commit(&[act(1).add("a", 1).item]).await.unwrap();
        let again = store.commit(&[act(2).add("a", 1).item, act(1).add("a", 1).item]).await;
        assert!(matches!(again, Err(StoreFault::Unexpected(_))));
        assert_eq!(store.written().len(), 1, "nothing of the batch is done");
    }
}
