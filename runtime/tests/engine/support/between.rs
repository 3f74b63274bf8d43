//! A store in whose way somebody stands: something happens just before a commit, or instead of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use cairn_runtime::store::{Item, Passing, Store, StoreFault, Unclaim, Verdict};
use cairn_runtime::testing::toy::Toy;
use futures_util::future::BoxFuture;

/// What happens at one call of `commit`.
pub(crate) enum Instead {
    /// This first, then the commit.
    First(BoxFuture<'static, ()>),
    /// Only this fault.
    Fault(StoreFault),
}

type Poison = Box<dyn Fn(&[Item<Toy>]) -> Option<StoreFault> + Send + Sync>;

pub(crate) struct Between {
    inside: Arc<dyn Store<Toy>>,
    planned: Mutex<VecDeque<Instead>>,
    before_check: Mutex<Option<BoxFuture<'static, ()>>>,
    poison: Mutex<Option<Poison>>,
    sizes: Mutex<Vec<usize>>,
    refused: Mutex<u32>,
}

impl Between {
    pub(crate) fn new(inside: Arc<dyn Store<Toy>>) -> Self {
        Self {
            inside,
            planned: Mutex::default(),
            before_check: Mutex::default(),
            poison: Mutex::default(),
            sizes: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// At the next commit that nothing is planned for yet.
    pub(crate) fn plan(&self, instead: Instead) {
        self.planned.lock().unwrap().push_back(instead);
    }

    /// Just before the next time that something is decided by reading.
    pub(crate) fn before_check(&self, first: BoxFuture<'static, ()>) {
        *self.before_check.lock().unwrap() = Some(first);
    }

    /// Every batch is looked at, and refused when this says so.
    pub(crate) fn poison(&self, poison: impl Fn(&[Item<Toy>]) -> Option<StoreFault> + Send + Sync + 'static) {
        *self.poison.lock().unwrap() = Some(Box::new(poison));
    }

    /// So many times no claim is taken back.
    pub(crate) fn refuses_give_backs(&self, times: u32) {
        *self.refused.lock().unwrap() = times;
    }

    /// The sizes of all batches that came.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }
}

impl Passing<Toy> for Between {
    fn inside(&self) -> &dyn Store<Toy> {
        self.inside.as_ref()
    }

    fn commit<'a>(&'a self, batch: &'a [Item<Toy>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        self.sizes.lock().unwrap().push(batch.len());
        let planned = self.planned.lock().unwrap().pop_front();
        let poisoned = self.poison.lock().unwrap().as_ref().and_then(|poison| poison(batch));
        Box::pin(async move {
            match planned {
                Some(Instead::First(first)) => first.await,
                Some(Instead::Fault(fault)) => return Err(fault),
                None => {}
            }
            match poisoned {
                Some(fault) => Err(fault),
                None => self.inside.commit(batch).await,
            }
        })
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        let mut refused = self.refused.lock().unwrap();
        if let Some(fewer) = refused.checked_sub(1) {
            *refused = fewer;
            return Box::pin(std::future::ready(Err(StoreFault::Unavailable("away".to_owned()))));
        }
        self.inside.unclaim(back)
    }

    fn check<'a>(&'a self, item: &'a Item<Toy>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        let first = self.before_check.lock().unwrap().take();
        Box::pin(async move {
            if let Some(first) = first {
                first.await;
            }
            self.inside.check(item).await
        })
    }
}
