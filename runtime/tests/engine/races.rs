//! Two nodes over one store decide at once, in thousands of orders, each of which its seed repeats.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::engine::{InFlight, Reply};
use cairn_runtime::shell::{Body, Mailbox, Message};
use cairn_runtime::testing::clock::{BEGINNING, FixedClock, SeededDice};
use cairn_runtime::testing::executor::{Executor, NodeHandle};
use cairn_runtime::testing::scenarios::stage;
use cairn_runtime::testing::scenarios::town::Town;
use cairn_runtime::testing::store::{FaultRates, SimStore};
use cairn_runtime::testing::toy::{Child, Gate, Parent, Ticket, Toy, ToyWrite, child, gate, parent, ticket};
use cairn_runtime::{Asker, Engine, Fault, Flow, FlowId, Host, Parts, Tuning, pump};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, join_all, select};
use tokio::sync::{Notify, mpsc};

use crate::support::{DAY, HOUR, repeating};

const SEEDS: u64 = 1_000;

/// Tasks and shells on one node of a seeded executor.
struct Seeded(NodeHandle);

struct Shell {
    messages: mpsc::UnboundedSender<Message>,
    stop: Notify,
    kill: Notify,
}

impl Mailbox for Shell {
    fn send(&self, message: Message) -> Result<(), Message> {
        self.messages.send(message).map_err(|refused| refused.0)
    }

    fn stop(&self) {
        self.stop.notify_one();
    }

    fn kill(&self) {
        self.kill.notify_one();
    }
}

impl Host for Seeded {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(span)
    }

    fn hatch(&self, _flow: FlowId, mut body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        let node = self.0.clone();
        Box::pin(async move {
            let (messages, mut mailbox) = mpsc::unbounded_channel();
            let shell = Arc::new(Shell { messages, stop: Notify::new(), kill: Notify::new() });
            let inside = Arc::clone(&shell);
            node.spawn(Box::pin(async move {
                loop {
                    let told = select(Box::pin(inside.kill.notified()), Box::pin(inside.stop.notified()));
                    let Either::Right((Some(message), _)) = select(told, pin!(mailbox.recv())).await else { return };
                    if let Either::Left(_) = select(pin!(inside.kill.notified()), body.serve(message)).await {
                        return;
                    }
                }
            }));
            Some(shell as Arc<dyn Mailbox>)
        })
    }

    fn abort(&self, why: &str) {
        panic!("{why}");
    }
}

/// Two nodes over one store whose calls take their time, so that everything overtakes everything.
struct Race {
    executor: Executor,
    sim: Arc<SimStore<Toy>>,
    nodes: [Engine<Toy>; 2],
    clock: Arc<FixedClock>,
}

impl Race {
    fn of(seed: u64) -> Self {
        let clock = Arc::new(FixedClock::default());
        let executor = Executor::new(seed, Arc::clone(&clock));
        let sim = Arc::new(SimStore::new());
        sim.set_faults(FaultRates { late: 400, ..FaultRates::default() }, seed, None);
        let node = |name: &str, number: u64| {
            let handle = executor.node(name);
            let engine = stage::engine(Parts {
                store: Arc::clone(&sim) as _,
                courier: Arc::new(Town::default()),
                host: Arc::new(Seeded(handle.clone())),
                clock: Arc::clone(&clock) as _,
                dice: Arc::new(SeededDice::new(2 * seed + number)),
                environment: Arc::new(()),
                node: name.to_owned(),
                tuning: Tuning::default(),
            });
            let committer = engine.tasks().into_iter().find(|task| task.name == "committer").unwrap();
            handle.spawn((committer.begin)());
            engine
        };
        let nodes = [node("one", 0), node("two", 1)];
        Self { executor, sim, nodes, clock }
    }

    /// Runs all of these beside each other, and gives their ends in order.
    fn all<T: Send + 'static>(&self, runners: Vec<BoxFuture<'static, T>>) -> Vec<T> {
        self.executor.block_on(join_all(runners))
    }

    fn run<T: Send + 'static>(&self, one: impl Future<Output = T> + Send + 'static) -> T {
        self.all(vec![one.boxed()]).remove(0)
    }

    fn sum(&self, counter: &str) -> i64 {
        let written = self.sim.written();
        written.iter().map(|(_, ToyWrite::Add { counter: of, by })| if of == counter { *by } else { 0 }).sum()
    }

    /// What must hold after every race.
    fn check(&self, seed: u64) {
        self.executor.settle();
        let audit = self.sim.inspect(|tables| tables.audit(BEGINNING));
        assert_eq!(audit.findings, [], "seed {seed}: no gaps");
        assert_eq!(self.sim.violations(), Vec::<String>::new(), "seed {seed}");
        assert_eq!(self.executor.panics(), [], "seed {seed}");
        for engine in &self.nodes {
            self.clock.advance(Duration::from_secs(1));
            engine.passivate_idle(Duration::ZERO);
            self.executor.settle();
            assert_eq!(engine.in_flight(), InFlight::default(), "seed {seed}");
        }
    }
}

type Told<F> = Result<Reply<<F as Flow>::Outcome>, Fault>;

/// Asks until the others are not faster any more, always as the same asker.
fn insist<F: Flow<Domain = Toy>>(
    engine: &Engine<Toy>,
    flow: FlowId,
    asker: Asker,
    ask: F::Command,
) -> BoxFuture<'static, Reply<F::Outcome>>
where
    F::Command: Clone,
{
    let engine = engine.clone();
    Box::pin(async move {
        loop {
            match engine.call::<F>(flow, asker.clone(), ask.clone()).await {
                Ok(reply) => return reply,
                Err(Fault::Contended) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
    })
}

fn issue(name: &str, fence: Option<i64>) -> ticket::Issue {
    let fence = fence.map(|number| ticket::Fence { name: "north".to_owned(), number });
    ticket::Issue { name: name.to_owned(), fence, lasts: HOUR }
}

fn begin<F: Flow<Domain = Toy>>(engine: &Engine<Toy>, asker: Asker, start: F::Start) -> BoxFuture<'static, Told<F>> {
    let engine = engine.clone();
    Box::pin(async move { engine.start::<F>(asker, start).await })
}

#[test]
fn of_many_steps_at_once_each_counts_once() {
    let mut direct = 0;
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let ticket = race.run(begin::<Ticket>(&race.nodes[0], repeating(1, 1), issue("ada", None))).unwrap().flow;
        let mut stamps: Vec<BoxFuture<'static, Option<Reply<ticket::Says>>>> = Vec::new();
        for number in 0..6 {
            let stamping =
                insist::<Ticket>(&race.nodes[number % 2], ticket, repeating(10 + number as u64, 1), ticket::Ask::Stamp);
            stamps.push(stamping.map(Some).boxed());
        }
        // Whoever has the shell loses it once in a while.
        let killer = race.nodes[(seed % 2) as usize].clone();
        stamps.push(Box::pin(async move {
            for _ in 0..seed % 16 {
                tokio::task::yield_now().await;
            }
            killer.kill_shell(ticket);
            None
        }));
        let told: Vec<Reply<ticket::Says>> = race.all(stamps).into_iter().flatten().collect();
        direct += told.iter().filter(|reply| reply.method == cairn_runtime::Method::Direct).count();
        let counted: BTreeSet<u64> = told
            .iter()
            .map(|reply| {
                assert_eq!(reply.outcome, ticket::Says::Good { stamps: reply.version as u32 - 1 }, "seed {seed}");
                reply.version
            })
            .collect();
        assert_eq!(counted, (2..=7).collect(), "seed {seed}: each has a version of its own");
        assert_eq!(race.sum("stamps"), 6, "seed {seed}");
        race.check(seed);
    }
    assert!(direct > 10, "some shell died with a command in its hands: {direct}");
}

#[test]
fn a_name_has_one_winner_and_the_loser_leaves_nothing() {
    let mut winners = BTreeSet::new();
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let begun = (0..4)
            .map(|number| begin::<Ticket>(&race.nodes[number % 2], repeating(number as u64, 1), issue("ada", None)))
            .collect();
        let told: Vec<ticket::Says> = race.all(begun).into_iter().map(|told| told.unwrap().outcome).collect();
        let good: Vec<usize> = (0..4).filter(|place| told[*place] == ticket::Says::Good { stamps: 0 }).collect();
        assert_eq!(good.len(), 1, "seed {seed}: {told:?}");
        assert_eq!(told.iter().filter(|says| **says == ticket::Says::NameTaken).count(), 3, "seed {seed}");
        assert_eq!((race.sim.rows().len(), race.sim.events().len(), race.sum("issued")), (1, 1, 1), "seed {seed}");
        winners.extend(good);
        race.check(seed);
    }
    assert_eq!(winners.len(), 4, "anybody may win");
}

#[test]
fn one_asker_at_two_nodes_is_served_once() {
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let begun = (0..4).map(|number| begin::<Ticket>(&race.nodes[number % 2], repeating(1, 1), issue("ada", None)));
        let told: Vec<Reply<ticket::Says>> = race.all(begun.collect()).into_iter().map(Result::unwrap).collect();
        assert!(told.iter().all(|reply| reply.outcome == ticket::Says::Good { stamps: 0 }), "seed {seed}: {told:?}");
        let flow = told[0].flow;
        let stamps =
            (0..4).map(|number| insist::<Ticket>(&race.nodes[number % 2], flow, repeating(2, 1), ticket::Ask::Stamp));
        let told = race.all(stamps.collect());
        assert!(told.iter().all(|reply| (reply.version, &reply.outcome) == (2, &ticket::Says::Good { stamps: 1 })));
        assert_eq!((race.sum("issued"), race.sum("stamps")), (1, 1), "seed {seed}");
        race.check(seed);
    }
}

#[test]
fn nothing_outlives_a_raised_fence() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let [one, two] = &race.nodes;
        let gate =
            race.run(begin::<Gate>(one, repeating(1, 1), gate::Build { fence: "north".to_owned() })).unwrap().flow;
        let ticket = race.run(begin::<Ticket>(two, repeating(2, 1), issue("ada", Some(0)))).unwrap().flow;
        // The fence is raised on one node while the other stamps, looks, and issues another ticket under the old number.
        let raised = insist::<Gate>(one, gate, repeating(3, 1), gate::Ask::Raise).map(|_| ());
        let stamped = insist::<Ticket>(two, ticket, repeating(4, 1), ticket::Ask::Stamp).map(|_| ());
        let looked = insist::<Ticket>(one, ticket, repeating(5, 1), ticket::Ask::Look).map(|_| ());
        let issued = begin::<Ticket>(two, repeating(6, 1), issue("eve", Some(0))).map(|told| drop(told.unwrap()));
        race.all(vec![raised.boxed(), stamped.boxed(), looked.boxed(), issued.boxed()]);
        assert_eq!(race.sim.guards()["fence:north"], 1, "seed {seed}");
        let log: Vec<(u64, bool)> = race.sim.inspect(|tables| {
            let bumps = |item: &cairn_runtime::testing::store::Logged| {
                item.guards.iter().any(|guard| matches!(guard, cairn_runtime::Guard::Bump(..)))
            };
            tables.log.iter().map(|item| (item.writes as u64, bumps(item))).collect()
        });
        let raise = log.iter().position(|(_, bump)| *bump).unwrap();
        assert!(
            log[raise..].iter().all(|(writes, _)| *writes == 0),
            "seed {seed}: something was written under the old number"
        );
        if log[..raise].iter().map(|(writes, _)| *writes).sum::<u64>() > 1 {
            before += 1
        } else {
            after += 1
        }
        let late = race.run(insist::<Ticket>(two, ticket, repeating(7, 1), ticket::Ask::Stamp));
        assert!(matches!(late.outcome, ticket::Says::Void | ticket::Says::Over), "seed {seed}: {late:?}");
        race.check(seed);
    }
    assert!(before > 50 && after > 50, "both orders were seen: {before}, {after}");
}

#[test]
fn a_timer_against_a_command_has_one_order() {
    let (mut expired, mut closed) = (0, 0);
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let [one, two] = &race.nodes;
        let ticket = race.run(begin::<Ticket>(one, repeating(1, 1), issue("ada", None))).unwrap().flow;
        // One node's pump finds it overdue; the other's command arrives as the hour ends.
        let pumping = one.clone();
        let clock = Arc::clone(&race.clock);
        let tick: BoxFuture<'static, ()> = Box::pin(async move {
            for _ in 0..seed % 24 {
                tokio::task::yield_now().await;
            }
            clock.advance(HOUR);
            pump::tick(&pumping).await.unwrap();
        });
        let close = insist::<Ticket>(two, ticket, repeating(2, 1), ticket::Ask::Close).map(|_| ());
        race.all(vec![tick, close.boxed()]);
        race.run({
            let engine = one.clone();
            async move { while pump::tick(&engine).await.unwrap() > 0 {} }
        });
        let row = race.sim.rows().remove(0);
        match row.phase.as_str() {
            "expired" => expired += 1,
            "closed" => closed += 1,
            phase => panic!("seed {seed}: {phase}"),
        }
        assert_eq!((row.version, race.sim.guards().len()), (2, 0), "seed {seed}: one of the two, and the name is free");
        race.check(seed);
    }
    assert!(expired > 50 && closed > 50, "both orders were seen: {expired}, {closed}");
}

#[test]
fn signals_cross_and_each_counts_once() {
    let mut ends = BTreeSet::new();
    for seed in 0..SEEDS {
        let race = Race::of(seed);
        let [one, two] = &race.nodes;
        let send = parent::SendOut { children: 2, patience: DAY };
        let parent = race.run(begin::<Parent>(one, repeating(1, 1), send)).unwrap();
        let parent::Says::Out { out } = parent.outcome else { panic!("two are out") };
        let finish = |engine, child: FlowId, number| {
            insist::<Child>(engine, child, repeating(number, 1), child::Ask::Finish).map(|_| ()).boxed()
        };
        let mut runners = vec![finish(two, out[0], 2), finish(one, out[1], 3)];
        if seed % 2 == 0 {
            let off = insist::<Parent>(two, parent.flow, repeating(4, 1), parent::Ask::CallOff);
            runners.push(off.map(|_| ()).boxed());
        }
        race.all(runners);
        // What was handed over in memory is on its way; what was not is found by either pump.
        for engine in [one, two, one] {
            race.executor.settle();
            race.clock.advance(Duration::from_secs(30));
            let engine = engine.clone();
            race.run(async move { pump::deliver(&engine).await.unwrap() });
        }
        race.executor.settle();
        assert!(race.sim.outbox().iter().all(|delivery| delivery.settled.is_some()), "seed {seed}: I5");
        let row = race.sim.inspect(|tables| tables.rows[&parent.flow].row.clone());
        let home = race.sum("came home");
        ends.insert((row.phase.clone(), home));
        assert!(
            home <= 2 && row.version == 2 + home.unsigned_abs() - u64::from(row.phase == "complete"),
            "seed {seed}"
        );
        race.check(seed);
    }
    assert!(ends.len() >= 3, "crossed in different ways: {ends:?}");
}
