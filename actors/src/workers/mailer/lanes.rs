//! Places at the mail server, shared by lanes: one lane for each domain that letters go to.
//!
//! What must stay true: there are never more conversations than places; no domain holds more places than it leaves free,
//! so that one whose letters hang leaves room for the others; in a lane that is in trouble nobody waits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_runtime::{Clock, Timestamp};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::breaker::{Breaker, Standing};

/// A conversation that takes longer than this is slow: nobody queues up behind it.
pub(super) const SLOW: Duration = Duration::from_secs(2);
/// So many failures in a row, and a lane takes one letter at a time.
const DOUBTFUL: u32 = 2;

/// Why a letter gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Every place is taken.
    Busy,
    /// The mail server is in trouble.
    Server,
    /// Letters to this domain are in trouble.
    Destination,
}

impl Held {
    /// The label of the metric of letters that were put off.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Server => "server",
            Self::Destination => "destination",
        }
    }
}

/// What a conversation has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The server has said its word on the letter, whichever.
    Sound,
    /// It did not come to speak of the letter.
    ServerFailed,
    /// It broke or hung when it came to this letter.
    DestinationFailed,
}

/// The places, and who waits for one.
pub(super) struct Lanes {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    free: usize,
    server: Breaker,
    lanes: HashMap<Arc<str>, Lane>,
    /// The lanes in which somebody waits, in the order in which they get a place.
    turns: VecDeque<Arc<str>>,
    tickets: u64,
}

#[derive(Default)]
struct Lane {
    breaker: Breaker,
    /// Tickets of the places it holds, and since when.
    held: Vec<(u64, Timestamp)>,
    waiting: VecDeque<oneshot::Sender<Result<Place, Held>>>,
}

/// A place at the mail server. Dropped, it is given back, and nothing was shown.
pub(super) struct Place {
    lanes: Arc<Lanes>,
    lane: Arc<str>,
    ticket: u64,
    tries_server: bool,
    tries_lane: bool,
    given_back: bool,
}

/// What is to be done with one who asks.
enum Turn {
    Go,
    Wait,
    Leave(Held),
}

impl Lane {
    fn turn(&self, server: &Breaker, free: usize, now: Timestamp) -> Turn {
        if server.standing(now) == Standing::Open {
            return Turn::Leave(Held::Server);
        }
        if self.breaker.standing(now) == Standing::Open {
            return Turn::Leave(Held::Destination);
        }
        let doubtful =
            self.breaker.failures() >= DOUBTFUL || self.held.iter().any(|(_, since)| now.since(*since) > SLOW);
        if doubtful && !self.held.is_empty() {
            return Turn::Leave(Held::Destination);
        }
        // As many as it leaves free: of eight, one domain has four, a second beside it two.
        if self.held.len() < free { Turn::Go } else { Turn::Wait }
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        self.held.is_empty() && self.waiting.is_empty() && self.breaker.is_forgotten(now)
    }
}

impl Lanes {
    pub(super) fn new(places: usize, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            free: places,
            server: Breaker::default(),
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            tickets: 0,
        };
        Self { clock, state: Mutex::new(state) }
    }

    /// Takes a place for a letter to this domain, waiting for one if need be.
    pub(super) async fn enter(self: &Arc<Self>, domain: &str, patience: Duration) -> Result<Place, Held> {
        let asked = {
            let now = self.clock.now();
            let mut state = self.lock();
            let State { free, server, lanes, turns, .. } = &mut *state;
            let name: Arc<str> =
                lanes.get_key_value(domain).map_or_else(|| Arc::from(domain), |(name, _)| Arc::clone(name));
            let lane = lanes.entry(Arc::clone(&name)).or_default();
            // Whoever has gone by now takes no room in the queue.
            lane.waiting.retain(|tell| !tell.is_closed());
            match lane.turn(server, *free, now) {
                // Nobody overtakes who waits already.
                Turn::Go if lane.waiting.is_empty() => return Ok(self.place(&mut state, &name, now)),
                Turn::Leave(held) => return Err(held),
                Turn::Go | Turn::Wait => {
                    let (tell, told) = oneshot::channel();
                    if !turns.contains(&name) {
                        turns.push_back(name);
                    }
                    lane.waiting.push_back(tell);
                    told
                }
            }
        };
        match timeout(patience, asked).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => Err(Held::Busy),
        }
    }

    /// Whether no letter is given to the mail server now, because it is in trouble.
    pub(super) fn server_is_left_alone(&self) -> bool {
        let now = self.clock.now();
        self.lock().server.standing(now) == Standing::Open
    }

    /// Forgets lanes of which there is nothing to remember.
    pub(super) fn tidy(&self) {
        let now = self.clock.now();
        self.lock().lanes.retain(|_, lane| !lane.is_forgotten(now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, state: &mut State, name: &Arc<str>, now: Timestamp) -> Place {
        state.free = state.free.saturating_sub(1);
        state.tickets += 1;
        let ticket = state.tickets;
        let tries_server = state.server.try_one(now);
        let lane = state.lanes.entry(Arc::clone(name)).or_default();
        let tries_lane = lane.breaker.try_one(now);
        lane.held.push((ticket, now));
        Place { lanes: Arc::clone(self), lane: Arc::clone(name), ticket, tries_server, tries_lane, given_back: false }
    }

    fn give_back(self: &Arc<Self>, place: &Place, shown: Option<Shown>) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.free += 1;
        let State { server, lanes, .. } = &mut *state;
        if let Some(lane) = lanes.get_mut(&place.lane) {
            lane.held.retain(|(ticket, _)| *ticket != place.ticket);
            match shown {
                Some(Shown::Sound) => _ = lane.breaker.succeeded(),
                Some(Shown::DestinationFailed) => _ = lane.breaker.failed(now, place.tries_lane),
                Some(Shown::ServerFailed) | None if place.tries_lane => lane.breaker.abandoned(now),
                Some(Shown::ServerFailed) | None => {}
            }
            if lane.is_forgotten(now) {
                lanes.remove(&place.lane);
            }
        }
        match shown {
            // It went as far as the letter: the server itself is well.
            Some(Shown::Sound | Shown::DestinationFailed) if server.succeeded() => {
                tracing::info!("the mail server is well again");
                metrics::gauge!(super::MAIL_SERVER_AVAILABLE).set(1.0);
            }
            Some(Shown::ServerFailed) => {
                if let Some(span) = server.failed(now, place.tries_server) {
                    tracing::warn!(seconds = span.as_secs(), "the mail server is in trouble: nothing is tried for now");
                    metrics::gauge!(super::MAIL_SERVER_AVAILABLE).set(0.0);
                }
            }
            None if place.tries_server => server.abandoned(now),
            Some(Shown::Sound | Shown::DestinationFailed) | None => {}
        }
        self.go_on(&mut state, now);
    }

    /// Hands out what is free, a place a lane in turn; and sends away those who would wait in vain.
    fn go_on(self: &Arc<Self>, state: &mut State, now: Timestamp) {
        // Lanes that had to wait in a row: when all have, nobody can go.
        let mut waited = 0;
        while waited < state.turns.len() {
            let Some(name) = state.turns.pop_front() else { return };
            let State { free, server, lanes, turns, .. } = &mut *state;
            let Some(lane) = lanes.get_mut(&name) else { continue };
            lane.waiting.retain(|tell| !tell.is_closed());
            match lane.turn(server, *free, now) {
                _ if lane.waiting.is_empty() => continue,
                Turn::Leave(held) => {
                    for tell in lane.waiting.drain(..) {
                        let _ = tell.send(Err(held));
                    }
                    continue;
                }
                Turn::Wait => {
                    turns.push_back(name);
                    waited += 1;
                    continue;
                }
                Turn::Go => {}
            }
            let Some(tell) = lane.waiting.pop_front() else { continue };
            if !lane.waiting.is_empty() {
                turns.push_back(Arc::clone(&name));
            }
            waited = 0;
            let place = self.place(state, &name, now);
            if let Err(Ok(unwanted)) = tell.send(Ok(place)) {
                self.take_back(state, unwanted, now);
            }
        }
    }

    /// Whoever waited has gone at this very moment.
    fn take_back(&self, state: &mut State, mut place: Place, now: Timestamp) {
        place.given_back = true;
        state.free += 1;
        if place.tries_server {
            state.server.abandoned(now);
        }
        if let Some(lane) = state.lanes.get_mut(&place.lane) {
            lane.held.retain(|(ticket, _)| *ticket != place.ticket);
            if place.tries_lane {
                lane.breaker.abandoned(now);
            }
        }
    }
}

impl Place {
    /// Gives the place back, with what was shown while it was held.
    pub(super) fn ended(mut self, shown: Shown) {
        self.given_back = true;
        Arc::clone(&self.lanes).give_back(&self, Some(shown));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.given_back {
            self.given_back = true;
            Arc::clone(&self.lanes).give_back(self, None);
        }
    }
}

#[cfg(test)]
mod tests;
