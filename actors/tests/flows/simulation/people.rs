//! The people of the simulation: all flows of auth together, what people know of each other's doings, and which flow
//! they turn to next.
//!
//! They know what was mailed or answered, and the passwords that they typed. What a service reads before it asks (who
//! has an address, the number of a fence) is read when an order is planned; it is often given some time later, as after
//! a password's hash, so that what was read is no longer true.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cairn_actors::effects::{Answer, Auth, Key};
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::flows::session::Session;
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::secrets::credential::{OfPurpose, Presented, Purpose, Seal};
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_runtime::engine::Builder;
use cairn_runtime::outbox::DeliveryAttempt;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Next, Told, Workload};
use cairn_runtime::testing::store::{SimStore, Tables};
use cairn_runtime::{Domain, Fault, Flow, FlowId};

use super::authorization::Authorizations;
use super::clients::{Clients, TakeBacks};
use super::deletion::Deletions;
use super::edit_profile::ProfileEdits;
use super::email_change::AddressChanges;
use super::flow::{Weighted, weighted};
use super::ledger::{IssuedTokens, Ledger};
use super::magic_link::MagicLinks;
use super::post::{self, Post};
use super::recovery::Recoveries;
use super::registration::Registrations;
use super::rows;
use super::session::Sessions;
use super::sign_out_everywhere::SignOuts;
use super::tally::Tally;

/// All flows and acts of auth, and how often each is turned to, in proportion to the others. A new one adds its line.
pub(super) fn flows() -> Vec<Weighted> {
    vec![
        weighted::<Registrations>(24),
        weighted::<Sessions>(26),
        weighted::<Recoveries>(11),
        weighted::<AddressChanges>(14),
        weighted::<Deletions>(2),
        weighted::<ProfileEdits>(3),
        weighted::<SignOuts>(1),
        weighted::<Authorizations>(19),
        weighted::<Clients>(2),
        weighted::<TakeBacks>(1),
        weighted::<MagicLinks>(6),
    ]
}

/// A session that somebody began.
#[derive(Clone, Copy)]
pub(super) struct SignedIn {
    pub(super) flow: FlowId,
    pub(super) user: UserId,
}

/// What people know of each other's doings, and the world with them, whatever the flow.
pub(super) struct Common {
    pub(super) environment: Arc<Environment>,
    pub(super) ledger: Ledger,
    pub(super) post: Post,
    pub(super) sessions: Vec<SignedIn>,
    /// The grants that clients have asked for.
    pub(super) grants: Vec<FlowId>,
    passwords: u32,
}

impl Common {
    /// The hash of a password that nobody has typed yet.
    pub(super) fn new_password(&mut self) -> SealedHash {
        self.passwords += 1;
        SealedHash::from_text(format!("sealed-hash-{}", self.passwords))
    }

    /// A user, of those who came last rather than of the first.
    pub(super) fn somebody(&self, rng: &mut Rng) -> Option<UserId> {
        let last: Vec<UserId> = self.ledger.users.keys().rev().take(5).copied().collect();
        rng.pick(&last).copied()
    }

    /// Somebody who is signed in, with the number of their fence, as one query finds them.
    pub(super) fn signed_in(&self, desk: &mut Desk<'_, Auth>) -> Option<(UserId, i64)> {
        let session = recent(&self.sessions, desk.rng)?.flow;
        Self::in_session(desk, session)
    }

    /// The user of a session, if it is still good.
    pub(super) fn in_session(desk: &Desk<'_, Auth>, session: FlowId) -> Option<(UserId, i64)> {
        desk.store.inspect(|tables| {
            let state = state::<Session>(tables, session)?;
            let active = state.active()?;
            let fence = number(tables, &Key::User(active.user)).filter(|fence| *fence == active.fence)?;
            Some((active.user, fence))
        })
    }

    /// The sessions of a user that somebody has heard of, the last first.
    pub(super) fn sessions_of(&self, user: UserId) -> Vec<FlowId> {
        self.sessions.iter().rev().filter(|held| held.user == user).map(|held| held.flow).take(8).collect()
    }

    /// Some of the sessions of a user, as a query found them a while ago: most are told that they are over, and the
    /// fence alone ends them all.
    pub(super) fn some_sessions_of(&self, user: UserId, rng: &mut Rng) -> Vec<FlowId> {
        let mut sessions = self.sessions_of(user);
        sessions.retain(|_| rng.chance(600));
        sessions
    }

    /// Some of the grants of a user or a client, as a query found them a while ago.
    pub(super) fn some_grants(&self, of: impl Fn(Option<UserId>, ClientId) -> bool, rng: &mut Rng) -> Vec<FlowId> {
        let is_theirs = |flow: &&FlowId| {
            let chain = self.ledger.chains.get(*flow);
            chain.and_then(|chain| Some((chain.user, chain.client?.0))).is_some_and(|(user, client)| of(user, client))
        };
        let mut grants: Vec<_> = self.grants.iter().rev().filter(is_theirs).take(8).copied().collect();
        grants.retain(|_| rng.chance(600));
        grants
    }

    /// Mostly an address that nobody has had, and always one that others try for as well; now and then one that was
    /// given back, or any.
    pub(super) fn some_address(&self, rng: &mut Rng) -> Address {
        let so_far = self.ledger.addresses();
        match rng.below(100) {
            0..12 => person(rng.below(so_far + 1)),
            12..24 if !self.ledger.freed.is_empty() => recent(&self.ledger.freed, rng).cloned().expect("there is one"),
            _ => person(so_far + rng.below(4)),
        }
    }

    /// A credential that anybody can see is not ours, once its flow's row is read.
    pub(super) fn forged(&self, purpose: Purpose, flow: FlowId) -> String {
        let seal = Seal::new(&self.environment.ring, [0x66; 16]);
        post::text(&self.environment, purpose, flow, &seal)
    }

    /// A client that is told that a flow is over may believe it.
    pub(super) fn over(&self, flow: FlowId) -> Result<Heard, String> {
        if self.ledger.is_finished(flow) { Ok(Heard::Anything) } else { Err("it goes on".to_owned()) }
    }

    /// Tokens that may be had, and are those that history knows.
    pub(super) fn good_tokens(&self, flow: FlowId, handed: &IssuedTokens, doom: Option<String>) -> Result<(), String> {
        match doom.or_else(|| self.ledger.contradicts(flow, handed)) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

/// All flows, and the people who use them.
pub(super) struct People {
    common: Common,
    flows: Vec<Weighted>,
    store: Option<Arc<SimStore<Auth>>>,
    /// The place of the flow with which each client has an order that is planned and not given yet.
    planned: BTreeMap<usize, usize>,
    /// The place of the flow whose answer each client waits for.
    asked: BTreeMap<usize, usize>,
}

impl People {
    /// People all of whose doings are counted.
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
        let common = Common {
            ledger: Ledger::new(Arc::clone(&environment), tally),
            post: Post::new(Arc::clone(&environment)),
            environment,
            sessions: Vec::new(),
            grants: Vec::new(),
            passwords: 0,
        };
        Self { common, flows: flows(), store: None, planned: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn read(&mut self) {
        if let Some(store) = &self.store {
            store.inspect(|tables| self.common.ledger.read(tables, &mut self.flows));
        }
    }

    /// The place of a flow, by weight.
    fn some_flow(&self, rng: &mut Rng) -> usize {
        let mut lot = rng.below(self.flows.iter().map(|flow| flow.weight).sum());
        let place = self.flows.iter().position(|flow| {
            let is_it = lot < flow.weight;
            lot = lot.saturating_sub(flow.weight);
            is_it
        });
        place.expect("a lot is below the sum of weights")
    }

    fn give(&mut self, client: usize, place: usize) -> Next<Auth> {
        self.asked.insert(client, place);
        Next::Ask(self.flows[place].actor.give(client, &self.common))
    }
}

/// The address of somebody.
pub(super) fn person(number: u64) -> Address {
    testing::address(&format!("Person.{number}@example.org"))
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

/// What was typed or shown, as the endpoint reads it.
pub(super) fn presented<P: OfPurpose>(environment: &Environment, purpose: P, text: &str) -> Presented<P> {
    Presented::parse(&environment.ring, purpose, text).expect("it was rendered")
}

impl Workload<Auth> for People {
    fn register(&self, builder: Builder<Auth>) -> Builder<Auth> {
        cairn_actors::flows::register(builder)
    }

    fn environment(&self) -> Arc<Environment> {
        Arc::clone(&self.common.environment)
    }

    fn next(&mut self, client: usize, desk: &mut Desk<'_, Auth>) -> Next<Auth> {
        self.store.get_or_insert_with(|| Arc::clone(desk.store));
        self.read();
        if let Some(place) = self.planned.remove(&client) {
            return self.give(client, place);
        }
        let place = self.some_flow(desk.rng);
        match self.flows[place].actor.plan(client, &mut self.common, desk) {
            Some(Duration::ZERO) => self.give(client, place),
            Some(after) => {
                self.planned.insert(client, place);
                Next::Rest(after)
            }
            None => Next::Rest(Duration::from_millis(5)),
        }
    }

    fn told(&mut self, client: usize, answer: &Result<Told, Fault>) -> Heard {
        self.read();
        let place = self.asked.remove(&client).expect("a client that hears has asked");
        match self.flows[place].actor.hear(client, &mut self.common, answer) {
            Heard::Wrong(why) => Heard::Wrong(why),
            heard => match self.common.ledger.news() {
                None => heard,
                Some(news) => Heard::Wrong(format!("by then, {news}")),
            },
        }
    }

    fn carried(&mut self, carried: &DeliveryAttempt<Auth>, rng: &mut Rng) -> Answer {
        self.read();
        self.common.post.take(carried, &mut self.common.ledger, &self.flows, rng);
        Answer::Accepted
    }

    fn amiss(&mut self, tables: &Tables<Auth>) -> Vec<String> {
        let Self { common: Common { ledger, .. }, flows, .. } = self;
        ledger.read(tables, flows);
        let mut amiss = ledger.wrong().to_vec();
        if amiss.is_empty() {
            amiss = rows::amiss(tables, ledger, flows);
        }
        amiss
    }

    fn amiss_at_rest(&mut self, tables: &Tables<Auth>) -> Vec<String> {
        let mut amiss = self.amiss(tables);
        amiss.extend(rows::amiss_at_rest(tables, &self.common.ledger, &self.flows));
        amiss
    }
}
