//! Newcomers who race: for one address, for one username, and with themselves when a request comes twice.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cairn_actors::effects::Key;
use cairn_actors::flows::registration::{Command, Outcome, Registration, Start};
use cairn_actors::flows::session::{self, Session};
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::Seal;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::registration::Typed;
use cairn_actors::services::{Caller, Repeat};
use cairn_actors::testing;
use cairn_runtime::{Asker, Flow, FlowId, Reply};
use futures_util::future::join;

use super::turnstile::Turnstile;
use super::{code, last_letter, pair, seeds};
use crate::auth::{Node, Town, bumping, id, is_sound, repeatable, start};
use crate::support::Kind;

/// Two nodes over one database, whose calls go in as a seed says.
struct Arena {
    town: Arc<Town>,
    nodes: [Node; 2],
    turnstile: Arc<Turnstile>,
}

impl Arena {
    async fn new(kind: Kind) -> Self {
        let (town, turnstile) = (Arc::new(Town::new(kind, 2).await), Turnstile::new());
        Self { nodes: pair(&town, &turnstile).await, town, turnstile }
    }

    /// Has both nodes do something at once, in a seed's order.
    async fn both<T, Fut: Future<Output = T>>(&self, seed: u64, does: impl Fn(usize) -> Fut) -> [T; 2] {
        let one = async |at| {
            drop(self.turnstile.pass().await);
            does(at).await
        };
        let (first, second) = self.turnstile.race(seed, join(one(0), one(1))).await;
        [first, second]
    }

    /// Somebody who does not ask twice.
    fn asker(&self, at: usize) -> Asker {
        self.nodes[at].engine.asker("newcomer")
    }

    async fn register(&self, at: usize, asker: Asker, start: Start) -> Reply<Outcome> {
        self.nodes[at].engine.start::<Registration>(asker, start).await.unwrap()
    }

    async fn enter(&self, at: usize, asker: Asker, flow: FlowId, letter: &Seal) -> Reply<Outcome> {
        let command = Command::Enter(testing::typed_code(code(&self.town, flow, letter)));
        self.nodes[at].engine.call::<Registration>(flow, asker, command).await.unwrap()
    }

    /// Begins a registration on each node; gives both, each with its letter.
    async fn two(&self, starts: [Start; 2]) -> [(FlowId, Seal); 2] {
        let [first, second] = starts;
        let first = self.register(0, self.asker(0), first).await.flow;
        let second = self.register(1, self.asker(1), second).await.flow;
        [(first, last_letter(&self.town, first).await), (second, last_letter(&self.town, second).await)]
    }

    /// Has both registrations proved at once.
    async fn prove(&self, seed: u64, two: &[(FlowId, Seal); 2]) -> [Outcome; 2] {
        self.both(seed, async |at| self.enter(at, self.asker(at), two[at].0, &two[at].1).await.outcome).await
    }

    /// The letters that a flow sent, once they are all on their way.
    async fn letters(&self, flow: FlowId) -> Vec<Letter> {
        for node in &self.nodes {
            node.host.quiet().await;
        }
        self.town.post.of(flow).into_iter().map(|posted| posted.letter).collect()
    }

    async fn welcomed(&self, flow: FlowId) -> usize {
        let letters = self.letters(flow).await;
        letters.iter().filter(|letter| matches!(letter, Letter::RegistrationWelcome { .. })).count()
    }

    async fn end(self) {
        let now = self.nodes[0].engine.now();
        for node in self.nodes {
            node.end().await;
        }
        is_sound(&self.town.store(0), now).await;
    }
}

async fn one_address(kind: Kind) {
    let arena = Arena::new(kind).await;
    let town = &arena.town;
    let mut won = [0, 0];
    for seed in seeds(100) {
        let address = format!("wanted.{seed}@example.org");
        let names = [format!("first{seed}"), format!("second{seed}")];
        let two = arena.two([start(&address, Some(&names[0])), start(&address, Some(&names[1]))]).await;
        let said = arena.prove(seed, &two).await;
        let (winner, user) = match &said {
            [Outcome::Verified { user, .. }, Outcome::AddressTaken] => (0, *user),
            [Outcome::AddressTaken, Outcome::Verified { user, .. }] => (1, *user),
            said => panic!("seed {seed}: one has the address, not {said:?}"),
        };
        won[winner] += 1;
        let loser = 1 - winner;

        let key = town.environment.address_key(&testing::address(&address));
        let users = town.users(key).await;
        assert_eq!(users.len(), 1, "seed {seed}: one user an address");
        assert_eq!(users[0].id, user.0.bytes().to_vec(), "seed {seed}");
        assert_eq!(users[0].username.as_deref(), Some(names[winner].as_str()), "seed {seed}");
        assert_eq!(town.guard(&Key::Address(key)).await, Some(0), "seed {seed}");
        let name = |at: usize| Key::Username(testing::username(&names[at]));
        assert_eq!(town.guard(&name(winner)).await, Some(0), "seed {seed}");
        assert_eq!(town.guard(&name(loser)).await, None, "seed {seed}: who loses keeps nothing");
        let row = town.store(0).load(two[loser].0).await.unwrap().unwrap();
        assert_eq!((row.phase.as_str(), row.version, row.wake_at), ("ended", 2, None), "seed {seed}");
        assert!(!row.state.contains("wanted"), "seed {seed}: what has ended holds no address");
        assert_eq!(town.store(0).history(two[loser].0).await.unwrap().len(), 2, "seed {seed}");
        assert_eq!(arena.welcomed(two[winner].0).await, 1, "seed {seed}");
        assert_eq!(arena.welcomed(two[loser].0).await, 0, "seed {seed}");
        assert_eq!(arena.letters(two[loser].0).await.len(), 1, "seed {seed}: the first letter and no other");

        // Asked again, on the other node, each is told the same of the same.
        let again = arena.enter(loser, arena.asker(loser), two[winner].0, &two[winner].1).await;
        assert_eq!((&again.outcome, again.version), (&said[winner], 2), "seed {seed}");
        let again = arena.enter(winner, arena.asker(winner), two[loser].0, &two[loser].1).await;
        assert_eq!((again.outcome, again.version), (Outcome::Over, 2), "seed {seed}");
    }
    println!("{kind:?}: one address, won {won:?} times by the two nodes");
    arena.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_prove_one_address_at_once_one_has_it_on_sqlite() {
    one_address(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_prove_one_address_at_once_one_has_it_on_postgresql() {
    one_address(Kind::Postgres).await;
}

async fn one_username(kind: Kind) {
    let arena = Arena::new(kind).await;
    let town = &arena.town;
    let mut won = [0, 0];
    for seed in seeds(100) {
        let name = format!("wanted{seed}");
        let addresses = [format!("first.{seed}@example.org"), format!("second.{seed}@example.org")];
        let two = arena.two([start(&addresses[0], Some(&name)), start(&addresses[1], Some(&name))]).await;
        let mut named = Vec::new();
        for (at, said) in arena.prove(seed, &two).await.into_iter().enumerate() {
            let Outcome::Verified { user, .. } = said else {
                panic!("seed {seed}: verified all the same, not {said:?}")
            };
            let users = town.users(town.environment.address_key(&testing::address(&addresses[at]))).await;
            assert_eq!(users.len(), 1, "seed {seed}");
            assert_eq!(users[0].id, user.0.bytes().to_vec(), "seed {seed}");
            named.extend(users[0].username.clone().map(|name| (at, name)));
            assert_eq!(town.guard(&Key::User(user)).await, Some(0), "seed {seed}");
            assert_eq!(arena.welcomed(two[at].0).await, 1, "seed {seed}");
        }
        let [(winner, found)] = named.as_slice() else { panic!("seed {seed}: one has the name, not {named:?}") };
        assert_eq!(*found, name, "seed {seed}");
        won[*winner] += 1;
        assert_eq!(town.guard(&Key::Username(testing::username(&name))).await, Some(0), "seed {seed}");
    }
    println!("{kind:?}: one username, won {won:?} times by the two nodes");
    arena.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_want_one_username_one_has_it_and_both_are_verified_on_sqlite() {
    one_username(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_want_one_username_one_has_it_and_both_are_verified_on_postgresql() {
    one_username(Kind::Postgres).await;
}

/// A request with the key of its repeat.
fn caller(route: &str, key: String) -> Caller {
    let repeat = Some(Repeat { route: route.to_owned(), key });
    Caller {
        trace: "twice".to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        device: None,
        device_proof: None,
        repeat,
    }
}

async fn one_request_twice(kind: Kind) {
    let arena = Arena::new(kind).await;
    let town = &arena.town;
    for seed in seeds(50) {
        // A start, by the engine's own asker: one flow, one letter, one answer.
        let address = format!("twice.{seed}@example.org");
        let asker = |step: u64| repeatable(id(100 + step, seed));
        let begun = arena.both(seed, async |at| arena.register(at, asker(0), start(&address, None)).await).await;
        let flow = begun[0].flow;
        for reply in &begun {
            assert_eq!((reply.flow, &reply.outcome, reply.version), (flow, &begun[0].outcome, 1), "seed {seed}");
        }
        assert_eq!(town.store(0).history(flow).await.unwrap().len(), 1, "seed {seed}");
        assert_eq!(town.store(0).deliveries(flow).await.unwrap().len(), 1, "seed {seed}");
        assert_eq!(arena.letters(flow).await.len(), 1, "seed {seed}: one letter, carried once");

        // A step.
        let letter = last_letter(town, flow).await;
        let proved = arena.both(seed, async |at| arena.enter(at, asker(1), flow, &letter).await).await;
        let Outcome::Verified { user, .. } = proved[0].outcome else { panic!("seed {seed}: {:?}", proved[0].outcome) };
        for reply in &proved {
            assert_eq!((&reply.outcome, reply.version), (&proved[0].outcome, 2), "seed {seed}");
        }
        assert_eq!(town.store(0).history(flow).await.unwrap().len(), 2, "seed {seed}");
        assert_eq!(arena.welcomed(flow).await, 1, "seed {seed}");

        // An act.
        let bumped = arena
            .both(seed, async |at| arena.nodes[at].engine.act("bump", asker(2), bumping(user)).await.unwrap().flow)
            .await;
        assert_eq!(bumped[0], bumped[1], "seed {seed}");
        assert_eq!(town.guard(&Key::User(user)).await, Some(1), "seed {seed}: it counts once");

        // A sign-in: the same seal and the same minted token.
        let amr = || vec!["pwd".to_owned()];
        let begin = || session::Start {
            user,
            fence: 1,
            devices: 0,
            amr: amr(),
            device: None,
            client_address: None,
            arrival: session::Arrival::default(),
            forgets: None,
        };
        let begun = arena
            .both(seed, async |at| arena.nodes[at].engine.start::<Session>(asker(3), begin()).await.unwrap())
            .await;
        assert!(matches!(begun[0].outcome, session::Outcome::Tokens { .. }), "seed {seed}");
        assert_eq!((begun[0].flow, &begun[0].outcome), (begun[1].flow, &begun[1].outcome), "seed {seed}");
        assert_eq!(town.guard(&Key::Session(begun[0].flow.0)).await, Some(0), "seed {seed}");

        // The whole use case, by the key of the request: facts are read and a password is hashed on both nodes.
        let registered = arena
            .both(seed, async |at| {
                let email = format!("key.{seed}@example.org");
                let password = Password::typed("correct horse battery".to_owned());
                let typed = Typed {
                    email,
                    password,
                    username: None,
                    first_name: None,
                    last_name: None,
                    accept_disposable: false,
                };
                arena.nodes[at]
                    .services
                    .register(&caller("POST /auth/register", seed.to_string()), typed)
                    .await
                    .unwrap()
            })
            .await;
        assert_eq!(registered[0].flow, registered[1].flow, "seed {seed}");
        let flow = FlowId(cairn_runtime::Id::parse(Registration::PREFIX, &registered[0].flow.id).unwrap());
        assert_eq!(arena.letters(flow).await.len(), 1, "seed {seed}: one letter");
    }
    arena.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_two_tasks_bring_at_once_counts_once_on_sqlite() {
    one_request_twice(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_two_processes_bring_at_once_counts_once_on_postgresql() {
    one_request_twice(Kind::Postgres).await;
}
