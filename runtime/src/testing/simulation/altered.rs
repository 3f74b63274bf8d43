//! A store that alters what it is given before it looks at it: the simplest mutants, to see that a workload finds them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Between;
use crate::flow::Domain;
use crate::store::{Front, Item, Passing, Store, StoreFault, Verdict};
use crate::testing::store::SimStore;

/// Puts a store in between that alters a copy of each item before it is checked or committed.
///
/// What the log then shows is the altered item: a mutant that is to be found by what comes of it, and not by what is
/// missing in the log, alters a condition to one that stands rather than taking it away.
pub fn altering<D: Domain>(alter: impl Fn(&SimStore<D>, &mut Item<D>) + Send + Sync + 'static) -> Between<D> {
    let alter: Arc<Alter<D>> = Arc::new(alter);
    Arc::new(move |inside| Arc::new(Front(Arc::new(Altered { inside, alter: Arc::clone(&alter) }))))
}

type Alter<D> = dyn Fn(&SimStore<D>, &mut Item<D>) + Send + Sync;

struct Altered<D: Domain> {
    inside: Arc<SimStore<D>>,
    alter: Arc<Alter<D>>,
}

impl<D: Domain> Altered<D> {
    fn altered(&self, item: &Item<D>) -> Item<D> {
        let mut copy = item.clone();
        (self.alter)(&self.inside, &mut copy);
        copy
    }
}

impl<D: Domain> Passing<D> for Altered<D> {
    fn inside(&self) -> &dyn Store<D> {
        self.inside.as_ref()
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(async move { self.inside.check(&self.altered(item)).await })
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            let altered: Vec<Item<D>> = batch.iter().map(|item| self.altered(item)).collect();
            self.inside.commit(&altered).await
        })
    }
}
