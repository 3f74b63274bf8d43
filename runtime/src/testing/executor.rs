//! Tasks, timers and dying nodes in one thread, in an order that a seed decides and the same seed repeats.
//!
//! No runtime is needed: the synchronization primitives of tokio work under any executor. Its timers do not, and its
//! unbiased `select!` rolls dice of its own: what runs here sleeps through [`NodeHandle::sleep`] and selects `biased`.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::clock::{FixedClock, Rng};
use crate::clock::{Clock, Timestamp};

type TaskId = u64;

/// The executor. A clone is another handle of the same.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ready: Arc<Mutex<Ready>>,
    clock: Arc<FixedClock>,
}

struct State {
    rng: Rng,
    tasks: BTreeMap<TaskId, Task>,
    next_task: TaskId,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
    /// What has passed since the beginning. It never goes back, whatever the clock on the wall does.
    elapsed: Duration,
    polls: u64,
    course: u64,
    panics: Vec<Panicked>,
}

struct Task {
    node: Arc<Node>,
    future: BoxFuture<'static, ()>,
}

#[derive(Default)]
struct Ready {
    order: Vec<TaskId>,
    known: BTreeSet<TaskId>,
}

struct Node {
    name: String,
    dead: AtomicBool,
}

struct TaskWaker {
    task: TaskId,
    ready: Arc<Mutex<Ready>>,
}

/// A task that ended by a panic. Its node lives on, as a process with an asynchronous runtime would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The name of its node.
    pub node: String,
    /// What it said.
    pub why: String,
}

/// Why a run came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Nothing is ready, no timer is set, and what was waited for has not come.
    Deadlock,
    /// So many polls, and still no end.
    Endless,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = lock(&self.ready);
        if ready.known.insert(self.task) {
            ready.order.push(self.task);
        }
    }
}

impl Executor {
    /// An executor with the orders of this seed, which moves this clock when time passes.
    pub fn new(seed: u64, clock: Arc<FixedClock>) -> Self {
        let state = State {
            rng: Rng::new(seed),
            tasks: BTreeMap::new(),
            next_task: 0,
            next_timer: 0,
            timers: BTreeMap::new(),
            elapsed: Duration::ZERO,
            polls: 0,
            course: 0,
            panics: Vec::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ready: Arc::default(), clock }) }
    }

    /// A new node. A node that was killed never comes back; its successor is another one, perhaps of the same name.
    pub fn node(&self, name: &str) -> NodeHandle {
        let node = Arc::new(Node { name: name.to_owned(), dead: AtomicBool::new(false) });
        NodeHandle { executor: self.clone(), node }
    }

    /// The clock on the wall.
    pub fn clock(&self) -> Arc<FixedClock> {
        Arc::clone(&self.shared.clock)
    }

    /// What has passed since the beginning, for tasks; it does not go back when the clock does.
    pub fn elapsed(&self) -> Duration {
        self.state().elapsed
    }

    /// A number that stands for everything that happened so far, in its order: equal for two runs of one seed.
    pub fn course(&self) -> u64 {
        self.state().course
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.state().tasks.len()
    }

    /// The panics so far, except those of [`Executor::block_on`]'s own future.
    pub fn panics(&self) -> Vec<Panicked> {
        self.state().panics.clone()
    }

    /// Polls one task that is ready, chosen by the seed; `false` when none is.
    pub fn step(&self) -> bool {
        let Some(id) = self.choose() else { return false };
        let Some(mut task) = self.state().tasks.remove(&id) else { return true };
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.shared.ready) }));
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut cx)));
        match polled {
            Ok(Poll::Pending) if !task.node.dead.load(Ordering::SeqCst) => {
                self.state().tasks.insert(id, task);
            }
            Ok(_) => drop(task), // outside of every lock: what it drops may wake and spawn
            Err(panic) => {
                let panicked = Panicked { node: task.node.name.clone(), why: message(panic.as_ref()) };
                self.state().panics.push(panicked);
                drop(task);
            }
        }
        true
    }

    fn choose(&self) -> Option<TaskId> {
        let mut state = self.state();
        let mut ready = lock(&self.shared.ready);
        if ready.order.is_empty() {
            return None;
        }
        let place = state.rng.place(ready.order.len());
        let id = ready.order.swap_remove(place);
        ready.known.remove(&id);
        state.polls += 1;
        state.course = Rng::new(state.course ^ id.rotate_left(32) ^ state.polls).next_u64();
        Some(id)
    }

    /// Runs whatever is ready until nothing is. No time passes.
    pub fn settle(&self) {
        while self.step() {}
    }

    /// Lets time jump to the next timer, if there is one up to `end`, and rings all timers of that instant.
    fn jump(&self, end: Option<Duration>) -> bool {
        let Some(next) = self.state().timers.keys().next().map(|(deadline, _)| *deadline) else { return false };
        if end.is_some_and(|end| next > end) {
            return false;
        }
        self.pass_to(next);
        true
    }

    fn pass_to(&self, instant: Duration) {
        let mut rung = Vec::new();
        {
            let mut state = self.state();
            let before = state.elapsed.as_millis();
            state.elapsed = state.elapsed.max(instant);
            let passed = u64::try_from(state.elapsed.as_millis() - before).unwrap_or(u64::MAX);
            self.shared.clock.advance(Duration::from_millis(passed));
            while let Some(first) = state.timers.first_entry().filter(|first| first.key().0 <= instant) {
                rung.push(first.remove());
            }
        }
        rung.into_iter().for_each(Waker::wake);
    }

    /// Runs for a span of driven time: everything that is ready, jumping from timer to timer.
    pub fn run_for(&self, span: Duration) {
        let end = self.elapsed() + span;
        loop {
            self.settle();
            if !self.jump(Some(end)) {
                break;
            }
        }
        self.pass_to(end);
        self.settle();
    }

    /// As [`Executor::run_for`], with at most so many polls; `false` when they did not suffice.
    pub fn run_for_within(&self, span: Duration, polls: u64) -> bool {
        let end = self.elapsed() + span;
        let mut left = polls;
        let mut settle = || {
            while self.step() {
                match left.checked_sub(1) {
                    Some(less) => left = less,
                    None => return false,
                }
            }
            true
        };
        while settle() {
            if !self.jump(Some(end)) {
                self.pass_to(end);
                return settle();
            }
        }
        false
    }

    /// Runs a future and everything beside it until the future ends, with at most so many polls.
    ///
    /// # Errors
    /// When it can never end, or does not.
    ///
    /// # Panics
    /// With the future's own panic.
    pub fn run<T: Send + 'static>(
        &self,
        polls: u64,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stuck> {
        let answer: Arc<Mutex<Option<std::thread::Result<T>>>> = Arc::default();
        let slot = Arc::clone(&answer);
        let outside = self.node("outside");
        outside.spawn(Box::pin(async move {
            let ended = Caught(Box::pin(future)).await;
            *lock(&slot) = Some(ended);
        }));
        for _ in 0..polls {
            if let Some(ended) = lock(&answer).take() {
                return Ok(ended.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            if !self.step() && !self.jump(None) {
                return Err(Stuck::Deadlock);
            }
        }
        outside.kill();
        Err(Stuck::Endless)
    }

    /// As [`Executor::run`], with a hundred million polls.
    ///
    /// # Panics
    /// When the future panics, can never end, or does not.
    pub fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match self.run(100_000_000, future) {
            Ok(answer) => answer,
            Err(Stuck::Deadlock) => panic!("nothing is ready and no timer is set, yet somebody waits"),
            Err(Stuck::Endless) => panic!("a hundred million polls, and no end"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Executor({} tasks, {} polls, {:?})", state.tasks.len(), state.polls, state.elapsed)
    }
}

/// One simulated process: tasks that live and die together. A clone is another handle of the same.
#[derive(Clone)]
pub struct NodeHandle {
    executor: Executor,
    node: Arc<Node>,
}

impl NodeHandle {
    /// Runs a task that nobody waits for; on a dead node, drops it.
    pub fn spawn(&self, task: BoxFuture<'static, ()>) {
        if !self.is_alive() {
            return;
        }
        let mut state = self.executor.state();
        let id = state.next_task;
        state.next_task += 1;
        state.tasks.insert(id, Task { node: Arc::clone(&self.node), future: task });
        drop(state);
        Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.executor.shared.ready) }).wake();
    }

    /// Ends when this span has passed.
    pub fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let deadline = self.executor.elapsed().saturating_add(span);
        Box::pin(Timer { executor: self.executor.clone(), deadline, key: None })
    }

    /// Ends when the clock on the wall will show this instant, unless somebody moves it meanwhile.
    pub fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep(instant.since(self.executor.shared.clock.now()))
    }

    /// Ends the process: its tasks are gone at the point where each waited, and no new one begins.
    pub fn kill(&self) {
        self.node.dead.store(true, Ordering::SeqCst);
        let mut state = self.executor.state();
        let mine: Vec<TaskId> =
            state.tasks.iter().filter(|(_, task)| Arc::ptr_eq(&task.node, &self.node)).map(|(id, _)| *id).collect();
        let killed: Vec<Task> = mine.iter().filter_map(|id| state.tasks.remove(id)).collect();
        drop(state);
        drop(killed);
    }

    /// Whether nobody killed it.
    pub fn is_alive(&self) -> bool {
        !self.node.dead.load(Ordering::SeqCst)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// The executor that it runs on.
    pub const fn executor(&self) -> &Executor {
        &self.executor
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeHandle({}, {})", self.node.name, if self.is_alive() { "alive" } else { "dead" })
    }
}

struct Timer {
    executor: Executor,
    deadline: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut state = executor.state();
        if state.elapsed >= self.deadline {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or((self.deadline, state.next_timer));
        if self.key.replace(key).is_none() {
            state.next_timer += 1;
        }
        state.timers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let gone = self.executor.state().timers.remove(&key);
            drop(gone);
        }
    }
}

/// A future whose panic is its answer.
struct Caught<T>(BoxFuture<'static, T>);

impl<T> Future for Caught<T> {
    type Output = std::thread::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::testing::clock::BEGINNING;

    fn executor(seed: u64) -> Executor {
        Executor::new(seed, Arc::new(FixedClock::default()))
    }

    /// Ten tasks that each send their number three times, with naps in between; the order in which they arrive.
    fn arrivals(seed: u64) -> (Vec<u32>, u64) {
        let executor = executor(seed);
        let node = executor.node("one");
        let (send, mut receive) = mpsc::unbounded_channel();
        for number in 0..10 {
            let (send, node) = (send.clone(), node.clone());
            let task = node.clone();
            node.spawn(Box::pin(async move {
                for _ in 0..3 {
                    send.send(number).unwrap();
                    task.sleep(Duration::from_millis(5)).await;
                }
            }));
        }
        drop(send);
        let arrived = executor.block_on(async move {
            let mut arrived = Vec::new();
            while let Some(number) = receive.recv().await {
                arrived.push(number);
            }
            arrived
        });
        (arrived, executor.course())
    }

    #[test]
    fn one_seed_gives_one_order_and_another_seed_another() {
        let (first, course) = arrivals(1);
        assert_eq!(first.len(), 30);
        assert_eq!((first.clone(), course), arrivals(1));
        assert_ne!(first, arrivals(2).0);
    }

    #[test]
    fn time_jumps_to_the_next_timer_and_stands_still_otherwise() {
        let executor = executor(1);
        let node = executor.node("one");
        let (clock, sleeper) = (executor.clock(), node.clone());
        executor.block_on(async move { sleeper.sleep(Duration::from_secs(3_600)).await });
        assert_eq!(clock.now(), BEGINNING.after(Duration::from_secs(3_600)));
        executor.settle();
        assert_eq!(clock.now(), BEGINNING.after(Duration::from_secs(3_600)));
        executor.run_for(Duration::from_millis(1_500));
        assert_eq!(executor.elapsed(), Duration::from_millis(3_601_500));
    }

    #[test]
    fn a_sleep_does_not_care_that_the_clock_was_set_back() {
        let executor = executor(1);
        let node = executor.node("one");
        let (done, mut is_done) = oneshot::channel();
        let sleep = node.sleep(Duration::from_secs(10));
        node.spawn(Box::pin(async move {
            sleep.await;
            done.send(()).unwrap();
        }));
        executor.run_for(Duration::from_secs(9));
        executor.clock().set_back(Duration::from_secs(3_600));
        assert!(is_done.try_recv().is_err());
        executor.run_for(Duration::from_secs(1));
        assert!(is_done.try_recv().is_ok());
    }

    #[test]
    fn a_killed_node_drops_its_tasks_and_its_timers_and_begins_nothing() {
        struct Falls(Arc<AtomicBool>);
        impl Drop for Falls {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let executor = executor(1);
        let (doomed, other) = (executor.node("doomed"), executor.node("other"));
        let fell = Arc::new(AtomicBool::new(false));
        let (sleep, guard) = (doomed.sleep(Duration::from_secs(5)), Falls(Arc::clone(&fell)));
        doomed.spawn(Box::pin(async move {
            let _guard = guard;
            sleep.await;
        }));
        other.spawn(other.sleep(Duration::from_secs(5)));
        executor.settle();
        doomed.kill();
        assert!(fell.load(Ordering::SeqCst));
        assert_eq!(executor.tasks(), 1);
        doomed.spawn(Box::pin(async {}));
        assert_eq!(executor.tasks(), 1);
        executor.run_for(Duration::from_secs(5));
        assert_eq!(executor.tasks(), 0);
    }

    #[test]
    fn a_task_may_kill_its_own_node() {
        let executor = executor(1);
        let node = executor.node("one");
        let (own, reached) = (node.clone(), Arc::new(AtomicBool::new(false)));
        let after = Arc::clone(&reached);
        node.spawn(Box::pin(async move {
            own.kill();
            own.sleep(Duration::from_secs(1)).await;
            after.store(true, Ordering::SeqCst);
        }));
        executor.run_for(Duration::from_secs(2));
        assert!(!reached.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_ends_its_task_alone_and_is_reported() {
        let executor = executor(1);
        let node = executor.node("one");
        node.spawn(Box::pin(async { resume_unwind(Box::new("struck")) }));
        node.spawn(node.sleep(Duration::from_secs(1)));
        executor.settle();
        assert_eq!(executor.panics(), [Panicked { node: "one".to_owned(), why: "struck".to_owned() }]);
        assert_eq!(executor.tasks(), 1);
    }

    #[test]
    fn waiting_for_what_can_never_come_is_found_out() {
        let executor = executor(1);
        let (send, receive) = oneshot::channel::<()>();
        assert_eq!(executor.run(1_000, async move { receive.await.is_ok() }), Err(Stuck::Deadlock));
        drop(send);
        let endless = async {
            loop {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(executor.run::<()>(1_000, endless), Err(Stuck::Endless));
    }
}
