//! What one connection is doing and until when it may, and the crowd of all connections of a listener.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;

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

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Instant,
    in_flight: usize,
    /// HTTP/2: octets between requests are frames, not the beginning of a head.
    multiplexed: bool,
    /// The last answer did not wait for its whole request.
    unread: bool,
    leaving: bool,
}

/// One connection, seen by its task, by its requests and by the crowd.
#[derive(Debug)]
pub(crate) struct Life {
    state: Mutex<State>,
    waker: AtomicWaker,
    crowd: Arc<Crowd>,
}

impl Life {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets have come in.
    pub(crate) fn heard(&self) {
        let mut state = self.state();
        if state.stage == Stage::Idle && !state.multiplexed {
            state.stage = Stage::Head;
            state.since = Instant::now();
        }
    }

    /// Octets have gone out: the other end is still taking an answer.
    pub(crate) fn told(&self) {
        let mut state = self.state();
        if state.stage == Stage::Idle {
            state.since = Instant::now();
        }
    }

    /// A request begins; it ends with the guard.
    pub(crate) fn begin(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.stage = Stage::Serving;
        state.multiplexed = multiplexed;
        state.unread = false;
        InFlight { life: Arc::clone(self) }
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

    /// What it is doing, and until when it may go on so; a request being answered has no deadline here.
    pub(crate) fn until(&self, limits: &Limits) -> (Stage, Option<Instant>) {
        let state = self.state();
        let deadline = match state.stage {
            Stage::Head => Some(state.since + limits.head_time),
            Stage::Idle => Some(state.since + limits.idle_time),
            Stage::Serving => None,
        };
        (state.stage, deadline)
    }

    /// Whether the connection has been asked to give way.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state().leaving
    }

    /// A request came in the very moment the connection was asked to give way: another one has to.
    pub(crate) fn stays(&self) {
        self.state().leaving = false;
        self.crowd.moved.notify_one();
    }

    /// Has the connection's task looked at again when the crowd wants something of it.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// A request in flight, up to the last octet of its answer's body.
#[derive(Debug)]
pub(crate) struct InFlight {
    life: Arc<Life>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.life.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.in_flight == 0 {
            state.stage = Stage::Idle;
            state.since = Instant::now();
            let multiplexed = state.multiplexed;
            drop(state);
            self.life.crowd.moved.notify_one();
            if multiplexed {
                // HTTP/2 answers from other tasks; the connection's own must see its new deadline.
                self.life.waker.wake();
            }
        }
    }
}

/// All connections of a listener.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    lives: Mutex<HashMap<u64, Arc<Life>>>,
    next: AtomicU64,
    closing: AtomicBool,
    /// Somebody left or became idle.
    moved: Notify,
}

impl Crowd {
    fn lives(&self) -> MutexGuard<'_, HashMap<u64, Arc<Life>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in; its place is free again when the seat is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Seat {
        let life = Arc::new(Life {
            state: Mutex::new(State {
                stage: Stage::Head,
                since: Instant::now(),
                in_flight: 0,
                multiplexed: false,
                unread: false,
                leaving: false,
            }),
            waker: AtomicWaker::new(),
            crowd: Arc::clone(self),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lives().insert(number, Arc::clone(&life));
        metrics::gauge!("cairn_http_connections").increment(1.0);
        Seat { number, life }
    }

    /// Waits until there is room for one more, asking the longest idle connection to give way.
    pub(crate) async fn room_for_one(&self, most: usize) {
        while self.lives().len() >= most.max(1) {
            self.ask_longest_idle();
            self.moved.notified().await;
        }
    }

    /// Asks the connection that has been without a request for longest to give way, unless one is on its way out.
    pub(crate) fn ask_longest_idle(&self) {
        let lives = self.lives();
        let mut longest: Option<(Instant, &Arc<Life>)> = None;
        for life in lives.values() {
            let state = life.state();
            if state.leaving {
                return;
            }
            if state.in_flight == 0 && longest.is_none_or(|(since, _)| state.since < since) {
                longest = Some((state.since, life));
            }
        }
        if let Some((_, life)) = longest {
            life.state().leaving = true;
            life.waker.wake();
            metrics::counter!("cairn_http_connections_cut_total", "reason" => "crowded").increment(1);
        }
    }

    /// Asks every connection to finish what it does and go.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.lives().values().for_each(|life| life.waker.wake());
    }

    /// Whether all are to go.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn count(&self) -> usize {
        self.lives().len()
    }
}

/// A connection's place in the crowd.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    pub(crate) life: Arc<Life>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let crowd = &self.life.crowd;
        crowd.lives().remove(&self.number);
        metrics::gauge!("cairn_http_connections").decrement(1.0);
        crowd.moved.notify_one();
    }
}
