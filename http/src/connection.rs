//! What one connection is doing and until when it may, and all connections of a listener with a share for each client.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::access::client_address::client_network;
use crate::frames::{Http2, PREFACE};
use crate::limits::Limits;
use crate::load::{Held, Load};

/// Octets of a head that are not counted: every ordinary head is smaller.
const SMALL_HEAD: usize = 8 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A head is expected (the first one) or coming in.
    Head,
    /// At least one request is being answered.
    Serving,
    /// Between two requests.
    Idle,
}

/// The label of connections whose great head found no room beside those of others.
const HEADS: &str = "heads";
/// The label of connections that gave way to those of other clients.
const CROWDED: &str = "crowded";
/// Every label of the metric of connections that were cut.
pub(crate) const CUT: [&str; 5] = [Due::Head.reason(), Due::Answer.reason(), Due::Idle.reason(), HEADS, CROWDED];

/// Which deadline is the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A head that does not come to its end.
    Head,
    /// An answer of which the client takes nothing.
    Answer,
    /// No request.
    Idle,
}

impl Due {
    /// The label of the metric of connections that were cut.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Head => "slow head",
            Self::Answer => "answer not taken",
            Self::Idle => "idle",
        }
    }
}

/// Which protocol is spoken.
#[derive(Debug)]
enum Protocol {
    /// So many octets of the preface of HTTP/2 have come, and nothing else.
    Unknown(usize),
    Http1,
    Http2(Box<Http2>),
}

/// How urgently a connection was asked to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// Unless a request has come meanwhile.
    Idle,
    /// Whatever it is doing.
    Now,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Instant,
    /// Requests of whose answers the HTTP library has not taken all.
    in_flight: usize,
    /// Of these, those without an answer.
    unanswered: usize,
    protocol: Protocol,
    /// HTTP/2: since when a head is coming in.
    head_since: Option<Instant>,
    /// Octets of a head that is not whole yet, which the library holds.
    head_octets: usize,
    /// What is counted of them.
    head: Option<Held>,
    /// When an octet of an answer last went out, or an answer was last given.
    progress: Instant,
    /// Since when the socket takes nothing of what is to go out.
    blocked: Option<Instant>,
    /// The last answer did not wait for its whole request.
    unread: bool,
    leaving: Option<Leave>,
}

impl State {
    fn unsent(&self) -> usize {
        match &self.protocol {
            Protocol::Http2(connection) => connection.unsent(),
            _ => 0,
        }
    }

    /// Whether nothing of a request is there but perhaps the beginning of a head.
    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.unsent() == 0 && self.blocked.is_none()
    }

    fn received(&mut self, octets: &[u8], now: Instant) {
        let mut octets = octets;
        if let Protocol::Unknown(seen) = self.protocol {
            let rest = PREFACE.get(seen..).unwrap_or_default();
            let (begin, more) = octets.split_at(octets.len().min(rest.len()));
            self.protocol = if !rest.starts_with(begin) {
                Protocol::Http1
            } else if begin.len() == rest.len() {
                Protocol::Http2(Box::default())
            } else {
                Protocol::Unknown(seen + begin.len())
            };
            octets = more;
        }
        match &mut self.protocol {
            Protocol::Unknown(_) => {}
            Protocol::Http1 if self.stage == Stage::Idle => {
                self.stage = Stage::Head;
                self.since = now;
            }
            Protocol::Http1 => {}
            Protocol::Http2(connection) => {
                connection.received(octets);
                self.head_since = connection.is_in_head().then(|| self.head_since.unwrap_or(now));
            }
        }
    }

    fn sent(&mut self, octets: &[u8], now: Instant) {
        let of_answers = match &mut self.protocol {
            Protocol::Http2(connection) => connection.sent(octets),
            _ => true,
        };
        if of_answers {
            self.progress = now;
            if self.stage == Stage::Idle {
                self.since = now;
            }
        }
    }

    /// What it is doing. An answer that the library holds still, or the socket, is one that is being given.
    fn stage(&self) -> Stage {
        if self.stage == Stage::Idle && !self.is_idle() { Stage::Serving } else { self.stage }
    }

    fn next(&self, limits: &Limits) -> Option<(Instant, Due)> {
        let blocked = self.blocked.map(|since| since + limits.answer_pause);
        // An answer is there and nothing of it moves; or the library holds the rest of it, and the client's window is shut.
        let waits = self.unsent() > self.unanswered;
        let shut = waits.then(|| self.progress + limits.answer_pause);
        let head = match self.stage {
            Stage::Head => Some(self.since + limits.head_time),
            _ => self.head_since.map(|since| since + limits.head_time),
        };
        let idle = (self.stage() == Stage::Idle).then(|| self.since + limits.idle_time);
        let all = [(blocked, Due::Answer), (shut, Due::Answer), (head, Due::Head), (idle, Due::Idle)];
        all.into_iter().filter_map(|(at, due)| Some((at?, due))).min_by_key(|(at, _)| *at)
    }
}

/// One connection, seen by its task, by its requests and by all the others.
#[derive(Debug)]
pub(crate) struct Connection {
    state: Mutex<State>,
    waker: AtomicWaker,
    owner: Owner,
    all: Arc<Connections>,
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets have come in.
    pub(crate) fn received(&self, octets: &[u8]) {
        let mut state = self.state();
        state.received(octets, Instant::now());
        if state.stage == Stage::Head || state.head_since.is_some() {
            // What came before was no whole head, or a request would have begun. Of what comes now nobody knows yet.
            let before = state.head_octets;
            state.head_octets += octets.len();
            if before > SMALL_HEAD && !self.holds(&mut state, before) {
                // There is no room for one more great head, and no answer to half of one.
                drop(state);
                metrics::counter!("cairn_http_connections_cut_total", "reason" => HEADS).increment(1);
                self.leave(Leave::Now);
            }
        } else {
            (state.head_octets, state.head) = (0, None);
        }
    }

    /// Counts so many octets of a head among the bodies in flight.
    fn holds(&self, state: &mut State, octets: usize) -> bool {
        if state.head.is_none() {
            state.head = self.all.load.body(self.owner.key());
        }
        state.head.as_mut().is_some_and(|head| head.grow_to(octets))
    }

    /// The socket has taken the first `count` octets of these.
    pub(crate) fn sent<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>, count: usize) {
        let now = Instant::now();
        let mut state = self.state();
        state.blocked = None;
        let mut left = count;
        for piece in pieces {
            let taken = piece.get(..left).unwrap_or(piece);
            state.sent(taken, now);
            left -= taken.len();
        }
    }

    /// The socket takes nothing.
    pub(crate) fn blocked(&self) {
        self.state().blocked.get_or_insert_with(Instant::now);
    }

    /// A request begins; it ends with the guard.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.unanswered += 1;
        state.stage = Stage::Serving;
        state.unread = false;
        (state.head_octets, state.head) = (0, None);
        let wakes = matches!(state.protocol, Protocol::Http2(_));
        InFlight { connection: Arc::clone(self), answered: false, wakes }
    }

    /// The answer is given though not all of the request was read.
    pub(crate) fn answered_early(&self) {
        self.state().unread = true;
    }

    /// Whether closing at once could destroy an answer: the other end may be sending still.
    pub(crate) fn may_be_spoken_to(&self) -> bool {
        let state = self.state();
        state.unread || state.stage == Stage::Head
    }

    /// What it is doing, and until when it may go on so. A request whose handler runs has no deadline here.
    pub(crate) fn until(&self, limits: &Limits) -> (Stage, Option<(Instant, Due)>) {
        let state = self.state();
        (state.stage(), state.next(limits))
    }

    /// Whether the connection is to end now, because it was asked to give way.
    pub(crate) fn is_leaving(&self) -> bool {
        let mut state = self.state();
        match state.leaving {
            None => false,
            Some(Leave::Idle) if state.stage == Stage::Serving => {
                // A request came in that very moment: another one has to.
                state.leaving = None;
                drop(state);
                self.all.moved.notify_one();
                false
            }
            Some(_) => true,
        }
    }

    /// Has the connection's task looked at again when something is wanted of it.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn leave(&self, how: Leave) {
        self.state().leaving = Some(how);
        self.waker.wake();
    }
}

/// A request in flight, until the HTTP library has taken the last octet of its answer's body.
#[derive(Debug)]
pub(crate) struct InFlight {
    connection: Arc<Connection>,
    answered: bool,
    /// HTTP/2 answers from other tasks; the connection's own must see its new deadline.
    wakes: bool,
}

impl InFlight {
    /// The answer is there. From now on the client has to take it.
    pub(crate) fn answered(&mut self) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let mut state = self.connection.state();
        // An answer that waits is not moved by the next one.
        if state.unsent() <= state.unanswered {
            state.progress = Instant::now();
        }
        state.unanswered = state.unanswered.saturating_sub(1);
        drop(state);
        if self.wakes {
            self.connection.waker.wake();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered();
        let mut state = self.connection.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.in_flight == 0 {
            state.stage = Stage::Idle;
            state.since = Instant::now();
            drop(state);
            self.connection.all.moved.notify_one();
            if self.wakes {
                self.connection.waker.wake();
            }
        }
    }
}

/// Whom a connection belongs to, as far as shares are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A client, by its network.
    Client(u128),
    /// A trusted proxy: it carries everybody, so it has no share, and gives way only where it is idle.
    Proxy,
}

impl Owner {
    pub(crate) fn of(peer: IpAddr, limits: &Limits) -> Self {
        if limits.proxies.iter().any(|proxy| proxy.contains(peer)) {
            Self::Proxy
        } else {
            Self::Client(client_network(peer))
        }
    }

    /// Proxies are one owner, at an address that nobody has.
    fn key(self) -> u128 {
        match self {
            Self::Client(network) => network,
            Self::Proxy => u128::MAX,
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
    /// The numbers of each owner's, the oldest first.
    owners: HashMap<u128, BTreeSet<u64>>,
    /// How many each owner has.
    counts: BTreeSet<(usize, u128)>,
}

/// Who goes first: whether it is busy, since when it is idle, and how old it is.
type Rank = (bool, Option<Instant>, u64);

/// So many owners of equally many connections are compared, at most.
const COMPARED: usize = 64;

impl Open {
    fn change(&mut self, owner: u128, change: impl FnOnce(&mut BTreeSet<u64>)) {
        let numbers = self.owners.entry(owner).or_default();
        let before = numbers.len();
        change(numbers);
        let after = numbers.len();
        if after == 0 {
            self.owners.remove(&owner);
        }
        self.counts.remove(&(before, owner));
        if after > 0 {
            self.counts.insert((after, owner));
        }
    }

    fn count(&self, owner: Owner) -> usize {
        self.owners.get(&owner.key()).map_or(0, BTreeSet::len)
    }

    fn of(&self, owner: u128) -> impl Iterator<Item = (u64, &Arc<Connection>)> {
        let numbers = self.owners.get(&owner).into_iter().flatten();
        numbers.filter_map(|number| Some((*number, self.connections.get(number)?)))
    }

    /// Which connection of an owner gives way: the longest idle one, else the oldest.
    fn candidate(&self, owner: u128) -> Candidate<'_> {
        let mut longest: Option<(Instant, &Arc<Connection>)> = None;
        let mut oldest = None;
        for (number, connection) in self.of(owner) {
            let state = connection.state();
            if state.leaving.is_some() {
                return Candidate::Leaving;
            }
            if state.is_idle() && longest.is_none_or(|(since, _)| state.since < since) {
                longest = Some((state.since, connection));
            }
            oldest = oldest.or(Some((number, connection)));
        }
        match (longest, oldest) {
            (Some((since, connection)), _) => Candidate::Idle(since, connection),
            (None, Some((number, connection))) if owner != Owner::Proxy.key() => Candidate::Busy(number, connection),
            _ => Candidate::None,
        }
    }

    /// Asks one connection of this owner to give way, unless one is on its way out.
    fn ask(&self, owner: u128) -> bool {
        match self.candidate(owner) {
            Candidate::None => return false,
            Candidate::Leaving => return true,
            Candidate::Idle(_, connection) => connection.leave(Leave::Idle),
            Candidate::Busy(_, connection) => connection.leave(Leave::Now),
        }
        metrics::counter!("cairn_http_connections_cut_total", "reason" => CROWDED).increment(1);
        true
    }

    /// Asks a connection of the owner with most to give way. Among owners with equally many, an idle one goes first.
    fn ask_most(&self) {
        let mut most = None;
        let mut best: Option<(Rank, u128)> = None;
        for (count, owner) in self.counts.iter().rev().take(COMPARED) {
            // The next smaller owner is asked only when nobody above can give way.
            if best.is_some() && most.is_some_and(|most| *count < most) {
                break;
            }
            let rank = match self.candidate(*owner) {
                Candidate::None => continue,
                Candidate::Leaving => return,
                Candidate::Idle(since, _) => (false, Some(since), 0),
                Candidate::Busy(number, _) => (true, None, number),
            };
            most = Some(*count);
            if best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, *owner));
            }
        }
        if let Some((_, owner)) = best {
            self.ask(owner);
        }
    }
}

enum Candidate<'a> {
    None,
    /// One is on its way out already.
    Leaving,
    Idle(Instant, &'a Arc<Connection>),
    Busy(u64, &'a Arc<Connection>),
}

/// All connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    load: Arc<Load>,
    open: Mutex<Open>,
    closing: AtomicBool,
    /// A connection ended or became idle.
    moved: Notify,
}

impl Connections {
    pub(crate) fn new(load: Arc<Load>) -> Arc<Self> {
        Arc::new(Self { load, open: Mutex::default(), closing: AtomicBool::new(false), moved: Notify::new() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in; its place is free again when the place is dropped.
    pub(crate) fn enter(self: &Arc<Self>, owner: Owner) -> Place {
        let now = Instant::now();
        let connection = Arc::new(Connection {
            state: Mutex::new(State {
                stage: Stage::Head,
                since: now,
                in_flight: 0,
                unanswered: 0,
                protocol: Protocol::Unknown(0),
                head_since: None,
                head_octets: 0,
                head: None,
                progress: now,
                blocked: None,
                unread: false,
                leaving: None,
            }),
            waker: AtomicWaker::new(),
            owner,
            all: Arc::clone(self),
        });
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Arc::clone(&connection));
        open.change(owner.key(), |numbers| {
            numbers.insert(number);
        });
        drop(open);
        metrics::gauge!("cairn_http_connections").increment(1.0);
        Place { number, connection }
    }

    /// Waits until there is room for one more of this owner, within its share and within the bound of all.
    pub(crate) async fn room_for_one(&self, owner: Owner, limits: &Limits) {
        while !self.has_room_for(owner, limits) {
            self.moved.notified().await;
        }
    }

    /// Whether there is room for one more; if not, one is asked to give way.
    fn has_room_for(&self, owner: Owner, limits: &Limits) -> bool {
        let open = self.open();
        if owner != Owner::Proxy && open.count(owner) >= limits.connections_each.max(1) {
            open.ask(owner.key());
            return false;
        }
        if open.connections.len() >= limits.connections.max(1) {
            open.ask_most();
            return false;
        }
        true
    }

    /// Asks a connection to give way, because the process is short of descriptors.
    pub(crate) fn ask_one_to_leave(&self) {
        self.open().ask_most();
    }

    /// Asks every connection to finish what it does and go.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.open().connections.values().for_each(|connection| connection.waker.wake());
    }

    /// Whether all are to go.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn count(&self) -> usize {
        self.open().connections.len()
    }
}

/// A connection's place among all.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let all = &self.connection.all;
        let mut open = all.open();
        open.connections.remove(&self.number);
        open.change(self.connection.owner.key(), |numbers| {
            numbers.remove(&self.number);
        });
        drop(open);
        metrics::gauge!("cairn_http_connections").decrement(1.0);
        all.moved.notify_one();
    }
}
