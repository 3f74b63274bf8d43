//! One process of the product over a store that fails once, and a client who insists on an answer all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_actors::effects::{Auth, Delivery, Key, NewUser, UserWrite, Write};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::hasher::Lane;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::{Caller, Refusal, Repeat, Services};
use cairn_actors::testing;
use cairn_runtime::nursery::ActorHost;
use cairn_runtime::store::{Item, Store, Verdict};
use cairn_runtime::testing::clock::FixedClock;
use cairn_runtime::testing::store::{Aim, Dropped, FaultyStore};
use cairn_runtime::{Asker, Domain, Fault, Flow, FlowId, Guard, Host, Id, InputId, Reply, pump};
use tokio::task::JoinSet;

use crate::auth::{Node, Posted, Town, id, repeatable};

/// A call that hangs ends after this.
const TIME_OUT: Duration = Duration::from_millis(5);
/// How often somebody asks before giving up, and how many rounds deliveries may take.
const ROUNDS: u32 = 60;

/// A process under test.
pub struct Stand<'t> {
    pub town: &'t Town,
    pub node: Node,
    pub clock: Arc<FixedClock>,
    /// The database as it is.
    pub real: Arc<dyn Store<Auth>>,
    faulty: Arc<FaultyStore<Auth>>,
    /// Whether anything is to fail at all.
    aimed: bool,
    run: u64,
    asked: AtomicU64,
    acknowledged: Mutex<Vec<Acknowledged>>,
    flows: Mutex<BTreeSet<FlowId>>,
}

/// What a client was told of a flow, and holds the process to.
#[derive(Clone, Debug)]
struct Acknowledged {
    flow: FlowId,
    version: u64,
    phase: String,
}

impl<'t> Stand<'t> {
    /// A process that fails at one call, or at none. What earlier runs left in the database is not due while this one
    /// lasts.
    pub async fn set(town: &'t Town, aim: Option<Aim>) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let real = town.store(0);
        let timer = ActorHost::new(Arc::new(|_| {}));
        let faulty =
            FaultyStore::new(Arc::clone(&real), aim).with_time_out(TIME_OUT, Arc::new(move |span| timer.sleep(span)));
        let (faulty, clock) = (Arc::new(faulty), Arc::new(FixedClock::default()));
        let node = town.node(0, Arc::clone(&faulty) as _, Arc::clone(&clock)).await;
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let (asked, acknowledged, flows) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { town, node, clock, real, faulty, aimed: aim.is_some(), run, asked, acknowledged, flows }
    }

    /// A word that no other run uses.
    pub fn word(&self, word: &str) -> String {
        format!("{word}{}", self.run)
    }

    /// An address that no other run uses.
    pub fn address(&self, local: &str) -> String {
        format!("{}@example.org", self.word(local))
    }

    fn next(&self) -> u64 {
        (self.run << 16) | self.asked.fetch_add(1, Ordering::Relaxed)
    }

    /// Somebody who may ask again.
    pub fn asker(&self) -> Asker {
        repeatable(id(300, self.next()))
    }

    /// A request that may come again.
    pub fn caller(&self) -> Caller {
        let repeat = Some(Repeat { route: "POST /".to_owned(), key: self.next().to_string() });
        Caller { repeat, ..self.stranger() }
    }

    /// A request without a key. Each run comes from a network of its own: what strangers may do in a day is counted by
    /// networks.
    pub fn stranger(&self) -> Caller {
        Caller {
            trace: "sweep".to_owned(),
            address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(self.run).unwrap_or_default())),
            device: None,
            device_proof: None,
            repeat: None,
        }
    }

    /// Somebody who has an account since before the fault.
    pub async fn resident(&self, email: &str, password: &str) -> UserId {
        let user = UserId(id(400, self.next()));
        let hasher = &self.node.services.hasher;
        let password = hasher.hash(&Password::typed(password.to_owned()), Lane::Registration).await.unwrap();
        let address = testing::address(email);
        let address_key = self.town.environment.address_key(&address);
        let at = self.node.engine.now();
        let (username, first_name, last_name) = (None, None, None);
        let new = NewUser { id: user, address, address_key, username, first_name, last_name, password, at };
        let mut item = Item::<Auth>::of(InputId(user.0), at);
        item.guards = [Key::Address(address_key), Key::User(user), Key::Profile(user), Key::Devices(user)]
            .map(|key| Guard::Claim(Auth::guard(&key)))
            .into();
        item.writes = vec![Write::User(UserWrite::Create(Box::new(new)))];
        assert_eq!(self.real.commit(&[item]).await.unwrap(), [Verdict::Done]);
        user
    }

    /// Asks a use case until there is an answer. Where something failed meanwhile, it is asked once more: the repeat is
    /// told the same.
    pub async fn twice<T, Fut>(&self, ask: impl Fn(Services, Caller) -> Fut) -> Result<T, Refusal>
    where
        T: PartialEq + std::fmt::Debug + Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let (caller, before) = (self.caller(), self.faulty.hit());
        let first = self.insist(|| ask(self.node.services.clone(), caller.clone())).await;
        if self.is_asked_again(before) {
            let again = self.insist(|| ask(self.node.services.clone(), caller.clone())).await;
            assert_eq!(again, first, "I3: a repeat gets the same answer");
        }
        first
    }

    /// Whether a request is repeated: always where nothing is to fail, else if it failed since.
    fn is_asked_again(&self, before: Option<&'static str>) -> bool {
        !self.aimed || self.faulty.hit() != before
    }

    /// Asks a use case that has no key until there is an answer.
    pub async fn once<T, Fut>(&self, ask: impl Fn(Services, Caller) -> Fut) -> Result<T, Refusal>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        self.insist(|| ask(self.node.services.clone(), self.stranger())).await
    }

    /// The same with the engine. What was told is held against the event.
    pub async fn asked<F: Flow, Fut>(&self, ask: impl Fn(Asker) -> Fut) -> Reply<F::Outcome>
    where
        F::Outcome: PartialEq,
        Fut: Future<Output = Result<Reply<F::Outcome>, Fault>> + Send + 'static,
    {
        let (asker, before) = (self.asker(), self.faulty.hit());
        let ask = || {
            let asking = ask(asker.clone());
            async move { asking.await.map_err(Refusal::from) }
        };
        let first = self.insist(ask).await.unwrap();
        if self.is_asked_again(before) {
            let again = self.insist(ask).await.unwrap();
            assert_eq!(again.outcome, first.outcome, "I3: a repeat gets the same answer");
            assert_eq!((again.flow, again.version, &again.phase), (first.flow, first.version, &first.phase));
        }
        if let Some(event) = self.real.event(asker.input).await.unwrap() {
            let says: F::Outcome = serde_json::from_str(&event.outcome).unwrap();
            assert_eq!((says, event.version), (first.outcome.clone(), first.version), "I1: history says the same");
        }
        if first.version > 0 {
            self.acknowledge(first.flow, first.version, &first.phase);
        }
        first
    }

    /// The same with an act.
    pub async fn acted<Fut>(&self, ask: impl Fn(Asker) -> Fut)
    where
        Fut: Future<Output = Result<Reply<()>, Fault>> + Send + 'static,
    {
        let (asker, before) = (self.asker(), self.faulty.hit());
        let ask = || {
            let asking = ask(asker.clone());
            async move { asking.await.map_err(Refusal::from) }
        };
        let first = self.insist(ask).await.unwrap();
        if self.is_asked_again(before) {
            let again = self.insist(ask).await.unwrap();
            assert_eq!((again.flow, again.version), (first.flow, first.version), "I3: a repeat gets the same answer");
        }
        let event = self.real.event(asker.input).await.unwrap().expect("an act has an event");
        assert_eq!(event.flow, first.flow);
    }

    /// Remembers what a client was told.
    pub fn acknowledge(&self, flow: FlowId, version: u64, phase: &str) {
        let told = Acknowledged { flow, version, phase: phase.to_owned() };
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        self.watch(flow);
    }

    /// Has a flow looked after at the end.
    pub fn watch(&self, flow: FlowId) {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(flow);
    }

    async fn insist<T, Fut>(&self, ask: impl Fn() -> Fut) -> Result<T, Refusal>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        for _ in 0..ROUNDS {
            match apart(ask()).await {
                Some(Err(Refusal::Fault(Fault::Unavailable(_) | Fault::Overloaded | Fault::Contended))) | None => {
                    self.recovers().await;
                }
                Some(Err(Refusal::Fault(fault))) => panic!("whoever insists gets an answer, not {fault:?}"),
                Some(answer) => return answer,
            }
        }
        panic!("no answer after {ROUNDS} times");
    }

    /// Waits until the database is believed to be there again.
    async fn recovers(&self) {
        self.faulty.release();
        while !self.node.engine.is_available() {
            tokio::task::yield_now().await;
        }
    }

    /// Runs both pumps until neither finds anything.
    async fn pumps(&self) {
        for _ in 0..ROUNDS {
            let (wake, carry) = (self.node.engine.clone(), self.node.engine.clone());
            let woken = apart(async move { pump::tick(&wake).await }).await;
            let carried = apart(async move { pump::deliver(&carry).await }).await;
            self.node.host.quiet().await;
            if matches!((woken, carried), (Some(Ok(0)), Some(Ok(0)))) {
                return;
            }
            self.recovers().await;
        }
        panic!("the pumps do not come to rest");
    }

    /// Lets whatever is due happen, and time pass until every delivery has come to its end.
    pub async fn settles(&self) {
        for _ in 0..ROUNDS {
            self.pumps().await;
            if self.open().await == 0 {
                return;
            }
            self.clock.advance(Duration::from_secs(30));
        }
        panic!("I5: {} deliveries neither arrive nor end", self.open().await);
    }

    /// Lets a span pass, and whatever is due happen, claims of the dead included.
    pub async fn passes(&self, span: Duration) {
        self.clock.advance(span);
        self.settles().await;
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(30));
            self.settles().await;
        }
    }

    fn flows(&self) -> Vec<FlowId> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    async fn deliveries(&self) -> Vec<cairn_runtime::store::OutboxRow> {
        let mut all = Vec::new();
        for flow in self.flows() {
            all.extend(self.real.deliveries(flow).await.unwrap());
        }
        all
    }

    async fn open(&self) -> usize {
        self.deliveries().await.iter().filter(|delivery| delivery.settled.is_none()).count()
    }

    /// The letters that a flow sent, each once, in the order in which they first came to the post.
    pub async fn letters(&self, flow: FlowId) -> Vec<Letter> {
        self.watch(flow);
        self.settles().await;
        let mut seen = BTreeSet::new();
        let posted = self.town.post.of(flow).into_iter();
        posted.filter(|posted| seen.insert(posted.id)).map(|posted| posted.letter).collect()
    }

    /// The names of all that happened to a flow.
    pub async fn names(&self, flow: FlowId) -> Vec<String> {
        self.real.history(flow).await.unwrap().into_iter().map(|event| event.name).collect()
    }

    /// What must hold at the end of every run, whatever failed in it; gives the call that did. What an audit must not
    /// find is left to whoever has made all runs.
    pub async fn close(self) -> Option<&'static str> {
        self.settles().await;
        for flow in self.flows() {
            let row = self.real.load(flow).await.unwrap().unwrap();
            assert_eq!(row.quarantined, None, "a fault of the database is no fault of the flow");
            let history = self.real.history(flow).await.unwrap();
            let versions: Vec<u64> = history.iter().map(|event| event.version).collect();
            assert_eq!(versions, (1..=row.version).collect::<Vec<_>>(), "I2: versions have no gaps");
            let inputs: BTreeSet<_> = history.iter().map(|event| event.input).collect();
            assert_eq!(inputs.len(), history.len(), "I3: an input counts once");
            for (before, after) in history.iter().zip(history.iter().skip(1)) {
                assert_eq!(before.to, after.from, "each step begins where the one before it ended");
            }
            let told = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for told in told.into_iter().filter(|told| told.flow == flow) {
                let at = &history[usize::try_from(told.version).unwrap() - 1];
                assert_eq!(at.to, told.phase, "I1: {told:?} is on record");
            }
        }
        self.check_letters().await;
        self.node.end().await;
        self.faulty.hit()
    }

    /// I4 to I6, by what the post saw and what the outbox says.
    async fn check_letters(&self) {
        let written: BTreeMap<_, _> =
            self.deliveries().await.into_iter().map(|delivery| (delivery.id, delivery)).collect();
        let posted: Vec<Posted> = self.flows().into_iter().flat_map(|flow| self.town.post.of(flow)).collect();
        let mut carried: BTreeMap<_, Posted> = BTreeMap::new();
        for attempt in posted {
            let known = written.get(&attempt.id).unwrap_or_else(|| panic!("I4: {attempt:?} was never committed"));
            assert!(known.attempts >= attempt.attempt, "attempts are counted before they are made: {known:?}");
            let first = carried.entry(attempt.id).or_insert_with(|| attempt.clone());
            assert_eq!(first.letter, attempt.letter, "I6: a repeat carries the same credential");
        }
        for delivery in written.values() {
            assert!(!delivery.dead, "nobody refused it, and time did not run out: {delivery:?}");
            if delivery.kind == "signal" {
                assert!(delivery.settled.is_some(), "I5: a signal arrives: {delivery:?}");
                continue;
            }
            let letter = carried.get(&delivery.id).unwrap_or_else(|| panic!("I5: nobody carried {delivery:?}"));
            assert_eq!(Auth::kind(&Delivery::Letter(letter.letter.clone())), delivery.kind);
        }
    }
}

/// Runs something in a task of its own; `None` when the fault ended that task.
async fn apart<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut alone = JoinSet::new();
    alone.spawn(task);
    match alone.join_next().await.expect("one was spawned") {
        Ok(done) => Some(done),
        Err(unwound) => {
            let panic = unwound.into_panic();
            if !panic.is::<Dropped>() {
                resume_unwind(panic);
            }
            None
        }
    }
}

/// The flow that the text of an id names.
pub fn flow_of(prefix: &str, text: &str) -> FlowId {
    FlowId(Id::parse(prefix, text).unwrap())
}
