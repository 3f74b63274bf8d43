//! Whole clusters in one thread, with everything going wrong that can, again exactly as before from the same seed.
//!
//! Several nodes, each a whole engine with its committer, outbox, wake pump, slots and shells, run on one executor over
//! one store in memory; neither actors nor sockets nor real time take part. What happens and what fails is drawn from
//! one seed: nodes die at named points and between them, commits are late, lost or of unknown fate, deliveries are slow
//! and dead, clocks jump. What must hold (I1 to I9) is looked at after every write, and at the end, when all is calm.
//!
//! A [`Workload`] says what clients do and what its domain promises; see [`prove`] for how a test runs it.

#![allow(
    clippy::missing_panics_doc,
    reason = "a simulation is a test that other crates run: it asserts, and a panic is its verdict"
)]

mod altered;
mod client;
mod cluster;
mod edges;
mod fate;
mod host;
mod judge;
mod trouble;
mod workload;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use self::altered::altering;
pub use self::fate::{Faults, Figures};
pub use self::workload::{Desk, Heard, Next, Order, Told, Workload};

use self::client::Clients;
use self::cluster::Cluster;
use self::edges::{Shared, Watched, with};
use self::fate::Fate;
use self::judge::Judge;
use crate::clock::Clock;
use crate::engine::Tuning;
use crate::flow::Domain;
use crate::store::Store;
use crate::testing::clock::{FixedClock, Rng};
use crate::testing::executor::Executor;
use crate::testing::store::{SimStore, Sleep};

/// Polls within one second of driven time after which a history is said to run in circles.
const POLLS: u64 = 2_000_000;
/// How long it storms at most, in seconds of driven time.
const STORM: u64 = 900;
/// Seconds of driven time that clients have to come to their ends once it is calm.
const PATIENCE: u64 = 1_200;
/// Seconds of driven time, and as many leaps of the clock, until all deliveries have ended.
const TIDYING: u64 = 900;

/// How far the clock leaps, one after the other, when all clients have gone home.
const LEAPS: &[Duration] = &[Duration::ZERO, Duration::from_secs(3_600), Duration::from_secs(25 * 3_600)];

/// Puts another store between the nodes and the one in memory.
pub type Between<D> = Arc<dyn Fn(Arc<SimStore<D>>) -> Arc<dyn Store<D>> + Send + Sync>;

/// How a history is run.
pub struct Settings<D: Domain> {
    /// Nodes.
    pub nodes: usize,
    /// Clients.
    pub clients: usize,
    /// Orders that all clients together may give.
    pub commands: u64,
    /// What goes wrong; drawn from the seed when `None`.
    pub faults: Option<Faults>,
    /// Bounds and spans of the engines; drawn from the seed when `None`.
    pub tuning: Option<Tuning>,
    /// How far the clock leaps, one after the other, when all clients have gone home, so that whatever waits is woken:
    /// at once, by an hour and by a day unless somebody waits longer.
    pub leaps: &'static [Duration],
    /// What stands between the nodes and the store: a mutant, to see that it is found.
    pub between: Option<Between<D>>,
    /// Keeps a chronicle, which a failure then prints.
    pub chronicle: bool,
}

impl<D: Domain> Default for Settings<D> {
    fn default() -> Self {
        Self {
            nodes: 3,
            clients: 12,
            commands: 1_000,
            faults: None,
            tuning: None,
            leaps: LEAPS,
            between: None,
            chronicle: false,
        }
    }
}

impl<D: Domain> Clone for Settings<D> {
    fn clone(&self) -> Self {
        Self { tuning: self.tuning.clone(), between: self.between.clone(), ..*self }
    }
}

/// A history in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened, counted.
    pub figures: Figures,
    /// Stands for the whole course of it; see [`Executor::course`].
    pub course: u64,
    /// Stands for all that was committed.
    pub committed: u64,
    /// How long it took in driven time.
    pub elapsed: Duration,
}

/// A history in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The seed that brings it back.
    pub seed: u64,
    /// What did not hold.
    pub what: Vec<String>,
    /// What happened before, as far as a chronicle was kept.
    pub chronicle: Vec<String>,
    /// What happened until then.
    pub report: Report,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.chronicle {
            writeln!(f, "    {line}")?;
        }
        for what in &self.what {
            writeln!(f, "  {what}")?;
        }
        writeln!(f, "  after {:?}: {}", self.report.elapsed, self.report.figures)?;
        write!(f, "CAIRN_TEST_SEED={} replays it", self.seed)
    }
}

/// Bounds and spans, from very narrow to very wide.
fn tuning(rng: &mut Rng) -> Tuning {
    let mut one = |among: &[usize]| rng.pick(among).copied().unwrap_or(1);
    let (commands, per_flow, queue) = (one(&[8, 1_000, 10_000]), one(&[1, 4, 64]), one(&[8, 64, 8_192]));
    let (batch, shells, deliveries) = (one(&[1, 4, 256]), one(&[4, 50_000]), one(&[1, 8, 1_024]));
    let (idle, patience) = (one(&[500, 8_000, 60_000]), one(&[100, 1_000, 10_000]));
    let millis = |count: usize| Duration::from_millis(count as u64);
    Tuning {
        commands,
        per_flow,
        queue,
        batch,
        shells,
        deliveries,
        idle: millis(idle),
        patience: millis(patience),
        ..Tuning::default()
    }
}

/// Runs one history.
///
/// # Errors
/// What did not hold. The same seed, settings and workload give the same, to the last poll.
pub fn run<D: Domain, W: Workload<D>>(seed: u64, settings: &Settings<D>, workload: W) -> Result<Report, Box<Broken>> {
    History::new(seed, settings, workload).run()
}

struct History<D: Domain> {
    seed: u64,
    cluster: Arc<Cluster<D>>,
    crowd: Arc<Clients>,
    clients: usize,
    nodes: usize,
    leaps: &'static [Duration],
}

impl<D: Domain> History<D> {
    fn new(seed: u64, settings: &Settings<D>, workload: impl Workload<D>) -> Self {
        let mut rng = Rng::new(seed);
        let executor = Executor::new(rng.next_u64(), Arc::new(FixedClock::default()));
        let faults = settings.faults.unwrap_or_else(|| Faults::drawn(&mut rng));
        let tuning = settings.tuning.clone().unwrap_or_else(|| tuning(&mut rng));
        let outside = executor.node("outside");
        let memory = Arc::new(SimStore::<D>::new());
        let sleeper = outside.clone();
        let sleep: Sleep = Arc::new(move |span| sleeper.sleep(span));
        memory.set_faults(faults.rates, rng.next_u64(), Some(sleep));
        let workload: Shared<D> = Arc::new(Mutex::new(Box::new(workload)));
        let environment = with(&workload, |workload| workload.environment());
        let fate = Arc::new(Fate::new(rng.fork(), faults, settings.chronicle));
        let judge = Arc::new(Judge::new(Arc::clone(&memory), Arc::clone(&environment), Arc::clone(&fate)));
        let inside = match &settings.between {
            Some(between) => between(Arc::clone(&memory)),
            None => Arc::clone(&memory) as Arc<dyn Store<D>>,
        };
        let store = Arc::new(Watched { inside, judge: Arc::clone(&judge), fate: Arc::clone(&fate) });
        let cluster = Cluster {
            executor,
            outside,
            fate,
            judge,
            memory,
            workload,
            store,
            tuning,
            alone: settings.nodes == 1,
            environment,
            places: Mutex::default(),
            engines: Mutex::default(),
        };
        let crowd = Clients { left: AtomicU64::new(settings.commands), present: AtomicUsize::new(settings.clients) };
        Self {
            seed,
            cluster: Arc::new(cluster),
            crowd: Arc::new(crowd),
            clients: settings.clients,
            nodes: settings.nodes,
            leaps: settings.leaps,
        }
    }

    fn run(self) -> Result<Report, Box<Broken>> {
        let Cluster { outside, .. } = &*self.cluster;
        self.cluster.begin(self.nodes);
        for number in 0..self.clients {
            let client = client::live(number, Arc::clone(&self.cluster), Arc::clone(&self.crowd));
            outside.spawn(Box::pin(client));
        }
        outside.spawn(Box::pin(trouble::revive(Arc::clone(&self.cluster))));
        outside.spawn(Box::pin(trouble::trouble(Arc::clone(&self.cluster))));

        let all_home = || self.crowd.present.load(Ordering::SeqCst) == 0;
        let _ = self.drive(STORM, all_home);
        trouble::calm(&self.cluster);
        if !self.drive(PATIENCE, all_home) && self.cluster.judge.broken().is_empty() {
            let waiting = self.crowd.present.load(Ordering::SeqCst);
            self.cluster.judge.broke("I9", format!("{waiting} clients wait for answers though all is calm"));
        }
        self.come_to_rest();
        self.look_for_leaks();
        self.verdict()
    }

    /// Lets driven time pass second by second, until something holds or breaks; whether it held.
    fn drive(&self, seconds: u64, until: impl Fn() -> bool) -> bool {
        for second in 0..seconds {
            if until() {
                return true;
            }
            if !self.second() {
                return false;
            }
            if second % 32 == 8 {
                self.ask_workload(false);
            }
        }
        until()
    }

    fn second(&self) -> bool {
        if !self.cluster.executor.run_for_within(Duration::from_secs(1), POLLS) {
            self.cluster.judge.broke("I9", "something runs in circles and lets no time pass".to_owned());
        }
        self.cluster.judge.broken().is_empty()
    }

    fn ask_workload(&self, at_rest: bool) {
        let Cluster { workload, memory, judge, .. } = &*self.cluster;
        let wrong = with(workload, |workload| {
            memory.inspect(|tables| if at_rest { workload.amiss_at_rest(tables) } else { workload.amiss(tables) })
        });
        for what in wrong {
            judge.broke("I8", what);
        }
    }

    /// Has every flow woken that waits for something within the leaps, and every delivery brought to its end.
    fn come_to_rest(&self) {
        let Cluster { judge, executor, workload, .. } = &*self.cluster;
        let clock = executor.clock();
        for leap in self.leaps {
            clock.advance(*leap);
            let mut seconds = 0;
            while judge.broken().is_empty() && (seconds < 4 || !trouble::is_at_rest(&self.cluster, clock.now())) {
                trouble::operate(&self.cluster, clock.now());
                trouble::leap(&self.cluster);
                if !self.second() || seconds > TIDYING {
                    break;
                }
                seconds += 1;
            }
            if !judge.broken().is_empty() {
                return;
            }
            self.ask_workload(true);
            judge.rest(clock.now(), |row| with(workload, |workload| workload.may_be_set_aside(row)));
        }
        judge.count();
    }

    /// Nothing is in hand when nothing is under way, and nothing of a node outlives it.
    fn look_for_leaks(&self) {
        let Cluster { judge, executor, .. } = &*self.cluster;
        if !judge.broken().is_empty() {
            return;
        }
        // The slowest courier comes home, though somebody else has done his work meanwhile.
        for span in [90, 2] {
            executor.run_for(Duration::from_secs(span));
            executor.clock().advance(Duration::from_millis(10));
            for node in self.cluster.open() {
                node.engine.passivate_idle(Duration::ZERO);
            }
        }
        executor.run_for(Duration::from_secs(1));
        for node in self.cluster.open() {
            let in_flight = node.engine.in_flight();
            if !in_flight.is_empty() {
                judge.broke("I9", format!("{} has {in_flight:?} in hand though nobody asks", node.engine.node()));
            }
        }
        for panicked in executor.panics().iter().filter(|panicked| panicked.why != "without a word") {
            judge.broke("I9", format!("a task of {} panicked: {}", panicked.node, panicked.why));
        }
        self.cluster.end();
        executor.settle();
        let (tasks, engines) = (executor.tasks(), self.cluster.undead());
        if tasks + engines > 0 {
            judge.broke("I9", format!("{tasks} tasks and {engines} engines outlive their nodes"));
        }
    }

    fn verdict(self) -> Result<Report, Box<Broken>> {
        let Cluster { executor, judge, fate, memory, .. } = &*self.cluster;
        let mut figures = fate.figures();
        figures.seeds = 1;
        let committed = memory.inspect(|tables| {
            let mut sum = 0;
            for line in &tables.log {
                let halves = line.input.bytes().chunks_exact(8).filter_map(|half| half.first_chunk());
                sum = halves.fold(sum, |sum, half| Rng::new(sum ^ u64::from_be_bytes(*half)).next_u64());
            }
            sum
        });
        let report = Report { figures, course: executor.course(), committed, elapsed: executor.elapsed() };
        let (what, chronicle) = (judge.broken(), fate.chronicle());
        self.cluster.end();
        executor.settle();
        if what.is_empty() { Ok(report) } else { Err(Box::new(Broken { seed: self.seed, what, chronicle, report })) }
    }
}

/// Runs one history after the other until clients have given so many commands; gives what happened in all of them.
///
/// Histories are independent of each other, so they are shared out among the machine's cores. `CAIRN_TEST_SEED` runs
/// that seed alone. A history that fails is run once more from its seed, to get its chronicle and to see that it fails in
/// the same way.
pub fn prove<D: Domain, W: Workload<D>>(
    commands: u64,
    settings: &Settings<D>,
    workload: impl Fn() -> W + Sync,
) -> Figures {
    let judged = |seed| match run(seed, settings, workload()) {
        Ok(report) => report.figures,
        Err(broken) => match run(seed, &Settings { chronicle: true, ..settings.clone() }, workload()) {
            Err(again) if again.report == broken.report => panic!("a promise is broken\n{again}"),
            _ => panic!("a promise is broken, and the seed does not replay\n{broken}"),
        },
    };
    if let Some(only) = std::env::var("CAIRN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return judged(only);
    }
    let figures = Mutex::new(Figures::default());
    let done = || *figures.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut first = 1;
    while done().commands < commands {
        let end = first + (commands - done().commands).div_ceil(settings.commands.max(1));
        let next = AtomicU64::new(first);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= end {
                            break;
                        }
                        let report = judged(seed);
                        figures.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
                    }
                });
            }
        });
        first = end;
    }
    done()
}

/// How many commands a test gives: `usual`, or ten times as many where `CAIRN_PROVE` asks for it.
pub fn how_many(usual: u64) -> u64 {
    if std::env::var_os("CAIRN_PROVE").is_some() { usual * 10 } else { usual }
}
