//! The flows in an engine over the store in memory: time is driven, tasks run in the order of a seed, nodes die.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_runtime::engine::Parts;
use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use cairn_runtime::shell::{Body, Mailbox};
use cairn_runtime::testing::clock::{FixedClock, SeededDice};
use cairn_runtime::testing::executor::{Executor, NodeHandle};
use cairn_runtime::testing::store::SimStore;
use cairn_runtime::testing::toy::{Toy, ToyAnswer, ToyDelivery};
use cairn_runtime::{DeliveryId, Engine, FlowId, Host, Tuning, pump};
use futures_util::future::BoxFuture;

use crate::lending::{Ask, Borrow, LOAN, Lending, Says};
use crate::reservation::{Reservation, Reserve};

/// Where a node's tasks run. It has no shells: then every input goes directly, which is as safe.
struct Desk(NodeHandle);

impl Host for Desk {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(span)
    }

    fn hatch(&self, _flow: FlowId, _body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        Box::pin(async { None })
    }

    fn abort(&self, why: &str) {
        panic!("{why}");
    }
}

/// The postman: remembers what he carried.
#[derive(Default)]
struct Post(Mutex<Vec<(DeliveryId, ToyDelivery)>>);

impl Post {
    fn carried(&self) -> Vec<(DeliveryId, ToyDelivery)> {
        self.0.lock().unwrap().clone()
    }
}

impl Courier<Toy> for Post {
    fn carry(&self, attempt: DeliveryAttempt<Toy>) -> BoxFuture<'_, Result<ToyAnswer, Trouble>> {
        self.0.lock().unwrap().push((attempt.id, attempt.delivery));
        Box::pin(async { Ok(ToyAnswer::Taken) })
    }
}

/// A library whose nodes may die: executor, store and postman outlive them.
struct Library {
    executor: Executor,
    store: Arc<SimStore<Toy>>,
    post: Arc<Post>,
}

impl Library {
    fn new(seed: u64) -> Self {
        let executor = Executor::new(seed, Arc::new(FixedClock::default()));
        Self { executor, store: Arc::new(SimStore::new()), post: Arc::default() }
    }

    // begin: engine
    /// A process: its engine, with the committer running. Outbox and wake pump are driven by the test.
    fn opens(&self, seed: u64) -> (NodeHandle, Engine<Toy>) {
        let node = self.executor.node("desk");
        let engine = Engine::builder(Parts {
            store: Arc::clone(&self.store) as _,
            courier: Arc::clone(&self.post) as _,
            host: Arc::new(Desk(node.clone())),
            clock: self.executor.clock(),
            dice: Arc::new(SeededDice::new(seed)),
            environment: Arc::new(()),
            node: "desk".to_owned(),
            tuning: Tuning::default(),
        })
        .flow::<Lending>()
        .flow::<Reservation>()
        .build();
        let committer = engine.tasks().into_iter().find(|task| task.name == "committer").unwrap();
        node.spawn((committer.begin)());
        (node, engine)
    }
    // end: engine

    fn lends(&self, engine: &Engine<Toy>, reader: &str) -> (FlowId, Says) {
        let (engine, reader) = (engine.clone(), reader.to_owned());
        let borrow = Borrow { copy: "Persuasion".to_owned(), reader };
        let asked = async move { engine.start::<Lending>(engine.asker("test"), borrow).await };
        let reply = self.executor.block_on(asked).unwrap();
        (reply.flow, reply.outcome)
    }

    fn asks(&self, engine: &Engine<Toy>, flow: FlowId, ask: Ask) -> Says {
        let engine = engine.clone();
        self.executor
            .block_on(async move { engine.call::<Lending>(flow, engine.asker("test"), ask).await })
            .unwrap()
            .outcome
    }

    fn reserves(&self, engine: &Engine<Toy>, loan: FlowId, reader: &str) -> FlowId {
        let (engine, reader) = (engine.clone(), reader.to_owned());
        let reserve = Reserve { loan, reader };
        let asked = async move { engine.start::<Reservation>(engine.asker("test"), reserve).await };
        self.executor.block_on(asked).unwrap().flow
    }

    fn phase(&self, flow: FlowId) -> String {
        self.store.rows().into_iter().find(|row| row.id == flow).unwrap().phase
    }
}

// begin: due
#[test]
fn a_loan_falls_due_though_nobody_asks() {
    let library = Library::new(1);
    let (_node, engine) = library.opens(1);
    let (loan, _) = library.lends(&engine, "ada");
    library.executor.clock().advance(LOAN);
    let waking = engine.clone();
    assert_eq!(library.executor.block_on(async move { pump::tick(&waking).await }), Ok(1));
    library.executor.settle();
    assert_eq!(library.phase(loan), "overdue");
    let letter = ToyDelivery::Note { to: "ada".to_owned(), text: "Persuasion is due".to_owned() };
    assert!(matches!(library.post.carried().as_slice(), [(_, carried)] if *carried == letter));
}
// end: due

#[test]
fn one_copy_is_lent_to_one_reader_at_a_time() {
    let library = Library::new(1);
    let (_node, engine) = library.opens(1);
    let (loan, _) = library.lends(&engine, "ada");
    assert_eq!(library.lends(&engine, "eve").1, Says::LentAlready);
    let events = library.store.events().len();
    assert!(matches!(library.asks(&engine, loan, Ask::Look), Says::Out { .. }));
    assert_eq!(library.store.events().len(), events, "to look costs nothing");
    assert_eq!(library.asks(&engine, loan, Ask::Return), Says::Back);
    assert!(matches!(library.lends(&engine, "eve").1, Says::Out { .. }));
    assert_eq!(library.store.rows().len(), 2, "a refused start leaves no row");
}

// begin: death
#[test]
fn whoever_waits_is_told_though_the_node_dies_when_the_copy_comes_back() {
    for seed in 0..100 {
        let library = Library::new(seed);
        let (node, engine) = library.opens(seed);
        let (loan, _) = library.lends(&engine, "ada");
        let waits = library.reserves(&engine, loan, "eve");
        library.executor.settle();
        assert_eq!(library.asks(&engine, loan, Ask::Renew), Says::SomebodyWaits);
        assert_eq!(library.asks(&engine, loan, Ask::Return), Says::Back);
        node.kill(); // acknowledged; whether the signal was on its way, the seed decides

        let (_node, engine) = library.opens(seed + 1_000);
        library.executor.clock().advance(Duration::from_secs(60)); // the dead node's claims run out
        for _ in 0..3 {
            let delivering = engine.clone();
            library.executor.block_on(async move { pump::deliver(&delivering).await }).unwrap();
            library.executor.settle();
        }
        assert_eq!(library.phase(waits), "ready");
        let carried = library.post.carried();
        let (first, _) = carried.first().expect("the letter went out");
        assert!(carried.iter().all(|(id, _)| id == first), "perhaps twice, yet as one delivery");
        assert_eq!(library.store.violations(), [""; 0]);
    }
}
// end: death
