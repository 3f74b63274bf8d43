//! Where an engine's tasks and shells live in a simulation: on a node that may be struck at every named point.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::{Notify, mpsc};

use super::fate::{Blow, Fate};
use crate::crash::Point;
use crate::engine::{Host, Task};
use crate::id::FlowId;
use crate::shell::{Body, Mailbox, Message};
use crate::testing::executor::NodeHandle;

/// What a task unwinds with when it is struck. It passes no panic hook, so nothing is printed.
struct Struck;

/// Unwinds the present task, as a panic of unknown cause would.
fn strike() {
    if !std::thread::panicking() {
        resume_unwind(Box::new(Struck));
    }
}

/// One node's host.
pub(super) struct SimHost {
    node: NodeHandle,
    fate: Arc<Fate>,
}

impl SimHost {
    pub(super) const fn new(node: NodeHandle, fate: Arc<Fate>) -> Self {
        Self { node, fate }
    }
}

impl Host for SimHost {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.node.spawn(task);
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.node.sleep(span)
    }

    fn hatch(&self, _flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        let node = self.node.clone();
        let (span, hatched) = self.fate.hatching();
        Box::pin(async move {
            if !span.is_zero() {
                node.sleep(span).await;
            }
            if !hatched {
                return None;
            }
            let (sender, messages) = mpsc::unbounded_channel();
            let shell = Arc::new(Shell { sender, stop: Notify::new(), kill: Notify::new() });
            node.spawn(Box::pin(live(Arc::clone(&shell), messages, body)));
            Some(shell as Arc<dyn Mailbox>)
        })
    }

    fn abort(&self, why: &str) {
        if self.node.is_alive() {
            self.fate.count(|figures| figures.kills += 1);
            self.fate.note(|| format!("{} ends itself: {why}", self.node.name()));
            self.node.kill();
            strike();
        }
    }

    fn pass(&self, point: Point) {
        if std::thread::panicking() || !self.node.is_alive() {
            return;
        }
        match self.fate.at(point) {
            None => return,
            Some(Blow::Node) => {
                self.fate.note(|| format!("{} is killed at {point:?}", self.node.name()));
                self.node.kill();
            }
            Some(Blow::Task) => {
                if point != Point::Passivating {
                    self.fate.note(|| format!("a task of {} is struck at {point:?}", self.node.name()));
                }
            }
        }
        // Shells are told to go from within drops, where nothing may unwind: there the node dies a moment later.
        if point != Point::Passivating {
            strike();
        }
    }
}

struct Shell {
    sender: mpsc::UnboundedSender<Message>,
    stop: Notify,
    kill: Notify,
}

impl Mailbox for Shell {
    fn send(&self, message: Message) -> Result<(), Message> {
        self.sender.send(message).map_err(|refused| refused.0)
    }

    fn stop(&self) {
        self.stop.notify_one();
    }

    fn kill(&self) {
        self.kill.notify_one();
    }
}

/// The life of a shell: one message after the other, until it is told to stop or killed. One that everybody forgot
/// would wait for ever, and be found as a leak.
async fn live(shell: Arc<Shell>, mut messages: mpsc::UnboundedReceiver<Message>, mut body: Box<dyn Body>) {
    loop {
        let (killed, stopped) = (pin!(shell.kill.notified()), pin!(shell.stop.notified()));
        let ended = select(killed, stopped);
        let message = match select(ended, pin!(messages.recv())).await {
            Either::Right((Some(message), _)) => message,
            Either::Left(_) | Either::Right((None, _)) => return,
        };
        if let Either::Left(_) = select(pin!(shell.kill.notified()), body.serve(message)).await {
            return;
        }
    }
}

/// Restarts after which a node ends itself, as the supervisor's root does.
const RESTARTS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// Runs an engine's task for as long as its node lives, and begins it anew when it ends by a blow.
pub(super) async fn keep(node: NodeHandle, fate: Arc<Fate>, task: Task, unforeseen: Arc<dyn Fn(String) + Send + Sync>) {
    let mut restarts: Vec<Duration> = Vec::new();
    loop {
        let ended = AssertUnwindSafe((task.begin)()).catch_unwind().await;
        if !node.is_alive() {
            return;
        }
        if let Err(panic) = ended
            && !panic.is::<Struck>()
        {
            unforeseen(format!("{} of {} panicked", task.name, node.name()));
        }
        let now = node.executor().elapsed();
        restarts.retain(|restart| *restart + WINDOW > now);
        restarts.push(now);
        if restarts.len() > RESTARTS {
            fate.count(|figures| figures.kills += 1);
            fate.note(|| format!("{} ends itself: {} ended too often", node.name(), task.name));
            node.kill();
            return;
        }
        node.sleep(Duration::from_millis(10)).await;
    }
}
