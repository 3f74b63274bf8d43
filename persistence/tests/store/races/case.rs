//! One race: a user with sessions, what is asked of them at once, and a log of who was told what and when.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_actors::flows::registration::{Command as Prove, Outcome as Proved, Registration};
use cairn_actors::flows::session::{Command, Outcome, Session, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{Seal, of};
use cairn_actors::testing;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::{Fault, FlowId, InputId, Reply};
use futures_util::future::join_all;

use super::turnstile::Turnstile;
use crate::auth::{Node, Town, bumping, founding, id, start};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The user's fence moves.
    Bump,
    /// A session under the fence that was read before.
    SignIn { fence: i64 },
    /// New tokens for the refresh token of this generation.
    Refresh { shown: u32 },
    /// An end, by the refresh token of this generation.
    SignOut { shown: u32 },
}

/// One question and its answer. Between two ticks lies whatever was done for it.
#[derive(Clone, Debug)]
pub struct Record {
    pub what: What,
    pub node: usize,
    pub flow: FlowId,
    pub input: InputId,
    pub invoked: u64,
    pub answered: u64,
    /// What a session said; `None` for a bump.
    pub said: Option<Outcome>,
    pub version: u64,
}

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub struct Known {
    pub flow: FlowId,
    /// The refresh token that was present when the race began.
    issue: Seal,
}

/// What one of the contestants does.
#[derive(Clone, Copy, Debug)]
enum Errand {
    Bump,
    SignIn { refreshed: bool },
    Refresh { session: usize, back: u32, again: bool },
    SignOut { session: usize, back: u32 },
    Kill { session: usize, after: u64 },
}

/// One user, their sessions and everything that was asked of them.
pub struct Case {
    pub seed: u64,
    pub user: UserId,
    /// Whether the predecessor of a refresh token gets the same answer at all.
    pub grace: bool,
    town: Arc<Town>,
    ticks: AtomicU64,
    log: Mutex<Vec<Record>>,
    begun: Mutex<Vec<Known>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} (CAIRN_TEST_SEED={}), grace: {}", self.seed, self.seed, self.grace)?;
        self.log().iter().try_for_each(|record| writeln!(f, "  {record:?}"))
    }
}

impl Case {
    /// A user to be, with two sessions at most. One in eight comes by a registration, the others by its last step.
    pub async fn found(town: &Arc<Town>, founder: &Node, seed: u64) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let address = format!("person.{seed}@example.org");
        let user = if rng.chance(125) {
            registered(town, founder, &address).await
        } else {
            let user = UserId(id(1, seed));
            founder
                .engine
                .act("found", founder.engine.asker("race"), founding(&town.environment, user, &address))
                .await
                .unwrap();
            user
        };
        let (log, begun) = (Mutex::default(), Mutex::default());
        let case = Self { seed, user, grace: rng.chance(750), town: Arc::clone(town), ticks: 0.into(), log, begun };
        for _ in 0..rng.between(1, 2) {
            let mut known = case.sign_in(founder, 0, 0).await.expect("nothing has moved the fence");
            for shown in 0..u32::try_from(rng.below(3)).unwrap() {
                case.ask(founder, 0, &known, What::Refresh { shown }).await;
                known.issue.n = shown + 1;
            }
            lock(&case.begun).push(known);
        }
        Arc::new(case)
    }

    /// Everything that was asked so far, in the order of the answers.
    pub fn log(&self) -> Vec<Record> {
        lock(&self.log).clone()
    }

    /// The sessions, in the order of their beginning.
    pub fn sessions(&self) -> Vec<Known> {
        lock(&self.begun).clone()
    }

    /// Fails with the seed and the log.
    #[track_caller]
    pub fn must(&self, holds: bool, what: impl fmt::Display) {
        assert!(holds, "{what}\n{self:?}");
    }

    /// All errands at once, over these nodes, in the seed's order.
    pub async fn race(&self, nodes: &[Node], turnstile: &Turnstile) {
        let mut environment = nodes[0].engine.environment().settings.clone();
        environment.refresh_grace = Duration::from_secs(if self.grace { 30 } else { 0 });
        let environment = Arc::new(testing::environment_with(1, environment));
        nodes.iter().for_each(|node| node.engine.set_environment(Arc::clone(&environment)));
        let errands = self.errands(nodes.len());
        let race = join_all(errands.into_iter().map(|(at, errand)| self.run(&nodes[at], at, errand, turnstile)));
        turnstile.race(self.seed, race).await;
    }

    fn errands(&self, nodes: usize) -> Vec<(usize, Errand)> {
        let mut rng = Rng::new(self.seed ^ 0xe44a_4d00);
        let sessions = self.sessions().len();
        let pick = |rng: &mut Rng| rng.place(sessions);
        let mut errands = vec![
            Errand::Bump,
            Errand::SignIn { refreshed: rng.chance(300) },
            Errand::Refresh { session: pick(&mut rng), back: 0, again: rng.chance(300) },
            Errand::Refresh { session: pick(&mut rng), back: 1, again: false },
            Errand::SignOut { session: pick(&mut rng), back: 0 },
        ];
        // Half of all races are of exactly these five; the others miss some of them and have some twice.
        if rng.chance(500) {
            errands.retain(|_| rng.chance(650));
            for _ in 0..rng.below(4) {
                let session = pick(&mut rng);
                let back = u32::try_from(rng.below(3)).unwrap();
                errands.push(match rng.below(8) {
                    0 => Errand::Bump,
                    1 => Errand::SignIn { refreshed: true },
                    2 => Errand::SignOut { session, back },
                    3 => Errand::Kill { session, after: rng.between(1, 4) },
                    4 => Errand::Refresh { session, back, again: false },
                    _ => Errand::Refresh { session, back: 0, again: true },
                });
            }
        }
        rng.shuffle(&mut errands);
        // Some races are those of one node's own tasks.
        let one = self.seed.is_multiple_of(4).then(|| rng.place(nodes));
        errands.into_iter().map(|errand| (one.unwrap_or_else(|| rng.place(nodes)), errand)).collect()
    }

    async fn run(&self, node: &Node, at: usize, errand: Errand, turnstile: &Turnstile) {
        let known = |session: usize| self.sessions()[session].clone();
        drop(turnstile.pass().await);
        match errand {
            Errand::Bump => self.bump(node, at).await,
            Errand::SignIn { refreshed } => {
                let fence = node.services.directory.users.by_id(self.user).await.unwrap().unwrap().fence;
                drop(turnstile.pass().await);
                if let Some(known) = self.sign_in(node, at, fence).await {
                    lock(&self.begun).push(known.clone());
                    if refreshed {
                        self.ask(node, at, &known, What::Refresh { shown: 0 }).await;
                    }
                }
            }
            Errand::Refresh { session, back, again } => {
                let known = known(session);
                let shown = known.issue.n.saturating_sub(back);
                let said = self.ask(node, at, &known, What::Refresh { shown }).await;
                if let (true, Outcome::Tokens { issue, .. }) = (again, said) {
                    self.ask(node, at, &known, What::Refresh { shown: issue.n }).await;
                }
            }
            Errand::SignOut { session, back } => {
                let known = known(session);
                let shown = known.issue.n.saturating_sub(back);
                self.ask(node, at, &known, What::SignOut { shown }).await;
            }
            Errand::Kill { session, after } => {
                for _ in 0..after {
                    drop(turnstile.pass().await);
                }
                node.engine.kill_shell(known(session).flow);
            }
        }
    }

    /// Moves the user's fence.
    pub async fn bump(&self, node: &Node, at: usize) {
        let asker = node.engine.asker("race");
        let (input, invoked) = (asker.input, self.tick());
        let reply = node.engine.act("bump", asker, bumping(self.user)).await;
        let answered = self.tick();
        let Reply { flow, version, .. } = self.answer(reply);
        self.note(Record { what: What::Bump, node: at, flow, input, invoked, answered, said: None, version });
    }

    /// Signs in under a fence; `None` when that was refused.
    pub async fn sign_in(&self, node: &Node, at: usize, fence: i64) -> Option<Known> {
        let asker = node.engine.asker("race");
        let (input, invoked) = (asker.input, self.tick());
        let amr = vec!["pwd".to_owned()];
        let asked = Start {
            user: self.user,
            fence,
            devices: 0,
            amr,
            device: None,
            client_address: None,
            arrival: Default::default(),
            forgets: None,
        };
        let reply = node.engine.start::<Session>(asker, asked).await;
        let answered = self.tick();
        let Reply { flow, version, outcome, .. } = self.answer(reply);
        let known = match &outcome {
            Outcome::Tokens { issue, .. } => Some(Known { flow, issue: issue.clone() }),
            _ => None,
        };
        let what = What::SignIn { fence };
        self.note(Record { what, node: at, flow, input, invoked, answered, said: Some(outcome), version });
        known
    }

    /// Shows a session a refresh token.
    pub async fn ask(&self, node: &Node, at: usize, known: &Known, what: What) -> Outcome {
        let token = |n| {
            testing::presented(&self.town.environment, of::RefreshToken, known.flow, &Seal { n, ..known.issue.clone() })
        };
        let command = match what {
            What::Refresh { shown } => Command::Refresh(token(shown)),
            What::SignOut { shown } => Command::SignOut(token(shown)),
            What::Bump | What::SignIn { .. } => unreachable!("no session is asked that"),
        };
        let asker = node.engine.asker("race");
        let (input, invoked) = (asker.input, self.tick());
        let reply = node.engine.call::<Session>(known.flow, asker, command).await;
        let answered = self.tick();
        let Reply { flow, version, outcome, .. } = self.answer(reply);
        let said = Some(outcome.clone());
        self.note(Record { what, node: at, flow, input, invoked, answered, said, version });
        outcome
    }

    /// Nothing fails here, so everybody gets an answer.
    #[track_caller]
    fn answer<O>(&self, reply: Result<Reply<O>, Fault>) -> Reply<O> {
        reply.unwrap_or_else(|fault| panic!("nothing failed, but somebody was told {fault:?}\n{self:?}"))
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, record: Record) {
        lock(&self.log).push(record);
    }
}

/// Somebody who comes in by the front door.
async fn registered(town: &Town, node: &Node, address: &str) -> UserId {
    let begun = node.engine.start::<Registration>(node.engine.asker("race"), start(address, None)).await.unwrap();
    let code = super::code(town, begun.flow, &super::last_letter(town, begun.flow).await);
    let proved = node
        .engine
        .call::<Registration>(begun.flow, node.engine.asker("race"), Prove::Enter(testing::typed_code(code)))
        .await
        .unwrap();
    let Proved::Verified { user, .. } = proved.outcome else { panic!("verified, not {:?}", proved.outcome) };
    user
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
