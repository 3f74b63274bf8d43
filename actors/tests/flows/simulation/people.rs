//! The people of the simulation: what they know, what they ask next, and what they must not be told.
//!
//! They know what was mailed or answered, and the passwords that they typed. What a service reads before it asks (who
//! has an address, the number of a fence) is read when an order is planned; it is often given some time later, as after
//! a password's hash, so that what was read is no longer true.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cairn_actors::effects::{Answer, Auth, Key};
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::flows;
use cairn_actors::flows::session::Session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{OfPurpose, Presented, Purpose, Seal};
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_runtime::engine::Builder;
use cairn_runtime::outbox::DeliveryAttempt;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Next, Order, Told, Workload};
use cairn_runtime::testing::store::{SimStore, Tables};
use cairn_runtime::{Domain, Fault, Flow, FlowId};

use super::acting;
use super::granting::{self, Granted};
use super::leaving;
use super::ledger::Ledger;
use super::moving::{self, Wanted};
use super::post::Post;
use super::recovering;
use super::registering::{self, Began};
use super::rows;
use super::signing_in::{self, Held};
use super::tally::Tally;

/// What a client waits to hear.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Registration(registering::Asked),
    Session(signing_in::Asked),
    Recovery(recovering::Asked),
    Grant(granting::Asked),
    Change(moving::Asked),
    Deletion(leaving::Asked),
    Act(acting::Asked),
}

/// An order, and the time that passes between reading what it is built from and giving it.
pub(super) struct Plan {
    pub(super) asked: Asked,
    pub(super) order: Order<Auth>,
    pub(super) after: Duration,
}

impl Plan {
    pub(super) fn at_once(asked: Asked, order: Order<Auth>) -> Self {
        Self { asked, order, after: Duration::ZERO }
    }

    /// Hashing takes its time, and a busy pool more.
    pub(super) fn hashed(asked: Asked, order: Order<Auth>, rng: &mut Rng) -> Self {
        let after = Duration::from_millis(if rng.chance(200) { rng.below(4_000) } else { rng.below(400) });
        Self { asked, order, after }
    }
}

/// The people, and what they and the world remember.
pub(super) struct People {
    pub(super) environment: Arc<Environment>,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) post: Post,
    pub(super) registrations: Vec<Began>,
    pub(super) recoveries: Vec<FlowId>,
    pub(super) sessions: Vec<Held>,
    pub(super) grants: Vec<Granted>,
    pub(super) changes: Vec<Wanted>,
    passwords: u32,
    store: Option<Arc<SimStore<Auth>>>,
    prepared: BTreeMap<usize, Plan>,
    /// What each client asked, and why it must not get what it asks for, where that is certain beforehand.
    asked: BTreeMap<usize, (Asked, Option<String>)>,
}

impl People {
    /// People whose deeds are counted.
    pub(super) fn counted(tally: Tally) -> Self {
        static ENVIRONMENT: LazyLock<Arc<Environment>> = LazyLock::new(|| {
            // A history lasts about a minute: short enough spans that some end in it by themselves.
            let settings = Settings {
                refresh_grace: Duration::from_secs(5),
                access_ttl: Duration::from_secs(10),
                session_ttl: Duration::from_secs(120),
                registration_ttl: Duration::from_secs(90),
                reset_ttl: Duration::from_secs(60),
                resend_cooldown: Duration::from_secs(1),
                ..Settings::default()
            };
            Arc::new(testing::environment_with(1, settings))
        });
        let environment = Arc::clone(&ENVIRONMENT);
        Self {
            ledger: RefCell::new(Ledger::new(Arc::clone(&environment), tally)),
            post: Post::new(Arc::clone(&environment)),
            environment,
            registrations: Vec::new(),
            recoveries: Vec::new(),
            sessions: Vec::new(),
            grants: Vec::new(),
            changes: Vec::new(),
            passwords: 0,
            store: None,
            prepared: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// The hash of a password that nobody has typed yet.
    pub(super) fn new_password(&mut self) -> SealedHash {
        self.passwords += 1;
        SealedHash::from_text(format!("sealed-hash-{}", self.passwords))
    }

    /// A user, of those who came last rather than of the first.
    pub(super) fn somebody(&self, rng: &mut Rng) -> Option<UserId> {
        let ledger = self.ledger.borrow();
        let last: Vec<UserId> = ledger.users.keys().rev().take(5).copied().collect();
        rng.pick(&last).copied()
    }

    /// Somebody who is signed in, with the number of their fence, as one query finds them.
    pub(super) fn signed_in(&self, desk: &mut Desk<'_, Auth>) -> Option<(UserId, i64)> {
        let session = recent(&self.sessions, desk.rng)?.flow;
        Self::in_session(desk, session)
    }

    /// Whoever's session it is, if it is still good.
    pub(super) fn in_session(desk: &Desk<'_, Auth>, session: FlowId) -> Option<(UserId, i64)> {
        desk.store.inspect(|tables| {
            let state = state::<Session>(tables, session)?;
            let active = state.active()?;
            let fence = number(tables, &Key::User(active.user)).filter(|fence| *fence == active.fence)?;
            Some((active.user, fence))
        })
    }

    /// A credential that anybody can see is not ours, once its flow's row is read.
    pub(super) fn forged(&self, purpose: Purpose, flow: FlowId) -> String {
        let seal = Seal::new(&self.environment.ring, [0x66; 16]);
        super::post::text(&self.environment, purpose, flow, &seal)
    }

    /// Whoever is told that a flow is over may believe it.
    pub(super) fn over(&self, flow: FlowId) -> Result<Heard, String> {
        if self.ledger.borrow().is_finished(flow) { Ok(Heard::Anything) } else { Err("it goes on".to_owned()) }
    }

    fn read(&self) {
        if let Some(store) = &self.store {
            store.inspect(|tables| self.ledger.borrow_mut().read(tables));
        }
    }

    fn plan(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        match desk.rng.below(100) {
            0..24 => self.plan_registration(desk),
            24..49 => self.plan_session(desk),
            49..60 => self.plan_recovery(desk),
            60..74 => self.plan_change(desk),
            74..77 => self.plan_deletion(desk),
            77..81 => self.plan_act(desk),
            _ => self.plan_grant(desk),
        }
    }

    fn give(&mut self, client: usize, plan: Plan) -> Next<Auth> {
        let Plan { asked, order, .. } = plan;
        let doom = match &asked {
            Asked::Registration(asked) => self.registration_doom(asked),
            Asked::Session(asked) => self.session_doom(asked),
            Asked::Recovery(asked) => self.recovery_doom(asked),
            Asked::Grant(asked) => self.grant_doom(asked),
            Asked::Change(asked) => self.change_doom(asked),
            Asked::Deletion(asked) => self.deletion_doom(asked),
            Asked::Act(asked) => self.act_doom(asked),
        };
        self.asked.insert(client, (asked, doom));
        Next::Ask(order)
    }
}

/// What a row says, when it is of this kind.
pub(super) fn state<F: Flow>(tables: &Tables<Auth>, flow: FlowId) -> Option<F> {
    let row = &tables.rows.get(&flow)?.row;
    (row.kind == F::NAME).then(|| serde_json::from_str(&row.state).expect("it was written"))
}

/// The number of a fence, as a service reads it.
pub(super) fn number(tables: &Tables<Auth>, key: &Key) -> Option<i64> {
    tables.guards.get(&Auth::guard(key)).copied()
}

/// One of the last, so that many ask the same flow.
pub(super) fn recent<'a, T>(of: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    rng.pick(&of[of.len().saturating_sub(6)..])
}

/// One at which everybody guesses, so that some come to a fifth wrong code.
pub(super) fn victim<T>(of: &[T]) -> Option<&T> {
    of.get(of.len().checked_sub(1)? / 24 * 24)
}

/// What was typed or shown, as the door reads it.
pub(super) fn presented<P: OfPurpose>(environment: &Environment, purpose: P, text: &str) -> Presented<P> {
    Presented::parse(&environment.ring, purpose, text).expect("it was rendered")
}

impl Workload<Auth> for People {
    fn register(&self, builder: Builder<Auth>) -> Builder<Auth> {
        flows::register(builder)
    }

    fn environment(&self) -> Arc<Environment> {
        Arc::clone(&self.environment)
    }

    fn next(&mut self, client: usize, desk: &mut Desk<'_, Auth>) -> Next<Auth> {
        self.store.get_or_insert_with(|| Arc::clone(desk.store));
        self.read();
        if let Some(plan) = self.prepared.remove(&client) {
            return self.give(client, plan);
        }
        match self.plan(desk) {
            Some(plan) if plan.after.is_zero() => self.give(client, plan),
            Some(plan) => {
                let after = plan.after;
                self.prepared.insert(client, plan);
                Next::Rest(after)
            }
            None => Next::Rest(Duration::from_millis(5)),
        }
    }

    fn told(&mut self, client: usize, answer: &Result<Told, Fault>) -> Heard {
        let (asked, doom) = self.asked.remove(&client).expect("whoever hears has asked");
        self.read();
        let told = match answer {
            Ok(told) => told,
            Err(fault) => return Heard::Wrong(format!("{asked:?} met {fault}")),
        };
        let heard = match &asked {
            Asked::Registration(asked) => self.hear_registration(asked, told, doom),
            Asked::Session(asked) => self.hear_session(asked, told, doom),
            Asked::Recovery(asked) => self.hear_recovery(asked, told, doom),
            Asked::Grant(asked) => self.hear_grant(asked, told, doom),
            Asked::Change(asked) => self.hear_change(asked, told, doom),
            Asked::Deletion(asked) => self.hear_deletion(asked, told, doom),
            Asked::Act(asked) => self.hear_act(asked, told, doom),
        };
        match heard {
            Ok(heard) => match self.ledger.borrow_mut().news() {
                None => heard,
                Some(news) => Heard::Wrong(format!("by then, {news}")),
            },
            Err(why) => Heard::Wrong(format!("{asked:?} was told {:?}: {why}", told.outcome)),
        }
    }

    fn carried(&mut self, carried: &DeliveryAttempt<Auth>, rng: &mut Rng) -> Answer {
        self.read();
        self.post.take(carried, &mut self.ledger.borrow_mut(), rng);
        Answer::Accepted
    }

    fn amiss(&self, tables: &Tables<Auth>) -> Vec<String> {
        let mut ledger = self.ledger.borrow_mut();
        ledger.read(tables);
        let mut amiss = ledger.wrong().to_vec();
        if amiss.is_empty() {
            amiss = rows::amiss(tables, &ledger, &self.environment);
        }
        amiss
    }

    fn amiss_at_rest(&self, tables: &Tables<Auth>) -> Vec<String> {
        let mut amiss = self.amiss(tables);
        amiss.extend(rows::amiss_at_rest(tables, &self.ledger.borrow()));
        amiss
    }
}
