//! One process of the product over a store that fails once, and a client who insists on an answer all the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_actors::effects::{Auth, Key, NewUser, UserWrite, Write};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::hasher::Lane;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::{Caller, Refusal, Repeat, Services};
use cairn_actors::testing;
use cairn_runtime::nursery::ActorHost;
use cairn_runtime::store::{Item, Verdict};
use cairn_runtime::testing::store::{Aim, FaultyStore};
use cairn_runtime::testing::sweep::{Subject, Watched};
use cairn_runtime::{Asker, Domain, Fault, Flow, FlowId, Guard, Host, Id, InputId, Reply};

use crate::auth::{Node, Posted, Town, id, repeatable};

/// A call that hangs ends after this.
const TIME_OUT: Duration = Duration::from_millis(5);

/// A process under test.
pub struct Stand {
    watched: Watched<Auth>,
    pub town: Arc<Town>,
    pub services: Services,
    /// Whether anything is to fail at all.
    aimed: bool,
    run: u64,
    asked: AtomicU64,
}

impl Deref for Stand {
    type Target = Watched<Auth>;

    fn deref(&self) -> &Watched<Auth> {
        &self.watched
    }
}

impl Subject for Stand {
    type Place = Arc<Town>;

    /// What earlier runs left in the database is not due while this one lasts.
    async fn set(town: &Arc<Town>, aim: Option<Aim>) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let real = town.store(0);
        let timer = ActorHost::new(Arc::new(|_| {}));
        let faulty =
            FaultyStore::new(Arc::clone(&real), aim).with_time_out(TIME_OUT, Arc::new(move |span| timer.sleep(span)));
        let faulty = Arc::new(faulty);
        let Node { process, services } = town.node(0, Arc::clone(&faulty) as _, Arc::default()).await;
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let (town, watched) = (Arc::clone(town), Watched::new(process, faulty, real));
        Self { watched, town, services, aimed: aim.is_some(), run, asked: AtomicU64::new(0) }
    }

    async fn close(self) -> Option<&'static str> {
        self.settle().await;
        for delivery in self.deliveries().await {
            assert!(!delivery.dead, "nobody refused it, and time did not run out: {delivery:?}");
        }
        let Self { watched, town, .. } = self;
        watched.close(|flows| flows.iter().flat_map(|flow| town.post.of(*flow)).map(Posted::attempted).collect()).await
    }
}

impl Stand {
    /// A word that no other run uses.
    pub fn word(&self, word: &str) -> String {
        format!("{word}{}", self.run)
    }

    /// An address that no other run uses.
    pub fn address(&self, local: &str) -> String {
        format!("{}@example.org", self.word(local))
    }

    fn next(&self) -> u64 {
        (self.run << 16) | self.asked.fetch_add(1, Ordering::Relaxed)
    }

    /// Somebody who may ask again.
    pub fn asker(&self) -> Asker {
        repeatable(id(300, self.next()))
    }

    /// A request that may come again.
    pub fn caller(&self) -> Caller {
        let repeat = Some(Repeat { route: "POST /".to_owned(), key: self.next().to_string() });
        Caller { repeat, ..self.stranger() }
    }

    /// A request without a key. Each run comes from a network of its own: what strangers may do in a day is counted by
    /// networks.
    pub fn stranger(&self) -> Caller {
        Caller {
            trace: "sweep".to_owned(),
            address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(self.run).unwrap_or_default())),
            device: None,
            device_proof: None,
            repeat: None,
        }
    }

    /// Somebody who has an account since before the fault.
    pub async fn resident(&self, email: &str, password: &str) -> UserId {
        let user = UserId(id(400, self.next()));
        let hasher = &self.services.hasher;
        let password = hasher.hash(&Password::typed(password.to_owned()), Lane::Registration).await.unwrap();
        let address = testing::address(email);
        let address_key = self.town.environment.address_key(&address);
        let at = self.engine.now();
        let (username, first_name, last_name) = (None, None, None);
        let new = NewUser { id: user, address, address_key, username, first_name, last_name, password, at };
        let mut item = Item::<Auth>::of(InputId(user.0), at);
        item.guards = [Key::Address(address_key), Key::User(user), Key::Profile(user), Key::Devices(user)]
            .map(|key| Guard::Claim(Auth::guard(&key)))
            .into();
        item.writes = vec![Write::User(UserWrite::Create(Box::new(new)))];
        assert_eq!(self.real.commit(&[item]).await.unwrap(), [Verdict::Done]);
        user
    }

    /// Asks a use case until there is an answer. Where something failed meanwhile, it is asked once more: the repeat is
    /// told the same.
    pub async fn twice<T, Fut>(&self, ask: impl Fn(Services, Caller) -> Fut) -> Result<T, Refusal>
    where
        T: PartialEq + std::fmt::Debug + Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let (caller, before) = (self.caller(), self.faulty.hit());
        let first = self.insists(|| ask(self.services.clone(), caller.clone())).await;
        if self.is_asked_again(before) {
            let again = self.insists(|| ask(self.services.clone(), caller.clone())).await;
            assert_eq!(again, first, "I3: a repeat gets the same answer");
        }
        first
    }

    async fn insists<T, Fut>(&self, ask: impl Fn() -> Fut) -> Result<T, Refusal>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        self.insist(ask, fault).await
    }

    /// Whether a request is repeated: always where nothing is to fail, else if it failed since.
    fn is_asked_again(&self, before: Option<&'static str>) -> bool {
        !self.aimed || self.faulty.hit() != before
    }

    /// Asks a use case that has no key until there is an answer.
    pub async fn once<T, Fut>(&self, ask: impl Fn(Services, Caller) -> Fut) -> Result<T, Refusal>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        self.insists(|| ask(self.services.clone(), self.stranger())).await
    }

    /// The same with the engine. What was told is held against the event.
    pub async fn asked<F: Flow, Fut>(&self, ask: impl Fn(Asker) -> Fut) -> Reply<F::Outcome>
    where
        F::Outcome: PartialEq,
        Fut: Future<Output = Result<Reply<F::Outcome>, Fault>> + Send + 'static,
    {
        let (asker, before) = (self.asker(), self.faulty.hit());
        let ask = || {
            let asking = ask(asker.clone());
            async move { asking.await.map_err(Refusal::from) }
        };
        let first = self.insists(ask).await.unwrap();
        if self.is_asked_again(before) {
            let again = self.insists(ask).await.unwrap();
            assert_eq!(again.outcome, first.outcome, "I3: a repeat gets the same answer");
            assert_eq!((again.flow, again.version, &again.phase), (first.flow, first.version, &first.phase));
        }
        if let Some(event) = self.real.event(asker.input).await.unwrap() {
            let says: F::Outcome = serde_json::from_str(&event.outcome).unwrap();
            assert_eq!((says, event.version), (first.outcome.clone(), first.version), "I1: history says the same");
        }
        if first.version > 0 {
            self.acknowledge(first.flow, first.version, &first.phase);
        }
        first
    }

    /// The same with an act.
    pub async fn acted<Fut>(&self, ask: impl Fn(Asker) -> Fut)
    where
        Fut: Future<Output = Result<Reply<()>, Fault>> + Send + 'static,
    {
        let (asker, before) = (self.asker(), self.faulty.hit());
        let ask = || {
            let asking = ask(asker.clone());
            async move { asking.await.map_err(Refusal::from) }
        };
        let first = self.insists(ask).await.unwrap();
        if self.is_asked_again(before) {
            let again = self.insists(ask).await.unwrap();
            assert_eq!((again.flow, again.version), (first.flow, first.version), "I3: a repeat gets the same answer");
        }
        let event = self.real.event(asker.input).await.unwrap().expect("an act has an event");
        assert_eq!(event.flow, first.flow);
    }

    /// Lets a span pass, and whatever is due happen, claims of the dead included.
    pub async fn passes(&self, span: Duration) {
        self.clock.advance(span);
        self.settle().await;
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(30));
            self.settle().await;
        }
    }

    /// The letters that a flow sent, each once, in the order in which they first came to the post.
    pub async fn letters(&self, flow: FlowId) -> Vec<Letter> {
        self.watch(flow);
        self.settle().await;
        let mut seen = BTreeSet::new();
        let posted = self.town.post.of(flow).into_iter();
        posted.filter(|posted| seen.insert(posted.id)).map(|posted| posted.letter).collect()
    }

    /// The names of all that happened to a flow.
    pub async fn names(&self, flow: FlowId) -> Vec<String> {
        self.real.history(flow).await.unwrap().into_iter().map(|event| event.name).collect()
    }
}

/// The engine's fault in a refusal.
fn fault(refusal: &Refusal) -> Option<&Fault> {
    match refusal {
        Refusal::Fault(fault) => Some(fault),
        _ => None,
    }
}

/// The flow that the text of an id names.
pub fn flow_of(prefix: &str, text: &str) -> FlowId {
    FlowId(Id::parse(prefix, text).unwrap())
}
