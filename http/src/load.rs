//! What the requests in flight take: handlers that run, and octets of bodies that are held. Each is bounded for all
//! clients together, with a share of the bound for each client.
//!
//! A handler runs in a task of its own and ends only by itself: a client that hangs up changes nothing of what its
//! request does. So handlers are counted here and not by connections, and a stop waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::Limits;

/// What one listener's requests take at this moment.
#[derive(Debug)]
pub(crate) struct Load {
    requests: Arc<Capacity>,
    bodies: Arc<Capacity>,
    abandoned: Arc<Capacity>,
}

impl Load {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            requests: Capacity::new(limits.requests, limits.requests_each),
            bodies: Capacity::new(limits.bodies, limits.bodies_each),
            abandoned: Capacity::new(usize::MAX, usize::MAX),
        })
    }

    /// Takes room for one more handler. `None` when there is none, for all clients or for this one.
    pub(crate) fn admit(&self, client: u128) -> Option<Held> {
        Capacity::take(&self.requests, client, 1)
    }

    /// Holds no octets yet, and is to grow with the body that comes in.
    pub(crate) fn body(&self, client: u128) -> Option<Held> {
        Capacity::take(&self.bodies, client, 0)
    }

    /// Runs `work` in a task of its own, which goes on to its end when this future is dropped. `None` when the task was
    /// cut off: the process is ending.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        admitted: Held,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut waiting = Waiting { load: Arc::clone(self), gone: Arc::default(), answered: false };
        let gone = Arc::clone(&waiting.gone);
        #[allow(clippy::disallowed_methods, reason = "the task is counted here, and a stop waits for it")]
        let task = tokio::spawn(async move {
            // Given back in this order: whoever sees no request in flight sees no abandoned one either.
            let (_admitted, _gone) = (admitted, Gone(gone));
            work.await
        });
        let done = task.await.ok();
        waiting.answered = true;
        done
    }

    /// Handlers that run though nobody waits for their answer any more.
    pub(crate) fn abandoned(&self) -> usize {
        self.abandoned.used()
    }

    /// Resolves when no handler runs.
    pub(crate) async fn idle(&self) {
        self.requests.emptied().await;
    }
}

/// Whoever waits for a handler's answer.
struct Waiting {
    load: Arc<Load>,
    gone: Arc<Mutex<Abandonment>>,
    answered: bool,
}

/// The count of an abandoned handler, for as long as it runs on.
#[derive(Debug, Default)]
struct Abandonment {
    ended: bool,
    counted: Option<Held>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if !gone.ended {
            gone.counted = Capacity::take(&self.load.abandoned, 0, 1);
            metrics::counter!("cairn_http_requests_abandoned_total").increment(1);
        }
    }
}

/// Ends the count with the handler.
struct Gone(Arc<Mutex<Abandonment>>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.ended = true;
        gone.counted = None;
    }
}

/// So much of something for all clients together, and so much of it for each.
#[derive(Debug)]
pub(crate) struct Capacity {
    most: usize,
    each: usize,
    used: Mutex<Used>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Used {
    sum: usize,
    clients: HashMap<u128, Client>,
}

#[derive(Debug, Default)]
struct Client {
    used: usize,
    /// The entry goes with the last of them.
    holders: usize,
}

impl Capacity {
    pub(crate) fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { most, each, used: Mutex::default(), emptied: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing in here can panic half-way.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `amount` for a client. `None` when either bound would be passed.
    pub(crate) fn take(capacity: &Arc<Self>, client: u128, amount: usize) -> Option<Held> {
        let mut held = Held { capacity: Arc::clone(capacity), client, amount: 0 };
        capacity.lock().clients.entry(client).or_default().holders += 1;
        held.grow(amount).then_some(held)
    }

    /// What all clients hold.
    pub(crate) fn used(&self) -> usize {
        self.lock().sum
    }

    async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.lock().sum == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A part of a capacity; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    capacity: Arc<Capacity>,
    client: u128,
    amount: usize,
}

impl Held {
    /// Takes more. `false`, and nothing is taken, when a bound would be passed.
    #[must_use]
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        let mut used = self.capacity.lock();
        let sum = used.sum.saturating_add(amount);
        let Some(client) = used.clients.get_mut(&self.client) else { return false };
        let own = client.used.saturating_add(amount);
        if sum > self.capacity.most || own > self.capacity.each {
            return false;
        }
        client.used = own;
        used.sum = sum;
        drop(used);
        self.amount += amount;
        true
    }
}

impl Held {
    /// Takes as much as is missing to `amount`.
    #[must_use]
    pub(crate) fn grow_to(&mut self, amount: usize) -> bool {
        self.grow(amount.saturating_sub(self.amount))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = self.capacity.lock();
        used.sum = used.sum.saturating_sub(self.amount);
        let empty = used.sum == 0;
        if let Some(client) = used.clients.get_mut(&self.client) {
            client.used = client.used.saturating_sub(self.amount);
            client.holders = client.holders.saturating_sub(1);
            if client.holders == 0 {
                used.clients.remove(&self.client);
            }
        }
        drop(used);
        if empty {
            self.capacity.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_capacity_is_bounded_in_all_and_for_each_client_and_comes_back() {
        let capacity = Capacity::new(10, 6);
        let mut one = Capacity::take(&capacity, 1, 4).unwrap();
        assert!(!one.grow(3), "its share");
        assert!(one.grow(2));
        assert!(Capacity::take(&capacity, 1, 1).is_none());
        let other = Capacity::take(&capacity, 2, 4).unwrap();
        assert!(Capacity::take(&capacity, 3, 1).is_none(), "the sum");
        drop(other);
        assert!(Capacity::take(&capacity, 1, 1).is_none());
        assert!(Capacity::take(&capacity, 3, 4).is_some());
        drop(one);
        assert_eq!((capacity.used(), capacity.lock().clients.len()), (0, 0), "nothing is remembered of who has gone");
    }
}
