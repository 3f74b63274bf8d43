//! What may go into one batch: any number of items that have nothing to do with each other, in the order they came.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{Taken, Work, take};
use crate::effects::Guard;
use crate::id::{DeliveryId, FlowId, InputId};
use crate::store::{Item, Settle};
use crate::testing::suite::given;
use crate::testing::toy::Toy;

/// An item in short: small numbers, so that much of it meets.
#[derive(Clone, Debug, Default)]
struct Brief {
    input: u8,
    changes: Option<u8>,
    expects: Option<u8>,
    opens: Option<u8>,
    settles: Option<u8>,
    guards: Vec<(u8, bool)>,
}

#[derive(Clone, Debug)]
enum Task {
    Item(Brief),
    Chore,
}

fn flow(number: u8) -> FlowId {
    FlowId::from_bytes([number; 16])
}

impl Brief {
    fn item(&self) -> Item<Toy> {
        let mut item = Item::of(InputId::from_bytes([self.input; 16]), given::at(0));
        if let Some(number) = self.changes {
            let mut drafted = given::start(1).with_row(|row| row.id = flow(number)).item;
            item.change = drafted.change.take();
        }
        item.expects = self.expects.map(|number| (flow(number), 1));
        if let Some(number) = self.opens {
            let opened = given::nothing(1).opens(2).item.opened;
            item.opened =
                opened.into_iter().map(|(row, event)| (crate::store::Row { id: flow(number), ..row }, event)).collect();
        }
        item.settles = self.settles.map(|number| Settle {
            delivery: DeliveryId::from_bytes([number; 16]),
            at: given::at(0),
            dead: None,
            forgets: false,
        });
        let guard = |(key, holds): &(u8, bool)| {
            let key = format!("key {key}");
            if *holds { Guard::Hold(key, 0) } else { Guard::Bump(key, None) }
        };
        item.guards = self.guards.iter().map(guard).collect();
        item
    }

    /// Everything that it touches, and whether it only holds it.
    fn touches(&self) -> BTreeMap<String, bool> {
        let mut touches = BTreeMap::new();
        let mut touch = |what: String, holds: bool| {
            let before = touches.get(&what).copied().unwrap_or(true);
            touches.insert(what, before && holds);
        };
        touch(format!("input {}", self.input), false);
        for number in self.changes.iter().chain(&self.opens) {
            touch(format!("flow {number}"), false);
        }
        if let Some(number) = self.expects {
            touch(format!("flow {number}"), true);
        }
        if let Some(number) = self.settles {
            touch(format!("delivery {number}"), false);
        }
        for (key, holds) in &self.guards {
            touch(format!("key {key}"), *holds);
        }
        touches
    }

    fn clashes(&self, other: &Self) -> bool {
        let theirs = other.touches();
        self.touches().iter().any(|(what, holds)| theirs.get(what).is_some_and(|hold| !(*holds && *hold)))
    }
}

fn item(brief: &Brief, number: usize) -> Work<Toy> {
    let mut item = brief.item();
    // Which item it was is read back from here.
    item.writes = vec![crate::testing::toy::ToyWrite::add("number", i64::try_from(number).unwrap())];
    Work::Item { item: Box::new(item), hand_offs: Vec::new(), reply: oneshot::channel().0 }
}

fn chore() -> Work<Toy> {
    Work::Chore(Box::new(|_| Box::pin(async {})))
}

fn numbers(taken: &Taken<Toy>) -> Vec<usize> {
    let number = |item: &Item<Toy>| {
        let crate::testing::toy::ToyWrite::Add { by, .. } = &item.writes[0];
        usize::try_from(*by).unwrap()
    };
    taken.batch.iter().map(|entry| number(&entry.item)).collect()
}

fn queue(briefs: &[Brief]) -> VecDeque<Work<Toy>> {
    briefs.iter().enumerate().map(|(number, brief)| item(brief, number)).collect()
}

fn of_flow(number: u8, input: u8) -> Brief {
    Brief { input, changes: Some(number), ..Brief::default() }
}

fn with_key(key: u8, holds: bool, input: u8) -> Brief {
    Brief { input, changes: Some(input), guards: vec![(key, holds)], ..Brief::default() }
}

#[test]
fn strangers_go_together_and_a_second_step_of_a_flow_waits() {
    let mut waiting = queue(&[of_flow(1, 1), of_flow(2, 2), of_flow(1, 3), of_flow(3, 4)]);
    assert_eq!(numbers(&take(&mut waiting, 9)), [0, 1, 3]);
    assert_eq!(numbers(&take(&mut waiting, 9)), [2]);
    assert!(waiting.is_empty());
}

#[test]
fn many_may_hold_one_key_and_whoever_moves_it_goes_alone() {
    let holding = |input| with_key(7, true, input);
    let mut waiting = queue(&[holding(1), holding(2), with_key(7, false, 3), holding(4)]);
    assert_eq!(numbers(&take(&mut waiting, 9)), [0, 1]);
    assert_eq!(numbers(&take(&mut waiting, 9)), [2], "and nobody overtakes it");
    assert_eq!(numbers(&take(&mut waiting, 9)), [3]);
}

#[test]
fn one_delivery_or_input_brought_twice_goes_one_by_one() {
    let settling = |input| Brief { input, settles: Some(5), ..Brief::default() };
    assert_eq!(numbers(&take(&mut queue(&[settling(1), settling(2)]), 9)), [0]);
    let twice = Brief { input: 1, ..Brief::default() };
    assert_eq!(numbers(&take(&mut queue(&[twice.clone(), twice]), 9)), [0]);
}

#[test]
fn a_flow_that_is_opened_or_expected_is_touched() {
    let opening = Brief { input: 1, opens: Some(5), ..Brief::default() };
    let expecting = |input| Brief { input, expects: Some(5), ..Brief::default() };
    assert_eq!(numbers(&take(&mut queue(&[opening.clone(), of_flow(5, 2), of_flow(6, 3)]), 9)), [0, 2]);
    assert_eq!(numbers(&take(&mut queue(&[expecting(2), expecting(3), of_flow(5, 4)]), 9)), [0, 1]);
}

#[test]
fn one_item_may_name_a_key_twice() {
    let own_affair = Brief { input: 1, guards: vec![(7, true), (7, false)], ..Brief::default() };
    assert_eq!(numbers(&take(&mut queue(&[own_affair.clone(), with_key(7, true, 2)]), 9)), [0]);
    assert_eq!(numbers(&take(&mut queue(&[with_key(7, true, 2), own_affair]), 9)), [0]);
}

#[test]
fn many_who_want_one_key_do_not_keep_out_those_who_want_another() {
    let mut briefs: Vec<Brief> = (0..100).map(|input| with_key(7, false, input)).collect();
    briefs.push(of_flow(200, 200));
    let mut waiting = queue(&briefs);
    assert_eq!(numbers(&take(&mut waiting, 4)), [0, 100]);
}

#[test]
fn nothing_overtakes_a_chore() {
    let mut waiting = queue(&[of_flow(1, 1), of_flow(1, 2)]);
    waiting.push_back(chore());
    waiting.extend([item(&of_flow(2, 3), 2)]);
    let first = take(&mut waiting, 9);
    assert_eq!((numbers(&first), first.chores.len()), (vec![0], 0), "what is before the chore is not done yet");
    let second = take(&mut waiting, 9);
    assert_eq!((numbers(&second), second.chores.len()), (vec![1], 1));
    assert_eq!(numbers(&take(&mut waiting, 9)), [2]);
}

fn briefs() -> impl Strategy<Value = Vec<Task>> {
    let few = || proptest::option::weighted(0.4, 0_u8..4);
    let guards = proptest::collection::vec((0_u8..4, any::<bool>()), 0..3);
    let brief =
        (0_u8..40, few(), few(), few(), few(), guards).prop_map(|(input, changes, expects, opens, settles, guards)| {
            Brief { input, changes, expects, opens, settles, guards }
        });
    let task = prop_oneof![9 => brief.prop_map(Task::Item), 1 => Just(Task::Chore)];
    proptest::collection::vec(task, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Each is taken once; no batch clashes or is too great; who clashes keeps the order; nobody overtakes a chore.
    #[test]
    fn however_they_come_no_two_of_a_batch_meet_and_none_overtakes(tasks in briefs(), limit in 1_usize..8) {
        let mut waiting: VecDeque<Work<Toy>> = VecDeque::new();
        for (number, task) in tasks.iter().enumerate() {
            waiting.push_back(match task {
                Task::Item(brief) => item(brief, number),
                Task::Chore => chore(),
            });
        }
        let chores: Vec<usize> = (0..tasks.len()).filter(|place| matches!(tasks[*place], Task::Chore)).collect();
        let brief = |place: usize| match &tasks[place] {
            Task::Item(brief) => brief,
            Task::Chore => panic!("a chore in a batch"),
        };
        let mut done: Vec<usize> = Vec::new();
        let mut chores_done = 0;
        while !waiting.is_empty() {
            let taken = take(&mut waiting, limit);
            let batch = numbers(&taken);
            prop_assert!(!batch.is_empty() || !taken.chores.is_empty(), "nothing is taken, so nothing ever will be");
            prop_assert!(batch.len() <= limit);
            for (at, one) in batch.iter().enumerate() {
                for other in &batch[at + 1..] {
                    prop_assert!(!brief(*one).clashes(brief(*other)), "{one} and {other} meet in one batch");
                }
                for chore in &chores[chores_done..] {
                    prop_assert!(one < chore, "{one} overtakes the chore {chore}");
                }
            }
            done.extend(&batch);
            chores_done += taken.chores.len();
            for chore in &chores[..chores_done] {
                let before = (0..*chore).filter(|place| matches!(tasks[*place], Task::Item(_)));
                prop_assert!(before.clone().all(|place| done.contains(&place)), "the chore {chore} overtakes an item");
            }
        }
        prop_assert_eq!(chores_done, chores.len());
        prop_assert_eq!(done.len() + chores.len(), tasks.len());
        for (at, one) in done.iter().enumerate() {
            for other in &done[at + 1..] {
                prop_assert!(one < other || !brief(*one).clashes(brief(*other)), "{other} came before {one}, and is behind");
            }
        }
    }
}
