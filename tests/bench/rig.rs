//! The engine as `cairn serve` composes it, around a flow that does in each step what a step can cost: it moves its row,
//! writes its event, and has a letter carried that is settled afterwards.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cairn_actors::effects::{Answer, Auth, Delivery};
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::identity::address::Address;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::master_key::MasterKey;
use cairn_persistence::{AuthWrites, Database, Options};
use cairn_runtime::clock::{SystemClock, SystemDice};
use cairn_runtime::nursery::{ActorHost, Supervision, supervise};
use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use cairn_runtime::store::{Front, Item, Passing, Store, StoreFault, Verdict};
use cairn_runtime::{
    Clock, Cx, Engine, Flow, FlowId, Host, Input, Lost, Named, Never, Parts, Step, Timestamp, Tuning, go, phases, stay,
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A way walked step by step, with a letter at each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Walk {
    /// On its way.
    Under(Box<Under>),
    /// Its time ran out.
    Over,
}

/// What a walk carries: about as much as a session does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Under {
    steps: u64,
    to: Address,
    luggage: String,
    until: Timestamp,
}

/// Begins a walk.
#[derive(Debug)]
pub struct Begin;

/// What may be asked of it.
#[derive(Debug)]
pub enum Ask {
    /// One step on.
    Go,
    /// How far is it? Nothing is written.
    Look,
}

impl Named for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Look => "look",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Under = "under",
        Over = "over",
    }
}

impl Flow for Walk {
    const NAME: &'static str = "walk";
    const PREFIX: &'static str = "wal";
    type Domain = Auth;
    type Phase = Phase;
    type Start = Begin;
    type Command = Ask;
    type Signal = Never;
    type Outcome = u64;

    fn start(_asked: &Begin, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Auth>) -> Step<Self> {
        // Ten domains, so that no walk waits behind one that goes elsewhere.
        let domain = cx.flow.bytes().last().copied().unwrap_or_default() % 10;
        let to = Address::parse(&format!("walker@d{domain}.example.org")).expect("an address");
        let under = Under { steps: 0, to, luggage: "l".repeat(240), until: cx.now.after(Duration::from_secs(86_400)) };
        go(Self::Under(Box::new(under))).says(0)
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, _cx: &Cx<'_, Auth>) -> Step<Self> {
        match (self, input) {
            (Self::Under(under), Input::Asked(Ask::Go)) => {
                let steps = under.steps + 1;
                let letter = Letter::RegistrationWelcome { to: under.to.clone() };
                let under = Under { steps, ..(**under).clone() };
                go(Self::Under(Box::new(under))).deliver(Delivery::Letter(letter)).says(steps)
            }
            (Self::Under(under), Input::Asked(Ask::Look) | Input::Answered { .. }) => stay().says(under.steps),
            (Self::Under(under), Input::Woken) => go(Self::Over).says(under.steps),
            (Self::Over, _) => stay().says(0),
            (_, Input::Told(never)) => match *never {},
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Under(under) => Some(under.until),
            Self::Over => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Under(_) => Phase::Under,
            Self::Over => Phase::Over,
        }
    }
}

/// Takes every letter at once.
struct Taker;

impl Courier<Auth> for Taker {
    fn carry(&self, _parcel: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(std::future::ready(Ok(Answer::default())))
    }
}

/// What went through the store.
#[derive(Debug, Default)]
pub struct Tally {
    pub commits: AtomicU64,
    pub steps: AtomicU64,
    pub settled: AtomicU64,
    /// Nanoseconds within the store's commits.
    pub busy: AtomicU64,
    /// One permit after each commit that settled something.
    pub settling: Notify,
    /// The first step that had a delivery, and the first end of one: the floor writes the same rows.
    sample: OnceLock<Item<Auth>>,
}

/// Figures of a tally at one instant, or between two.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub commits: f64,
    pub steps: f64,
    pub settled: f64,
    pub busy: f64,
}

impl Tally {
    pub fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        Figures {
            commits: of(&self.commits),
            steps: of(&self.steps),
            settled: of(&self.settled),
            busy: of(&self.busy) / 1e9,
        }
    }

    /// A step as the engine had it committed.
    pub fn sample(&self) -> Item<Auth> {
        self.sample.get().expect("there was a step").clone()
    }
}

impl Figures {
    pub fn since(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            steps: self.steps - before.steps,
            settled: self.settled - before.settled,
            busy: self.busy - before.busy,
        }
    }
}

/// The real store, and what goes through it.
struct Counted {
    store: Box<dyn Store<Auth>>,
    tally: Arc<Tally>,
}

impl Passing<Auth> for Counted {
    fn inside(&self) -> &dyn Store<Auth> {
        self.store.as_ref()
    }

    fn commit<'a>(&'a self, batch: &'a [Item<Auth>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            let began = Instant::now();
            let verdicts = self.store.commit(batch).await;
            let tally = &self.tally;
            tally.busy.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            tally.commits.fetch_add(1, Ordering::Relaxed);
            let steps = batch.iter().filter(|item| item.event.is_some()).count();
            tally.steps.fetch_add(steps as u64, Ordering::Relaxed);
            let settled = batch.iter().filter(|item| item.settles.is_some()).count();
            if settled > 0 {
                tally.settled.fetch_add(settled as u64, Ordering::Relaxed);
                tally.settling.notify_one();
            }
            if tally.sample.get().is_none()
                && let Some(step) = batch.iter().find(|item| !item.outbox.is_empty())
            {
                let _ = tally.sample.set(step.clone());
            }
            verdicts
        })
    }
}

/// A running engine.
pub struct Rig {
    pub engine: Engine<Auth>,
    pub tally: Arc<Tally>,
    _supervision: Supervision,
}

/// What clients got done.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub steps_per_second: f64,
    /// What the store had to do for it.
    pub store: Figures,
}

impl Rig {
    /// Over a database (a path, or the URL of PostgreSQL), with a key beside it in a folder.
    pub async fn open(address: &str, folder: &Path) -> Self {
        Self::open_with(address, folder, |_, _| Arc::new(Taker)).await
    }

    /// The same with somebody else to carry the letters.
    pub async fn open_with(
        address: &str,
        folder: &Path,
        courier: impl FnOnce(&Arc<Environment>, &Arc<SystemClock>) -> Arc<dyn Courier<Auth>>,
    ) -> Self {
        let clock = Arc::new(SystemClock::ahead(0));
        let database = Database::open(address, &Options::default()).await.unwrap();
        let master = MasterKey::create_or_load(&folder.join("bench-master.key")).unwrap();
        let (ring, signing) = cairn_persistence::keys::open(&database, &master, clock.now()).await.unwrap();
        let environment =
            Arc::new(Environment { ring: Arc::new(ring), signing: Arc::new(signing), settings: Settings::default() });
        let host = ActorHost::new(Arc::new(|why| panic!("the engine gave up: {why}")));
        let tally = Arc::new(Tally::default());
        let store = Counted { store: Box::new(database.store::<Auth, _>(AuthWrites)), tally: Arc::clone(&tally) };
        let engine = Engine::<Auth>::builder(Parts {
            store: Arc::new(Front(Arc::new(store))),
            courier: courier(&environment, &clock),
            host: Arc::clone(&host) as Arc<dyn Host>,
            clock,
            dice: Arc::new(SystemDice::new()),
            environment,
            node: "bench".to_owned(),
            tuning: Tuning::default(),
        })
        .flow::<Walk>()
        .build();
        let supervision = supervise(host, engine.tasks()).await.unwrap();
        Self { engine, tally, _supervision: supervision }
    }

    /// Begins so many walks.
    pub async fn walks(&self, count: usize) -> Vec<FlowId> {
        let mut flows = Vec::with_capacity(count);
        while flows.len() < count {
            let mut starts = JoinSet::new();
            for _ in 0..(count - flows.len()).min(256) {
                let engine = self.engine.clone();
                starts.spawn(async move { engine.start::<Walk>(engine.asker("bench"), Begin).await.unwrap().flow });
            }
            flows.extend(starts.join_all().await);
        }
        flows
    }

    /// One client a walk, each asking for the next step as soon as it has the answer to the last.
    pub async fn pace(&self, walks: &[FlowId], span: Duration) -> Pace {
        let before = self.tally.figures();
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for walk in walks.iter().copied() {
            let engine = self.engine.clone();
            clients.spawn(async move {
                let mut steps = 0_u64;
                while began.elapsed() < span {
                    engine.call::<Walk>(walk, engine.asker("bench"), Ask::Go).await.unwrap();
                    steps += 1;
                }
                steps
            });
        }
        let steps: u64 = clients.join_all().await.into_iter().sum();
        let steps_per_second = steps as f64 / began.elapsed().as_secs_f64();
        self.quiet().await;
        Pace { steps_per_second, store: self.tally.figures().since(before) }
    }

    /// Waits until every letter is settled.
    pub async fn quiet(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while self.engine.store().backlog().await.unwrap().pending > 0 {
            tick.tick().await;
        }
    }
}
