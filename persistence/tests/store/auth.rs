//! Auth over a real database: nodes as the product composes them, driven time, and a post office that forgets nothing.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_actors::effects::{Answer, Auth, Delivery, Key, NewUser, UserWrite, Write};
use cairn_actors::environment::Environment;
use cairn_actors::flows;
use cairn_actors::flows::registration;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::{self, Hasher, SealedHash};
use cairn_actors::secrets::ring::SharedRing;
use cairn_actors::services::Services;
use cairn_actors::services::signing_keys::KeyManager;
use cairn_actors::testing;
use cairn_persistence::entity::{guards, users};
use cairn_persistence::keys::SigningKeyTable;
use cairn_persistence::{AuthWrites, Database};
use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use cairn_runtime::store::Store;
use cairn_runtime::testing::clock::{FixedClock, SeededDice};
use cairn_runtime::testing::process::Process;
use cairn_runtime::testing::sweep::Attempt;
use cairn_runtime::{
    ActStep, Asker, Cx, DeliveryId, Domain, Effects, Engine, FlowId, Guard, Id, Parts, Timestamp, Tuning,
};
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter};

use crate::support::{Kind, Place};

/// A letter on its way, as the courier saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub id: DeliveryId,
    pub flow: FlowId,
    pub attempt: u32,
    pub letter: Letter,
}

impl Posted {
    /// The attempt at the delivery that it was.
    pub fn attempted(self) -> Attempt<Auth> {
        let Self { id, flow, attempt, letter } = self;
        Attempt { id, flow, number: attempt, delivery: Delivery::Letter(letter) }
    }
}

/// Takes every letter and remembers every attempt.
#[derive(Debug, Default)]
pub struct Post(Mutex<Vec<Posted>>);

impl Post {
    /// The attempts at letters of one flow, in order.
    pub fn of(&self, flow: FlowId) -> Vec<Posted> {
        let posted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posted.iter().filter(|posted| posted.flow == flow).cloned().collect()
    }

    /// Forgets everything.
    fn empty(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Courier<Auth> for Post {
    fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        if let Some(letter) = attempt.delivery.mailed().cloned() {
            let posted = Posted { id: attempt.id, flow: attempt.flow, attempt: attempt.number, letter };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(posted);
        }
        Box::pin(std::future::ready(Ok(Answer::Accepted)))
    }
}

/// An empty place whose server does not wait for its disk. What is asked of it is who sees what, not what a power cut
/// leaves.
pub async fn hastened(kind: Kind) -> Place {
    let place = Place::new(kind).await;
    if kind == Kind::Postgres {
        let (_, name) = place.address.rsplit_once('/').unwrap();
        let database = place.open().await;
        let hasty = format!("ALTER DATABASE {name} SET synchronous_commit = off");
        database.writer().execute_unprepared(&hasty).await.unwrap();
        database.close().await.unwrap();
    }
    place
}

/// Opens such a place.
async fn open_hastened(place: &Place) -> Database {
    let database = place.open().await;
    hasten(&database).await;
    database
}

/// Has a SQLite file not wait for its disk.
pub async fn hasten(database: &Database) {
    if database.backend() == DbBackend::Sqlite {
        database.writer().execute_unprepared("PRAGMA synchronous = OFF").await.unwrap();
    }
}

/// One database and all that its nodes have in common.
pub struct Town {
    pub environment: Arc<Environment>,
    pub clock: Arc<FixedClock>,
    pub post: Arc<Post>,
    /// One handle a process: SQLite has one, PostgreSQL as many as asked for, each with connections of its own.
    pub databases: Vec<Database>,
    _place: Place,
}

impl Town {
    /// An empty database.
    pub async fn new(kind: Kind, processes: usize) -> Self {
        let place = hastened(kind).await;
        let mut databases = vec![open_hastened(&place).await];
        while kind == Kind::Postgres && databases.len() < processes {
            databases.push(open_hastened(&place).await);
        }
        let (clock, post) = (Arc::new(FixedClock::default()), Arc::new(Post::default()));
        Self { environment: Arc::new(testing::environment(1)), clock, post, databases, _place: place }
    }

    /// The handle of this process.
    pub fn database(&self, process: usize) -> &Database {
        &self.databases[process % self.databases.len()]
    }

    /// The store of this process.
    pub fn store(&self, process: usize) -> Arc<dyn Store<Auth>> {
        Arc::new(self.database(process).store::<Auth, _>(AuthWrites))
    }

    /// Forgets everything.
    pub async fn empty(&self) {
        for table in ["flows", "events", "guards", "outbox", "users", "devices", "clients", "resources"] {
            self.database(0).writer().execute_unprepared(&format!("DELETE FROM {table}")).await.unwrap();
        }
        self.post.empty();
    }

    /// A key's number; `None` when nobody has it.
    pub async fn guard(&self, key: &Key) -> Option<i64> {
        let found = guards::Entity::find_by_id(Auth::guard(key)).one(self.database(0).readers()).await.unwrap();
        found.map(|row| row.value)
    }

    /// The users that have this address.
    pub async fn users(&self, key: Digest) -> Vec<users::Model> {
        let of = users::Entity::find().filter(users::Column::EmailKey.eq(key.0.to_vec()));
        of.all(self.database(0).readers()).await.unwrap()
    }

    /// A process of the product: engine, services, shells, committer. Its pumps run when a test runs them.
    pub async fn node(&self, process: usize, store: Arc<dyn Store<Auth>>, clock: Arc<FixedClock>) -> Node {
        static NODES: AtomicU64 = AtomicU64::new(1);
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let running = Process::begin(Arc::clone(&clock), |host| {
            let builder = Engine::<Auth>::builder(Parts {
                store,
                courier: Arc::clone(&self.post) as _,
                host,
                clock: clock as _,
                dice: Arc::new(SeededDice::new(number)),
                environment: Arc::clone(&self.environment),
                node: format!("node {number}"),
                tuning: Tuning { patience: Duration::from_secs(3_000), ..Tuning::default() },
            });
            flows::register(builder).build()
        });
        let running = running.await;
        let hasher =
            Hasher::new(SharedRing::shared(Arc::clone(&self.environment.ring)), hasher::Settings::quick()).unwrap();
        let directory = self.database(process).directory();
        let keys = KeyManager::new(Arc::new(SigningKeyTable::new(self.database(process))));
        let services = Services { engine: running.engine.clone(), directory, hasher, keys };
        Node { process: running, services }
    }
}

/// One process over a database.
pub struct Node {
    pub process: Process<Auth>,
    pub services: Services,
}

impl Deref for Node {
    type Target = Process<Auth>;

    fn deref(&self) -> &Process<Auth> {
        &self.process
    }
}

impl Node {
    /// Takes it down, once it rests.
    pub async fn end(self) {
        self.process.end().await;
    }
}

/// An id that follows from two numbers.
pub fn id(room: u64, number: u64) -> Id {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&room.to_be_bytes());
    bytes[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Id::from_bytes(bytes)
}

/// What opens a registration of this address, with a hash that nobody verifies.
pub fn start(address: &str, username: Option<&str>) -> registration::Start {
    registration::Start {
        address: testing::address(address),
        username: username.map(testing::username),
        first_name: None,
        last_name: None,
        password: SealedHash::from_text("pretended".to_owned()),
        known: false,
        by: testing::STRANGER,
    }
}

/// What makes a user directly: the very effects of a registration's last step, without the registration.
pub fn founding(
    environment: &Environment,
    user: UserId,
    address: &str,
) -> impl FnMut(Option<&Key>, &Cx<'_, Auth>) -> ActStep<(), Auth> + use<> {
    let address = testing::address(address);
    let address_key = environment.address_key(&address);
    move |lost, cx| {
        assert!(lost.is_none(), "a founder's address and id are their own: {lost:?}");
        let new = NewUser {
            id: user,
            address: address.clone(),
            address_key,
            username: None,
            first_name: None,
            last_name: None,
            password: SealedHash::from_text("pretended".to_owned()),
            at: cx.now,
        };
        let effects = Effects::none()
            .guard(Guard::Claim(Key::Address(address_key)))
            .guard(Guard::Claim(Key::User(user)))
            .guard(Guard::Claim(Key::Profile(user)))
            .guard(Guard::Claim(Key::Devices(user)))
            .write(Write::User(UserWrite::Create(Box::new(new))));
        ActStep { says: (), effects, user: None, public: serde_json::Value::Null }
    }
}

/// What moves a user's fence.
pub fn bumping(user: UserId) -> impl FnMut(Option<&Key>, &Cx<'_, Auth>) -> ActStep<(), Auth> {
    move |lost, _| {
        assert!(lost.is_none(), "the user's fence stands");
        let effects = Effects::none().guard(Guard::Bump(Key::User(user), None));
        ActStep { says: (), effects, user: None, public: serde_json::Value::Null }
    }
}

/// Somebody who may ask again.
pub fn repeatable(id: Id) -> Asker {
    Asker {
        input: cairn_runtime::InputId(id),
        repeatable: true,
        fingerprint: Some([7; 16]),
        trace: Arc::from("a repeat"),
    }
}

/// Asserts that the rows show nothing wrong.
pub async fn is_sound(store: &Arc<dyn Store<Auth>>, now: Timestamp) {
    let audit = store.audit(now).await.unwrap();
    assert_eq!(audit.findings, [], "the audit finds nothing");
}
