//! Batched reads: a caller who comes while a read is under way is served by the next read, with all who came meanwhile.
//!
//! The committer does the same for writes, and for the same reason: a statement costs a round trip to the database
//! whatever it asks for. There is no task behind it. One of the callers reads for all and hands the role on when its read
//! is done. When that caller is dropped during the read, those whom it read for ask again. The connection goes with the
//! role, because the pool tries each connection that it is given back, which is a round trip, too, and wakes a task.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_runtime::store::StoreFault;
use tokio::sync::oneshot;

/// Keys that one read asks for at most.
const MOST: usize = 256;
/// Reads under way at once.
const READS: usize = 2;

/// Reads by key, at most one value each, on connections `C`.
#[derive(Debug)]
pub(crate) struct BatchedReads<K, V, C>(Mutex<Waiting<K, V, C>>);

#[derive(Debug)]
struct Waiting<K, V, C> {
    reading: usize,
    queue: VecDeque<(K, Tell<K, V, C>)>,
}

type Tell<K, V, C> = oneshot::Sender<Message<K, V, C>>;
type Told<K, V, C> = oneshot::Receiver<Message<K, V, C>>;

#[derive(Debug)]
enum Message<K, V, C> {
    Found(Result<Option<V>, StoreFault>),
    /// Read for the others too.
    Lead(Lead<K, V, C>),
}

/// The role of the caller who reads. When dropped, it goes to the next in the queue, or there is one reader less.
#[derive(Debug)]
struct Lead<K, V, C> {
    reads: Arc<BatchedReads<K, V, C>>,
    /// The connection of the read before, if that went well.
    connection: Option<C>,
}

impl<K, V, C> Drop for Lead<K, V, C> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        let mut waiting = self.reads.lock();
        waiting.queue.retain(|(_, told)| !told.is_closed());
        match waiting.queue.pop_front() {
            Some((_, told)) => {
                drop(waiting);
                // A caller that has gone meanwhile drops the role that it is sent, which hands it on.
                let _ = told.send(Message::Lead(Self { reads: Arc::clone(&self.reads), connection }));
            }
            None => waiting.reading -= 1,
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone, C> BatchedReads<K, V, C> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waiting { reading: 0, queue: VecDeque::new() })))
    }

    /// What is found under a key by a read that begins after this call. `read` may be asked for others' keys too; it is
    /// given the connection of the read before, if there is one, and gives back the one that it used, if that can go on.
    ///
    /// # Errors
    /// That of the read, which all who went together share.
    pub(crate) async fn find<F>(
        self: &Arc<Self>,
        key: K,
        read: impl Fn(Vec<K>, Option<C>) -> F,
    ) -> Result<Option<V>, StoreFault>
    where
        F: Future<Output = (Result<HashMap<K, V>, StoreFault>, Option<C>)>,
    {
        let mut lead = loop {
            let told = match self.enter(&key) {
                Ok(lead) => break lead,
                Err(told) => told,
            };
            match told.await {
                Ok(Message::Found(found)) => return found,
                Ok(Message::Lead(lead)) => break lead,
                Err(_) => {} // who read for us was dropped
            }
        };
        let others: Vec<_> = {
            let mut waiting = self.lock();
            let end = waiting.queue.len().min(MOST - 1);
            waiting.queue.drain(..end).collect()
        };
        let keys = std::iter::once(&key).chain(others.iter().map(|(key, _)| key)).cloned().collect();
        let (found, connection) = read(keys, lead.connection.take()).await;
        lead.connection = connection;
        let of = |key: &K| found.as_ref().map(|found| found.get(key).cloned()).map_err(StoreFault::clone);
        for (key, told) in others {
            let _ = told.send(Message::Found(of(&key)));
        }
        drop(lead);
        of(&key)
    }

    fn enter(self: &Arc<Self>, key: &K) -> Result<Lead<K, V, C>, Told<K, V, C>> {
        let mut waiting = self.lock();
        if waiting.reading < READS {
            waiting.reading += 1;
            return Ok(Lead { reads: Arc::clone(self), connection: None });
        }
        let (tell, told) = oneshot::channel();
        waiting.queue.push_back((key.clone(), tell));
        Err(told)
    }
}

impl<K, V, C> BatchedReads<K, V, C> {
    fn lock(&self) -> MutexGuard<'_, Waiting<K, V, C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, join_all};
    use tokio::sync::Semaphore;

    use super::*;

    /// A connection is known by the number of the read that opened it.
    type Read = BoxFuture<'static, (Result<HashMap<u32, u32>, StoreFault>, Option<usize>)>;

    /// Finds the double of every even number, when it is let.
    struct Slow {
        gate: Arc<Semaphore>,
        asked: Arc<Mutex<Vec<Vec<u32>>>>,
        opened: Arc<Mutex<usize>>,
    }

    impl Slow {
        fn new() -> Self {
            Self { gate: Arc::new(Semaphore::new(0)), asked: Arc::default(), opened: Arc::default() }
        }

        fn read(&self) -> impl Fn(Vec<u32>, Option<usize>) -> Read + Clone + Send + 'static {
            let (gate, asked, opened) = (Arc::clone(&self.gate), Arc::clone(&self.asked), Arc::clone(&self.opened));
            move |keys, connection| {
                asked.lock().unwrap().push(keys.clone());
                let connection = connection.unwrap_or_else(|| {
                    let mut opened = opened.lock().unwrap();
                    *opened += 1;
                    *opened
                });
                let gate = Arc::clone(&gate);
                Box::pin(async move {
                    gate.acquire().await.unwrap().forget();
                    let found = keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key * 2)).collect();
                    (Ok(found), Some(connection))
                })
            }
        }

        fn opened(&self) -> usize {
            *self.opened.lock().unwrap()
        }

        fn sizes(&self) -> Vec<usize> {
            self.asked.lock().unwrap().iter().map(Vec::len).collect()
        }
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_comes_while_it_reads_goes_with_the_next() {
        let (reads, slow) = (BatchedReads::new(), Slow::new());
        let asks = (0..20).map(|key| {
            let (reads, read) = (Arc::clone(&reads), slow.read());
            tokio::spawn(async move { reads.find(key, read).await })
        });
        let asks: Vec<_> = asks.collect();
        settle().await;
        assert_eq!(slow.sizes(), [1, 1], "two read, the others wait");
        slow.gate.add_permits(1);
        settle().await;
        assert_eq!(slow.sizes(), [1, 1, 18]);
        assert_eq!(slow.opened(), 2, "the connection goes with the role");
        slow.gate.add_permits(2);
        for (key, found) in (0..).zip(join_all(asks).await) {
            assert_eq!(found.unwrap(), Ok((key % 2 == 0).then_some(key * 2)));
        }
        assert_eq!(reads.lock().reading, 0);
        slow.gate.add_permits(1);
        assert_eq!(reads.find(2, slow.read()).await, Ok(Some(4)));
        assert_eq!(slow.opened(), 3, "nobody waited, so it was given back");
    }

    #[tokio::test]
    async fn no_read_asks_for_more_than_its_measure() {
        let (reads, slow) = (BatchedReads::new(), Slow::new());
        slow.gate.add_permits(1_000);
        let asks: Vec<_> = (0..1_000_u32).map(|key| reads.find(key, slow.read())).collect();
        assert!(join_all(asks).await.into_iter().all(|found| found.is_ok()));
        assert!(slow.sizes().into_iter().all(|size| size <= MOST), "{:?}", slow.sizes());
    }

    #[tokio::test]
    async fn who_is_dropped_during_a_read_or_in_the_queue_leaves_nobody_behind() {
        let (reads, slow) = (BatchedReads::new(), Slow::new());
        let ask = |key: u32| {
            let (reads, read) = (Arc::clone(&reads), slow.read());
            Box::pin(async move { reads.find(key, read).await })
        };
        let (mut first, mut second) = (ask(0), ask(2));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        let (mut gone, mut stays) = (ask(4), ask(6));
        assert!((&mut gone).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        // The role goes to the next in the queue, who is dropped before they know of it, and on to the one who stays.
        drop(first);
        drop(gone);
        assert!((&mut stays).now_or_never().is_none());
        drop(second);
        let mut along = ask(8);
        let mut leads = ask(10);
        assert!((&mut leads).now_or_never().is_none());
        assert!((&mut along).now_or_never().is_none(), "it waits for one of the two that read");
        slow.gate.add_permits(10);
        let (stays, leads, along) = tokio::join!(stays, leads, along);
        assert_eq!((stays, leads, along), (Ok(Some(12)), Ok(Some(20)), Ok(Some(16))));
        assert_eq!(reads.lock().reading, 0);
    }

    #[tokio::test]
    async fn who_went_along_with_one_that_was_dropped_asks_again() {
        let (reads, slow) = (BatchedReads::new(), Slow::new());
        let ask = |key: u32| {
            let (reads, read) = (Arc::clone(&reads), slow.read());
            Box::pin(async move { reads.find(key, read).await })
        };
        let (mut one, mut two, mut leads, mut along) = (ask(0), ask(2), ask(4), ask(6));
        for waits in [&mut one, &mut two, &mut leads, &mut along] {
            assert!(waits.now_or_never().is_none());
        }
        drop(one);
        assert!((&mut leads).now_or_never().is_none(), "it reads for itself and for the one behind");
        assert_eq!(slow.sizes(), [1, 1, 2]);
        drop(leads);
        slow.gate.add_permits(10);
        assert_eq!(along.await, Ok(Some(12)));
        assert_eq!(two.await, Ok(Some(4)));
        assert_eq!(reads.lock().reading, 0);
    }

    #[tokio::test]
    async fn a_read_that_fails_fails_for_all_who_went_together_and_for_nobody_after() {
        let reads = BatchedReads::<u32, u32, ()>::new();
        let away = |_, _| std::future::ready((Err(StoreFault::Unavailable("away".to_owned())), None));
        assert_eq!(reads.find(2, away).await, Err(StoreFault::Unavailable("away".to_owned())));
        let there = |_, _| std::future::ready((Ok(HashMap::from([(2, 4)])), None));
        assert_eq!(reads.find(2, there).await, Ok(Some(4)));
    }
}
