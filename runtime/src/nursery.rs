//! Supervision: a root that restarts what ends, nurseries in which shells live, and the host that production uses.
//!
//! A shell that dies takes nobody along: nurseries take no notice of their children's ends, and no restart budget is
//! shared between flows. What the root restarts counts: three times within a minute, then the process ends and whoever
//! supervises it (systemd, compose, Kubernetes) begins it anew.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::time::Instant;

use crate::engine::{Host, Task};
use crate::id::FlowId;
use crate::shell::{Body, Mailbox, Shell};

/// Nurseries of a node.
const NURSERIES: usize = 16;
/// Restarts within [`WINDOW`] after which the root gives up.
const RESTARTS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// What happens when nothing more can be done: production ends the process, a test takes note.
pub type Exit = Arc<dyn Fn(&str) + Send + Sync>;

/// The host of production: tokio's tasks and timers, ractor's actors.
pub struct ActorHost {
    nurseries: RwLock<HashMap<usize, ActorCell>>,
    turn: AtomicUsize,
    exit: Exit,
}

impl std::fmt::Debug for ActorHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActorHost")
    }
}

impl ActorHost {
    /// A host without nurseries yet: until [`supervise`] has run, every input goes without a shell.
    pub fn new(exit: Exit) -> Arc<Self> {
        Arc::new(Self { nurseries: RwLock::new(HashMap::new()), turn: AtomicUsize::new(0), exit })
    }

    fn nursery(&self) -> Option<ActorCell> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % NURSERIES;
        let nurseries = self.nurseries.read().unwrap_or_else(PoisonError::into_inner);
        let takes_children =
            |cell: &&ActorCell| matches!(cell.get_status(), ActorStatus::Starting | ActorStatus::Running);
        nurseries.get(&turn).filter(takes_children).cloned()
    }
}

impl Host for ActorHost {
    #[allow(clippy::disallowed_methods, reason = "this is the room in which tasks begin")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn hatch(&self, _flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        let nursery = self.nursery();
        Box::pin(async move {
            let (shell, _end) = Shell::spawn_linked(None, Shell, body, nursery?).await.ok()?;
            Some(Arc::new(shell) as Arc<dyn Mailbox>)
        })
    }

    fn abort(&self, why: &str) {
        tracing::error!(why, "the process ends itself");
        (self.exit)(why);
    }
}

/// Where shells live. It watches them only so that they end with it.
struct Nursery;

impl Actor for Nursery {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// ractor's default ends the supervisor with any child; here a child's end is its own affair.
    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(shell, why) = event {
            tracing::error!(shell = %shell.get_id(), %why, "a shell failed; its flow is loaded anew when next asked");
        }
        Ok(())
    }
}

/// Watches one task. The task does not end with its keeper: a new keeper's waits until the old one has ended.
struct Keeper;

impl Actor for Keeper {
    type Msg = String;
    type State = ();
    type Arguments = Task;

    #[allow(clippy::disallowed_methods, reason = "a keeper begins the task that it watches")]
    async fn pre_start(&self, myself: ActorRef<String>, task: Task) -> Result<(), ActorProcessingErr> {
        let running = tokio::spawn((task.begin)());
        tokio::spawn(async move {
            let why = match running.await {
                Ok(()) => "it came to its end".to_owned(),
                Err(why) => why.to_string(),
            };
            let _ = myself.send_message(why);
        });
        Ok(())
    }

    async fn handle(&self, _myself: ActorRef<String>, why: String, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Err(why.into())
    }
}

#[derive(Clone)]
enum Child {
    Nursery(usize),
    Task(Task),
}

impl Child {
    fn name(&self) -> &'static str {
        match self {
            Self::Nursery(_) => "nursery",
            Self::Task(task) => task.name,
        }
    }
}

struct Root;

struct Family {
    children: HashMap<ActorId, Child>,
    cells: Arc<RwLock<HashMap<&'static str, ActorCell>>>,
    restarts: VecDeque<Instant>,
    host: Arc<ActorHost>,
}

impl Family {
    async fn begin(&mut self, myself: &ActorRef<()>, child: Child) -> Result<(), ActorProcessingErr> {
        metrics::counter!(crate::telemetry::RESTARTS, "task" => child.name()).increment(0);
        let cell = match &child {
            Child::Nursery(number) => {
                let (nursery, _end) = Actor::spawn_linked(None, Nursery, (), myself.get_cell()).await?;
                let mut nurseries = self.host.nurseries.write().unwrap_or_else(PoisonError::into_inner);
                nurseries.insert(*number, nursery.get_cell());
                nursery.get_cell()
            }
            Child::Task(task) => {
                let (keeper, _end) = Actor::spawn_linked(None, Keeper, task.clone(), myself.get_cell()).await?;
                keeper.get_cell()
            }
        };
        self.cells.write().unwrap_or_else(PoisonError::into_inner).insert(child.name(), cell.clone());
        self.children.insert(cell.get_id(), child);
        Ok(())
    }
}

impl Actor for Root {
    type Msg = ();
    type State = Family;
    type Arguments = (Vec<Task>, Arc<ActorHost>, Arc<RwLock<HashMap<&'static str, ActorCell>>>);

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (tasks, host, cells): Self::Arguments,
    ) -> Result<Family, ActorProcessingErr> {
        let mut family = Family { children: HashMap::new(), cells, restarts: VecDeque::new(), host };
        for number in 0..NURSERIES {
            family.begin(&myself, Child::Nursery(number)).await?;
        }
        for task in tasks {
            family.begin(&myself, Child::Task(task)).await?;
        }
        Ok(family)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        family: &mut Family,
    ) -> Result<(), ActorProcessingErr> {
        let (gone, why) = match event {
            SupervisionEvent::ActorFailed(cell, why) => (cell.get_id(), why.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell.get_id(), why.unwrap_or_default()),
            _ => return Ok(()),
        };
        let Some(child) = family.children.remove(&gone) else { return Ok(()) };
        tracing::error!(task = child.name(), why, "restarted by its supervisor");
        metrics::counter!(crate::telemetry::RESTARTS, "task" => child.name()).increment(1);
        #[allow(clippy::disallowed_methods, reason = "restarts are counted in the time that passes for the process")]
        let now = Instant::now();
        family.restarts.push_back(now);
        while family.restarts.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            family.restarts.pop_front();
        }
        if family.restarts.len() > RESTARTS {
            family.host.abort(&format!("{} ended {} times within a minute", child.name(), family.restarts.len()));
            return Ok(());
        }
        family.begin(&myself, child).await
    }
}

/// A handle of the running tree.
#[derive(Clone)]
pub struct Supervision {
    root: ActorRef<()>,
    cells: Arc<RwLock<HashMap<&'static str, ActorCell>>>,
}

impl std::fmt::Debug for Supervision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Supervision")
    }
}

impl Supervision {
    /// Kills whoever watches a task (or, as `nursery`, one nursery with the shells in it), as a chaos test does.
    pub fn kill(&self, name: &str) -> bool {
        let cell = self.cells.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(cell) = &cell {
            cell.kill();
        }
        cell.is_some()
    }

    /// Ends the tree, and all shells with it. The tasks go on, as they do when a keeper dies.
    pub async fn stop(&self) {
        // Only one who has ended already cannot be stopped.
        let _ = self.root.stop_and_wait(Some("the tree is taken down".to_owned()), None).await;
    }

    /// Whether the root is alive.
    pub fn is_running(&self) -> bool {
        self.root.get_status() == ActorStatus::Running
    }
}

/// Begins the tree: sixteen nurseries and a keeper for each task.
///
/// # Errors
/// When an actor cannot be begun, which happens only without a tokio runtime.
pub async fn supervise(host: Arc<ActorHost>, tasks: Vec<Task>) -> Result<Supervision, ractor::SpawnErr> {
    let cells = Arc::new(RwLock::new(HashMap::new()));
    let (root, _end) = Actor::spawn(None, Root, (tasks, host, Arc::clone(&cells))).await?;
    Ok(Supervision { root, cells })
}
