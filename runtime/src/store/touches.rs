//! What an item touches, and so which items of a batch depend on each other.

use std::collections::HashSet;

use crate::effects::Guard;
use crate::flow::Domain;
use crate::id::{DeliveryId, FlowId, InputId};
use crate::store::Item;

/// One thing that an item reads or changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// A flow's row.
    Flow(FlowId),
    /// An input, which has one event.
    Input(InputId),
    /// A delivery's row.
    Delivery(DeliveryId),
    /// A key in the table of guards.
    Guard(String),
}

/// All that an item touches.
#[derive(Clone, Debug)]
pub struct Touches {
    /// What it changes.
    pub changes: Vec<Touch>,
    /// What it only needs to stay as it is.
    pub holds: Vec<Touch>,
}

impl<D: Domain> Item<D> {
    /// All that it touches.
    pub fn touches(&self) -> Touches {
        let mut changes = vec![Touch::Input(self.input)];
        let mut holds = Vec::new();
        changes.extend(self.change.iter().map(|change| Touch::Flow(change.row.id)));
        changes.extend(self.opened.iter().map(|(row, _)| Touch::Flow(row.id)));
        changes.extend(self.settles.iter().map(|settle| Touch::Delivery(settle.delivery)));
        holds.extend(self.expects.iter().map(|(flow, _)| Touch::Flow(*flow)));
        for guard in &self.guards {
            let touch = Touch::Guard(guard.key().clone());
            if matches!(guard, Guard::Hold(..)) { holds.push(touch) } else { changes.push(touch) }
        }
        // An item may name one key twice (release, then claim): that is no clash.
        holds.retain(|touch| !changes.contains(touch));
        Touches { changes, holds }
    }
}

/// What some items have touched so far.
#[derive(Debug, Default)]
pub struct Touched {
    changed: HashSet<Touch>,
    held: HashSet<Touch>,
}

impl Touched {
    /// Whether an item depends on one that came before it: both touch the same, and not both only hold it.
    pub fn clashes(&self, touches: &Touches) -> bool {
        touches.changes.iter().any(|touch| self.changed.contains(touch) || self.held.contains(touch))
            || touches.holds.iter().any(|touch| self.changed.contains(touch))
    }

    /// Adds what an item touches.
    pub fn add(&mut self, touches: Touches) {
        self.changed.extend(touches.changes);
        self.held.extend(touches.holds);
    }
}

/// Cuts a batch into runs, in order, so that no two items of a run depend on each other. What the committer brings is
/// one run.
pub fn runs<D: Domain>(batch: &[Item<D>]) -> Vec<&[Item<D>]> {
    let mut runs = Vec::with_capacity(1);
    let mut rest = batch;
    let mut touched = Touched::default();
    let mut length = 0;
    for item in batch {
        let touches = item.touches();
        if touched.clashes(&touches) {
            let (run, others) = rest.split_at(length);
            runs.push(run);
            (rest, length, touched) = (others, 0, Touched::default());
        }
        touched.add(touches);
        length += 1;
    }
    if !rest.is_empty() {
        runs.push(rest);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::suite::given::{Draft, act, flow, row, start, step};
    use crate::testing::toy::Toy;

    fn lengths(drafts: Vec<Draft>) -> Vec<usize> {
        let batch: Vec<Item<Toy>> = drafts.into_iter().map(|draft| draft.item).collect();
        runs(&batch).into_iter().map(<[Item<Toy>]>::len).collect()
    }

    #[test]
    fn a_batch_is_cut_where_an_item_depends_on_one_before_it() {
        assert_eq!(lengths(Vec::new()), Vec::<usize>::new());
        assert_eq!(lengths(vec![start(1).claim("a"), start(2).claim("b"), act(3).hold("c", 0)]), [3]);
        assert_eq!(lengths(vec![act(1).hold("c", 0), act(2).hold("c", 0), act(3).bump("c")]), [2, 1]);
        assert_eq!(lengths(vec![act(1).claim("a"), act(2).claim("a"), act(3).claim("a")]), [1, 1, 1]);
        assert_eq!(lengths(vec![act(1).claim("a"), act(2).claim("b"), act(3).release("a"), act(4).claim("b")]), [2, 2]);
        assert_eq!(lengths(vec![step(&row(1), 1), act(2).expects(flow(1), 1), act(3).expects(flow(1), 1)]), [1, 2]);
        assert_eq!(lengths(vec![act(1).release("a").claim("a"), act(1)]), [1, 1]);
    }
}
